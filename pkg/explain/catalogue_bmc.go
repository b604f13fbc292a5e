package explain

// bmcDiagnoses are met before the machine itself is: between ingot and its BMC.
func bmcDiagnoses() []Diagnosis {
	return []Diagnosis{
		{
			Code:     "bmc-address-syntax",
			Title:    "BMC address cannot be read",
			Cause:    "the BMC address is not one that ingot understands",
			Evidence: "The part of spec.bmc.address that does not parse: the scheme, the host, the port or the path.",
			Remedy: []string{
				"write {nearest} instead of {address} || correct spec.bmc.address, for example redfish://10.0.0.3/redfish/v1/Systems/1 or ipmi://10.0.0.3",
				"use one of the schemes {schemes}",
			},
			Class: Terminal,
		},
		{
			Code:     "bmc-options",
			Title:    "an annotation on the BMC cannot be read",
			Cause:    "an annotation that says how to speak to the BMC says something that ingot does not understand",
			Evidence: "The annotation (ingot.dev/bmc-quirks, bmc-tls, bmc-pin or bmc-extras), what it says, and what it may say.",
			Remedy: []string{
				"correct or remove it: kubectl -n {namespace} annotate bmh {host} --overwrite ANNOTATION=VALUE (a minus after the name removes it) || correct or remove the annotation that is shown",
				"quirks are names of docs/reference/quirks.md with commas between, a minus before those to forbid; bmc-tls is legacy; bmc-extras is amt or asrockrack; bmc-pin is first-use, or sha256: and 64 hex digits; bmc-tls and bmc-pin are for Redfish over HTTPS alone",
			},
			Class: Terminal,
		},
		{
			Code:     "bmc-name-unresolved",
			Title:    "BMC name not in DNS",
			Cause:    "the name in the BMC address has no address that this server can use",
			Evidence: "The name asked for, the server that was asked, and its answer (none, or an address of a family this server has no route for).",
			Remedy: []string{
				"add {name} to the DNS served by {server} || add the name to DNS, or put the IP address into spec.bmc.address",
			},
			Class: Retry,
		},
		{
			Code:     "bmc-unreachable",
			Title:    "BMC does not answer",
			Cause:    "nothing answers at the BMC's address",
			Evidence: "Connections that time out or that a router refuses (no route to host). A BMC whose port answers with a refusal is bmc-refused.",
			Remedy: []string{
				"check from this server whether anything answers at {address}",
				"check the BMC's cable, VLAN, address and gateway; a BMC on a shared port may be on the host's VLAN",
				"if the address is wrong, change spec.bmc.address",
			},
			Class: Retry,
		},
		{
			Code:     "bmc-refused",
			Title:    "BMC refuses connections",
			Cause:    "something is at the BMC's address, but the service is not running",
			Evidence: "The connection is refused at once. A BMC that restarts after an update does this for some minutes.",
			Remedy: []string{
				"wait until the BMC has restarted; the next try is shown",
				"switch on {protocol} in the BMC's settings, or correct the port in spec.bmc.address || switch on Redfish (or IPMI over LAN) in the BMC's settings, or correct the port in spec.bmc.address",
			},
			Class: Retry,
		},
		{
			Code:     "bmc-tls-untrusted",
			Title:    "BMC certificate not trusted",
			Cause:    "the BMC's certificate is not one that ingot trusts, so no password was sent",
			Evidence: "Unknown authority, a name that does not match, an expired certificate, or a BMC whose clock is wrong.",
			Remedy: []string{
				"if the fingerprint {fingerprint} is the BMC's own, set disableCertificateVerification: true in spec.bmc of this host || for a self-signed certificate, set disableCertificateVerification: true in spec.bmc of this host",
				"pin the BMC's own key instead: kubectl -n {namespace} annotate bmh {host} ingot.dev/bmc-pin=first-use, or =sha256: and the public key's SHA-256 that is shown || pin the BMC's own key instead: annotate the host with ingot.dev/bmc-pin=first-use, or =sha256: and the public key's SHA-256 that is shown",
				"if a key that was pinned has changed on purpose: remove the annotation ingot.dev/bmc-pin, wait until the error changes, and set it again",
				"give the BMC a certificate for its address from an authority this server trusts",
			},
			Class: Terminal,
		},
		{
			Code:     "bmc-tls-legacy",
			Title:    "BMC speaks only old TLS",
			Cause:    "the BMC offers no TLS version or key that is still safe",
			Evidence: "The handshake fails on protocol version, cipher suite or key size.",
			Remedy: []string{
				"update the BMC's firmware to one with TLS 1.2",
				"or admit what it speaks, on a network of its own: kubectl -n {namespace} annotate bmh {host} ingot.dev/bmc-tls=legacy || or admit what it speaks, on a network of its own: annotate the host with ingot.dev/bmc-tls=legacy",
				"where no such firmware exists, use ipmi:// on a network of its own",
			},
			Class: Terminal,
		},
		{
			Code:     "bmc-auth",
			Title:    "BMC rejects the credentials",
			Cause:    "the BMC rejects user name or password; nothing more is tried, so that the account is not locked",
			Evidence: "401 from Redfish, or a refused RAKP message from IPMI. Where the BMC says so: a locked account, an expired password, or an account without the role.",
			Remedy: []string{
				"correct the Secret {secret} (keys username and password); ingot tries again as soon as it changes || correct the user name and password in the host's BMC Secret; ingot tries again as soon as it changes",
				"the account is locked until {lockedUntil}; ingot tries once after that",
				"check in the BMC that the account is enabled, not locked, not expired, and has the administrator's role",
			},
			Class: Wait,
		},
		{
			Code:     "bmc-password-change",
			Title:    "BMC wants a new password",
			Cause:    "the BMC lets the account in, but wants its password changed before anything else",
			Evidence: "403 from Redfish with PasswordChangeRequired: the maker's first password, or one that has expired.",
			Remedy: []string{
				"log in to the BMC's own page as {username}, set a new password there, and write it into the Secret {secret} (key password); ingot goes on as soon as it changes || log in to the BMC's own page with the account of the host's BMC Secret, set a new password there, and write it into the Secret; ingot goes on as soon as it changes",
				"see with ingot bmc check that the new one is taken",
			},
			Class: Wait,
		},
		{
			Code:     "bmc-forbidden",
			Title:    "BMC account may not do this",
			Cause:    "the BMC accepts the account but forbids what ingot asked",
			Evidence: "403 from Redfish, or insufficient privilege from IPMI, and the operation that was forbidden.",
			Remedy: []string{
				"give {username} the administrator's role in the BMC || give the account the administrator's role in the BMC; some vendors also want a licence for the operation shown",
			},
			Class: Wait,
		},
		{
			Code:     "bmc-licence",
			Title:    "BMC lacks a licence",
			Cause:    "the BMC has what is needed, but only with a licence",
			Evidence: "403 with the vendor's text about the licence, and the operation.",
			Remedy: []string{
				"install the licence {licence} in the BMC || install the licence that the BMC names",
				"use a scheme that needs none in spec.bmc.address, for example redfish:// with network boot",
			},
			Class: Wait,
		},
		{
			Code:     "bmc-sessions-full",
			Title:    "BMC has no free session",
			Cause:    "all sessions of the BMC are taken by others",
			Evidence: "503, or 400 with the vendor's code, when a session is created; the sessions open now, if the BMC lists them.",
			Remedy: []string{
				"end the sessions of {users} in the BMC || end old sessions in the BMC, or wait until they time out",
			},
			Class: Retry,
		},
		{
			Code:     "bmc-slow",
			Title:    "BMC is slow or busy",
			Cause:    "the BMC answers too slowly, or asks to be left alone for a while",
			Evidence: "Answers that take longer than ten seconds, 5xx, or Retry-After.",
			Remedy: []string{
				"nothing, unless it lasts: ingot asks less often by itself",
				"if it lasts, restart the BMC; see which other tools poll it",
			},
			Class: Retry,
		},
		{
			Code:     "bmc-many-systems",
			Title:    "several systems behind one BMC",
			Cause:    "the BMC manages several systems and the address names none of them",
			Evidence: "The ids of the systems that the BMC lists.",
			Remedy: []string{
				"put one of these into the path of spec.bmc.address: {systems} || name the system in spec.bmc.address, for example redfish://10.0.0.3/redfish/v1/Systems/1",
			},
			Class: Terminal,
		},
		{
			Code:     "bmc-same-system-twice",
			Title:    "two hosts with one BMC",
			Cause:    "another host has the same BMC address and system, and both would switch its power",
			Evidence: "The other host, and the address and system they share.",
			Remedy: []string{
				"correct the BMC address of this host or of {other}, or delete one of the two || correct the BMC address of one of the two hosts, or delete it",
			},
			Class: Terminal,
		},
		{
			Code:     "bmc-secret-missing",
			Title:    "BMC credentials missing",
			Cause:    "the Secret with the BMC's credentials is absent or incomplete",
			Evidence: "The namespace, name and key that were looked for.",
			Remedy: []string{
				"kubectl -n {namespace} create secret generic {secret} --from-literal=username=… --from-literal=password=… || create the Secret that spec.bmc.credentialsName names, in the host's namespace, with the keys username and password",
			},
			Class: Wait,
		},
		{
			Code:     "bmc-ipmi-cipher",
			Title:    "no common IPMI cipher suite",
			Cause:    "BMC and ingot share no IPMI cipher suite",
			Evidence: "The suites that the BMC lists; ingot offers 17, then 3.",
			Remedy: []string{
				"allow cipher suite {suite} in the BMC's IPMI settings || allow cipher suite 17 (or 3) in the BMC's IPMI settings, or use redfish://",
			},
			Class: Retry,
		},
		{
			Code:     "bmc-unsupported",
			Title:    "BMC cannot do this",
			Cause:    "the BMC has no way to do what is needed",
			Evidence: "The operation, and how the BMC said that it has none: a missing action, 404, 405 or 501.",
			Remedy: []string{
				"update the BMC's firmware, or use another scheme for this host ({schemes}) || update the BMC's firmware, or use another scheme in spec.bmc.address",
			},
			Class: Terminal,
		},
		{
			Code:     "bmc-refused-request",
			Title:    "BMC rejects a request",
			Cause:    "the BMC understood the request and rejects it",
			Evidence: "The operation and the BMC's words (400, 409, 412 and the like).",
			Remedy: []string{
				"read the BMC's words: often a setting or a running task forbids it; then update the BMC's firmware if they make no sense",
			},
			Class: Retry,
		},
		{
			Code:     "bmc-transient",
			Title:    "BMC fails for a moment",
			Cause:    "the BMC answered with an error of its own",
			Evidence: "The operation and the BMC's error (5xx, or an IPMI completion code).",
			Remedy: []string{
				"nothing, unless it lasts; then restart the BMC",
			},
			Class: Retry,
		},
		{
			Code:     "bmc-protocol",
			Title:    "BMC answers nonsense",
			Cause:    "the BMC's answer breaks its protocol, or it ignored what was written",
			Evidence: "The request, and what was expected and read.",
			Remedy: []string{
				"restart the BMC; if it stays, update its firmware",
			},
			Class: Retry,
		},
		{
			Code:     "bmc-power-disagrees",
			Title:    "power is not as ordered",
			Cause:    "the machine's power is not what ingot ordered: someone else switched it, or the BMC reports it wrongly",
			Evidence: "The power ordered and the power read, how often, and the last change in the BMC's log.",
			Remedy: []string{
				"see who else switches the machine: the front button, another tool, the BMC's own policy",
			},
			Class: Retry,
		},
		{
			Code:     "bmc-reset-stuck",
			Title:    "machine does not switch off",
			Cause:    "the installed system ignores the request to shut down",
			Evidence: "Since when the shutdown is asked for, and when the machine is switched off without asking.",
			Remedy: []string{
				"wait until {forcedAt}: then it is switched off hard || shut the system down by hand; otherwise it is switched off hard",
			},
			Class: Retry,
		},
	}
}
