package quirk

func hpe() Vendor {
	return Vendor{
		Name: "HPE",
		Is:   []Sign{{Vendor: "hpe"}, {Vendor: "hewlett*"}, {OEM: "hpe"}, {OEM: "hp"}, {Manufacturer: "hpe*"}, {Manufacturer: "hp"}, {Manufacturer: "hewlett*"}},
		Quirk: []Entry{
			{
				Quirk: NoKeepAlive, When: []When{{Model: []string{"*gen8*", "*gen9*", "*gen10*", "*gen11*"}}},
				Evidence: `iLO 5: "Connection aborted … Remote end closed connection without response" on the second request of a session (DMTF/Redfish-Event-Listener #24); sushy, release note disable-conn-pooling`,
				URL:      "https://github.com/DMTF/Redfish-Event-Listener/issues/24", Proof: Captured,
			}, {
				Quirk:    PostBusy,
				Evidence: `iLO's message registry: UnableToModifyDuringSystemPOST "cannot be changed while the computer system BIOS is in POST"; InvalidOperationForSystemState comes as a 400; ironic, release note redfish-post-boot-retry`,
				URL:      "https://servermanagementportal.ext.hpe.com/docs/redfishservices/ilos/", Proof: SourceRead,
			}, {
				Quirk:    TrailingSlash,
				Evidence: "recorded iLO 7: the Bios calls itself /redfish/v1/systems/1/bios/, its settings object …/settings/",
				Proof:    Captured,
			}, {
				Quirk: GzipRegistry, When: []When{{Model: []string{"*gen10 plus*"}}},
				Evidence: "sushy, release note accept-encoding: Accept-Encoding: identity is not accepted (406)",
				URL:      "https://opendev.org/openstack/sushy/src/branch/master/releasenotes/notes/accept-encoding-4646ea43998f80bd.yaml", Proof: SourceRead,
			}, {
				Quirk:    EjectEmptyObject,
				Evidence: `sushy, release note fix-eject-media-empty-dict: "need to pass empty dictionary otherwise throws Unsupported media type"; virtual_media.py tries {} after 415 and 400`,
				URL:      "https://opendev.org/openstack/sushy/src/branch/master/releasenotes/notes/fix-eject-media-empty-dict-573b4c9e06f52ce7.yaml", Proof: SourceRead,
			}, {
				Quirk:    BootMinimalBody,
				Evidence: `ansible community.general #3509: 400 to Enabled, Target and Mode together, 200 without Mode: "BootSourceOverrideMode is not writable"; openshift-docs #107591 says so of HP`,
				URL:      "https://github.com/ansible-collections/community.general/issues/3509", Proof: Captured,
			}, {
				Quirk:    PushPath,
				Evidence: "recorded iLO 7: HttpPushUri is /cgi-bin/uploadFile, outside of Redfish",
				Proof:    Captured,
			}, {
				Quirk:    EventNoRetry,
				Evidence: `metal-operator #755: the policy is in every subscription, "compatibility preserved for HPE"`,
				URL:      "https://github.com/ironcore-dev/metal-operator/pull/755", Proof: SourceRead,
			}, {
				Quirk:    EventNoContext,
				Evidence: `sushy, release note allow_empty_context: "some BMCs do not report Context when the subscription is created with empty string"`,
				URL:      "https://opendev.org/openstack/sushy/src/branch/master/releasenotes/notes/allow_empty_context_eventdestination-9a96c34dd7edbeca.yaml", Proof: SourceRead,
			},
		},
	}
}
