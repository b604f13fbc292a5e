package quirk

// Supermicro's Grace boards (GB NVL) run OpenBMC and share none of this; ARS-111GL
// runs Supermicro's own firmware.
func supermicro() Vendor {
	own := When{Except: []string{"gb*nvl*"}, Unless: []string{"openbmc*"}}
	return Vendor{
		Name: "Supermicro",
		Is:   []Sign{{Vendor: "supermicro*"}, {Vendor: "super micro*"}, {OEM: "supermicro"}, {Manufacturer: "supermicro*"}, {Manufacturer: "super micro*"}},
		Quirk: []Entry{
			{
				Quirk: OnePerSecond, When: []When{{Except: own.Except, Unless: own.Unless, Redfish: Range{Below: "1.2"}}},
				Evidence: "AST2400 of the X10 generation (Redfish 1.0 and 1.1): answers slow down and time out under load; a colleague's judgement",
				Proof:    Unverified,
			}, {
				Quirk: MediaMinimalBody, When: []When{own},
				Evidence: `400 "The property Inserted is not in the list of valid properties for the resource" (ansible community.general #4839); sushy, release note fix-insert-media-payload, for X11 and X12`,
				URL:      "https://github.com/ansible-collections/community.general/pull/4839", Proof: Captured,
			}, {
				Quirk: MediaSkipSlot, When: []When{own},
				Evidence: `ImageName stays after an eject, ConnectedVia says NotConnected (ansible community.general #7470, #12537, on X12STW-TF and H13SRD-F)`,
				URL:      "https://github.com/ansible-collections/community.general/pull/12537", Proof: Captured,
			}, {
				Quirk: MediaPlainURL, When: []When{own},
				Evidence: "ironic, release note remove-filename-param: X12 refuses a URL that has ?filename= or does not end in .iso",
				Proof:    Unverified,
			}, {
				Quirk: CDIsUSBCD, When: []When{{Except: []string{"gb*nvl*", "ars-111gl-nhr*"}, Unless: own.Unless}},
				Evidence: `sushy, system.py: "virtual media is presented as an "USB CD" drive as opposed to a CD drive", save on ARS-111GL-NHR; release note change-bootdev-smc`,
				URL:      "https://opendev.org/openstack/sushy/src/branch/master/releasenotes/notes/change-bootdev-smc-ab30317eaf5c37d9.yaml", Proof: SourceRead,
			}, {
				Quirk: BootAlwaysEnabled, When: []When{own},
				Evidence: `ironic, redfish/management.py _set_boot_device: "the persistent setting must be set when setting the boot device"; story 2008547`,
				URL:      "https://storyboard.openstack.org/#!/story/2008547", Proof: SourceRead,
			}, {
				Quirk: BootFullBody, When: []When{own},
				Evidence: `"some vendors like Supermicro don't respect the existing overridemode value, instead they revert to default value if it is not explicitly passed" (Redfishtool #106); metal-operator, bmc/redfish.go SetNetworkBoot, sends UEFI to Supermicro always`,
				URL:      "https://github.com/DMTF/Redfishtool/pull/106", Proof: SourceRead,
			}, {
				Quirk: TaskInBody, When: []When{own},
				Evidence: `bmclib #399: "SMC does not return the task id in the Location header"; from BMC 1.05.03 the body is a Task`,
				URL:      "https://github.com/bmc-toolbox/bmclib/pull/399", Proof: SourceRead,
			}, {
				Quirk: ShortPassword, When: []When{own},
				Evidence: "a recorded X10 (not at hand) has MaxPasswordLength 19; IPMI 2.0 keeps 20 bytes (§22.30)",
				Proof:    Unverified,
			}, {
				Quirk: IPMIUEFIDisk, When: []When{own},
				Evidence: "metal-stack, from SMCIPMITool: raw 0x00 0x08 0x05 0xe0 0x24 0x00 0x00 0x00 sets UEFI disk; ironic, ipmitool.py, story 2008241",
				URL:      "https://github.com/metal-stack/metal-hammer", Proof: SourceRead,
			},
		},
	}
}
