package raid

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ingot-metal/ingot/agent/disk"
	"github.com/ingot-metal/ingot/agent/fault"
	api "github.com/ingot-metal/ingot/api/agent"
)

// Maker carries out RAID steps.
type Maker struct {
	disk.Finder
	System
	// Clean erases the metadata of disks; package erase does.
	Clean func(context.Context, api.CleanStep, func(done, total int64, unit, detail string)) (api.CleanResult, error)
	Rand  io.Reader // nil: crypto/rand
	Now   func() time.Time
}

// Make deletes the arrays on the step's disks and makes those that it asks for.
// All of it is planned, and each disk found to be the one that is meant, before
// anything is written.
func (m Maker) Make(ctx context.Context, s api.RAIDStep, progress func(done, total int64, unit, detail string)) (api.RAIDResult, error) {
	arrays, err := plan(s.Volumes)
	if err != nil {
		return api.RAIDResult{}, err
	}
	refs, err := m.victims(s)
	if err != nil {
		return api.RAIDResult{}, err
	}
	total := int64(len(arrays))
	progress(0, total, "devices", "deleting old arrays")
	names := make([]string, len(refs))
	for i, r := range refs {
		names[i] = strings.TrimPrefix(r.Name, "/dev/")
	}
	if err := m.Stop(ctx, names); err != nil {
		return api.RAIDResult{}, fault.New(fault.DiskInUse, "%w", err)
	}
	if _, err := m.Clean(ctx, api.CleanStep{Disks: refs}, func(int64, int64, string, string) {}); err != nil {
		return api.RAIDResult{}, err
	}
	res := api.RAIDResult{For: s.For}
	if err := m.partition(arrays); err != nil {
		return api.RAIDResult{}, err
	}
	// All superblocks are written before the first array holds its disks.
	members := make([][]found, len(arrays))
	for i, a := range arrays {
		if members[i], err = m.mark(i, a); err != nil {
			return api.RAIDResult{}, fmt.Errorf("RAID volume %d: %w", i, err)
		}
	}
	for i, a := range arrays {
		progress(int64(i), total, "devices", "making RAID "+a.RAIDVolume.Level)
		ref, err := m.run(ctx, members[i])
		if err != nil {
			return api.RAIDResult{}, fmt.Errorf("RAID volume %d: %w", i, err)
		}
		res.Devices = append(res.Devices, ref)
	}
	progress(total, total, "devices", "made")
	return res, nil
}

// victims are the disks whose metadata is erased: those that arrays are made of,
// and of those that the step names, the ones that are in an array of ours.
func (m Maker) victims(s api.RAIDStep) ([]api.DiskRef, error) {
	out := map[string]api.DiskRef{}
	for _, v := range s.Volumes {
		for _, d := range v.Disks {
			out[d.Name] = d
		}
	}
	old := map[string]bool{}
	for _, f := range m.members() {
		if strings.HasPrefix(f.Name, prefix) {
			old["/dev/"+parent(f.dir)] = true
		}
	}
	for _, d := range s.Disks {
		if old[d.Name] {
			out[d.Name] = d
		}
	}
	refs := slices.SortedFunc(maps.Values(out), func(a, b api.DiskRef) int { return cmp.Compare(a.Name, b.Name) })
	var errs []error
	for _, r := range refs {
		_, err := m.Check(r)
		errs = append(errs, err)
	}
	return refs, errors.Join(errs...)
}

// partition cuts the disks that two volumes share.
func (m Maker) partition(arrays []array) error {
	tables := map[string][]disk.Slice{}
	refs := map[string]api.DiskRef{}
	for _, a := range arrays {
		for _, p := range a.members {
			if p.part > 0 {
				tables[p.disk.Name] = append(tables[p.disk.Name], disk.Slice{Number: p.part, Offset: p.offset, Size: p.size})
				refs[p.disk.Name] = p.disk
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		d, err := m.Open(refs[name])
		if err != nil {
			return err
		}
		err = d.Partitioned(tables[name], m.rand())
		if err := errors.Join(err, d.Close()); err != nil {
			return err
		}
	}
	return nil
}

// mark writes the superblocks of an array's members.
func (m Maker) mark(index int, a array) ([]found, error) {
	supers, err := a.supers(index, Super{Created: m.Now()}, m.uuid)
	if err != nil {
		return nil, err
	}
	out := make([]found, len(a.members))
	for i, p := range a.members {
		if err := m.super(p, supers[i]); err != nil {
			return nil, err
		}
		name := strings.TrimPrefix(p.disk.Name, "/dev/")
		dir := filepath.Join(m.Sys, "block", name)
		if p.part > 0 {
			part := disk.PartitionName(name, p.part)
			name, dir = part, filepath.Join(dir, part)
		}
		out[i] = found{name, dir, supers[i]}
	}
	return out, nil
}

// super writes one superblock. That of a partition is written through its disk:
// the partition's own node may not be there yet.
func (m Maker) super(p member, s Super) error {
	d, err := m.Open(p.disk)
	if err != nil {
		return err
	}
	b := disk.Buffer(superSize)
	copy(b, s.Encode())
	err = d.WriteAt(b, p.offset+int64(s.At)*unit)
	if err == nil {
		err = d.Sync()
	}
	return errors.Join(err, d.Close())
}

// run starts an array and tells what it became. A mirror is synchronised by the
// kernel from now on, whatever is written to it meanwhile.
func (m Maker) run(ctx context.Context, members []found) (api.DiskRef, error) {
	if err := m.start(ctx, members, "active"); err != nil {
		return api.DiskRef{}, fault.New(fault.RAIDFailed, "%w", err)
	}
	name := device(members[0].UUID)
	d, ok := m.Lookup(name)
	if !ok {
		return api.DiskRef{}, fault.New(fault.RAIDFailed, "%s was made and is not there", name)
	}
	return api.DiskRef{Name: d.Name, Serial: d.Serial, WWN: d.WWN, Size: d.Size}, nil
}

func (m Maker) rand() io.Reader {
	if m.Rand != nil {
		return m.Rand
	}
	return rand.Reader
}

func (m Maker) uuid() (id [16]byte, err error) {
	_, err = io.ReadFull(m.rand(), id[:])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // RFC 9562, version 4
	return id, err
}
