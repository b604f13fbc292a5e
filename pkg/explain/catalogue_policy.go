package explain

// policyDiagnoses are people's and the installation's own doing.
func policyDiagnoses() []Diagnosis {
	return []Diagnosis{
		{
			Code:     "paused",
			Title:    "paused",
			Cause:    "the host is paused: ingot neither looks at it nor changes it",
			Evidence: "The annotation baremetalhost.metal3.io/paused and its value, which names who set it.",
			Remedy: []string{
				"if nobody works on it any more: kubectl -n {namespace} annotate bmh {host} baremetalhost.metal3.io/paused- || remove the annotation baremetalhost.metal3.io/paused",
			},
			Class: Wait,
		},
		{
			Code:     "detached",
			Title:    "detached",
			Cause:    "the host is detached: ingot leaves the machine as it is",
			Evidence: "The annotation baremetalhost.metal3.io/detached.",
			Remedy: []string{
				"to manage it again: kubectl -n {namespace} annotate bmh {host} baremetalhost.metal3.io/detached- || remove the annotation baremetalhost.metal3.io/detached",
			},
			Class: Wait,
		},
		{
			Code:     "status-annotation",
			Title:    "a status that cannot be restored",
			Cause:    "the host was moved here with its status in an annotation that ingot cannot read, and is left alone: taken for a new host, its machine would be rebooted",
			Evidence: "What is wrong with the annotation baremetalhost.metal3.io/status.",
			Remedy: []string{
				"correct the annotation from the host in the cluster that it came from: kubectl -n {namespace} annotate bmh {host} --overwrite baremetalhost.metal3.io/status=STATUS || correct the annotation baremetalhost.metal3.io/status",
				"if the machine may be inspected as a new one, remove it: kubectl -n {namespace} annotate bmh {host} baremetalhost.metal3.io/status- || remove the annotation baremetalhost.metal3.io/status",
			},
			Class: Wait,
		},
		{
			Code:     "hardware-profile",
			Title:    "unknown hardware profile",
			Cause:    "spec.hardwareProfile names a profile that does not exist",
			Evidence: "The name.",
			Remedy: []string{
				"remove the deprecated spec.hardwareProfile of {host} and set spec.rootDeviceHints instead || remove spec.hardwareProfile",
				"or name one of Metal3's: unknown, empty, libvirt, dell, dell-raid, openstack",
			},
			Class: Wait,
		},
		{
			Code:     "held",
			Title:    "on hold",
			Cause:    "the host is on hold and goes on when somebody lets it",
			Evidence: "Who holds it and why.",
			Remedy: []string{
				"ask {by}, or release it: {command} || release the host at the door that put it on hold",
			},
			Class: Wait,
		},
		{
			Code:     "consumer",
			Title:    "held by a consumer",
			Cause:    "another object has taken this host, and what is to be on it is decided there",
			Evidence: "The object in spec.consumerRef.",
			Remedy: []string{
				"change or delete {consumer} instead of the host || change or delete the consumer instead of the host",
			},
			Class: Wait,
		},
		{
			Code:     "limit",
			Title:    "waiting for its turn",
			Cause:    "as many hosts as allowed are being worked on already",
			Evidence: "The limit, and how many hosts are ahead.",
			Remedy: []string{
				"nothing: it goes on when one of the hosts ahead is done",
			},
			Class: Wait,
		},
		{
			Code:     "provision-retries",
			Title:    "provisioning failed too often",
			Cause:    "provisioning this image failed as often as is allowed, so it is not tried again",
			Evidence: "How often it was tried, and the last failure.",
			Remedy: []string{
				"repair what failed, then give the image again: ingot deprovision {host}, ingot provision {host} … || repair what failed, then take spec.image away and set it again",
			},
			Class: Terminal,
		},
		{
			Code:     "delete-stuck",
			Title:    "deletion does not finish",
			Cause:    "the host is being deleted, and something that belongs to it cannot be let go",
			Evidence: "What is waited for: a BMC that does not answer, or another controller's finalizer.",
			Remedy: []string{
				"the finalizer {finalizer} is not ingot's: see who set it",
				"to let the machine go as it is, without erasing it or switching it off: kubectl -n {namespace} annotate bmh {host} 'baremetalhost.metal3.io/detached={\"force\":true}' || repair the BMC, or detach the host with the annotation baremetalhost.metal3.io/detached and the value {\"force\":true}",
			},
			Class: Retry,
		},
		{
			Code:     "api-slow",
			Title:    "Kubernetes API does not answer",
			Cause:    "the Kubernetes API did not answer what had to be read before going on",
			Evidence: "What was read, and the API's error.",
			Remedy: []string{
				"nothing, unless it lasts; then see whether the API server and etcd are healthy: kubectl get --raw /readyz?verbose",
			},
			Class: Retry,
		},
		{
			Code:     "disk-full",
			Title:    "this server's disk is full",
			Cause:    "there is no room left in ingot's data directory",
			Evidence: "What was to be stored, and the file system's error.",
			Remedy: []string{
				"make room on the file system of {path} || make room on the file system of ingot's data directory",
			},
			Class: Retry,
		},
		{
			Code:     "secret-changed",
			Title:    "credentials changed",
			Cause:    "the BMC's credentials were changed and are verified anew",
			Evidence: "When the Secret changed.",
			Remedy: []string{
				"nothing: the result is shown here",
			},
			Class: Wait,
		},
		{
			Code:     "replica-moved",
			Title:    "another replica took over",
			Cause:    "the host changed hands between replicas of ingot, and the new one reads what is true before it goes on",
			Evidence: "The replica before, the replica now, and when.",
			Remedy: []string{
				"nothing: it goes on within a minute",
			},
			Class: Wait,
		},
	}
}
