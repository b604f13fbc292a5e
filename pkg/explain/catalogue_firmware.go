package explain

// firmwareDiagnoses are met when firmware or RAID volumes are changed.
func firmwareDiagnoses() []Diagnosis {
	return []Diagnosis{
		{
			Code:     "raid-unsupported",
			Title:    "BMC makes no RAID volumes",
			Cause:    "spec.raid.hardwareRAIDVolumes is set, and this machine's BMC cannot change RAID volumes; nothing was changed",
			Evidence: "What the BMC lacks: a protocol that knows RAID (IPMI does not), or storage that it lists.",
			Remedy: []string{
				"take spec.raid out of host {host} and make the volumes in the controller's own setup || take spec.raid out and make the volumes in the controller's own setup",
				"or reach the BMC by Redfish, if it has that: correct spec.bmc.address",
			},
			Class: Terminal,
		},
		{
			Code:     "raid-impossible",
			Title:    "RAID volume cannot be made of these disks",
			Cause:    "a volume of spec.raid.hardwareRAIDVolumes cannot be made with this machine's controllers and disks; what was as declared stays",
			Evidence: "Which volume, and what each controller lacks for it: the level, disks of the kind and size, or a disk of that name.",
			Remedy: []string{
				"correct the volume that is shown in spec.raid.hardwareRAIDVolumes; ingot inventory {host} lists the disks || correct the volume that is shown in spec.raid.hardwareRAIDVolumes",
				"free or replace disks, then edit spec.raid, which has it tried again",
			},
			Class: Terminal,
		},
		{
			Code:     "raid-failed",
			Title:    "controller refused a RAID volume",
			Cause:    "the BMC refused to make or delete a RAID volume, or its task failed",
			Evidence: "The volume and the BMC's words.",
			Remedy: []string{
				"see the controller's state and its log in the BMC's own page; some take changes only while the machine is on, or after a foreign configuration was cleared there",
				"correct spec.raid.hardwareRAIDVolumes if that is what the BMC complains of",
			},
			Class: Retry,
		},
		{
			Code:     "raid-readback",
			Title:    "RAID volume is not as declared",
			Cause:    "the controller made a volume that is not the one declared, and deleting it again would go on for ever",
			Evidence: "The volume as it is.",
			Remedy: []string{
				"declare what the controller makes: correct sizeGibibytes, numberOfPhysicalDisks or physicalDisks in spec.raid.hardwareRAIDVolumes",
			},
			Class: Terminal,
		},
		{
			Code:     "settings-refused",
			Title:    "firmware settings refused",
			Cause:    "the BMC did not take the settings of the host's HostFirmwareSettings",
			Evidence: "The settings and the BMC's words. A setting may depend on another one that the schema does not tell of.",
			Remedy: []string{
				"correct them: kubectl -n {namespace} edit hfs {host} || correct spec.settings of the host's HostFirmwareSettings",
			},
			Class: Retry,
		},
		{
			Code:     "firmware-failed",
			Title:    "firmware update failed",
			Cause:    "the BMC did not carry out an update of the host's HostFirmwareComponents",
			Evidence: "The component, the image and the BMC's words.",
			Remedy: []string{
				"see that the BMC reaches the image's URL (it is the BMC that fetches it) and that the image is for this model",
				"correct or take out the update: kubectl -n {namespace} edit hostfirmwarecomponents {host} || correct or take out the update in spec.updates of the host's HostFirmwareComponents",
			},
			Class: Retry,
		},
		{
			Code:     "secure-boot",
			Title:    "Secure Boot cannot be switched",
			Cause:    "spec.bootMode asks for Secure Boot to be switched, and the BMC does not do it",
			Evidence: "What the BMC lacks, or its words: many refuse it in setup mode, or while the machine starts.",
			Remedy: []string{
				"enrol keys in the machine's firmware setup, or switch Secure Boot on there yourself: ingot leaves it as it finds it on",
				"or set spec.bootMode to UEFI",
			},
			Class: Retry,
		},
		{
			Code:     "change-slow",
			Title:    "change not read back in time",
			Cause:    "the BMC took a change of firmware or RAID, and it could not be read back in time",
			Evidence: "The change and how long it was waited for.",
			Remedy: []string{
				"see the BMC's tasks or jobs in its own page: one may wait for a restart, or for another one",
				"nothing, if it is still at work: what is true is read before anything is asked for again",
			},
			Class: Retry,
		},
		{
			Code:     "change-endless",
			Title:    "changes do not last",
			Cause:    "what was changed about firmware or RAID was not so when it was read again, many times over",
			Evidence: "The last change.",
			Remedy: []string{
				"see what else changes this machine's firmware, or take the setting out that does not last",
			},
			Class: Terminal,
		},
	}
}
