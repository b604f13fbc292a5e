package userdata

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// The FAT form is judged by mtools, dosfstools and blkid, none of which is ours.
func TestFAT(t *testing.T) {
	sizes := []struct {
		name string
		user []byte
		want string // type of the file system
	}{
		{"small", sample().UserData, "FAT12"},
		{"user data of many clusters", bytes.Repeat([]byte("0123456\n"), 100_000), "FAT12"},
		{"large", bytes.Repeat([]byte("0123456\n"), 1<<20), "FAT16"},
	}
	for _, tt := range sizes {
		t.Run(tt.name, func(t *testing.T) {
			in := sample()
			in.UserData = tt.user
			in.SectorSize = 4096
			path, b := image(t, in)
			if _, again := image(t, in); !bytes.Equal(b, again) {
				t.Error("the same input gave other bytes")
			}
			if got := strings.TrimSpace(string(b[54:62])); got != tt.want {
				t.Errorf("type %s, want %s", got, tt.want)
			}
			t.Run("mtools", func(t *testing.T) {
				for name, want := range wantFiles() {
					if name == "user_data" {
						want = string(tt.user)
					}
					for _, version := range []string{"latest", "2012-08-10"} {
						out := t.TempDir() + "/f"
						run(t, "mcopy", "-i", path, "::openstack/"+version+"/"+name, out)
						if got, err := os.ReadFile(out); err != nil || string(got) != want {
							t.Errorf("%s/%s: %d bytes, want %d, error %v", version, name, len(got), len(want), err)
						}
					}
				}
			})
			t.Run("fsck", func(t *testing.T) { run(t, "fsck.vfat", "-n", path) })
			t.Run("blkid", func(t *testing.T) {
				out := run(t, "blkid", "-p", "-o", "export", path)
				for _, want := range []string{"LABEL=config-2\n", "TYPE=vfat\n"} {
					if !strings.Contains(out, want) {
						t.Errorf("no %q in\n%s", want, out)
					}
				}
			})
		})
	}
}
