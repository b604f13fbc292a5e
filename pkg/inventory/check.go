package inventory

import (
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ingot-metal/ingot/api/agent"
)

// Limits of a believable inventory. The largest machines that vendors sell
// (16 sockets, a few hundred disks behind expanders) stay well under them.
const (
	maxString = 1024
	maxList   = 4096 // PCI functions, CPU flags, DIMMs, NUMA nodes, skipped items
	maxDisks  = 1024
	maxNICs   = 1024
	maxPerRow = 128 // links of a disk, addresses of an interface
	maxLabel  = 256
)

// Check refuses an inventory that no agent would send: it is the door for
// bytes from the network, called before anything else looks at them. The error
// names the field.
func Check(inv agent.Inventory) error { return check(inv, deviceName, plainName) }

// CheckBMC is Check for what a BMC told without a boot: no kernel has given names
// to the devices yet, so they are the BMC's, and nothing may be opened by them.
func CheckBMC(inv agent.Inventory) error { return check(inv, label, label) }

// check takes the rules of what disks and interfaces may be called.
func check(inv agent.Inventory, disk, nic func(string) bool) error {
	if err := checkLists(inv); err != nil {
		return err
	}
	err := walkStrings(reflect.ValueOf(&inv).Elem(), "inventory", func(path string, v reflect.Value) error {
		switch s := v.String(); {
		case len(s) > maxString:
			return fmt.Errorf("%s has %d bytes, at most %d are allowed", path, len(s), maxString)
		case !utf8.ValidString(s):
			return fmt.Errorf("%s is not UTF-8", path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	switch inv.Firmware.Mode {
	case "", agent.FirmwareBIOS, agent.FirmwareUEFI:
	default:
		return fmt.Errorf("inventory.firmware.mode %q is neither bios nor uefi", inv.Firmware.Mode)
	}
	for _, n := range []int{inv.CPU.Sockets, inv.CPU.Cores, inv.CPU.Threads, inv.CPU.MHz} {
		if n < 0 || n > 1<<20 {
			return fmt.Errorf("inventory.cpu holds the impossible number %d", n)
		}
	}
	if inv.Memory.Physical < 0 || inv.Memory.Usable < 0 {
		return fmt.Errorf("inventory.memory is negative")
	}
	if err := checkDisks(inv.Disks, disk); err != nil {
		return err
	}
	return checkNICs(inv.NICs, nic)
}

func checkLists(inv agent.Inventory) error {
	lists := []struct {
		name      string
		got, most int
	}{
		{"cpu.flags", len(inv.CPU.Flags), maxList},
		{"memory.modules", len(inv.Memory.Modules), maxList},
		{"numa", len(inv.NUMA), maxList},
		{"disks", len(inv.Disks), maxDisks},
		{"nics", len(inv.NICs), maxNICs},
		{"pci", len(inv.PCI), maxList},
		{"skipped", len(inv.Skipped), maxList},
		{"methods", len(inv.Methods), agent.MaxMethods},
		{"accelerators", len(inv.Accelerators), maxList},
	}
	for _, l := range lists {
		if l.got > l.most {
			return fmt.Errorf("inventory.%s has %d entries, at most %d are allowed", l.name, l.got, l.most)
		}
	}
	return nil
}

func checkDisks(disks []agent.Disk, named func(string) bool) error {
	seen := make(map[string]bool, len(disks))
	for i, d := range disks {
		at := fmt.Sprintf("inventory.disks[%d]", i)
		switch {
		case !named(d.Name):
			return fmt.Errorf("%s.name %q is no device", at, d.Name)
		case seen[d.Name]:
			return fmt.Errorf("%s.name %q is there twice", at, d.Name)
		case d.Size < 0 || d.SectorSize < 0 || d.PhysSectorSize < 0:
			return fmt.Errorf("%s has a negative size", at)
		case len(d.AlternateNames) > maxPerRow || len(d.Holders) > maxPerRow:
			return fmt.Errorf("%s has more than %d names or holders", at, maxPerRow)
		}
		seen[d.Name] = true
	}
	return nil
}

func checkNICs(nics []agent.NIC, named func(string) bool) error {
	seen := make(map[string]bool, len(nics))
	for i, n := range nics {
		at := fmt.Sprintf("inventory.nics[%d]", i)
		switch {
		case !named(n.Name):
			return fmt.Errorf("%s.name %q is no interface", at, n.Name)
		case seen[n.Name]:
			return fmt.Errorf("%s.name %q is there twice", at, n.Name)
		case n.SpeedMbps < 0 || n.MTU < 0:
			return fmt.Errorf("%s has a negative number", at)
		case len(n.Addresses) > maxPerRow:
			return fmt.Errorf("%s has more than %d addresses", at, maxPerRow)
		}
		seen[n.Name] = true
		if hw, err := net.ParseMAC(n.MAC); err != nil || len(hw) != 6 {
			return fmt.Errorf("%s.mac %q is no Ethernet address", at, n.MAC)
		}
		for _, a := range n.Addresses {
			if _, err := parseAddr(a); err != nil {
				return fmt.Errorf("%s.addresses: %q is no IP address", at, a)
			}
		}
	}
	return nil
}

func deviceName(s string) bool {
	name, ok := strings.CutPrefix(s, "/dev/")
	return ok && plainName(name)
}

// label holds for a name that is only shown.
func label(s string) bool {
	return s != "" && len(s) <= maxLabel && !strings.HasPrefix(s, "/dev/") && cleanString(s) == s
}

// plainName holds for names as the kernel makes them: a DiskRef's name is
// opened by the agent, so it must not lead anywhere else.
func plainName(s string) bool {
	if s == "" || strings.Contains(s, "..") || strings.HasPrefix(s, "/") {
		return false
	}
	for _, r := range s {
		if r <= ' ' || r >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// parseAddr takes an address with or without a prefix length.
func parseAddr(s string) (netip.Addr, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Addr(), nil
	}
	return netip.ParseAddr(s)
}

// Clean drops from every string what has no place in a table or a terminal:
// control characters, such as the NULs and newlines that firmware puts into
// serial numbers, invalid UTF-8, and blanks around the text. Call it after
// Check and before the inventory is stored or shown.
func Clean(inv *agent.Inventory) {
	// walkStrings fails only where its function does.
	_ = walkStrings(reflect.ValueOf(inv).Elem(), "", func(_ string, v reflect.Value) error {
		v.SetString(cleanString(v.String()))
		return nil
	})
}

func cleanString(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}

// walkStrings visits every string below v; path is built of the JSON names.
func walkStrings(v reflect.Value, path string, fn func(string, reflect.Value) error) error {
	switch v.Kind() {
	case reflect.String:
		return fn(path, v)
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return walkStrings(v.Elem(), path, fn)
	case reflect.Slice:
		for i := range v.Len() {
			if err := walkStrings(v.Index(i), fmt.Sprintf("%s[%d]", path, i), fn); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			if err := walkStrings(v.Field(i), path+"."+name, fn); err != nil {
				return err
			}
		}
	}
	return nil
}
