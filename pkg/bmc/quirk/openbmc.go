package quirk

func openBMC() Vendor {
	return Vendor{
		Name: "OpenBMC",
		Is:   []Sign{{ManagerModel: "openbmc*"}, {Vendor: "openbmc*"}, {Product: "gb*nvl*"}},
		Note: "Its service root names no vendor; it is known once the Manager was read.",
		Quirk: []Entry{
			{
				Quirk:    FirmwareMultipart,
				Evidence: "recorded OpenBMC 2.15 and GB300: UpdateService has no SimpleUpdate, but HttpPushUri and MultipartHttpPushUri",
				Proof:    Captured,
			}, {
				Quirk:    PushPath,
				Evidence: "recorded GB300: /redfish/v1/UpdateService/update-multipart; recorded OpenBMC 2.15: …/update takes both kinds",
				Proof:    Captured,
			}, {
				Quirk:    ShortPassword,
				Evidence: `recorded OpenBMC 2.15: MaxPasswordLength 20; "The 20 char limit comes from IPMI" (bmcweb #462)`,
				URL:      "https://github.com/ibm-openbmc/bmcweb/pull/462", Proof: Captured,
			}, {
				Quirk:    IPMIBootTimer,
				Evidence: "ironic, ipmitool.py: ipmi_disable_boot_timeout turns off the raw command that disables the 60 s timer, for BMCs that refuse it; story 2008241",
				URL:      "https://storyboard.openstack.org/#!/story/2008241", Proof: SourceRead,
			},
		},
	}
}
