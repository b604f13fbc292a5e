package raid

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	api "github.com/ingot-metal/ingot/api/agent"
)

// fixed is a source of equal ids.
func fixed() ([16]byte, error) { return [16]byte{0xaa, 0xbb, 0xcc, 0xdd, 0, 0, 0x40, 0, 0x80}, nil }

func disks(n int, size int64) (refs []api.DiskRef) {
	for i := range n {
		refs = append(refs, api.DiskRef{Name: fmt.Sprintf("/dev/nvme%dn1", i), Serial: fmt.Sprint("S", i), Size: size})
	}
	return refs
}

var created = time.Unix(1_790_000_000, 0)

// TestExamine lets mdadm read what we write: each member of each kind of array.
func TestExamine(t *testing.T) {
	mdadm, err := exec.LookPath("mdadm")
	if err != nil {
		if mdadm = "/usr/sbin/mdadm"; !exists(mdadm) {
			t.Skip("no mdadm: apt-get install mdadm")
		}
	}
	const size = 512 << 20
	for name, c := range map[string]struct {
		volumes []api.RAIDVolume
		want    []string // of volume 0
	}{
		"mirror": {
			[]api.RAIDVolume{{Level: "1", Disks: disks(2, size)}},
			[]string{"Version : 1.0", "Name : ingot:0", "Raid Level : raid1", "Raid Devices : 2", "Array Size : 523264 KiB", "State : active", "Array State : AA"},
		},
		"named, with a size": {
			[]api.RAIDVolume{{Name: "root", Level: "1", Size: 100 << 20, Disks: disks(3, size)}},
			[]string{"Version : 1.0", "Name : ingot:root", "Raid Devices : 3", "Array Size : 102400 KiB", "Array State : AAA"},
		},
		"stripe": {
			[]api.RAIDVolume{{Level: "0", Disks: disks(2, size)}},
			[]string{"Version : 1.2", "Raid Level : raid0", "Chunk Size : 512K", "State : clean", "Layout : -unknown-|Layout : original|Layout : alternate"},
		},
		"striped mirrors": {
			[]api.RAIDVolume{{Level: "1+0", Disks: disks(4, size)}},
			[]string{"Version : 1.2", "Raid Level : raid10", "Layout : near=2", "Raid Devices : 4", "Array Size : 1046528 KiB"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			arrays, err := plan(c.volumes)
			if err != nil {
				t.Fatal(err)
			}
			supers, err := arrays[0].supers(0, Super{Created: created}, fixed)
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range supers {
				path := filepath.Join(t.TempDir(), "disk")
				if err := os.WriteFile(path, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Truncate(path, size); err != nil {
					t.Fatal(err)
				}
				f, err := os.OpenFile(path, os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.WriteAt(s.Encode(), int64(s.At)*unit); err != nil {
					t.Fatal(err)
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
				out, err := exec.Command(mdadm, "--examine", path).CombinedOutput()
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				text := strings.Join(strings.Fields(string(out)), " ")
				want := append([]string{fmt.Sprintf("Device Role : Active device %d", i), "- correct"}, c.want...)
				for _, w := range want {
					ok := false
					for _, alt := range strings.Split(w, "|") {
						ok = ok || strings.Contains(text, alt)
					}
					if !ok {
						t.Errorf("member %d: no %q in\n%s", i, w, out)
					}
				}
			}
		})
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TestParse reads what Encode writes, and refuses it where it does not belong.
func TestParse(t *testing.T) {
	arrays, err := plan([]api.RAIDVolume{{Name: "root", Level: "1", Disks: disks(2, 1<<30)}})
	if err != nil {
		t.Fatal(err)
	}
	supers, err := arrays[0].supers(1, Super{Created: created}, fixed)
	if err != nil {
		t.Fatal(err)
	}
	const units = 1 << 30 / unit
	for _, s := range supers {
		got, err := Parse(s.Encode(), 0, units)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s, got); diff != "" {
			t.Error(diff)
		}
		if device(got.UUID) != "md1" {
			t.Errorf("it would be %s", device(got.UUID))
		}
	}
	spoil := func(at int) []byte {
		b := supers[0].Encode()
		b[at] ^= 1
		return b
	}
	for name, c := range map[string]struct {
		b     []byte
		minor int
		units uint64
	}{
		"no magic":           {spoil(0), 0, units},
		"checksum":           {spoil(64), 0, units},
		"of another device":  {supers[0].Encode(), 0, units * 2},
		"of another version": {supers[0].Encode(), 2, units},
		"cut short":          {supers[0].Encode()[:1000], 0, units},
		"nothing":            {make([]byte, superSize), 0, units},
	} {
		if _, err := Parse(c.b, c.minor, c.units); err == nil {
			t.Errorf("%s: it was believed", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	arrays, err := plan([]api.RAIDVolume{{Level: "1", Disks: disks(2, 1<<30)}})
	if err != nil {
		f.Fatal(err)
	}
	supers, err := arrays[0].supers(0, Super{Created: created}, fixed)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(supers[0].Encode(), 0, uint64(1<<30/unit))
	f.Add([]byte{0xfc, 0x4e, 0x2b, 0xa9, 1}, 2, uint64(1))
	f.Add(make([]byte, superSize), 0, uint64(0))
	f.Fuzz(func(t *testing.T, b []byte, minor int, units uint64) {
		s, err := Parse(b, minor, units)
		if err == nil && (s.Number >= mostRoles || s.Disks > mostRoles || s.DataOffset+s.DataSize > units) {
			t.Errorf("%+v was believed on a device of %d", s, units)
		}
	})
}

// TestPlan holds where the parts of arrays go.
func TestPlan(t *testing.T) {
	two, four := disks(2, 10<<30), disks(4, 10<<30)
	small := append(disks(1, 10<<30), api.DiskRef{Name: "/dev/sdb", Size: 4 << 30})
	type part struct {
		Part         int
		Offset, Size int64
	}
	for name, c := range map[string]struct {
		volumes []api.RAIDVolume
		minors  []int
		sizes   []int64 // of the arrays, in MiB
		parts   [][]part
		err     string
	}{
		"nothing":               {},
		"a mirror of all":       {volumes: []api.RAIDVolume{{Level: "1", Disks: two}}, minors: []int{0}, sizes: []int64{10<<10 - 1}, parts: [][]part{{{0, 0, 10 << 30}, {0, 0, 10 << 30}}}},
		"the smallest decides":  {volumes: []api.RAIDVolume{{Level: "1", Disks: small}}, minors: []int{0}, sizes: []int64{4<<10 - 1}, parts: [][]part{{{0, 0, 10 << 30}, {0, 0, 4 << 30}}}},
		"a size needs no table": {volumes: []api.RAIDVolume{{Level: "1", Size: 1 << 30, Disks: two}}, minors: []int{0}, sizes: []int64{1024}, parts: [][]part{{{0, 0, 10 << 30}, {0, 0, 10 << 30}}}},
		"two share": {
			volumes: []api.RAIDVolume{{Level: "1", Size: 1 << 30, Disks: two}, {Level: "0", Disks: two}},
			minors:  []int{2, 2}, sizes: []int64{1024, 2 * (10<<10 - 2 - 1026 - 1)},
			parts: [][]part{
				{{1, 1 << 20, 1025 << 20}, {1, 1 << 20, 1025 << 20}},
				{{2, 1026 << 20, (10<<10 - 2 - 1026) << 20}, {2, 1026 << 20, (10<<10 - 2 - 1026) << 20}},
			},
		},
		"two apart": {
			volumes: []api.RAIDVolume{{Level: "1", Disks: four[:2]}, {Level: "0", Size: 2 << 30, Disks: four[2:]}},
			minors:  []int{0, 2}, sizes: []int64{10<<10 - 1, 2048},
			parts: [][]part{{{0, 0, 10 << 30}, {0, 0, 10 << 30}}, {{0, 0, 10 << 30}, {0, 0, 10 << 30}}},
		},
		"two want all":   {volumes: []api.RAIDVolume{{Level: "1", Disks: two}, {Level: "0", Disks: two}}, err: "one of them needs a size"},
		"too large":      {volumes: []api.RAIDVolume{{Level: "1", Size: 11 << 30, Disks: two}}, err: "needs 11811160064 of each disk"},
		"no level":       {volumes: []api.RAIDVolume{{Level: "5", Disks: two}}, err: "want 0, 1 or 1+0"},
		"one disk":       {volumes: []api.RAIDVolume{{Level: "1", Disks: two[:1]}}, err: "has 1 disks"},
		"one disk twice": {volumes: []api.RAIDVolume{{Level: "1", Disks: append(two[:1:1], two[0])}}, err: "twice"},
		"three volumes":  {volumes: make([]api.RAIDVolume, 3), err: "at most 2"},
		"a bad name":     {volumes: []api.RAIDVolume{{Name: "../x", Level: "1", Disks: two}}, err: "plain letters"},
		"tiny":           {volumes: []api.RAIDVolume{{Level: "1", Disks: disks(2, 4<<20)}}, err: "too small"},
	} {
		t.Run(name, func(t *testing.T) {
			arrays, err := plan(c.volumes)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("%v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var minors []int
			var sizes []int64
			var parts [][]part
			for _, a := range arrays {
				minors, sizes = append(minors, a.minor), append(sizes, a.size()>>20)
				var ps []part
				for _, m := range a.members {
					ps = append(ps, part{m.part, m.offset, m.size})
				}
				parts = append(parts, ps)
			}
			if diff := cmp.Diff([]any{c.minors, c.sizes, c.parts}, []any{minors, sizes, parts}); diff != "" {
				t.Error(diff)
			}
		})
	}
}
