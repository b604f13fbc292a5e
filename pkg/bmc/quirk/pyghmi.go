package quirk

// pyghmi's server answers Get Device ID for all that is built on it: VirtualBMC
// is, and so are OpenStack's own BMCs.
func pyghmi() Vendor {
	const virtualBMC = "https://opendev.org/openstack/virtualbmc/src/branch/master/virtualbmc/vbmc.py"
	return Vendor{
		Name: "VirtualBMC",
		// All zero but firmware 1.00 and IPMI 2.0, and three bytes longer than IPMI's.
		Is:   []Sign{{DeviceID: "0000010002000000000000000000"}},
		Note: "An emulator: virtual machines of libvirt. Whatever else is built on pyghmi's server looks the same.",
		Quirk: []Entry{
			{
				Quirk:    IPMIPlainBoot,
				Evidence: "pyghmi, ipmi/bmc.py get_system_boot_options and set_system_boot_options: of the flags only the device counts; vbmc.py, SET_BOOT_DEVICES_MAP: network, hd and optical, nothing for none. pyghmi 1.5.34 was run",
				URL:      virtualBMC, Proof: Captured,
			}, {
				Quirk:    IPMINoCycle,
				Evidence: "pyghmi, ipmi/bmc.py: CCh for a power_cycle that is not implemented, and vbmc.py has none. pyghmi 1.5.34 was run",
				URL:      virtualBMC, Proof: Captured,
			},
		},
	}
}
