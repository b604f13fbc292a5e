package explain

// bootDiagnoses are met between power on and the agent's hello.
func bootDiagnoses() []Diagnosis {
	return []Diagnosis{
		{
			Code:     "boot-no-network",
			Title:    "no network to boot from",
			Cause:    "no ProvisioningNetwork is served here, so nothing answers when the machine asks for an address",
			Evidence: "The ProvisioningNetworks that exist, and the interfaces of this server.",
			Remedy: []string{
				"create a ProvisioningNetwork whose spec.interface is the one to the machines; interfaces here: {interfaces} || create a ProvisioningNetwork whose spec.interface is the one to the machines",
			},
			Class: Wait,
		},
		{
			Code:     "boot-no-dhcp",
			Title:    "the machine never asked for an address",
			Cause:    "the machine is on, but no DHCP request came from any of its MAC addresses",
			Evidence: "The MAC addresses of the host, and the unknown ones that asked in the meantime.",
			Remedy: []string{
				"if one of {nearby} is this machine, put it into spec.bootMACAddress",
				"check the cable and VLAN of the boot port, and that network boot is on in the firmware for that port",
				"check that spec.bootMACAddress is the machine's",
			},
			Class: Retry,
		},
		{
			Code:     "boot-other-mac",
			Title:    "the machine asks from another MAC address",
			Cause:    "a machine with this host's UUID asks for an address from a MAC address that is not on record",
			Evidence: "The MAC address that asked and the UUID it gave (DHCP option 97).",
			Remedy: []string{
				"adopt it: kubectl -n {namespace} patch bmh {host} --type=merge -p '{\"spec\":{\"bootMACAddress\":\"{mac}\"}}' || put the MAC address that is shown into spec.bootMACAddress, or boot from the other port",
			},
			Class: Wait,
		},
		{
			Code:     "boot-other-dhcp",
			Title:    "another DHCP server answers first",
			Cause:    "the machine booted somebody else's loader",
			Evidence: "The address and MAC address of the other server, and how much sooner it answered.",
			Remedy: []string{
				"stop DHCP on {server}, or set mode: proxy on ProvisioningNetwork {network} || stop DHCP on {server}, or set mode: proxy on the ProvisioningNetwork || stop the other DHCP server on this network, or set mode: proxy on the ProvisioningNetwork",
			},
			Class: Retry,
		},
		{
			Code:     "boot-tftp-stalled",
			Title:    "loader transfer does not finish",
			Cause:    "the machine asks for its loader but the transfer never ends",
			Evidence: "The file, the block where it stopped, and the block size that was agreed.",
			Remedy: []string{
				"check the MTU and firewall between {client} and this server (UDP 69 and the ports above 1023) || check the MTU and firewall on the path (UDP 69 and the ports above 1023), or use UEFI HTTP boot",
			},
			Class: Retry,
		},
		{
			Code:     "boot-wrong-arch",
			Title:    "no loader for this architecture",
			Cause:    "the machine's firmware asks for an architecture that ingot has no loader for",
			Evidence: "The client architecture (DHCP option 93) and the ones that are served.",
			Remedy: []string{
				"served are {served}; change the firmware's boot mode to one of them || change the firmware's boot mode; x86-64 in BIOS and UEFI mode is served",
			},
			Class: Terminal,
		},
		{
			Code:     "boot-local-disk",
			Title:    "the machine booted its own disk",
			Cause:    "the machine started its old system instead of the network",
			Evidence: "The boot override as it was written and as it reads back, and that no DHCP request came.",
			Remedy: []string{
				"put the network first in the firmware's boot order; the override reads back as {override} || put the network first in the firmware's boot order, or update the BMC's firmware",
			},
			Class: Retry,
		},
		{
			Code:     "boot-secureboot",
			Title:    "Secure Boot refuses the loader",
			Cause:    "Secure Boot is on and the loader is not signed by a key the firmware knows",
			Evidence: "Secure Boot as the BMC reports it, and that the loader was fetched and nothing after it.",
			Remedy: []string{
				"switch Secure Boot off for this machine",
			},
			Class: Terminal,
		},
		{
			Code:     "boot-mode-mismatch",
			Title:    "firmware mode and image do not fit",
			Cause:    "the machine boots in another firmware mode than the host or its image asks for",
			Evidence: "The mode that is wanted (spec.bootMode) and the one the machine booted in.",
			Remedy: []string{
				"set spec.bootMode to {found}, or switch the firmware to {wanted} || set spec.bootMode to what the firmware does, or switch the firmware's mode",
			},
			Class: Terminal,
		},
		{
			Code:     "boot-kernel-no-callhome",
			Title:    "the machine began to boot the agent, then silence",
			Cause:    "the machine fetched its boot script, but the agent has not called home",
			Evidence: "How far it got: script, kernel, ramdisk; and the PCI ids of the machine's network cards if the BMC lists them.",
			Remedy: []string{
				"use the flavour {flavour}: it has the driver for {nics}",
				"check that the machine reaches {url} from its boot port",
				"look at the machine's console: a missing driver, no link, no address, or too little memory (the agent needs 512 MiB)",
			},
			Class: Retry,
		},
		{
			Code:     "boot-ram",
			Title:    "too little memory for the agent",
			Cause:    "the machine has less memory than the agent's ramdisk needs",
			Evidence: "The memory found and the memory needed.",
			Remedy: []string{
				"give the machine {needed} of memory; it has {found} || give the machine at least 512 MiB of memory",
				"then wait for the next try, or change anything in the host's spec to have it at once",
			},
			Class: Retry,
		},
		{
			Code:     "boot-clock",
			Title:    "the machine's clock is far off",
			Cause:    "the machine's clock is so far off that certificates do not verify",
			Evidence: "The machine's time and ours.",
			Remedy: []string{
				"set the clock in the firmware; replace the battery of the board if it is wrong again",
			},
			Class: Retry,
		},
		{
			Code:     "boot-old-agent",
			Title:    "an agent of another version",
			Cause:    "the agent that booted belongs to another version of ingot",
			Evidence: "The protocol version found and the one wanted.",
			Remedy: []string{
				"it is told to reboot into the current one; if it comes back, look for a proxy that caches the ramdisk",
			},
			Class: Retry,
		},
		{
			Code:     "boot-unknown-machine",
			Title:    "a machine that nobody enrolled",
			Cause:    "a machine asks for a boot, but no host has its MAC address",
			Evidence: "The MAC address, and the UUID and vendor it gave.",
			Remedy: []string{
				"enrol it: a line with mac {mac} in the file given to ingot enroll || put its MAC address into spec.bootMACAddress of its host, or enrol it with ingot enroll",
			},
			Class: Wait,
		},
		{
			Code:     "boot-token-spent",
			Title:    "two agents claim one boot",
			Cause:    "a second agent called home for a boot that was redeemed before; neither is told anything more, and the machine is booted anew, at most twice",
			Evidence: "The addresses of both claimants.",
			Remedy: []string{
				"find out what {first} and {second} are: one of them is not this machine || look for a second machine with this machine's MAC addresses, or somebody who listens on the provisioning network",
				"after the third time, change anything in the host's spec to have it tried again",
			},
			Class: Retry,
		},
		{
			Code:     "agent-lost",
			Title:    "the agent fell silent",
			Cause:    "the agent called home, then stopped answering in the middle of its work",
			Evidence: "The step it was doing, and when it was last heard.",
			Remedy: []string{
				"look at the machine's console: a crash, a power cut or a lost link; it is booted again by itself",
			},
			Class: Retry,
		},
	}
}
