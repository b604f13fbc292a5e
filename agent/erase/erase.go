// Package erase makes disks forget what they were: partition tables, file
// system and volume signatures, RAID superblocks.
//
// It promises that success was read back from the disk, and that a disk which is
// not the one named is not touched. It erases metadata, not data: whoever reads
// the raw disk still finds the old tenant's files.
package erase

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/ingot-metal/ingot/agent/disk"
	"github.com/ingot-metal/ingot/agent/fault"
	"github.com/ingot-metal/ingot/agent/inspect"
	api "github.com/ingot-metal/ingot/api/agent"
)

// Eraser erases disks.
type Eraser struct {
	disk.Finder
	// Partitions that the kernel knows on a disk.
	Partitions func(kernelName string) []inspect.Extent
}

// Where metadata lies, at the start and the end of a disk and of each partition.
// The start covers GPT and MBR, LVM (sectors 0 to 3 and 1 MiB), LUKS2 (second
// header up to 4 MiB), md 1.1 and 1.2, ZFS, bcache and every file system; the end
// the backup GPT, md 0.90 and 1.0, ZFS and firmware RAID (DDF, Intel).
const (
	atStart = 8 << 20
	atEnd   = 2 << 20
)

// The mirrors of btrfs's superblock (BTRFS_SUPER_MIRROR_SHIFT): it is found
// again by them alone.
func mirrors() []int64 { return []int64{64 << 20, 256 << 30} }

const (
	mirrorSize  = 64 << 10
	together    = 8    // disks at once
	maxPerStep  = 4096 // disks
	readBackBuf = 1 << 20
)

// Clean erases the disks of a step. It goes on when one fails, so that the error
// names all of them.
func (e Eraser) Clean(ctx context.Context, s api.CleanStep, progress func(done, total int64, unit, detail string)) (api.CleanResult, error) {
	if len(s.Disks) > maxPerStep {
		return api.CleanResult{}, fault.New(fault.StepRefused, "%d disks: want at most %d", len(s.Disks), maxPerStep)
	}
	total := int64(len(s.Disks))
	progress(0, total, "disks", "erasing metadata")
	var (
		g    errgroup.Group
		done atomic.Int64
		refs = make([]api.DiskRef, len(s.Disks))
		errs = make([]error, len(s.Disks))
	)
	g.SetLimit(together)
	for i, ref := range s.Disks {
		g.Go(func() error {
			refs[i], errs[i] = e.one(ctx, ref)
			progress(done.Add(1), total, "disks", "erased "+ref.Name)
			return nil
		})
	}
	_ = g.Wait() // each disk's error is in errs
	if err := join(s.Disks, errs); err != nil {
		return api.CleanResult{}, err
	}
	return api.CleanResult{Disks: refs}, nil
}

// join keeps the code of the first error.
func join(disks []api.DiskRef, errs []error) error {
	var text []string
	var first error
	for i, err := range errs {
		if err != nil {
			first = firstOf(first, err)
			text = append(text, disks[i].Name+": "+err.Error())
		}
	}
	if first == nil {
		return nil
	}
	return &fault.Error{Code: fault.Code(first, fault.CleanFailed), Err: errors.New(strings.Join(text, "; "))}
}

func (e Eraser) one(ctx context.Context, ref api.DiskRef) (api.DiskRef, error) {
	d, err := e.Open(ref)
	if err != nil {
		return api.DiskRef{}, err
	}
	name := strings.TrimPrefix(ref.Name, "/dev/")
	err = wipe(ctx, d, ranges(d.Info.Size, e.Partitions(name)))
	if err == nil {
		err = d.Reread()
	}
	if err == nil {
		if left := e.Partitions(name); len(left) > 0 {
			err = fault.New(fault.CleanFailed, "the kernel still sees %d partitions", len(left))
		}
	}
	return d.Ref(), errors.Join(err, d.Close())
}

// ranges to wipe, merged and in order; the disk's own come last, so that an
// interrupted erase still finds the partitions the next time.
func ranges(size int64, parts []inspect.Extent) []inspect.Extent {
	var inner []inspect.Extent
	for _, p := range parts {
		inner = append(inner, around(p, size)...)
	}
	return append(merge(inner), merge(around(inspect.Extent{Size: size}, size))...)
}

// around lists where metadata of an extent lies, clipped to the disk.
func around(x inspect.Extent, disk int64) (out []inspect.Extent) {
	end := min(x.Offset+x.Size, disk)
	add := func(from, to int64) {
		from, to = max(from, x.Offset, 0), min(to, end)
		// Whole 4 KiB, for O_DIRECT; the disk's own end may be odd.
		from, to = from&^4095, min((to+4095)&^4095, disk)
		if to > from {
			out = append(out, inspect.Extent{Offset: from, Size: to - from})
		}
	}
	add(x.Offset, x.Offset+atStart)
	for _, m := range mirrors() {
		add(x.Offset+m, x.Offset+m+mirrorSize)
	}
	add(end-atEnd, end)
	return out
}

func merge(in []inspect.Extent) (out []inspect.Extent) {
	slices.SortFunc(in, func(a, b inspect.Extent) int { return cmp.Compare(a.Offset, b.Offset) })
	for _, x := range in {
		if n := len(out); n > 0 && x.Offset <= out[n-1].Offset+out[n-1].Size {
			out[n-1].Size = max(out[n-1].Size, x.Offset+x.Size-out[n-1].Offset)
			continue
		}
		out = append(out, x)
	}
	return out
}

func wipe(ctx context.Context, d *disk.Disk, rs []inspect.Extent) error {
	for _, r := range rs {
		if err := d.Zero(ctx, r.Offset, r.Size); err != nil {
			return err
		}
		if err := d.Sync(); err != nil {
			return err
		}
	}
	buf := disk.Buffer(readBackBuf)
	zero := make([]byte, readBackBuf)
	for _, r := range rs {
		for off, end := r.Offset, r.Offset+r.Size; off < end; off += int64(len(buf)) {
			if err := ctx.Err(); err != nil {
				return err
			}
			b := buf[:min(int64(len(buf)), end-off)]
			if err := d.ReadAt(b, off); err != nil {
				return err
			}
			if !bytes.Equal(b, zero[:len(b)]) {
				return fault.New(fault.CleanFailed, "%w", fmt.Errorf("bytes at %d read back other than zero", off))
			}
		}
	}
	return nil
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
