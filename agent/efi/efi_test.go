package efi

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// Our own entry goes first, old ones of ours go away, others stay.
func TestFirst(t *testing.T) {
	dir := t.TempDir()
	v := Vars{Dir: dir}
	put := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name+"-"+global), append([]byte{7, 0, 0, 0}, b...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("Boot0000", LoadOption{Label: "UEFI PXEv4"}.Bytes())
	put("Boot0001", LoadOption{Label: "ingot"}.Bytes())
	put("Boot0002", []byte{1})                       // does not parse
	put("BootOrder", []byte{1, 0, 0, 0, 2, 0, 3, 0}) // 3 is not shown
	put("BootNext", []byte{0, 0})                    // no entry
	name, err := v.First(File("ingot", 2, 4096, 2048, [16]byte{1, 2}, `\EFI\BOOT\BOOTX64.EFI`))
	if err != nil {
		t.Fatal(err)
	}
	order, err := v.read("BootOrder")
	if err != nil {
		t.Fatal(err)
	}
	if name != "Boot0001" || !bytes.Equal(order, []byte{1, 0, 0, 0, 2, 0, 3, 0}) {
		t.Errorf("%s, order %x", name, order)
	}
	got, err := v.entries()
	if err != nil {
		t.Fatal(err)
	}
	labels := map[uint16]string{}
	for n, o := range got {
		labels[n] = o.Label
	}
	if diff := cmp.Diff(map[uint16]string{0: "UEFI PXEv4", 1: "ingot", 2: ""}, labels); diff != "" {
		t.Error(diff)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "Boot0001-"+global))
	if err != nil || binary.LittleEndian.Uint32(raw) != attributes {
		t.Errorf("attributes %x, %v", raw[:4], err)
	}
}

// The bytes of an entry, by UEFI 2.10 §10.3.5.1 and §10.3.5.4.
func TestFile(t *testing.T) {
	got := File("i", 2, 0x1000, 0x800, [16]byte{0xaa, 15: 0xbb}, `\A`).Bytes()
	want := "01000000" + "3800" + "69000000" +
		"04012a00" + "02000000" + "0010000000000000" + "0008000000000000" + "aa0000000000000000000000000000bb" + "0202" +
		"04040a00" + "5c0041000000" + "7fff0400"
	if diff := cmp.Diff(want, hex.EncodeToString(got)); diff != "" {
		t.Error(diff)
	}
}

func TestLoader(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files []string
		want  string
	}{
		{"shim before grub", []string{"EFI/debian/grubx64.efi", "EFI/debian/shimx64.efi", "EFI/BOOT/BOOTX64.EFI"}, `\EFI\debian\shimx64.efi`},
		{"grub", []string{"efi/Boot/bootx64.efi", "efi/fedora/GRUBX64.EFI"}, `\efi\fedora\GRUBX64.EFI`},
		{"removable path", []string{"EFI/BOOT/BOOTX64.EFI", "boot/vmlinuz"}, `\EFI\BOOT\BOOTX64.EFI`},
		{"another machine's", []string{"EFI/BOOT/BOOTAA64.EFI"}, ""},
		{"empty", nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			esp := fstest.MapFS{}
			for _, f := range tc.files {
				esp[f] = &fstest.MapFile{}
			}
			got, err := Loader(esp, "x64")
			if got != tc.want || (err == nil) != (tc.want != "") {
				t.Errorf("got %q, %v, want %q", got, err, tc.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(File("ingot", 1, 2048, 100, [16]byte{}, `\EFI\BOOT\BOOTX64.EFI`).Bytes())
	f.Add([]byte{1, 0, 0, 0, 0xff, 0xff, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := Parse(b)
		if err != nil {
			return
		}
		p, err := Parse(o.Bytes())
		if err != nil || p.Label != o.Label || !bytes.Equal(p.Path, o.Path) || !bytes.Equal(p.Data, o.Data) {
			t.Errorf("%x became %x (%v)", b, o.Bytes(), err)
		}
	})
}
