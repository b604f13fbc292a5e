package firmware

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// RAIDStep is the next single change on the way to the volumes that are declared:
// a volume to be deleted, or one to be made.
type RAIDStep struct {
	Delete     string // URI
	Controller string // URI, of Create
	Create     *bmc.VolumeSpec
	Text       string // for people
}

// RAIDProblem is why there is no way there. Code is a diagnosis of pkg/explain.
type RAIDProblem struct{ Code, Text string }

func (p *RAIDProblem) Error() string { return p.Text }

func impossible(format string, args ...any) *RAIDProblem {
	return &RAIDProblem{Code: "raid-impossible", Text: fmt.Sprintf(format, args...)}
}

// raidLevel of Metal3, as DSP0268 calls it: how many disks it takes at least, and
// how many of n hold data.
func raidLevel(level string) (name string, least int, data func(n int) int) {
	switch level {
	case "0":
		return "RAID0", 1, func(n int) int { return n }
	case "1":
		return "RAID1", 2, func(n int) int { return n / 2 }
	case "2":
		return "RAID2", 3, func(n int) int { return n - 1 }
	case "5":
		return "RAID5", 3, func(n int) int { return n - 1 }
	case "6":
		return "RAID6", 4, func(n int) int { return n - 2 }
	case "1+0":
		return "RAID10", 4, func(n int) int { return n / 2 }
	case "5+0":
		return "RAID50", 6, func(n int) int { return n - 2 }
	case "6+0":
		return "RAID60", 8, func(n int) int { return n - 4 }
	}
	return "", 0, nil
}

// volume is one that is there, with where it is.
type volume struct {
	bmc.Volume
	at *bmc.StorageController
}

// PlanRAID names the next change, nil if the volumes are those that are declared.
// Volumes that are as declared stay, with their data; any other one is deleted,
// for the declared ones are all there are to be; then those that lack are made, in
// order. made says that this operation made a volume already: if what it made does
// not look as declared, deleting it would go on for ever.
func PlanRAID(want []metal3.HardwareRAIDVolume, controllers []bmc.StorageController, made bool) (*RAIDStep, *RAIDProblem) {
	var there []volume
	for i := range controllers {
		for _, v := range controllers[i].Volumes {
			if v.RAIDType != "" && !strings.EqualFold(v.RAIDType, "None") { // else a bare disk
				there = append(there, volume{v, &controllers[i]})
			}
		}
	}
	kept := map[string]bool{}
	var lacking []int
	for _, i := range pickiestFirst(want) {
		at := slices.IndexFunc(there, func(v volume) bool { return !kept[v.ID] && satisfies(v, want[i]) })
		if at < 0 {
			lacking = append(lacking, i)
			continue
		}
		kept[there[at].ID] = true
	}
	slices.Sort(lacking)
	for _, v := range there {
		switch {
		case kept[v.ID]:
		case made:
			return nil, &RAIDProblem{Code: "raid-readback", Text: fmt.Sprintf("the volume %s is a %s of %d disks and %d GiB, which is none of those declared", called(v.Name, v.ID), v.RAIDType, len(v.DriveIDs), v.Bytes>>30)}
		default:
			return &RAIDStep{Delete: v.ID, Text: fmt.Sprintf("delete the volume %s (%s)", called(v.Name, v.ID), v.RAIDType)}, nil
		}
	}
	if len(lacking) == 0 {
		return nil, nil
	}
	i := lacking[0]
	step, problem := makeVolume(want[i], controllers)
	if problem != nil {
		problem.Text = fmt.Sprintf("spec.raid.hardwareRAIDVolumes[%d]: %s", i, problem.Text)
		return nil, problem
	}
	step.Text = fmt.Sprintf("make volume %d of %d, %s of %d disks", i+1, len(want), step.Create.RAIDType, len(step.Create.DriveIDs))
	return step, nil
}

// pickiestFirst orders what is declared so that a volume which names its disks is
// matched before one that takes any.
func pickiestFirst(want []metal3.HardwareRAIDVolume) []int {
	order := make([]int, len(want))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(len(want[b].PhysicalDisks), len(want[a].PhysicalDisks)) })
	return order
}

// satisfies reports whether a volume is the one declared. Its name is not looked
// at: many controllers choose their own.
func satisfies(v volume, w metal3.HardwareRAIDVolume) bool {
	name, least, _ := raidLevel(w.Level)
	if !strings.EqualFold(v.RAIDType, name) || w.Controller != "" && !isCalled(w.Controller, v.at.Name, v.at.ID, v.at.Model) {
		return false
	}
	drives := drivesOf(v)
	switch {
	case len(w.PhysicalDisks) > 0:
		if len(drives) != len(w.PhysicalDisks) {
			return false
		}
		for _, want := range w.PhysicalDisks {
			if !slices.ContainsFunc(drives, func(d bmc.Drive) bool { return isDrive(want, d) }) {
				return false
			}
		}
	case len(v.DriveIDs) != cmp.Or(value(w.NumberOfPhysicalDisks), least):
		return false
	}
	if w.Rotational != nil && slices.ContainsFunc(drives, func(d bmc.Drive) bool { return !suits(d, *w.Rotational) }) {
		return false
	}
	size := int64(value(w.SizeGibibytes)) << 30
	// Controllers round to stripes and to sectors, and some count in GB.
	return size == 0 || v.Bytes > size-size/12 && v.Bytes < size+size/12
}

func drivesOf(v volume) []bmc.Drive {
	var out []bmc.Drive
	for _, d := range v.at.Drives {
		if slices.ContainsFunc(v.DriveIDs, func(id string) bool { return sameURI(id, d.ID) }) {
			out = append(out, d)
		}
	}
	return out
}

// makeVolume chooses the controller and the disks of a volume.
func makeVolume(w metal3.HardwareRAIDVolume, controllers []bmc.StorageController) (*RAIDStep, *RAIDProblem) {
	level, least, data := raidLevel(w.Level)
	n := cmp.Or(len(w.PhysicalDisks), value(w.NumberOfPhysicalDisks), least)
	size := int64(value(w.SizeGibibytes)) << 30
	switch {
	case level == "":
		return nil, impossible("level %q: give 0, 1, 5, 6, 1+0, 5+0 or 6+0", w.Level)
	case n < least:
		return nil, impossible("level %s takes %d disks at least; give more than %d", w.Level, least, n)
	}
	var why []string
	for i := range controllers {
		c := &controllers[i]
		if w.Controller != "" && !isCalled(w.Controller, c.Name, c.ID, c.Model) {
			continue
		}
		name := called(c.Name, c.ID)
		if !slices.ContainsFunc(c.RAIDTypes, func(t string) bool { return strings.EqualFold(t, level) }) {
			if len(c.RAIDTypes) > 0 {
				why = append(why, fmt.Sprintf("the controller %s makes %s", name, strings.Join(c.RAIDTypes, ", ")))
			}
			continue
		}
		drives, lacks := choose(w, c, n, size/int64(max(1, data(n))))
		if lacks != "" {
			why = append(why, "at the controller "+name+": "+lacks)
			continue
		}
		v := &bmc.VolumeSpec{Name: w.Name, RAIDType: level, Bytes: size}
		for _, d := range drives {
			v.DriveIDs = append(v.DriveIDs, d.ID)
		}
		return &RAIDStep{Controller: c.ID, Create: v}, nil
	}
	if len(why) == 0 {
		var names []string
		for _, c := range controllers {
			names = append(names, called(c.Name, c.ID))
		}
		if w.Controller != "" {
			return nil, impossible("controller %q: this machine has %s", w.Controller, cmp.Or(strings.Join(names, ", "), "none"))
		}
		return nil, impossible("none of the machine's storage controllers makes RAID volumes (%s)", cmp.Or(strings.Join(names, ", "), "there is none"))
	}
	return nil, impossible("%s", strings.Join(why, "; "))
}

// choose takes n free disks of a controller, each of at least that size, or says
// what lacks. Of those that would do it takes the smallest, or where the whole
// disk is wanted the largest.
func choose(w metal3.HardwareRAIDVolume, c *bmc.StorageController, n int, least int64) ([]bmc.Drive, string) {
	used := map[string]bool{}
	for _, v := range c.Volumes {
		for _, id := range v.DriveIDs {
			used[strings.TrimRight(id, "/")] = used[strings.TrimRight(id, "/")] || v.RAIDType != ""
		}
	}
	free := func(d bmc.Drive) bool {
		return !used[strings.TrimRight(d.ID, "/")] && !d.IsHotSpare && !strings.EqualFold(d.Health, "Critical")
	}
	if len(w.PhysicalDisks) > 0 {
		var out []bmc.Drive
		for _, name := range w.PhysicalDisks {
			at := slices.IndexFunc(c.Drives, func(d bmc.Drive) bool { return isDrive(name, d) })
			switch {
			case at < 0:
				return nil, fmt.Sprintf("it has no disk %q; it has %s", name, driveNames(c.Drives))
			case !free(c.Drives[at]):
				return nil, fmt.Sprintf("the disk %q is a spare, in another volume, or broken", name)
			}
			out = append(out, c.Drives[at])
		}
		return out, ""
	}
	var fit []bmc.Drive
	for _, d := range c.Drives {
		if free(d) && d.Bytes >= least && (w.Rotational == nil || suits(d, *w.Rotational)) {
			fit = append(fit, d)
		}
	}
	if len(fit) < n {
		kind := ""
		if w.Rotational != nil {
			kind = map[bool]string{true: " rotating", false: " solid-state"}[*w.Rotational]
		}
		text := fmt.Sprintf("%d free%s disks are wanted", n, kind)
		if least > 0 {
			text += fmt.Sprintf(" of %d GB at least", (least+999_999_999)/1_000_000_000)
		}
		return nil, fmt.Sprintf("%s, %d of its %d will do", text, len(fit), len(c.Drives))
	}
	slices.SortStableFunc(fit, func(a, b bmc.Drive) int {
		if least == 0 {
			a, b = b, a
		}
		return cmp.Compare(a.Bytes, b.Bytes)
	})
	return fit[:n], ""
}

func suits(d bmc.Drive, rotational bool) bool {
	return d.MediaType == "" || strings.EqualFold(d.MediaType, "HDD") == rotational
}

// isDrive reports whether a person means this disk: they have its serial number,
// its name or its place from somewhere.
func isDrive(name string, d bmc.Drive) bool { return isCalled(name, d.Name, d.ID, d.Serial) }

// isCalled reports whether name is one of these; of a URI the last part will do.
func isCalled(name string, names ...string) bool {
	for _, n := range names {
		if n != "" && (strings.EqualFold(n, name) || strings.HasPrefix(n, "/") && path.Base(n) == name) {
			return true
		}
	}
	return false
}

func called(name, uri string) string { return cmp.Or(name, path.Base(uri)) }

func driveNames(drives []bmc.Drive) string {
	const most = 24
	var out []string
	for _, d := range drives[:min(most, len(drives))] {
		out = append(out, called(d.Name, d.ID))
	}
	return cmp.Or(strings.Join(out, ", "), "none")
}

func sameURI(a, b string) bool { return strings.TrimRight(a, "/") == strings.TrimRight(b, "/") }

func value(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}
