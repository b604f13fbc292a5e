package quirk

func cisco() Vendor {
	return Vendor{
		Name: "Cisco",
		Is:   []Sign{{Vendor: "cisco*"}, {OEM: "cisco"}, {OEM: "cisco_ucs"}, {Manufacturer: "cisco*"}, {ManagerModel: "ucs*"}},
		Quirk: []Entry{
			{
				Quirk:    MediaSkipSlot,
				Evidence: "Launchpad 2031595: UCSB and UCSX have slots that answer 400 or 405; ironic, release note for C845A",
				URL:      "https://bugs.launchpad.net/bugs/2031595", Proof: Unverified,
			}, {
				Quirk:    BootMinimalBody,
				Evidence: `openshift-docs #107591: "hardware that implements BootMode read-only, such as HP or Cisco"`,
				URL:      "https://github.com/openshift/openshift-docs/pull/107591", Proof: SourceRead,
			}, {
				Quirk:    AcceptedNoLocation,
				Evidence: "an update is answered with 202 and neither Location nor a Task; nobody's record at hand",
				Proof:    Unverified,
			},
		},
	}
}
