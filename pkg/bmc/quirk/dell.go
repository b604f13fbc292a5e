package quirk

// iDRAC 8 is in the 12th and 13th generation of PowerEdge, iDRAC 9 in the 14th
// to 16th, iDRAC 10 from the 17th on. The Manager's model begins with the
// generation ("17G Monolithic"; ironic, drac/boot.py,
// _get_idrac_version_from_model); until the Manager was read, the second digit
// of the machine's model tells it (R730, R750, R770).
func idrac8() When {
	return When{ManagerModel: []string{"12g*", "13g*"}}
}

func idrac8ByModel() When {
	return When{
		Model:  []string{"poweredge @#2*", "poweredge @#3*", "poweredge @@#2*", "poweredge @@#3*"},
		Unless: []string{"?*"},
	}
}

func idrac10() When {
	return When{ManagerModel: []string{"17g*", "18g*", "19g*"}}
}

func idrac10ByModel() When {
	return When{
		Model:  []string{"poweredge @#7*", "poweredge @#8*", "poweredge @@#7*", "poweredge @@#8*"},
		Unless: []string{"?*"},
	}
}

func dell() Vendor {
	const scripting = "https://github.com/dell/iDRAC-Redfish-Scripting/issues/"
	return Vendor{
		Name: "Dell",
		Is:   []Sign{{Vendor: "dell*"}, {OEM: "dell"}, {Manufacturer: "dell*"}},
		Quirk: []Entry{
			{
				Quirk:    PostBusy,
				Evidence: `503 with IDRAC.2.8.SYS518 "currently unable to display any information because data sources are unavailable" (metal-operator #170); sushy repeats it for every method (release note fix-retry_volume_operation-on_sys518)`,
				URL:      "https://github.com/ironcore-dev/metal-operator/issues/170", Proof: Captured,
			}, {
				Quirk: PowerConflict, When: []When{idrac10(), idrac10ByModel()},
				Evidence: "ironic, release note redfish-power-on-conflict-retry: 409 to On while an Off is still under way",
				Proof:    Unverified,
			}, {
				Quirk:    MediaStale,
				Evidence: `ironic, redfish/boot.py _test_retry: "On some Dell hw, the eject media may still be in progress", story 2008504; release note fix-redfish-vmedia-stale-insert-skip`,
				URL:      "https://storyboard.openstack.org/#!/story/2008504", Proof: SourceRead,
			}, {
				Quirk:    MediaOffToEject,
				Evidence: "Launchpad 2160374: the eject hangs or is refused while the machine is on",
				URL:      "https://bugs.launchpad.net/bugs/2160374", Proof: Unverified,
			}, {
				Quirk: MediaFirstSlot, When: []When{idrac10(), idrac10ByModel()},
				Evidence: `ironic, drac/boot.py _get_acceptable_media_id: "For iDRAC10 systems, only virtual media ID "1" is acceptable"; Launchpad 2125571`,
				URL:      "https://bugs.launchpad.net/bugs/2125571", Proof: SourceRead,
			}, {
				Quirk: MediaOnSystem, When: []When{idrac10(), idrac10ByModel()},
				Evidence: `ironic, drac/boot.py: "iDRAC10 doesn't have Virtual Media in Managers"; iDRAC9 6.00.30.00 has it in both places (recorded R750)`,
				URL:      "https://bugs.launchpad.net/bugs/2039458", Proof: SourceRead,
			}, {
				Quirk: DellVirtualCDBoot,
				When: []When{
					idrac8(), idrac8ByModel(), idrac10(), idrac10ByModel(),
					{ManagerModel: []string{"14g*", "15g*", "16g*"}, Firmware: Range{Below: "6.00"}},
					// 6.00.30.00 says 1.13.1 (recorded R750).
					{Redfish: Range{Below: "1.13"}, Unless: []string{"?*"}},
				},
				Evidence: `ironic, drac/boot.py _set_boot_device: "does not support setting boot device to virtual media via standard Redfish means"; "Cd" boots the physical drive (#90, #116, and #324 for iDRAC10); from 6.00 on "Cd" works (ansible community.general #3423)`,
				URL:      scripting + "90", Proof: SourceRead,
			}, {
				Quirk: BootViaSettings, When: []When{idrac10(), idrac10ByModel()},
				Evidence: "R6715, iDRAC10 1.20.80.50: PATCH System.Embedded.1 → 400 PropertyNotWritable, PATCH System.Embedded.1/Settings → 200 (bmclib #461); the same for R470 (gofish #511) and R570 (ansible community.general #11297). libredfish #75 says otherwise of an R670",
				URL:      "https://github.com/bmc-toolbox/bmclib/pull/461", Proof: Captured,
			}, {
				Quirk:    BootModeFlips,
				Evidence: `ironic, redfish/management.py set_boot_device: "Some BMCs reset it to default (BIOS) when changing the boot device"; story 2008252`,
				URL:      "https://storyboard.openstack.org/#!/story/2008252", Proof: SourceRead,
			}, {
				Quirk:    BIOSApplyTime,
				Evidence: `"you must also pass in @Redfish.SettingsApplyTime which will generate a job" (#84, and #249 with the exchange: 200 without it, and only pending values); story 2008163; SupportedApplyTimes is in the recorded R750's Bios`,
				URL:      scripting + "249", Proof: Captured,
			}, {
				Quirk:    BIOSResetBody,
				Evidence: "sushy, release note fix-2008198: no body in the POST, 400 Bad Request on an R630 with iDRAC 2.75.75.75",
				URL:      "https://storyboard.openstack.org/#!/story/2008198", Proof: SourceRead,
			}, {
				Quirk:    TaskVanishes,
				Evidence: "sushy, release note fix-dell-bmc-404-race-condition: 404 for a job that is just being made; ironic, release note fix-bios-update-silent-fail: task gone after the update",
				URL:      "https://opendev.org/openstack/sushy/src/branch/master/releasenotes/notes/fix-dell-bmc-404-race-condition-6000e47436cd4d6e.yaml", Proof: SourceRead,
			}, {
				Quirk:    ContentLength,
				Evidence: "bmclib, firmware upload of the gofish provider sets Content-Length, because iDRAC drops chunked bodies",
				URL:      "https://github.com/bmc-toolbox/bmclib/pull/208", Proof: SourceRead,
			}, {
				Quirk: AccountSlots,
				When:  []When{{Except: []string{"poweredge @#7*", "poweredge @#8*", "poweredge @@#7*", "poweredge @@#8*"}}},
				Evidence: `metal-operator #913: "Dell for example does not allow to create users via POST, instead one needs to PATCH one of the existing user slots"; 16 slots in the recorded R750. ` +
					"iDRAC10 has accounts that come and go (infra-controller #6358)",
				URL: "https://github.com/ironcore-dev/metal-operator/pull/913", Proof: Captured,
			}, {
				Quirk:    EventDuplicate,
				Evidence: "metal-operator #870: after ResourceAlreadyExists it looks for the subscription with the same destination",
				URL:      "https://github.com/ironcore-dev/metal-operator/pull/870", Proof: SourceRead,
			}, {
				Quirk:    EventNoContext,
				Evidence: `sushy, release note allow_empty_context: "some BMCs do not report Context when the subscription is created with empty string"`,
				URL:      "https://opendev.org/openstack/sushy/src/branch/master/releasenotes/notes/allow_empty_context_eventdestination-9a96c34dd7edbeca.yaml", Proof: SourceRead,
			}, {
				Quirk:    SerialIsSKU,
				Evidence: "recorded R750: SerialNumber CNIVC0014M0388 is the main board's, SKU F54P1G3 the service tag that SMBIOS shows; Launchpad 2146585",
				URL:      "https://bugs.launchpad.net/bugs/2146585", Proof: Captured,
			}, {
				Quirk:    IndicatorBlinks,
				Evidence: `recorded R750: IndicatorLED "Lit" of a machine that nobody looks for, LocationIndicatorActive null`,
				Proof:    Captured,
			}, {
				Quirk: NoManufacturer, When: []When{{Model: []string{"poweredge m6#0*"}}},
				Evidence: "a recorded M640 (not at hand) has a blank Manufacturer",
				Proof:    Unverified,
			},
		},
	}
}
