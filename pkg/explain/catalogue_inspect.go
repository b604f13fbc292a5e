package explain

// inspectDiagnoses are met while the agent reads the machine.
func inspectDiagnoses() []Diagnosis {
	return []Diagnosis{
		{
			Code:     "inspect-failed",
			Title:    "inspection failed",
			Cause:    "the agent could not read the machine's hardware",
			Evidence: "The part that could not be read, and the agent's error.",
			Remedy: []string{
				"look at {device}: it did not answer || look at the machine's console; it is booted and inspected again by itself",
			},
			Class: Retry,
		},
		{
			Code:     "inspect-fast-unsupported",
			Title:    "BMC tells too little for a fast inspection",
			Cause:    "spec.inspectionMode is fast, and the BMC does not tell the machine's hardware",
			Evidence: "What the BMC does not tell (CPU, memory or network interfaces), or that its protocol tells nothing of it, as IPMI.",
			Remedy: []string{
				"have the agent look instead: remove inspectionMode from spec (kubectl -n {namespace} edit bmh {host}) || have the agent look instead: remove spec.inspectionMode",
				"many BMCs know only what the firmware told them at the last start: one whose machine was never on may tell more after it was",
			},
			Class: Terminal,
		},
		{
			Code:     "inspect-hang-device",
			Title:    "a device does not answer",
			Cause:    "a disk or controller hangs; it was skipped",
			Evidence: "The device and the call that did not come back.",
			Remedy: []string{
				"replace or pull {device} || replace or pull the device that is shown",
			},
			Class: Retry,
		},
		{
			Code:     "inspect-missing-nic",
			Title:    "a network card is missing",
			Cause:    "the machine has no network card with the MAC address on record",
			Evidence: "The MAC address wanted and those found.",
			Remedy: []string{
				"found are {found}: correct spec.bootMACAddress, or look for a broken card || correct spec.bootMACAddress, or look for a broken card",
			},
			Class: Terminal,
		},
		{
			Code:     "inspect-duplicate-mac",
			Title:    "two hosts report one MAC address or UUID",
			Cause:    "another host has the same MAC address or SMBIOS UUID",
			Evidence: "The value and both hosts. Vendors ship boards whose UUID is all zeros or 03000200-…; those are ignored.",
			Remedy: []string{
				"compare with host {other}: delete the one that is enrolled twice, or correct its MAC address",
				"delete the host that is enrolled twice, or correct its MAC address",
			},
			Class: Retry,
		},
		{
			Code:     "inspect-changed",
			Title:    "hardware changed since the last inspection",
			Cause:    "a disk or network card is not the one that was there before",
			Evidence: "What is gone and what is new, by serial number.",
			Remedy: []string{
				"if the change was meant, accept it: kubectl -n {namespace} annotate bmh {host} inspect.metal3.io= || if the change was meant, inspect the host again with the annotation inspect.metal3.io",
			},
			Class: Terminal,
		},
	}
}
