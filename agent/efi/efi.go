// Package efi makes the firmware boot the disk that was written: it keeps boot
// entries through efivarfs, and touches no entry that is not its own.
package efi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// global is the vendor of the boot variables (UEFI 2.10, §3.3).
const global = "8be4df61-93ca-11d2-aa0d-00e098032b8c"

// attributes: non-volatile, boot services, runtime.
const attributes = 0x7

// maxVariable bounds what is read; firmware's own limits are far below.
const maxVariable = 64 << 10

// immutable is FS_IMMUTABLE_FL of linux/fs.h.
const immutable = 0x10

// Vars is a directory with the form of efivarfs.
type Vars struct{ Dir string }

func (v Vars) path(name string) string { return filepath.Join(v.Dir, name+"-"+global) }

func (v Vars) read(name string) ([]byte, error) {
	b, err := os.ReadFile(v.path(name))
	if err != nil {
		return nil, err
	}
	if len(b) < 4 || len(b) > maxVariable {
		return nil, fmt.Errorf("variable %s has %d bytes", name, len(b))
	}
	return b[4:], nil
}

// write sets a variable in one write(2), as efivarfs wants it.
func (v Vars) write(name string, data []byte) error {
	if err := v.unlock(name); err != nil {
		return err
	}
	f, err := os.OpenFile(v.path(name), os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(binary.LittleEndian.AppendUint32(nil, attributes), data...))
	return errors.Join(err, f.Close())
}

func (v Vars) remove(name string) error {
	if err := v.unlock(name); err != nil {
		return err
	}
	return os.Remove(v.path(name))
}

// unlock takes the immutable flag away that the kernel puts on variables, so
// that a stray rm does not brick machines.
func (v Vars) unlock(name string) error {
	f, err := os.Open(v.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil || flags&immutable == 0 {
		return nil // not efivarfs, or no flag
	}
	return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags&^immutable)
}

// entries are the boot entries by number. One that does not parse is somebody's
// all the same: it is kept, with no label.
func (v Vars) entries() (map[uint16]LoadOption, error) {
	all, err := os.ReadDir(v.Dir)
	if err != nil {
		return nil, err
	}
	name := regexp.MustCompile(`^Boot([0-9A-F]{4})-` + global + `$`)
	out := map[uint16]LoadOption{}
	for _, e := range all {
		m := name.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		n, err := strconv.ParseUint(m[1], 16, 16)
		if err != nil {
			continue
		}
		var o LoadOption
		if b, err := v.read("Boot" + m[1]); err == nil {
			if p, err := Parse(b); err == nil {
				o = p
			}
		}
		out[uint16(n)] = o
	}
	return out, nil
}

// First adds an entry and puts it first in BootOrder. Older entries of the same
// label are removed: they are ours, of a former deployment. It returns the
// variable's name.
func (v Vars) First(o LoadOption) (string, error) {
	old, err := v.entries()
	if err != nil {
		return "", fmt.Errorf("reading the boot entries: %w", err)
	}
	var order []uint16
	if b, err := v.read("BootOrder"); err == nil {
		for ; len(b) >= 2; b = b[2:] {
			order = append(order, binary.LittleEndian.Uint16(b))
		}
	}
	for n, e := range old {
		if e.Label != o.Label {
			continue
		}
		if err := v.remove(bootName(n)); err != nil {
			return "", fmt.Errorf("removing %s: %w", bootName(n), err)
		}
		delete(old, n)
		order = slices.DeleteFunc(order, func(x uint16) bool { return x == n })
	}
	// The number is free in BootOrder as well: some firmware lists entries that
	// it does not show.
	n := uint16(0)
	for ; n < 0xffff; n++ {
		if _, taken := old[n]; !taken && !slices.Contains(order, n) {
			break
		}
	}
	if err := v.write(bootName(n), o.Bytes()); err != nil {
		return "", fmt.Errorf("writing %s: %w", bootName(n), err)
	}
	data := binary.LittleEndian.AppendUint16(nil, n)
	for _, x := range order {
		data = binary.LittleEndian.AppendUint16(data, x)
	}
	if err := v.write("BootOrder", data); err != nil {
		return "", fmt.Errorf("writing BootOrder: %w", err)
	}
	return bootName(n), nil
}

func bootName(n uint16) string { return fmt.Sprintf("Boot%04X", n) }

// Loader picks what to start from an EFI system partition: a vendor's shim, a
// vendor's GRUB, the removable-media path. The answer has backslashes. suffix is
// x64 or aa64.
func Loader(esp fs.FS, suffix string) (string, error) {
	var fallback string
	var best [2]string // shim, grub
	root, err := fs.ReadDir(esp, ".")
	if err != nil {
		return "", err
	}
	for _, top := range root {
		if !strings.EqualFold(top.Name(), "EFI") {
			continue
		}
		vendors, err := fs.ReadDir(esp, top.Name())
		if err != nil {
			return "", err
		}
		for _, vendor := range vendors {
			files, err := fs.ReadDir(esp, top.Name()+"/"+vendor.Name())
			if err != nil {
				continue // a file
			}
			for _, f := range files {
				path := `\` + top.Name() + `\` + vendor.Name() + `\` + f.Name()
				switch name := strings.ToLower(f.Name()); {
				case strings.EqualFold(vendor.Name(), "BOOT"):
					if name == "boot"+suffix+".efi" {
						fallback = path
					}
				case name == "shim"+suffix+".efi" && best[0] == "":
					best[0] = path
				case name == "grub"+suffix+".efi" && best[1] == "":
					best[1] = path
				}
			}
		}
	}
	for _, p := range append(best[:], fallback) {
		if p != "" {
			return p, nil
		}
	}
	return "", fmt.Errorf("the EFI system partition has no shim%[1]s.efi, grub%[1]s.efi or boot%[1]s.efi", suffix)
}
