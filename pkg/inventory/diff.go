package inventory

import (
	"cmp"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/api/agent"
)

// Change is what was swapped between two inspections.
type Change struct {
	DisksAdded, DisksRemoved []agent.Disk
	NICsAdded, NICsRemoved   []agent.NIC
}

// Diff compares two inventories of one machine. Disks are told apart by serial
// number and WWN (by path or name where they have none), interfaces by MAC, so
// that a device which only changed its name is no change.
func Diff(before, after agent.Inventory) Change {
	diskName := func(d agent.Disk) string { return d.Name }
	nicName := func(n agent.NIC) string { return n.Name }
	return Change{
		DisksAdded:   missing(after.Disks, before.Disks, diskKey, diskName),
		DisksRemoved: missing(before.Disks, after.Disks, diskKey, diskName),
		NICsAdded:    missing(after.NICs, before.NICs, nicKey, nicName),
		NICsRemoved:  missing(before.NICs, after.NICs, nicKey, nicName),
	}
}

// Empty reports whether nothing changed.
func (c Change) Empty() bool {
	return len(c.DisksAdded)+len(c.DisksRemoved)+len(c.NICsAdded)+len(c.NICsRemoved) == 0
}

// Lines renders the change for people, one device a line.
func (c Change) Lines() []string {
	var out []string
	for _, d := range c.DisksRemoved {
		out = append(out, "- disk "+describe(d))
	}
	for _, d := range c.DisksAdded {
		out = append(out, "+ disk "+describe(d))
	}
	for _, n := range c.NICsRemoved {
		out = append(out, "- nic "+n.Name+" "+n.MAC)
	}
	for _, n := range c.NICsAdded {
		out = append(out, "+ nic "+n.Name+" "+n.MAC)
	}
	return out
}

// missing lists what a has and b has not, by name.
func missing[T any](a, b []T, key, name func(T) string) []T {
	have := make(map[string]bool, len(b))
	for _, x := range b {
		have[key(x)] = true
	}
	var out []T
	for _, x := range a {
		if !have[key(x)] {
			out = append(out, x)
		}
	}
	slices.SortStableFunc(out, func(x, y T) int { return cmp.Compare(name(x), name(y)) })
	return out
}

// diskKey joins serial number and WWN: the namespaces of one NVMe drive share
// the first, and vendors reuse serial numbers between models.
func diskKey(d agent.Disk) string {
	switch {
	case d.Serial != "" || d.WWN != "":
		return strings.Join([]string{"device", d.Model, d.Serial, d.WWN}, "\x00")
	case d.ByPath != "":
		return "path\x00" + d.ByPath
	}
	return "name\x00" + d.Name
}

func nicKey(n agent.NIC) string { return strings.ToLower(n.MAC) }
