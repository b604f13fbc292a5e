package main

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/agent/bare"
)

// always are loaded on every machine: no device asks for them.
func always() []string {
	return []string{
		"sd_mod", "efivarfs", "vfat", "nls_cp437", "nls_ascii", "evdev",
		"md_mod", "raid0", "raid1", "raid10", // no device asks for an array
	}
}

// onDemand are loaded when a device of the machine asks for them.
func onDemand(flavour string) []string {
	vm := []string{
		"virtio_pci", "virtio_net", "virtio_blk", "virtio_scsi", "virtio_rng", "button", "pvpanic_pci",
	}
	if flavour == "vm" {
		return vm
	}
	return append(vm,
		// storage
		"nvme", "ahci", "ata_piix", "uas", "usb_storage", "mpt3sas", "megaraid_sas", "smartpqi", "hpsa", "aacraid", "vmw_pvscsi", "hv_storvsc",
		// buses
		"xhci_pci", "ehci_pci", "uhci_hcd", "hv_vmbus",
		// networks
		"e1000", "e1000e", "igb", "igc", "ixgbe", "i40e", "ice", "tg3", "bnxt_en", "bnx2x", "r8169", "mlx4_en", "mlx5_core", "qede", "enic", "cxgb4", "be2net", "sfc", "atlantic", "vmxnet3", "hv_netvsc",
		// the way to the BMC
		"ipmi_si", "ipmi_devintf")
}

// moduleSet finds modules and all they depend on. What is not a file is built
// in, or the kernel's config has it not.
func moduleSet(dir, flavour string, more ...string) (set []bare.Module, paths map[string]string, err error) {
	paths = map[string]string{}
	err = filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(p, ".ko") {
			paths[moduleName(p)] = p
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	seen := map[string]bool{}
	var add func(name string, forced bool) error
	add = func(name string, forced bool) error {
		p, ok := paths[name]
		if !ok || seen[name] {
			return nil
		}
		seen[name] = true
		m, err := readModule(p)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		m.Always = forced
		for _, d := range m.Depends {
			if err := add(d, false); err != nil {
				return err
			}
		}
		set = append(set, m)
		return nil
	}
	pinned := append(always(), more...)
	for _, n := range pinned {
		if err := add(n, true); err != nil {
			return nil, nil, err
		}
	}
	for _, n := range onDemand(flavour) {
		if err := add(n, false); err != nil {
			return nil, nil, err
		}
	}
	for i := range set {
		// A library is loaded by those who depend on it, whatever it claims.
		if !set[i].Always && !slices.Contains(onDemand(flavour), set[i].Name) {
			set[i].Aliases = nil
		}
	}
	return set, paths, nil
}

func moduleName(path string) string {
	return strings.ReplaceAll(strings.TrimSuffix(filepath.Base(path), ".ko"), "-", "_")
}

// readModule reads .modinfo: strings key=value with zeros between.
func readModule(path string) (bare.Module, error) {
	f, err := elf.Open(path)
	if err != nil {
		return bare.Module{}, err
	}
	defer f.Close()
	s := f.Section(".modinfo")
	if s == nil {
		return bare.Module{}, fmt.Errorf("no .modinfo")
	}
	data, err := s.Data()
	if err != nil {
		return bare.Module{}, err
	}
	m := bare.Module{Name: moduleName(path), File: filepath.Base(path)}
	for entry := range bytes.SplitSeq(data, []byte{0}) {
		key, value, _ := strings.Cut(string(entry), "=")
		switch key {
		case "alias":
			if strings.Contains(value, ":") {
				m.Aliases = append(m.Aliases, value)
			}
		case "depends":
			for d := range strings.SplitSeq(value, ",") {
				if d != "" {
					m.Depends = append(m.Depends, strings.ReplaceAll(d, "-", "_"))
				}
			}
		case "softdep":
			// "pre: crc32c post: ..": what is before is wanted where it exists.
			_, pre, _ := strings.Cut(value, "pre:")
			pre, _, _ = strings.Cut(pre, "post:")
			for _, d := range strings.Fields(pre) {
				m.Depends = append(m.Depends, strings.ReplaceAll(d, "-", "_"))
			}
		}
	}
	return m, nil
}

// readAll is the content of each module of a set.
func readAll(set []bare.Module, paths map[string]string) (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, m := range set {
		b, err := os.ReadFile(paths[m.Name])
		if err != nil {
			return nil, err
		}
		out[m.File] = b // unstripped: under Secure Boot the signature must stay
	}
	return out, nil
}
