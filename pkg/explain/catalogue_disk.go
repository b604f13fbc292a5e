package explain

// diskDiagnoses are met when a disk is chosen, cleaned or written.
func diskDiagnoses() []Diagnosis {
	return []Diagnosis{
		{
			Code:     "hint-none",
			Title:    "no disk matches the hints",
			Cause:    "no disk of this machine matches spec.rootDeviceHints; nothing was written",
			Evidence: "Every disk, with the hint that it fails.",
			Remedy: []string{
				"see the disks with: ingot inventory {host}; then correct spec.rootDeviceHints || correct spec.rootDeviceHints",
			},
			Class: Terminal,
		},
		{
			Code:     "hint-many",
			Title:    "several disks match the hints",
			Cause:    "more than one disk matches spec.rootDeviceHints and strict hints are asked for; nothing was written",
			Evidence: "The disks that match.",
			Remedy: []string{
				"add a hint that only the right one has, for example {hint} || add serialNumber or wwn of the right disk to spec.rootDeviceHints",
			},
			Class: Terminal,
		},
		{
			Code:     "disk-small",
			Title:    "image larger than the disk",
			Cause:    "the image does not fit on the disk; nothing was written",
			Evidence: "The image's virtual size and the disk's size.",
			Remedy: []string{
				"choose a disk of at least {imageSize} with spec.rootDeviceHints (minSizeGigabytes), or a smaller image || choose a larger disk with spec.rootDeviceHints (minSizeGigabytes), or a smaller image",
			},
			Class: Terminal,
		},
		{
			Code:     "disk-in-use",
			Title:    "disk is in use",
			Cause:    "something in the agent's system holds the disk",
			Evidence: "The disk and what holds it (LVM, mdraid, multipath, ZFS).",
			Remedy: []string{
				"let cleaning remove {holder}: set spec.automatedCleaningMode: metadata || set spec.automatedCleaningMode: metadata, so that old LVM and RAID metadata is erased",
			},
			Class: Retry,
		},
		{
			Code:     "disk-readonly",
			Title:    "disk is read-only",
			Cause:    "the disk refuses every write",
			Evidence: "The disk, and the critical warning of its SMART log.",
			Remedy: []string{
				"replace {disk}: an NVMe goes read-only when it is worn out or failing || replace the disk, or remove its write protection",
			},
			Class: Terminal,
		},
		{
			Code:     "disk-mismatch",
			Title:    "not the disk that was chosen",
			Cause:    "the disk at the chosen name is not the one that was chosen; nothing was written",
			Evidence: "Serial number, WWN and size, as chosen and as found.",
			Remedy: []string{
				"nothing: the machine is inspected again and the disk chosen anew; if it repeats, use serialNumber or wwn in spec.rootDeviceHints",
			},
			Class: Retry,
		},
		{
			Code:     "disk-4k",
			Title:    "image made for another sector size",
			Cause:    "the image's partition table is made for 512-byte sectors and the disk has 4096-byte sectors",
			Evidence: "The sector size of the image's GPT and of the disk.",
			Remedy: []string{
				"use an image made for 4096-byte sectors, or switch the disk to 512e",
			},
			Class: Terminal,
		},
		{
			Code:     "disk-io",
			Title:    "disk error",
			Cause:    "the disk failed while it was read or written",
			Evidence: "The disk, the operation, the offset and the kernel's error.",
			Remedy: []string{
				"replace {disk} if it repeats || replace the disk if it repeats",
			},
			Class: Retry,
		},
		{
			Code:     "clean-failed",
			Title:    "cleaning failed",
			Cause:    "the agent could not erase the metadata of a disk, so the host is not handed out",
			Evidence: "The disk and the error.",
			Remedy: []string{
				"look at {disk}: replace it, or take it out of the machine",
				"replace the disk that is shown; or set spec.automatedCleaningMode: disabled to hand the host out uncleaned",
			},
			Class: Retry,
		},
		{
			Code:     "softraid-failed",
			Title:    "software RAID was not made",
			Cause:    "the agent could not make or delete the arrays that spec.raid.softwareRAIDVolumes asks for, so the host is not handed out",
			Evidence: "The volume, the disk and the kernel's error.",
			Remedy: []string{
				"look at the disk that is shown; or change spec.raid.softwareRAIDVolumes",
			},
			Class: Retry,
		},
		{
			Code:     "softraid-disks",
			Title:    "software RAID does not fit the disks",
			Cause:    "spec.raid.softwareRAIDVolumes asks for arrays that this machine has too few disks for, or that it could not boot from",
			Evidence: "The volume, and what is in its way.",
			Remedy: []string{
				"make the volume for the image a mirror (level 1) of disks that no other volume uses, or name the disk to boot from with spec.rootDeviceHints",
				"add disks to the machine, or remove spec.raid.softwareRAIDVolumes",
			},
			Class: Wait,
		},
		{
			Code:     "step-refused",
			Title:    "agent refused its order",
			Cause:    "the agent refused a step: it was from an older owner of the host, or not complete",
			Evidence: "The step and the agent's reason.",
			Remedy: []string{
				"nothing: the machine is booted again with the order of the present owner; if it repeats, report it",
			},
			Class: Retry,
		},
	}
}
