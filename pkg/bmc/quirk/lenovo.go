package quirk

func lenovo() Vendor {
	return Vendor{
		Name: "Lenovo",
		Is:   []Sign{{Vendor: "lenovo*"}, {OEM: "lenovo"}, {Manufacturer: "lenovo*"}, {ManagerModel: "lenovo xclarity*"}},
		Note: "The lasting boot order is written at Systems/1/Pending, where @Redfish.Settings leads: that is the standard (DSP0266 §9.9), no quirk (python-redfish-lenovo #277). The recorded Pending object holds no override.",
		Quirk: []Entry{
			{
				Quirk:    ETagRequired,
				Evidence: `ansible #56150: "HTTP 428 Precondition Required" to a PATCH without If-Match, none with it`,
				URL:      "https://github.com/ansible/ansible/pull/56150", Proof: Captured,
			}, {
				Quirk:    ETagLadder,
				Evidence: `ansible community.general #11261, #11270: 412 "The ETag supplied did not match" to the ETag just read`,
				URL:      "https://github.com/ansible-collections/community.general/issues/11261", Proof: Captured,
			}, {
				Quirk:    MediaPatch,
				Evidence: "recorded SR670 V2: ten members without actions; PATCH of Image, Inserted, WriteProtected works (gofish #529, SR630 V2); only EXTn take a URL, RDOCn and Remoten do not (python-redfish-lenovo #21)",
				URL:      "https://github.com/stmcginnis/gofish/issues/529", Proof: Captured,
			}, {
				Quirk:    NoContinuous,
				Evidence: "recorded SR670 V2: BootSourceOverrideEnabled allows Once and Disabled; story 2007733",
				URL:      "https://storyboard.openstack.org/#!/story/2007733", Proof: Captured,
			}, {
				Quirk:    NoBootWrite,
				Evidence: `SR645 V3: after the write of Hdd, Continuous "Hdd maps to the generic Hard Disk UEFI entry instead of the OS shim bootloader, causing infinite boot loops" (ironic, GitHub #14; Launchpad 2053064)`,
				URL:      "https://github.com/openstack/ironic/pull/14", Proof: SourceRead,
			}, {
				Quirk:    PushPath,
				Evidence: "recorded SR670 V2: HttpPushUri is /fwupdate, MultipartHttpPushUri /mfwupdate, outside of Redfish",
				Proof:    Captured,
			},
		},
	}
}
