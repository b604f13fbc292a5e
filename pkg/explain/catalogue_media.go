package explain

// mediaDiagnoses are of what is inserted, booted or run instead of an image that
// the agent writes.
func mediaDiagnoses() []Diagnosis {
	return []Diagnosis{
		{
			Code:     "media-unsupported",
			Title:    "no virtual media",
			Cause:    "the BMC, as it is spoken to, has no virtual CD drive that takes an image by URL",
			Evidence: "What the BMC was asked, and its answer or the drives that it has.",
			Remedy: []string{
				"if the machine's BMC has Redfish, set spec.bmc.address of {host} to its redfish:// address (ingot bmc scan finds it); some makers sell virtual media as a licence || give the host a Redfish address, or the BMC the licence for virtual media",
				"or install an image (format raw or qcow2) instead of a live ISO, or delete the DataImage",
			},
			Class: Terminal,
		},
		{
			Code:     "media-insert",
			Title:    "image not inserted",
			Cause:    "the BMC did not put the image into its virtual drive",
			Evidence: "The BMC's answer, or what its drive shows after it took the order.",
			Remedy: []string{
				"see that the BMC, not only this server, reaches {media} || see that the BMC, not only this server, reaches the image",
				"many BMCs take http only, or https with a certificate that they know, and a name that ends in .iso",
			},
			Class: Retry,
		},
		{
			Code:     "media-eject",
			Title:    "virtual drive not emptied",
			Cause:    "the BMC did not empty its virtual drive",
			Evidence: "The BMC's answer, or what its drive still shows.",
			Remedy: []string{
				"end a console session that holds the drive at {address}, or restart the BMC || end a console session that holds the drive, or restart the BMC",
			},
			Class: Retry,
		},
		{
			Code:     "deploy-unknown-method",
			Title:    "deploy method not in the ramdisk",
			Cause:    "the ramdisk that the machine booted has no deploy method of that name; no disk was touched",
			Evidence: "The method asked for, and those that the ramdisk has.",
			Remedy: []string{
				"correct spec.customDeploy.method of {host}, or add {method} to the ramdisk: docs/howto/custom-deploy.md || correct spec.customDeploy.method, or add the method to the ramdisk: docs/howto/custom-deploy.md",
			},
			Class: Terminal,
		},
		{
			Code:     "deploy-failed",
			Title:    "deploy method failed",
			Cause:    "the ramdisk's deploy method ended with a failure, or not in time",
			Evidence: "How the method ended, and the last lines that it printed.",
			Remedy: []string{
				"repair what the method complains of; all that it printed: ingot console {host} --last || repair what the method complains of",
			},
			Class: Retry,
		},
		{
			Code:     "ramdisk-waiting",
			Title:    "no answer from the image builder",
			Cause:    "nobody has answered the PreprovisioningImage, so the machine was not booted",
			Evidence: "The PreprovisioningImage, and for how long its answer was waited for.",
			Remedy: []string{
				"see that the image builder runs, and what it says of {image}: kubectl describe preprovisioningimage {image} || see that the image builder runs",
				"without an image builder: start ingot without --build-preprov-image",
			},
			Class: Retry,
		},
		{
			Code:     "ramdisk-build",
			Title:    "image builder failed",
			Cause:    "the external builder could not make the ramdisk for this host, so the machine was not booted",
			Evidence: "The Error condition of the PreprovisioningImage: reason and message.",
			Remedy: []string{
				"repair what the builder names: kubectl -n {namespace} describe preprovisioningimage {image} || repair what the builder names",
			},
			Class: Retry,
		},
		{
			Code:     "ramdisk-unusable",
			Title:    "builder's ramdisk cannot be booted",
			Cause:    "the external builder answered with a ramdisk that this host cannot be booted with",
			Evidence: "The part of the PreprovisioningImage's status that is of no use, and why.",
			Remedy: []string{
				"have the builder answer {image} anew: http URLs (iPXE fetches them), a format that was asked for, and plain kernel parameters || have the builder answer anew",
			},
			Class: Terminal,
		},
	}
}
