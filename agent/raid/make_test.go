package raid

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/agent/disk"
	"github.com/ingot-metal/ingot/agent/fault"
	api "github.com/ingot-metal/ingot/api/agent"
)

const diskSize = 64 << 20

// bench is a machine of files without a kernel: nothing is ever assembled.
type bench struct {
	Maker
	dir     string
	cleaned []string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{dir: t.TempDir()}
	sys := filepath.Join(b.dir, "sys")
	put := func(path, text string) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"sda", "sdb", "sdc"} {
		put(filepath.Join(b.dir, name), "")
		if err := os.Truncate(filepath.Join(b.dir, name), diskSize); err != nil {
			t.Fatal(err)
		}
		put(filepath.Join(sys, "block", name, "size"), "131072\n")
	}
	put(filepath.Join(sys, "block/md7/md/array_state"), "")
	for _, m := range []string{"sda", "sdb"} {
		if err := os.MkdirAll(filepath.Join(sys, "block/md7/slaves"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(sys, "block", m), filepath.Join(sys, "block/md7/slaves", m)); err != nil {
			t.Fatal(err)
		}
	}
	b.Maker = Maker{
		Finder: disk.Finder{Dev: b.dir, Lookup: func(name string) (api.Disk, bool) {
			return api.Disk{Name: "/dev/" + name, Serial: "S" + name, Size: diskSize, SectorSize: 512}, strings.HasPrefix(name, "sd")
		}},
		System: System{Sys: sys, Dev: b.dir, Log: slog.New(slog.DiscardHandler)},
		Clean: func(_ context.Context, s api.CleanStep, _ func(int64, int64, string, string)) (api.CleanResult, error) {
			for _, d := range s.Disks {
				b.cleaned = append(b.cleaned, d.Name)
			}
			return api.CleanResult{}, nil
		},
		Now: func() time.Time { return created },
	}
	return b
}

func refs(names ...string) (out []api.DiskRef) {
	for _, n := range names {
		out = append(out, api.DiskRef{Name: "/dev/" + n, Serial: "S" + n, Size: diskSize})
	}
	return out
}

func (b *bench) make(s api.RAIDStep) error {
	_, err := b.Make(context.Background(), s, func(int64, int64, string, string) {})
	return err
}

func (b *bench) state(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(b.Sys, "block/md7/md/array_state"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestMake holds what is written before the kernel is asked, and where.
func TestMake(t *testing.T) {
	b := newBench(t)
	err := b.make(api.RAIDStep{For: "x", Disks: refs("sda", "sdb", "sdc"), Volumes: []api.RAIDVolume{{Level: "1", Disks: refs("sda", "sdb")}}})
	if fault.Code(err, "") != fault.RAIDFailed {
		t.Fatalf("without a kernel: %v", err)
	}
	if diff := cmp.Diff([]string{"/dev/sda", "/dev/sdb"}, b.cleaned); diff != "" {
		t.Error("cleaned:", diff)
	}
	if got := b.state(t); got != "clear" {
		t.Errorf("the array of these disks is %q", got)
	}
	found := b.members()
	if len(found) != 2 || found[0].Name != "ingot:0" || found[1].Number != 1 || found[0].UUID != found[1].UUID || found[0].Device == found[1].Device {
		t.Errorf("superblocks %+v", found)
	}
	if a, ok := b.Array("md7"); !ok || a.Name != "0" || a.Level != 1 || len(a.UUID) != 32 {
		t.Errorf("array %+v", a)
	}
	// Deleting: the disks of an array of ours, and no other.
	b.cleaned = nil
	if err := b.make(api.RAIDStep{Disks: refs("sda", "sdb", "sdc")}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/dev/sda", "/dev/sdb"}, b.cleaned); diff != "" {
		t.Error("cleaned:", diff)
	}
}

// TestShared cuts the disks that two volumes share.
func TestShared(t *testing.T) {
	b := newBench(t)
	err := b.make(api.RAIDStep{Volumes: []api.RAIDVolume{{Level: "1", Size: 16 << 20, Disks: refs("sda", "sdb")}, {Level: "0", Disks: refs("sda", "sdb")}}})
	if fault.Code(err, "") != fault.RAIDFailed {
		t.Fatalf("without a kernel: %v", err)
	}
	raw, err := os.ReadFile(filepath.Join(b.dir, "sdb"))
	if err != nil {
		t.Fatal(err)
	}
	g, err := disk.ReadGPT(raw[:1<<20], 512)
	if err != nil {
		t.Fatal(err)
	}
	parts := g.Partitions()
	if len(parts) != 2 {
		t.Fatalf("partitions %+v", parts)
	}
	for i, p := range parts {
		at := p.First * 512
		units := uint64(p.Last - p.First + 1)
		s, err := Parse(raw[at+4096:at+8192], 2, units)
		if err != nil || s.Level != []int{1, 0}[i] || s.Number != 1 {
			t.Errorf("partition %d: %+v, %v", i, s, err)
		}
	}
}

// TestRefused writes nothing unless all the disks are the ones that are meant.
func TestRefused(t *testing.T) {
	other := refs("sda", "sdb")
	other[1].Serial = "another"
	for name, c := range map[string]struct {
		step api.RAIDStep
		code string
	}{
		"another disk":   {api.RAIDStep{Volumes: []api.RAIDVolume{{Level: "1", Disks: other}}}, fault.DiskMismatch},
		"no such disk":   {api.RAIDStep{Volumes: []api.RAIDVolume{{Level: "1", Disks: append(refs("sda"), api.DiskRef{Name: "/dev/vda", Size: diskSize})}}}, fault.DiskMismatch},
		"no disk at all": {api.RAIDStep{Volumes: []api.RAIDVolume{{Level: "1", Disks: append(refs("sda"), api.DiskRef{Name: "/etc/passwd", Size: diskSize})}}}, fault.DiskMismatch},
		"nonsense":       {api.RAIDStep{Volumes: []api.RAIDVolume{{Level: "6", Disks: refs("sda", "sdb")}}}, fault.StepRefused},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if err := b.make(c.step); fault.Code(err, "") != c.code {
				t.Errorf("%v, want %s", err, c.code)
			}
			if len(b.cleaned) > 0 || b.state(t) != "" {
				t.Errorf("cleaned %v, the array was told %q", b.cleaned, b.state(t))
			}
			for _, d := range []string{"sda", "sdb"} {
				raw, err := os.ReadFile(filepath.Join(b.dir, d))
				if err != nil || !bytes.Equal(raw, make([]byte, diskSize)) {
					t.Errorf("%s was written: %v", d, err)
				}
			}
		})
	}
}

// TestStop ends an array only with all the disks that it is made of.
func TestStop(t *testing.T) {
	b := newBench(t)
	if err := b.Stop(t.Context(), []string{"sda", "sdc"}); err != nil || b.state(t) != "" {
		t.Errorf("with a disk of another: %v, %q", err, b.state(t))
	}
	if err := b.Stop(t.Context(), []string{"sda", "sdb"}); err != nil || b.state(t) != "clear" {
		t.Errorf("with its disks: %v, %q", err, b.state(t))
	}
}

// TestForeign leaves arrays alone that are not ours.
func TestForeign(t *testing.T) {
	b := newBench(t)
	arrays, err := plan([]api.RAIDVolume{{Level: "1", Disks: refs("sda", "sdb")}})
	if err != nil {
		t.Fatal(err)
	}
	supers, err := arrays[0].supers(0, Super{Created: created}, fixed)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"sda", "sdb"} {
		supers[i].Name = "fileserver:0"
		f, err := os.OpenFile(filepath.Join(b.dir, name), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt(supers[i].Encode(), int64(supers[i].At)*unit)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.make(api.RAIDStep{Disks: refs("sda", "sdb", "sdc")}); err != nil || len(b.cleaned) > 0 {
		t.Errorf("%v, cleaned %v", err, b.cleaned)
	}
	if got := b.members(); len(got) != 2 || slices.ContainsFunc(got, func(f found) bool { return f.Name != "fileserver:0" }) {
		t.Errorf("members %+v", got)
	}
}
