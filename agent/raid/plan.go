package raid

import (
	"fmt"
	"strings"

	"github.com/ingot-metal/ingot/agent/fault"
	api "github.com/ingot-metal/ingot/api/agent"
)

const (
	mib = 1 << 20
	// overhead of a member in a partition: the data begin 1 MiB from its start.
	overhead = mib
	chunk    = 512 << 10
	maxDisks = 64
)

// prefix marks the names of arrays that ingot made.
const prefix = "ingot:"

// member is a disk or one of its partitions.
type member struct {
	disk   api.DiskRef
	part   int // 0: the whole disk
	offset int64
	size   int64 // bytes
}

// array is what is made of a volume.
type array struct {
	api.RAIDVolume
	level   int
	minor   int
	used    int64 // bytes of each member
	members []member
}

// size is what the array holds.
func (a array) size() int64 {
	switch n := int64(len(a.members)); a.level {
	case 0:
		return a.used * n
	case 10:
		return a.used * n / 2 &^ (chunk - 1)
	}
	return a.used
}

// plan decides where all goes. Disks that one volume has for itself are used
// whole; those that two share are cut into partitions, in the order of the
// volumes. It touches nothing.
func plan(volumes []api.RAIDVolume) ([]array, error) {
	refuse := func(format string, a ...any) ([]array, error) {
		return nil, fault.New(fault.StepRefused, format, a...)
	}
	if len(volumes) > api.MaxRAIDVolumes {
		return refuse("%d RAID volumes: want at most %d", len(volumes), api.MaxRAIDVolumes)
	}
	users := map[string]int{} // volumes of a disk
	out := make([]array, len(volumes))
	for i, v := range volumes {
		level, ok := map[string]int{"0": 0, "1": 1, "1+0": 10}[v.Level]
		switch {
		case !ok:
			return refuse("RAID volume %d has level %.20q: want 0, 1 or 1+0", i, v.Level)
		case len(v.Disks) < 2 || len(v.Disks) > maxDisks:
			return refuse("RAID volume %d has %d disks: want 2 to %d", i, len(v.Disks), maxDisks)
		case v.Size < 0:
			return refuse("RAID volume %d has %d bytes", i, v.Size)
		case len(v.Name) > 32-len(prefix) || strings.ContainsFunc(v.Name, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' }):
			return refuse("RAID volume %d has the name %.40q: want at most %d plain letters", i, v.Name, 32-len(prefix))
		}
		out[i] = array{RAIDVolume: v, level: level}
		seen := map[string]bool{}
		for _, d := range v.Disks {
			if seen[d.Name] {
				return refuse("RAID volume %d has %s twice", i, d.Name)
			}
			seen[d.Name] = true
			users[d.Name]++
		}
	}
	if err := cut(out, users); err != nil {
		return nil, err
	}
	for i := range out {
		if err := out[i].fit(i); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// cut gives each array its members. On shared disks, the volume that takes what is
// left comes last.
func cut(out []array, users map[string]int) error {
	order := make([]int, 0, len(out))
	for i := range out {
		if out[i].Size > 0 {
			order = append(order, i)
		}
	}
	for i := range out {
		if out[i].Size == 0 {
			order = append(order, i)
		}
	}
	next, parts, full := map[string]int64{}, map[string]int{}, map[string]bool{}
	for _, i := range order {
		a := &out[i]
		shared := false
		for _, d := range a.Disks {
			shared = shared || users[d.Name] > 1
		}
		a.minor = 2
		if a.level == 1 && !shared {
			a.minor = 0
		}
		for _, d := range a.Disks {
			if users[d.Name] == 1 {
				a.members = append(a.members, member{disk: d, size: d.Size})
				continue
			}
			if full[d.Name] {
				return fault.New(fault.StepRefused, "two RAID volumes want all that is left of %s: one of them needs a size", d.Name)
			}
			from := max(next[d.Name], mib)
			end := (d.Size - 2*mib) &^ (mib - 1)
			size := end - from
			if a.Size > 0 {
				size = min(size, a.component()+overhead)
			}
			if size <= overhead {
				return fault.New(fault.DiskSmall, "%s has no room for RAID volume %d", d.Name, i)
			}
			parts[d.Name]++
			a.members = append(a.members, member{disk: d, part: parts[d.Name], offset: from, size: size})
			next[d.Name] = from + size
			full[d.Name] = a.Size == 0
		}
	}
	return nil
}

// component is what a volume of the size that is asked for needs of each disk.
func (a array) component() int64 {
	n := a.Size
	switch k := int64(len(a.Disks)); a.level {
	case 0:
		n = (n + k - 1) / k
	case 10:
		n = (2*n + k - 1) / k
	}
	return (n + mib - 1) &^ (mib - 1)
}

// fit finds what the smallest member has to give.
func (a *array) fit(i int) error {
	for k, m := range a.members {
		room := a.room(m)
		if k == 0 || room < a.used {
			a.used = room
		}
	}
	if a.used < 8*mib {
		return fault.New(fault.DiskSmall, "the disks of RAID volume %d are too small for an array", i)
	}
	if a.Size > 0 {
		want := a.component()
		if want > a.used {
			return fault.New(fault.DiskSmall, "RAID volume %d of %d bytes needs %d of each disk, the smallest has %d", i, a.Size, want, a.used)
		}
		a.used = want
	}
	return nil
}

// room is what a member can hold. Before a superblock at the end, and after one at
// the start, there is room left for a bitmap that somebody may add.
func (a *array) room(m member) int64 {
	if a.minor == 0 {
		return (int64(superAt(0, uint64(m.size)/unit))*unit - 128<<10) &^ (mib - 1)
	}
	return (m.size - overhead) &^ (mib - 1)
}

// supers are the superblocks of the members. index becomes the array's number.
func (a array) supers(index int, s Super, random func() ([16]byte, error)) ([]Super, error) {
	uuid, err := random()
	if err != nil {
		return nil, err
	}
	uuid[15] = byte(index)
	s.Minor, s.UUID, s.Name, s.Level, s.Disks, s.Events = a.minor, uuid, a.label(index), a.level, len(a.members), 1
	s.Size = uint64(a.used) / unit
	switch a.level {
	case 0:
		s.Layout, s.Chunk, s.Size, s.Resync = layoutRAID0, chunk/unit, 0, Synced
	case 10:
		s.Layout, s.Chunk = layoutNear2, chunk/unit
	}
	out := make([]Super, len(a.members))
	for i, m := range a.members {
		s.At = superAt(a.minor, uint64(m.size)/unit)
		// Equal for all, so that RAID 0 has one zone.
		s.DataSize = uint64(a.used) / unit
		if a.minor == 2 {
			s.DataOffset = overhead / unit
		}
		if s.Device, err = random(); err != nil {
			return nil, err
		}
		s.Number = i
		out[i] = s
	}
	return out, nil
}

// label is the array's name in its superblock.
func (a array) label(index int) string {
	if a.Name == "" {
		return fmt.Sprintf("%s%d", prefix, index)
	}
	return prefix + a.Name
}
