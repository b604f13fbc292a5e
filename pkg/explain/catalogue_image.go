package explain

// imageDiagnoses are met with the image, its data, and the first boot.
func imageDiagnoses() []Diagnosis {
	return []Diagnosis{
		{
			Code:     "image-unreachable",
			Title:    "image cannot be fetched",
			Cause:    "the image could not be fetched; no disk was touched",
			Evidence: "Who could not reach it (this server or the agent), and the exact status or network error.",
			Remedy: []string{
				"check from this server: curl -I {url}",
				"correct spec.image.url, or the server, proxy or login behind it",
			},
			Class: Retry,
		},
		{
			Code:     "image-checksum",
			Title:    "image has another checksum",
			Cause:    "the image's bytes do not have the checksum that was given; nothing was written",
			Evidence: "Both digests, and whether the decompressed form has the one that was given.",
			Remedy: []string{
				"the checksum fits the {form} form: give the one of the file at the URL || set spec.image.checksum to the one of the file at the URL; if that was not changed on purpose, do not trust the file",
				"if the file was replaced on purpose, set spec.image.checksum to {got}",
			},
			Class: Terminal,
		},
		{
			Code:     "image-checksum-file",
			Title:    "checksum file does not name the image",
			Cause:    "the checksum file has no line for this image, or several",
			Evidence: "The file and the name that was looked for.",
			Remedy: []string{
				"add a line for {name} to the checksum file",
				"give the checksum itself in spec.image.checksum",
			},
			Class: Terminal,
		},
		{
			Code:     "image-truncated",
			Title:    "image is cut short",
			Cause:    "the image is shorter than it says it is; nothing was written",
			Evidence: "The bytes that came, of the bytes that the server or the image's header promised.",
			Remedy: []string{
				"upload the image again: {got} of {want} bytes are there || upload the image again, and compare its size",
			},
			Class: Retry,
		},
		{
			Code:     "image-format",
			Title:    "image of another format",
			Cause:    "the file is not an image that can be written to a disk, or not of the format that was declared",
			Evidence: "The format declared and the format found in the file's first bytes.",
			Remedy: []string{
				"set spec.image.format to {found} || use a raw or qcow2 disk image, plain or compressed with gzip, xz or zstd, without a backing file",
			},
			Class: Terminal,
		},
		{
			Code:     "image-too-large",
			Title:    "image larger than is allowed",
			Cause:    "the image is larger than this server takes; nothing was written",
			Evidence: "The size that was found or announced, and the limit.",
			Remedy: []string{
				"use an image of at most {limit}; a sparse raw image is smaller as qcow2 || use a smaller image; a sparse raw image is smaller as qcow2",
			},
			Class: Terminal,
		},
		{
			Code:     "image-chunk",
			Title:    "image arrives damaged",
			Cause:    "a part of the image arrived at the machine with another digest, several times; it was not written",
			Evidence: "The chunk, its digest, and what arrived.",
			Remedy: []string{
				"look for a proxy between the machine and {url} that changes what it serves || look for a proxy on the boot network, and for errors on the machine's link and memory",
			},
			Class: Retry,
		},
		{
			Code:     "image-write-slow",
			Title:    "writing the image takes too long",
			Cause:    "the image was not on the disk within the time that is allowed",
			Evidence: "How long it was given, and how far it came.",
			Remedy: []string{
				"see what is slow: the machine's link, its disk ({disk}), or this server || see what is slow: the machine's link, its disk, or this server",
			},
			Class: Retry,
		},
		{
			Code:     "userdata-missing",
			Title:    "user data not found",
			Cause:    "a Secret with user, network or meta data is absent or lacks its key",
			Evidence: "The namespace, name and key that were looked for.",
			Remedy: []string{
				"create Secret {secret} in namespace {namespace} with the key {key} || create the Secret that the host names, in the host's namespace, with the key userData, networkData or metaData",
			},
			Class: Wait,
		},
		{
			Code:     "userdata-invalid",
			Title:    "user data cannot be used",
			Cause:    "the user, network or meta data is not valid, so the system would come up unreachable",
			Evidence: "The Secret, its key, and what is wrong with it.",
			Remedy: []string{
				"correct the key {key} of Secret {secret} || correct the Secret; cloud-config must be YAML and begin with #cloud-config",
			},
			Class: Wait,
		},
		{
			Code:     "firstboot-silent",
			Title:    "the installed system has not reported",
			Cause:    "the image was written and the machine started from its disk, but the system has not reported",
			Evidence: "How long ago it was started, and the last stage that was seen on its console.",
			Remedy: []string{
				"look at the machine's console: a wrong root disk, no config drive read, or no network",
			},
			Class: Wait,
		},
		{
			Code:     "boot-entry",
			Title:    "firmware does not start the written disk",
			Cause:    "the firmware did not keep the boot entry of the new system, and starts something else",
			Evidence: "The boot entries found, and the fallback path on the disk.",
			Remedy: []string{
				"put {disk} first in the firmware's boot order || put the disk first in the firmware's boot order; check that the image has a loader for this firmware mode",
			},
			Class: Retry,
		},
	}
}
