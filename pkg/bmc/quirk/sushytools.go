package quirk

func sushyTools() Vendor {
	const source = "https://opendev.org/openstack/sushy-tools/src/branch/master/sushy_tools/emulator/"
	return Vendor{
		Name: "sushy-tools",
		Is:   []Sign{{RootName: "redvirt service"}, {Manufacturer: "sushy emulator"}},
		Note: "An emulator: virtual machines of libvirt or OpenStack.",
		Quirk: []Entry{
			{
				Quirk:    NoSessions,
				Evidence: "templates/root.json has no SessionService, main.py no route to one",
				URL:      source + "templates/root.json", Proof: SourceRead,
			}, {
				Quirk:    OnlyContinuous,
				Evidence: `main.py, system_resource: "we are ignoring the BootSourceOverrideEnabled element"; templates/system.json always says Continuous; libvirtdriver.py, set_boot_device: 500 for None`,
				URL:      source + "main.py", Proof: SourceRead,
			}, {
				Quirk:    MediaFileName,
				Evidence: "resources/vmedia.py, _write_from_response: Image is the Content-Disposition's file name, else the end of the URL's path, else image.iso",
				URL:      source + "resources/vmedia.py", Proof: SourceRead,
			}, {
				Quirk:    BIOSPath,
				Evidence: "main.py serves /redfish/v1/Systems/<identity>/BIOS; templates/system.json links there",
				URL:      source + "main.py", Proof: SourceRead,
			}, {
				Quirk:    OneTask,
				Evidence: "main.py answers every update with Task 42, which is always complete",
				URL:      source + "main.py", Proof: SourceRead,
			},
		},
	}
}
