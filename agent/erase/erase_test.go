package erase

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/agent/disk"
	"github.com/ingot-metal/ingot/agent/fault"
	"github.com/ingot-metal/ingot/agent/inspect"
	api "github.com/ingot-metal/ingot/api/agent"
)

const size = 80<<20 + 512 // an odd end

func eraser(t *testing.T, parts func() []inspect.Extent) (Eraser, string) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "sda")
	if err := os.WriteFile(path, bytes.Repeat([]byte{0xaa}, size), 0o600); err != nil {
		t.Fatal(err)
	}
	return Eraser{
		Finder: disk.Finder{Dev: dir, Lookup: func(name string) (api.Disk, bool) {
			return api.Disk{Name: "/dev/sda", Size: size, SectorSize: 512, Serial: "S"}, name == "sda"
		}},
		Partitions: func(string) []inspect.Extent { return parts() },
	}, path
}

// Signatures lie at both ends of the disk and of each partition, and where
// btrfs keeps its mirrors.
func TestClean(t *testing.T) {
	calls := 0
	e, path := eraser(t, func() []inspect.Extent {
		if calls++; calls == 1 {
			return []inspect.Extent{{Offset: 20 << 20, Size: 30 << 20}}
		}
		return nil
	})
	ref := api.DiskRef{Name: "/dev/sda", Serial: "S", Size: size}
	res, err := e.Clean(t.Context(), api.CleanStep{Disks: []api.DiskRef{ref}}, func(int64, int64, string, string) {})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]api.DiskRef{ref}, res.Disks); diff != "" {
		t.Error(diff)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, 1 << 20, 20 << 20, 20<<20 + 8<<20 - 1, 50<<20 - 8<<10, 64<<20 + 64, size - 8<<10, size - 1} {
		if b[at] != 0 {
			t.Errorf("byte %d is not erased", at)
		}
	}
	for _, at := range []int{10 << 20, 40 << 20, 60 << 20} {
		if b[at] == 0 {
			t.Errorf("byte %d, data, was erased for nothing", at)
		}
	}
}

func TestRefuse(t *testing.T) {
	for _, tc := range []struct {
		name  string
		ref   api.DiskRef
		parts []inspect.Extent
		want  string
	}{
		{name: "other serial", ref: api.DiskRef{Name: "/dev/sda", Serial: "T"}, want: fault.DiskMismatch},
		{name: "other size", ref: api.DiskRef{Name: "/dev/sda", Size: 1}, want: fault.DiskMismatch},
		{name: "partitions that stay", ref: api.DiskRef{Name: "/dev/sda"}, parts: []inspect.Extent{{Offset: 1 << 20, Size: 1 << 20}}, want: fault.CleanFailed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, path := eraser(t, func() []inspect.Extent { return tc.parts })
			_, err := e.Clean(t.Context(), api.CleanStep{Disks: []api.DiskRef{tc.ref}}, func(int64, int64, string, string) {})
			if got := fault.Code(err, "none"); got != tc.want {
				t.Errorf("code %s (%v), want %s", got, err, tc.want)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if tc.want == fault.DiskMismatch && !all(b, 0xaa) {
				t.Error("the disk was touched")
			}
		})
	}
}

// all tells whether b is made of c alone.
func all(b []byte, c byte) bool { return bytes.Count(b, []byte{c}) == len(b) }
