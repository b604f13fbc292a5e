package inventory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metal3v1alpha1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/api/agent"
)

const gibibyte = 1 << 30

// minDefaultDisk is the smallest disk that is taken without hints, as in
// ironic-python-agent.
const minDefaultDisk = 4 * gibibyte

// Codes of the errors, as pkg/explain lists them.
const (
	CodeHintNone = "hint-none"
	CodeHintMany = "hint-many"
)

// Choice is the disk an image goes to.
type Choice struct {
	Disk   agent.Disk
	Reason string // for people: why this one
	// Others matched the hints too: whoever acts on the choice warns about them.
	Others []agent.Disk
}

// Rejected is a disk and the first thing that spoke against it.
type Rejected struct {
	Disk agent.Disk
	Why  string
}

// NoMatchError says that no disk will do, and why for each.
type NoMatchError struct {
	Rejected []Rejected
}

// Code is the diagnosis.
func (e *NoMatchError) Code() string { return CodeHintNone }

// Error lists every disk with what spoke against it.
func (e *NoMatchError) Error() string {
	if len(e.Rejected) == 0 {
		return "no disk was found in the machine"
	}
	lines := make([]string, 0, len(e.Rejected))
	for _, r := range e.Rejected {
		lines = append(lines, fmt.Sprintf("%s: %s", describe(r.Disk), r.Why))
	}
	return "no disk will do: " + strings.Join(lines, "; ")
}

// ManyMatchError says that hints which must name one disk match several.
type ManyMatchError struct {
	Disks []agent.Disk
	// Separate is a hint that only the first of Disks would match, or empty.
	Separate string
}

// Code is the diagnosis.
func (e *ManyMatchError) Code() string { return CodeHintMany }

// Error lists the disks and, if there is one, a hint that separates them.
func (e *ManyMatchError) Error() string {
	names := make([]string, 0, len(e.Disks))
	for _, d := range e.Disks {
		names = append(names, describe(d))
	}
	s := fmt.Sprintf("%d disks match the root device hints: %s", len(e.Disks), strings.Join(names, "; "))
	if e.Separate != "" {
		s += "; to name the first, add " + e.Separate
	}
	return s
}

// ChooseDisk applies root device hints as Ironic does: every hint that is given
// must hold; text is compared without regard to case and surrounding blanks,
// model and vendor as a part of the actual value, sizes in GiB. Without hints
// it is the smallest fixed, writable disk of at least 4 GiB. Several matches
// give the smallest, then the first by name; with strict they are an error.
//
// Beyond Ironic, a read-only disk or one without a medium is never chosen, and
// a removable one only where a hint names it by more than size and rotation: a
// forgotten USB stick is often the smallest disk.
func ChooseDisk(disks []agent.Disk, hints *metal3v1alpha1.RootDeviceHints, strict bool) (Choice, error) {
	tests := hintTests(hints)
	var matched []agent.Disk
	var rejected []Rejected
	for _, d := range sortedDisks(disks) {
		if why := reject(d, tests); why != "" {
			rejected = append(rejected, Rejected{Disk: d, Why: why})
		} else {
			matched = append(matched, d)
		}
	}
	slices.SortStableFunc(matched, func(a, b agent.Disk) int { return cmp.Compare(a.Size, b.Size) })
	switch {
	case len(matched) == 0:
		return Choice{}, &NoMatchError{Rejected: rejected}
	case len(tests) == 0:
		return Choice{Disk: matched[0], Reason: fmt.Sprintf("no root device hints: smallest of %s", count(len(matched), "fixed disk"))}, nil
	case len(matched) == 1:
		return Choice{Disk: matched[0], Reason: "the only disk that matches " + hintText(tests)}, nil
	case strict:
		return Choice{}, &ManyMatchError{Disks: matched, Separate: separate(matched)}
	}
	return Choice{
		Disk:   matched[0],
		Reason: fmt.Sprintf("smallest of %s that match %s", count(len(matched), "disk"), hintText(tests)),
		Others: matched[1:],
	}, nil
}

// hintTest is one hint that was given.
type hintTest struct {
	text  string // serialNumber S1
	names bool   // it names a device or a make, not a mere property
	holds func(agent.Disk) bool
	got   func(agent.Disk) string // what the disk has instead
}

func hintTests(h *metal3v1alpha1.RootDeviceHints) []hintTest {
	if h == nil {
		return nil
	}
	var tests []hintTest
	if h.DeviceName != "" {
		tests = append(tests, hintTest{
			text: "deviceName " + h.DeviceName, names: true,
			holds: func(d agent.Disk) bool {
				return d.Name == h.DeviceName || d.ByPath == h.DeviceName || slices.Contains(d.AlternateNames, h.DeviceName)
			},
			got: func(d agent.Disk) string { return d.Name },
		})
	}
	texts := []struct {
		hint, want string
		part       bool
		got        func(agent.Disk) string
	}{
		{"hctl", h.HCTL, false, func(d agent.Disk) string { return d.HCTL }},
		{"model", h.Model, true, func(d agent.Disk) string { return d.Model }},
		{"vendor", h.Vendor, true, func(d agent.Disk) string { return d.Vendor }},
		{"serialNumber", h.SerialNumber, false, func(d agent.Disk) string { return d.Serial }},
		{"wwn", h.WWN, false, func(d agent.Disk) string { return d.WWN }},
		{"wwnWithExtension", h.WWNWithExtension, false, func(d agent.Disk) string { return d.WWNWithExtension }},
		{"wwnVendorExtension", h.WWNVendorExtension, false, func(d agent.Disk) string { return d.WWNVendorExtension }},
	}
	for _, t := range texts {
		want := normal(t.want)
		if want == "" {
			continue
		}
		holds := func(d agent.Disk) bool { return normal(t.got(d)) == want }
		if t.part {
			holds = func(d agent.Disk) bool { return strings.Contains(normal(t.got(d)), want) }
		}
		tests = append(tests, hintTest{text: t.hint + " " + t.want, names: true, holds: holds, got: t.got})
	}
	if h.MinSizeGigabytes > 0 {
		tests = append(tests, hintTest{
			text:  fmt.Sprintf("minSizeGigabytes %d", h.MinSizeGigabytes),
			holds: func(d agent.Disk) bool { return d.Size/gibibyte >= int64(h.MinSizeGigabytes) },
			got:   func(d agent.Disk) string { return size(d.Size) },
		})
	}
	if h.Rotational != nil {
		tests = append(tests, hintTest{
			text:  fmt.Sprintf("rotational %t", *h.Rotational),
			holds: func(d agent.Disk) bool { return d.Rotational == *h.Rotational },
			got:   func(d agent.Disk) string { return fmt.Sprint(d.Rotational) },
		})
	}
	return tests
}

// normal is how Ironic compares text on both sides.
func normal(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

// reject says what speaks against the disk, or nothing.
func reject(d agent.Disk, tests []hintTest) string {
	named := false
	for _, t := range tests {
		if !t.holds(d) {
			got := t.got(d)
			if got == "" {
				got = "none"
			}
			return fmt.Sprintf("%s is wanted, it has %s", t.text, got)
		}
		named = named || t.names
	}
	switch {
	case d.Member():
		return "part of a software RAID array, which is to be used in its place"
	case d.ReadOnly:
		return "read-only"
	case d.Size <= 0:
		return "no medium"
	case d.Removable && !named:
		return "removable, and no hint names it"
	case len(tests) == 0 && d.Size < minDefaultDisk:
		return "smaller than 4 GiB, and no hint names it"
	}
	return ""
}

// separate looks for a hint that tells the first disk from all others.
func separate(disks []agent.Disk) string {
	candidates := []struct {
		hint string
		get  func(agent.Disk) string
	}{
		{"serialNumber", func(d agent.Disk) string { return d.Serial }},
		{"wwn", func(d agent.Disk) string { return d.WWN }},
		{"wwnWithExtension", func(d agent.Disk) string { return d.WWNWithExtension }},
		{"deviceName", func(d agent.Disk) string { return d.ByPath }},
		{"hctl", func(d agent.Disk) string { return d.HCTL }},
	}
	for _, c := range candidates {
		want := c.get(disks[0])
		same := func(d agent.Disk) bool { return normal(c.get(d)) == normal(want) }
		if want != "" && !slices.ContainsFunc(disks[1:], same) {
			return c.hint + ": " + want
		}
	}
	return ""
}

func hintText(tests []hintTest) string {
	texts := make([]string, 0, len(tests))
	for _, t := range tests {
		texts = append(texts, t.text)
	}
	return strings.Join(texts, ", ")
}

// describe names a disk as a person would look for it.
func describe(d agent.Disk) string {
	s := d.Name + " (" + size(d.Size)
	for _, part := range []string{strings.TrimSpace(d.Vendor + " " + d.Model), d.Serial} {
		if part != "" {
			s += ", " + part
		}
	}
	return s + ")"
}

func size(n int64) string {
	if n < gibibyte {
		return fmt.Sprintf("%d MiB", n/mebibyte)
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/gibibyte)
}

func count(n int, what string) string {
	if n == 1 {
		return "one " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
