package redfish

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// volumeLimits is what a controller says of the volumes it makes: the
// collection's apply times and its capabilities object (DSP0266 §7.10).
type volumeLimits struct {
	Times     applyTimes
	RAIDTypes list[text] `json:"RAIDType@Redfish.AllowableValues"`
	Bytes     list[text] `json:"CapacityBytes@Redfish.AllowableNumbers"` // "1073741824:3199549308928"
	Name      text       `json:"Name@Redfish.AllowablePattern"`
}

// volumeLimits reads the limits; none, where the controller tells none.
func (w *treeWalk) volumeLimits(ctx context.Context, volumes string) (volumeLimits, error) {
	var out volumeLimits
	var all struct {
		Times        applyTimes `json:"@Redfish.OperationApplyTimeSupport"`
		Capabilities struct {
			All list[struct {
				Object  link `json:"CapabilitiesObject"`
				UseCase text `json:"UseCase"`
			}] `json:"Capabilities"`
		} `json:"@Redfish.CollectionCapabilities"`
	}
	if ok, err := w.get(ctx, "volumes", volumes, &all); !ok {
		return out, err
	}
	for _, c := range all.Capabilities.All {
		if clean(c.UseCase) == "VolumeCreation" && c.Object != "" {
			if _, err := w.get(ctx, "limits of volumes", string(c.Object), &out); err != nil {
				return out, err
			}
			break
		}
	}
	out.Times = all.Times
	return out, nil
}

// raidLevel is how many drives a level wants and how many of them hold data.
type raidLevel struct {
	least, step int
	data        func(n int) int
}

// raidLevels are the levels of DSP0268 Volume.RAIDType that controllers make;
// others are left to the controller to judge.
func raidLevelOf(name string) (raidLevel, bool) {
	less := func(k int) func(int) int { return func(n int) int { return n - k } }
	half := func(n int) int { return n / 2 }
	third := func(n int) int { return n / 3 }
	switch strings.ToUpper(name) {
	case "RAID0":
		return raidLevel{1, 1, less(0)}, true
	case "RAID00":
		return raidLevel{2, 2, less(0)}, true
	case "RAID1":
		return raidLevel{2, 2, half}, true
	case "RAID1E":
		return raidLevel{3, 1, half}, true
	case "RAID1TRIPLE":
		return raidLevel{3, 3, third}, true
	case "RAID10TRIPLE":
		return raidLevel{6, 3, third}, true
	case "RAID3", "RAID4", "RAID5":
		return raidLevel{3, 1, less(1)}, true
	case "RAID6":
		return raidLevel{4, 1, less(2)}, true
	case "RAID01", "RAID10":
		return raidLevel{4, 2, half}, true
	case "RAID50": // two spans or more, each with a drive of parity
		return raidLevel{6, 1, less(2)}, true
	case "RAID60":
		return raidLevel{8, 1, less(4)}, true
	}
	return raidLevel{}, false
}

func refuse(op, format string, args ...any) error {
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = clip(s)
		}
	}
	return &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: fmt.Sprintf(format, args...)}
}

// checkVolume refuses what the controller would, before a drive is touched, and
// says it better: the field, its value and what to do.
func checkVolume(op string, sub subsystem, limits volumeLimits, v bmc.VolumeSpec) error {
	types := sub.raidTypes()
	for _, t := range limits.RAIDTypes {
		if r := clean(t); r != "" && !strings.EqualFold(r, "None") && !slices.Contains(types, r) {
			types = append(types, r)
		}
	}
	switch {
	case v.RAIDType == "":
		return refuse(op, "raidType is not given: the controller makes %s", some(types))
	case len(types) == 0:
		return &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the controller makes no RAID volumes"}
	case !slices.ContainsFunc(types, func(t string) bool { return strings.EqualFold(t, v.RAIDType) }):
		return refuse(op, "raidType %s: the controller makes %s; choose one of them", v.RAIDType, some(types))
	case len(v.DriveIDs) == 0:
		return refuse(op, "drives: none is named; Storage lists those there are")
	case v.Bytes < 0:
		return refuse(op, "bytes %d is negative", v.Bytes)
	}
	if err := limits.Times.check(op, v.ApplyTime); err != nil {
		return err
	}
	least, err := checkDrives(op, sub, v)
	if err != nil {
		return err
	}
	if level, ok := raidLevelOf(v.RAIDType); ok {
		n := len(v.DriveIDs)
		if n < level.least || n%level.step != 0 {
			more := ""
			if level.step > 1 {
				more = fmt.Sprintf(", in steps of %d", level.step)
			}
			return refuse(op, "drives: %d are named; %s takes %d or more%s", n, v.RAIDType, level.least, more)
		}
		if room := least * int64(level.data(n)); least > 0 && v.Bytes > room {
			return refuse(op, "bytes %d: %d drives as %s hold at most %d; ask for less, or leave it out for all there is", v.Bytes, n, v.RAIDType, room)
		}
	}
	return limits.check(op, v)
}

// checkDrives looks at each drive: of this controller, there once, free, and
// well. It returns the size of the smallest.
func checkDrives(op string, sub subsystem, v bmc.VolumeSpec) (least int64, err error) {
	inUse := map[string]string{}
	for _, vol := range sub.volumes {
		if vol.raid() == "" {
			continue
		}
		for _, d := range vol.Links.Drives {
			inUse[foldURI(d.id)] = firstOf(clean(vol.Name), nameOf(vol.ID, vol.URI))
		}
	}
	seen := map[string]bool{}
	for _, uri := range v.DriveIDs {
		at := slices.IndexFunc(sub.drives, func(d driveResource) bool { return sameURI(string(d.URI), uri) })
		if at < 0 {
			return 0, refuse(op, "drive %s: it is none of this controller's; Storage lists them", uri)
		}
		d := sub.drives[at]
		spare := clean(d.Hotspare)
		switch {
		case seen[foldURI(uri)]:
			return 0, refuse(op, "drive %s: it is named twice", uri)
		case inUse[foldURI(uri)] != "":
			return 0, refuse(op, "drive %s: it belongs to the volume %s; delete that first, or take another drive", uri, inUse[foldURI(uri)])
		case d.empty():
			return 0, refuse(op, "drive %s: the bay is empty; take another", uri)
		case spare != "" && !strings.EqualFold(spare, "None"):
			return 0, refuse(op, "drive %s: it is a hot spare (%s); release it first, or take another", uri, spare)
		case strings.EqualFold(clean(d.Status.Health), "Critical"):
			return 0, refuse(op, "drive %s: its health is Critical; replace it, or take another", uri)
		}
		seen[foldURI(uri)] = true
		if size := d.Bytes.bytes(); least == 0 || size < least {
			least = size
		}
	}
	return least, nil
}

// check holds a volume against the controller's own numbers.
func (l volumeLimits) check(op string, v bmc.VolumeSpec) error {
	if pattern := string(l.Name); v.Name != "" && pattern != "" && len(pattern) < 256 {
		if re, err := regexp.Compile(pattern); err == nil && !re.MatchString(v.Name) {
			return refuse(op, "name %q: the controller takes names of the pattern %s", v.Name, pattern)
		}
	}
	if v.Bytes == 0 || len(l.Bytes) == 0 {
		return nil
	}
	var ranges []string
	for _, r := range l.Bytes {
		ranges = append(ranges, clean(r))
		if within(clean(r), v.Bytes) {
			return nil
		}
	}
	return refuse(op, "bytes %d: the controller takes %s", v.Bytes, some(ranges))
}

// within reads an element of AllowableNumbers (DSP0266 §9.7): a number, or
// "from:to" with either end open. What does not parse allows all.
func within(allowed string, n int64) bool {
	low, high, isRange := strings.Cut(allowed, ":")
	if !isRange {
		v, err := strconv.ParseInt(allowed, 10, 64)
		return err != nil || v == n
	}
	if v, err := strconv.ParseInt(low, 10, 64); err == nil && n < v {
		return false
	}
	v, err := strconv.ParseInt(high, 10, 64)
	return err != nil || n <= v
}
