package quirk

func nvidia() Vendor {
	return Vendor{
		Name: "NVIDIA",
		Is:   []Sign{{Vendor: "nvidia*"}, {OEM: "nvidia"}, {Product: "gb*nvl*"}, {Product: "dgx*"}, {Manufacturer: "nvidia*"}},
		Note: "Also boards of other makers that carry NVIDIA's firmware (GB NVL).",
		Quirk: []Entry{
			{
				Quirk:    HostSystem,
				Evidence: "recorded GB300: Systems lists System_0, which has Bios and a reset, and HGX_Baseboard_0, which has neither",
				Proof:    Captured,
			}, {
				Quirk:    BootViaSettings,
				Evidence: "recorded GB300: @Redfish.Settings leads to System_0/Settings, whose Boot holds the override; sushy, release note check-for-boot-attrs-in-settingsuri",
				URL:      "https://opendev.org/openstack/sushy/src/branch/master/releasenotes/notes/check-for-boot-attrs-in-settingsuri-1cad07b6eb1c81b3.yaml", Proof: Captured,
			}, {
				Quirk:    MediaTransfer,
				Evidence: `sushy, virtual_media.py is_credentials_required: "seen on NVIDIA DGX": ActionParameterMissing for UserName and Password; Launchpad 2071945`,
				URL:      "https://bugs.launchpad.net/bugs/2071945", Proof: SourceRead,
			},
		},
	}
}
