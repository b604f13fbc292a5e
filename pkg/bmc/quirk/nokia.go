package quirk

func nokia() Vendor {
	return Vendor{
		Name: "Nokia",
		Is:   []Sign{{Vendor: "nokia*"}, {OEM: "nokia*"}, {Manufacturer: "nokia*"}},
		Quirk: []Entry{
			{
				Quirk:    MediaTransfer,
				Evidence: "sushy, virtual_media.py insert_media: adds TransferProtocolType, then TransferMethod Stream, when the refusal names them; no record of the machine itself",
				URL:      "https://opendev.org/openstack/sushy/src/branch/master/sushy/resources/manager/virtual_media.py", Proof: SourceRead,
			}, {
				Quirk:    BootViaSettings,
				Evidence: "sushy, release note use-settingsobject; no record of the machine itself",
				Proof:    Unverified,
			},
		},
	}
}
