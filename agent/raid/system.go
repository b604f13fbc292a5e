package raid

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// System is the kernel's md driver and the devices it is made of.
type System struct {
	Sys, Dev string // roots
	Log      *slog.Logger
}

// maxArrays is how many numbers there are; lookTime how long all disks are read.
const (
	maxArrays = 128
	lookTime  = 20 * time.Second
)

// Array is a running array.
type Array struct {
	Name  string // of its superblock, without the mark of ours
	UUID  string
	Level int
}

// found is a member that was recognised by its superblock.
type found struct {
	name string // nvme0n1 or nvme0n1p1
	dir  string // in sysfs
	Super
}

// Assemble starts every array of ours that is not running. They are read-only
// until somebody writes to them. What cannot be started is said and left.
func (s System) Assemble(ctx context.Context) {
	if _, err := os.Stat(filepath.Join(s.Sys, "module/md_mod")); err != nil {
		return // no driver
	}
	// A disk that hangs must not keep the agent from calling home.
	seen := make(chan []found, 1)
	go func() { seen <- s.members() }()
	limit := time.NewTimer(lookTime)
	defer limit.Stop()
	var members []found
	select {
	case members = <-seen:
	case <-ctx.Done():
		return
	case <-limit.C:
		s.Log.Warn("no array is assembled: a disk did not answer in time")
		return
	}
	arrays := map[[16]byte][]found{}
	for _, f := range members {
		if strings.HasPrefix(f.Name, prefix) && len(list(filepath.Join(f.dir, "holders"))) == 0 {
			arrays[f.UUID] = append(arrays[f.UUID], f)
		}
	}
	for _, fs := range arrays {
		slices.SortFunc(fs, func(a, b found) int { return cmp.Compare(b.Events, a.Events) })
		if err := s.start(ctx, fs, "read-auto"); err != nil {
			s.Log.Warn("an array was not assembled", "array", fs[0].Name, "members", len(fs), "of", fs[0].Disks, "err", err)
			continue
		}
		s.Log.Info("array assembled", "array", device(fs[0].UUID), "name", fs[0].Name, "members", len(fs), "of", fs[0].Disks)
	}
}

// device is the kernel name of an array of ours: its number is the last byte of
// its UUID, so that it has the same name in every boot.
func device(uuid [16]byte) string { return "md" + strconv.Itoa(int(uuid[15])%maxArrays) }

// start lets the kernel put an array together (Documentation/admin-guide/md.rst,
// "MD devices in sysfs") and waits for its node.
func (s System) start(ctx context.Context, fs []found, state string) (err error) {
	name := device(fs[0].UUID)
	md := filepath.Join(s.Sys, "block", name, "md")
	if _, err := os.Stat(md); err == nil {
		return fmt.Errorf("there is another array %s", name)
	}
	if err := write(filepath.Join(s.Sys, "module/md_mod/parameters/new_array"), name); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, write(filepath.Join(md, "array_state"), "clear"))
		}
	}()
	if err := write(filepath.Join(md, "metadata_version"), fmt.Sprintf("1.%d", fs[0].Minor)); err != nil {
		return err
	}
	for _, f := range fs {
		dev, err := os.ReadFile(filepath.Join(f.dir, "dev"))
		if err == nil {
			err = write(filepath.Join(md, "new_dev"), strings.TrimSpace(string(dev)))
		}
		if err != nil {
			s.Log.Warn("a member was not taken", "array", name, "member", f.name, "err", err)
		}
	}
	if err := write(filepath.Join(md, "array_state"), state); err != nil {
		return err
	}
	node := filepath.Join(s.Dev, name)
	return insist(ctx, func() error {
		// The first to open it makes the kernel look for partitions.
		f, err := os.Open(node)
		if err != nil {
			return err
		}
		return f.Close()
	})
}

// Stop ends the arrays all of whose members are among these disks. Nothing is
// written but what the kernel writes to close them.
func (s System) Stop(ctx context.Context, disks []string) error {
	for _, name := range list(filepath.Join(s.Sys, "block")) {
		dir := filepath.Join(s.Sys, "block", name)
		members := list(filepath.Join(dir, "slaves"))
		if !strings.HasPrefix(name, "md") || len(members) == 0 {
			continue
		}
		within := true
		for _, m := range members {
			within = within && slices.Contains(disks, parent(filepath.Join(dir, "slaves", m)))
		}
		if !within {
			continue
		}
		s.Log.Info("array stopped", "array", name, "members", members)
		if err := insist(ctx, func() error { return write(filepath.Join(dir, "md/array_state"), "clear") }); err != nil {
			return fmt.Errorf("stopping %s: %w", name, err)
		}
	}
	return nil
}

// Array tells what an array of this name is.
func (s System) Array(name string) (Array, bool) {
	dir := filepath.Join(s.Sys, "block", name)
	for _, m := range list(filepath.Join(dir, "slaves")) {
		real, err := filepath.EvalSymlinks(filepath.Join(dir, "slaves", m))
		if err != nil {
			continue
		}
		if f, ok := s.read(m, real); ok {
			return Array{Name: strings.TrimPrefix(f.Name, prefix), UUID: hex.EncodeToString(f.UUID[:]), Level: f.Level}, true
		}
	}
	return Array{}, false
}

// parent is the kernel name of the disk that a device is, or is a partition of.
func parent(dir string) string {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return ""
	}
	if _, err := os.Stat(filepath.Join(real, "partition")); err == nil {
		real = filepath.Dir(real)
	}
	return filepath.Base(real)
}

// members are the disks and partitions that have a superblock.
func (s System) members() (out []found) {
	add := func(name, dir string) {
		if f, ok := s.read(name, dir); ok {
			out = append(out, f)
		}
	}
	for _, name := range list(filepath.Join(s.Sys, "block")) {
		dir, err := filepath.EvalSymlinks(filepath.Join(s.Sys, "block", name))
		if err != nil || strings.Contains(dir, "/virtual/") && !strings.Contains(dir, "/nvme-subsystem/") ||
			strings.HasPrefix(name, "sr") || strings.HasPrefix(name, "fd") {
			continue
		}
		add(name, dir)
		for _, p := range list(dir) {
			if _, err := os.Stat(filepath.Join(dir, p, "partition")); err == nil {
				add(p, filepath.Join(dir, p))
			}
		}
	}
	return out
}

// read looks for a superblock at both places.
func (s System) read(name, dir string) (found, bool) {
	b, err := os.ReadFile(filepath.Join(dir, "size"))
	units, err2 := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 63)
	if err != nil || err2 != nil || units < 64 {
		return found{}, false
	}
	f, err := os.Open(filepath.Join(s.Dev, name))
	if err != nil {
		return found{}, false
	}
	defer f.Close()
	buf := make([]byte, superSize)
	for _, minor := range []int{2, 0} {
		if _, err := f.ReadAt(buf, int64(superAt(minor, units))*unit); err != nil {
			continue
		}
		if sb, err := Parse(buf, minor, units); err == nil {
			return found{name, dir, sb}, true
		}
	}
	return found{}, false
}

// insist tries again for a moment: nodes appear, and what looked at a device lets
// go of it, a little later.
func insist(ctx context.Context, do func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := do()
		if err == nil || !errors.Is(err, syscall.EBUSY) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENXIO) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

func write(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func list(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
