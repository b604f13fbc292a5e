package ipxe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// DebianDir is where Debian's package ipxe has its loaders.
const DebianDir = "/usr/lib/ipxe"

// maxLoader bounds what is taken for a loader: all go by TFTP or into firmware's memory.
const maxLoader = 2 << 20

// Loader is one loader file.
type Loader struct {
	Arch     string // "amd64"
	Firmware string // "bios", "uefi" (PXE), "uefi-http"
	Name     string // as it is served
	Path     string
}

// Loaders are the loaders found, one for each architecture and firmware.
type Loaders []Loader

// Find returns the loader for an architecture and a firmware.
func (ls Loaders) Find(arch, firmware string) (Loader, bool) {
	for _, l := range ls {
		if l.Arch == arch && l.Firmware == firmware {
			return l, true
		}
	}
	return Loader{}, false
}

// Files is the table of names and paths, for the servers that hand them out.
func (ls Loaders) Files() map[string]string {
	files := map[string]string{}
	for _, l := range ls {
		files[l.Name] = l.Path
	}
	return files
}

// FindLoaders looks for all loaders in a directory, Debian's if dir is "".
func FindLoaders(dir string) (Loaders, error) {
	if dir == "" {
		dir = DebianDir
	}
	ls := Loaders{
		{Arch: "amd64", Firmware: "bios", Name: "undionly.kpxe"},
		{Arch: "amd64", Firmware: "uefi", Name: "snponly.efi"},
		{Arch: "amd64", Firmware: "uefi-http", Name: "ipxe.efi"},
	}
	for i := range ls {
		ls[i].Path = filepath.Join(dir, ls[i].Name)
		info, err := os.Stat(ls[i].Path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("boot loader %s is missing: install Debian's package ipxe (apt-get install ipxe), or name the directory that has it: %w", ls[i].Path, err)
		case err != nil:
			return nil, fmt.Errorf("boot loader: %w", err)
		case !info.Mode().IsRegular() || info.Size() == 0 || info.Size() > maxLoader:
			return nil, fmt.Errorf("boot loader %s: want a file of 1 to %d bytes, it has %d", ls[i].Path, maxLoader, info.Size())
		}
	}
	return ls, nil
}
