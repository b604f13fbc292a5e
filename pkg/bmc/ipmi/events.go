package ipmi

import (
	"fmt"
	"strings"
)

// Verdicts on sensors and events, as bmc.Sensor and bmc.LogEntry name them.
const (
	healthy  = "OK"
	warning  = "Warning"
	critical = "Critical"
)

// The tables below are the events of tables 42-2 and 42-3, one per line in order
// of their offset. What begins with "!" is critical, with "?" a warning; the
// specification gives no verdicts, these are ours.

// generic are the events of the event/reading type codes 01h to 0Ch.
const generic = `
01: ?lower non-critical, going low|lower non-critical, going high|!lower critical, going low|lower critical, going high|!lower non-recoverable, going low|lower non-recoverable, going high|upper non-critical, going low|?upper non-critical, going high|upper critical, going low|!upper critical, going high|upper non-recoverable, going low|!upper non-recoverable, going high
02: idle|active|busy
03: state deasserted|state asserted
04: no failure predicted|?failure predicted
05: limit not exceeded|?limit exceeded
06: performance met|?performance lags
07: OK|?non-critical from OK|!critical from less severe|!non-recoverable from less severe|?non-critical from more severe|!critical from non-recoverable|!non-recoverable|monitor|informational
08: absent|present
09: disabled|enabled
0a: running|in test|powered off|on line|off line|off duty|?degraded|power save|?install error
0b: fully redundant|?redundancy lost|?redundancy degraded|?not redundant, from redundant|?not redundant, from insufficient|!not redundant, insufficient resources|?redundancy degraded from full|?redundancy degraded from none
0c: D0|D1|D2|D3`

// specific are the events of event/reading type code 6Fh, by sensor type, behind
// the name of the type.
const specific = `
01 temperature:
02 voltage:
03 current:
04 fan:
05 chassis intrusion: ?chassis opened|?drive bay opened|?I/O card area opened|?processor area opened|?system unplugged from LAN|?unknown dock|?fan area opened
06 platform security: ?secure mode violation|?user password violation|?setup password violation|?network boot password violation|?other password violation|?out-of-band password violation
07 processor: !internal error|!thermal trip|!BIST failed|!hung in POST|!startup failed|!configuration error|!uncorrectable error|presence detected|?disabled|terminator present|?throttled|!machine check|?correctable machine check
08 power supply: presence detected|!failure detected|?predictive failure|!input lost|!input lost or out of range|!input out of range|!configuration error|inactive
09 power unit: powered off|power cycled|240 VA power down|interlock power down|!AC lost|!soft power control failure|!failure detected|?predictive failure
0a cooling device:
0b other units:
0c memory: ?correctable error|!uncorrectable error|!parity error|!scrub failed|?device disabled|?correctable error log full|presence detected|!configuration error|spare|?throttled|!critically over temperature
0d drive slot: present|!fault|?predictive failure|hot spare|consistency check in progress|!in critical array|!in failed array|?rebuild in progress|?rebuild aborted
0e POST memory resize:
0f system firmware: !POST error|!hung|progress
10 event logging: correctable memory errors no longer logged|event logging disabled|log cleared|all logging disabled|?log full|?log almost full|correctable machine checks no longer logged
11 watchdog: !BIOS reset|!system reset|!system power down|!system power cycle|!timer interrupt|timer expired|!reset of the processor|timer
12 system event: system reconfigured|OEM boot event|?undetermined hardware failure|entry added to auxiliary log|PEF action|clock set
13 critical interrupt: ?front panel NMI|!bus timeout|!I/O check NMI|!software NMI|!PCI PERR|!PCI SERR|!EISA failsafe timeout|?bus correctable error|!bus uncorrectable error|!fatal NMI|!bus fatal error|?bus degraded
14 button: power button pressed|sleep button pressed|reset button pressed|FRU latch opened|FRU service requested
15 module or board:
16 microcontroller:
17 add-in card:
18 chassis:
19 chip set: !soft power control failure|!thermal trip
1a other FRU:
1b cable or interconnect: connected|!configuration error
1c terminator:
1d system boot: power up|hard reset|warm reset|PXE boot requested|automatic boot to diagnostic|software hard reset|software warm reset|restart
1e boot error: !no bootable media|?nonbootable diskette|!PXE server not found|!invalid boot sector|?timeout waiting for selection of boot source
1f operating system boot: A: boot completed|C: boot completed|PXE boot completed|diagnostic boot completed|CD-ROM boot completed|ROM boot completed|boot completed|installation started|installation completed|?installation aborted|!installation failed
20 operating system stop: !stopped during load|!stopped|graceful stop|graceful shutdown|soft shutdown by PEF|agent not responding
21 slot or connector: !fault|identify|installed|ready for installation|ready for removal|slot power off|device removal requested|interlock|slot disabled|spare device
22 ACPI power state: S0/G0 working|S1 sleeping|S2 sleeping|S3 sleeping|S4 suspended to disk|S5/G2 soft off|S4/S5 soft off|G3 mechanical off|sleeping in S1, S2 or S3|G1 sleeping|S5 entered by override|legacy on|legacy off|unspecified
23 watchdog 2: ?timer expired|!hard reset|!power down|!power cycle|||||timer interrupt
24 platform alert: page generated|LAN alert generated|PET generated|SNMP OEM trap generated
25 entity presence: present|absent|?disabled
26 monitor ASIC:
27 LAN: ?heartbeat lost|heartbeat
28 management subsystem: ?sensor access degraded|!controller access degraded|!controller off line|!controller unavailable|?sensor failure|?FRU failure
29 battery: ?low|!failed|present
2a session audit: session activated|session deactivated|?invalid user name or password|?account disabled by failed logins
2b version change: hardware change detected|firmware or software change detected|?hardware incompatibility|?firmware or software incompatibility|?unsupported hardware version|?unsupported firmware or software version|hardware changed successfully|firmware or software changed successfully
2c FRU state: not installed|inactive|activation requested|activating|active|deactivation requested|deactivating|?communication lost`

// table looks a line of the tables up. The text is parsed at each use: an event is read
// now and then, and a map of all would be for ever.
func table(text string, code byte) (name string, events []string, ok bool) {
	want := fmt.Sprintf("\n%02x", code)
	_, rest, ok := strings.Cut(text, want)
	if !ok {
		return "", nil, false
	}
	line, _, _ := strings.Cut(rest, "\n")
	name, list, _ := strings.Cut(line, ":")
	if list = strings.TrimSpace(list); list != "" {
		events = strings.Split(list, "|")
	}
	return strings.TrimSpace(name), events, true
}

// kindName is what a sensor type is called.
func kindName(kind byte) string {
	if name, _, ok := table(specific, kind); ok {
		return name
	}
	if kind >= 0xc0 {
		return fmt.Sprintf("OEM sensor type %#02x", kind)
	}
	return fmt.Sprintf("sensor type %#02x", kind)
}

// eventText says what offset means for a sensor type and an event/reading type,
// and how bad it is.
func eventText(kind, event, offset byte) (text, severity string) {
	var events []string
	switch {
	case event == 0x6f:
		_, events, _ = table(specific, kind)
	case event >= 0x01 && event <= 0x0c:
		_, events, _ = table(generic, event)
	}
	if int(offset) >= len(events) || events[offset] == "" {
		if event >= 0x70 {
			return fmt.Sprintf("OEM event %#02x, offset %d", event, offset), healthy
		}
		return fmt.Sprintf("event %#02x, offset %d", event, offset), healthy
	}
	switch text = events[offset]; text[0] {
	case '!':
		return text[1:], critical
	case '?':
		return text[1:], warning
	}
	return text, healthy
}

// worse returns the graver of two verdicts.
func worse(a, b string) string {
	if a == critical || b == critical {
		return critical
	}
	if a == warning || b == warning {
		return warning
	}
	return healthy
}

// states says which states a discrete sensor is in, by Get Sensor Reading's bits
// 14 to 0 (chapter 35.14).
func states(kind, event byte, bits uint16) (text, severity string) {
	severity = healthy
	var all []string
	for offset := range byte(15) {
		if bits&(1<<offset) == 0 {
			continue
		}
		t, s := eventText(kind, event, offset)
		all = append(all, t)
		severity = worse(severity, s)
	}
	return strings.Join(all, ", "), severity
}
