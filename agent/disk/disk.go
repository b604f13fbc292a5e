package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ingot-metal/ingot/agent/fault"
	api "github.com/ingot-metal/ingot/api/agent"
)

// Align is what O_DIRECT wants of buffers, offsets and lengths: no disk has
// larger sectors.
const Align = 4096

// Finder opens disks.
type Finder struct {
	Dev    string                                   // root of device nodes, /dev
	Lookup func(kernelName string) (api.Disk, bool) // what the disk is now
}

// Disk is an open disk that nothing else uses.
type Disk struct {
	Info   api.Disk
	Path   string
	f      *os.File
	block  bool
	direct bool
}

// Check finds the disk that ref names, without opening it. Every field of ref that
// is set must match.
func (o Finder) Check(ref api.DiskRef) (api.Disk, error) {
	name, ok := strings.CutPrefix(ref.Name, "/dev/")
	if !ok || name == "" || strings.ContainsAny(name, "/.") {
		return api.Disk{}, fault.New(fault.DiskMismatch, "%q is no disk: want a name such as /dev/nvme0n1", ref.Name)
	}
	info, ok := o.Lookup(name)
	if !ok {
		return api.Disk{}, fault.New(fault.DiskMismatch, "%s is not there", ref.Name)
	}
	if err := match(ref, info); err != nil {
		return api.Disk{}, err
	}
	if info.ReadOnly {
		return api.Disk{}, fault.New(fault.DiskReadOnly, "%s is read-only", ref.Name)
	}
	return info, nil
}

// Open opens the disk that ref names, for writing and for us alone. Every field
// of ref that is set must match.
func (o Finder) Open(ref api.DiskRef) (*Disk, error) {
	info, err := o.Check(ref)
	if err != nil {
		return nil, err
	}
	d := &Disk{Info: info, Path: filepath.Join(o.Dev, strings.TrimPrefix(ref.Name, "/dev/")), direct: true}
	// O_EXCL on a block device is a claim: it fails when it is mounted, or part
	// of something that runs (open(2)).
	f, err := os.OpenFile(d.Path, os.O_RDWR|unix.O_EXCL|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if errors.Is(err, syscall.EINVAL) {
		d.direct = false // a file on tmpfs
		f, err = os.OpenFile(d.Path, os.O_RDWR|unix.O_CLOEXEC, 0)
	}
	if errors.Is(err, syscall.EBUSY) {
		return nil, fault.New(fault.DiskInUse, "%s is in use by %s: %w", ref.Name, holders(info), err)
	}
	if err != nil {
		return nil, fault.New(fault.DiskIO, "opening the disk: %w", err)
	}
	d.f = f
	st, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fault.New(fault.DiskIO, "opening the disk: %w", err), f.Close())
	}
	d.block = st.Mode()&fs.ModeDevice != 0
	return d, nil
}

func holders(info api.Disk) string {
	if len(info.Holders) == 0 {
		return "a mounted file system"
	}
	return strings.Join(info.Holders, ", ")
}

func match(ref api.DiskRef, d api.Disk) error {
	for _, f := range []struct {
		what, want, got string
		same            bool
	}{
		{"serial", ref.Serial, d.Serial, ref.Serial == "" || ref.Serial == d.Serial},
		{"WWN", ref.WWN, d.WWN, ref.WWN == "" || ref.WWN == d.WWN || ref.WWN == d.WWNWithExtension},
		{"size", fmt.Sprint(ref.Size), fmt.Sprint(d.Size), ref.Size == 0 || ref.Size == d.Size},
	} {
		if !f.same {
			return fault.New(fault.DiskMismatch, "%s has %s %q, the step names %q: disks have moved since the inspection", ref.Name, f.what, f.got, f.want)
		}
	}
	return nil
}

// Ref is what the disk is, for a result.
func (d *Disk) Ref() api.DiskRef {
	return api.DiskRef{Name: d.Info.Name, Serial: d.Info.Serial, WWN: d.Info.WWN, Size: d.Info.Size}
}

// Close gives the disk back.
func (d *Disk) Close() error { return d.f.Close() }

// Buffer makes a buffer fit for O_DIRECT, of n bytes rounded up.
func Buffer(n int) []byte {
	n = (n + Align - 1) &^ (Align - 1)
	b := make([]byte, n+Align)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (Align - 1))
	return b[skip : skip+n : skip+n]
}

// WriteAt writes an aligned buffer.
func (d *Disk) WriteAt(b []byte, off int64) error {
	if _, err := d.f.WriteAt(b, off); err != nil {
		return fault.New(fault.DiskIO, "writing %d bytes at %d: %w", len(b), off, err)
	}
	return nil
}

// ReadAt fills an aligned buffer.
func (d *Disk) ReadAt(b []byte, off int64) error {
	if _, err := d.f.ReadAt(b, off); err != nil {
		return fault.New(fault.DiskIO, "reading %d bytes at %d: %w", len(b), off, err)
	}
	return nil
}

// Zero makes a range read as zero, by the device's own means where it has them.
// A discard is none: what it leaves is not promised.
func (d *Disk) Zero(ctx context.Context, off, n int64) error {
	const piece = 1 << 30 // so that a cancelled step ends soon
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		m := min(n, piece)
		if err := d.zero(ctx, off, m); err != nil {
			return err
		}
		off, n = off+m, n-m
	}
	return nil
}

func (d *Disk) zero(ctx context.Context, off, n int64) error {
	if off%512 == 0 && n%512 == 0 {
		// On a block device this is a zero-out that fails rather than falls back
		// to writing (block/fops.c, blkdev_fallocate).
		if unix.Fallocate(int(d.f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n) == nil {
			return nil
		}
		if d.block {
			r := [2]uint64{uint64(off), uint64(n)}
			if _, _, e := unix.Syscall(unix.SYS_IOCTL, d.f.Fd(), unix.BLKZEROOUT, uintptr(unsafe.Pointer(&r))); e == 0 {
				return nil
			}
		}
	}
	zeros := Buffer(1 << 20)
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		m := min(n, int64(len(zeros)))
		if err := d.WriteAt(zeros[:m], off); err != nil {
			return err
		}
		off, n = off+m, n-m
	}
	return nil
}

// Sync waits until all is on stable storage.
func (d *Disk) Sync() error {
	if err := d.f.Sync(); err != nil {
		return fault.New(fault.DiskIO, "flushing the disk: %w", err)
	}
	return nil
}

// Reread makes the kernel read the partition table again.
func (d *Disk) Reread() error {
	if !d.block {
		return nil
	}
	if err := unix.IoctlSetInt(int(d.f.Fd()), unix.BLKRRPART, 0); err != nil {
		return fault.New(fault.DiskIO, "reading the new partition table: %w", err)
	}
	return nil
}

// Partition is the path of a partition's node.
func (d *Disk) Partition(number int) string { return PartitionName(d.Path, number) }

// PartitionName follows block/partitions/core.c: a p between if the disk's name
// ends in a digit.
func PartitionName(disk string, number int) string {
	if c := disk[len(disk)-1]; c >= '0' && c <= '9' {
		return fmt.Sprintf("%sp%d", disk, number)
	}
	return fmt.Sprintf("%s%d", disk, number)
}
