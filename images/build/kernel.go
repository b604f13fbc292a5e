package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// kernelPackage names Debian's package that always depends on the newest kernel.
func kernelPackage(flavour string) (string, error) {
	switch flavour {
	case "vm":
		return "linux-image-cloud-amd64", nil
	case "server":
		return "linux-image-amd64", nil
	}
	return "", fmt.Errorf("no flavour %q: want vm or server", flavour)
}

// kernel is an unpacked package.
type kernel struct {
	name    string // linux-image-6.1.0-56-amd64
	vmlinuz string
	modules string // lib/modules/VERSION
}

// kernel downloads and unpacks the kernel of a flavour; each version once.
func (b *builder) kernel(ctx context.Context, flavour string) (kernel, error) {
	meta, err := kernelPackage(flavour)
	if err != nil {
		return kernel{}, err
	}
	name, err := newest(ctx, meta)
	if err != nil {
		return kernel{}, err
	}
	dir := filepath.Join(b.cache, name)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		if err := b.unpack(ctx, name, dir); err != nil {
			return kernel{}, err
		}
	}
	version := strings.TrimPrefix(name, "linux-image-")
	return kernel{name, filepath.Join(dir, "boot/vmlinuz-"+version), filepath.Join(dir, "lib/modules", version)}, nil
}

// newest is the real package behind a meta package.
func newest(ctx context.Context, meta string) (string, error) {
	out, err := exec.CommandContext(ctx, "apt-cache", "depends", "--important", meta).Output()
	if err != nil {
		return "", fmt.Errorf("apt-cache depends %s: %w (run: sudo apt-get update)", meta, err)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) == 2 && f[0] == "Depends:" && strings.HasPrefix(f[1], "linux-image-") {
			return f[1], nil
		}
	}
	return "", fmt.Errorf("apt knows no kernel behind %s (run: sudo apt-get update)", meta)
}

func (b *builder) unpack(ctx context.Context, name, dir string) error {
	tmp, err := os.MkdirTemp(b.cache, "unpack-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	// apt would drop to its own user, which cannot write here.
	if err := sh(ctx, tmp, "apt-get", "-o", "APT::Sandbox::User=", "download", name); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("apt-get download %s left %d packages", name, len(debs))
	}
	tree := filepath.Join(tmp, "tree")
	if err := sh(ctx, tmp, "dpkg-deb", "-x", debs[0], tree); err != nil {
		return err
	}
	return os.Rename(tree, dir)
}
