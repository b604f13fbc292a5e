package quirk

// megaRAC is what AMI's firmware does, under whatever name it is sold.
func megaRAC() []Entry {
	const tacklebox = "https://github.com/DMTF/Redfish-Tacklebox/issues/144"
	return []Entry{
		{
			Quirk:    ETagRequired,
			Evidence: `PreconditionHeaderMissing without If-Match (gofish #171); "a write sent without If-Match that the BMC silently drops" (confluent #274, MegaRAC SPX 13)`,
			URL:      "https://github.com/xcat2/confluent/pull/274", Proof: Captured,
		}, {
			Quirk:    ETagLadder,
			Evidence: `Gigabyte: W/"1682532272" as read is refused as missing, "1682532272" as not matching (ansible community.general #6434)`,
			URL:      "https://github.com/ansible-collections/community.general/pull/6434", Proof: Captured,
		}, {
			Quirk:    BootViaSettings,
			Evidence: `400 Ami.1.0.OperationSupportedInFutureStateURI: "Support of this Operation for Boot Properties is moved to FutureState URI(/redfish/v1/Systems/Self/SD)" (Redfish-Tacklebox #144, #111)`,
			URL:      tacklebox, Proof: Captured,
		}, {
			Quirk:    BootFullBody,
			Evidence: `400 "The property BootSourceOverrideMode is a required property and must be included in the request." (ansible community.general #11542, which does not name the maker); ironic, redfish/management.py VENDORS_REQUIRING_FULL_BOOT_REQUEST: AMI, ASRockRack`,
			URL:      "https://github.com/ansible-collections/community.general/issues/11542", Proof: SourceRead,
		}, {
			Quirk:    MediaSkipSlot,
			Evidence: "recorded MegaRAC sets (not at hand) have slots without MediaTypes, or with DVD alone",
			Proof:    Unverified,
		},
	}
}

func ami() Vendor {
	return Vendor{
		Name:  "AMI MegaRAC",
		Is:    []Sign{{Vendor: "ami"}, {Vendor: "american megatrends*"}, {Product: "ami redfish*"}, {OEM: "ami"}, {ManagerModel: "megarac*"}},
		Quirk: megaRAC(),
	}
}
