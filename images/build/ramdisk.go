package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

const stub = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"

// ramdisk makes vmlinuz, initrd and UKI of a flavour.
func (b *builder) ramdisk(ctx context.Context, flavour string) error {
	k, err := b.kernel(ctx, flavour)
	if err != nil {
		return err
	}
	vmlinuz, initrd := filepath.Join(b.out, "vmlinuz-"+flavour), filepath.Join(b.out, "initrd-"+flavour+".img")
	if err := b.initrd(ctx, "initrd-"+flavour, k, flavour, "cmd/ingot-agent", initrd); err != nil {
		return err
	}
	if err := b.copied(vmlinuz, k); err != nil {
		return err
	}
	if err := b.uki(ctx, "uki-"+flavour, vmlinuz, initrd, "console=tty0 console=ttyS0 panic=30", filepath.Join(b.out, "uki-"+flavour+".efi")); err != nil {
		return err
	}
	return b.weigh(flavour, vmlinuz, initrd)
}

func (b *builder) copied(vmlinuz string, k kernel) error {
	return b.product(filepath.Base(vmlinuz), k.name, []string{vmlinuz}, func() error {
		data, err := os.ReadFile(k.vmlinuz)
		if err != nil {
			return err
		}
		return replace(vmlinuz, data)
	})
}

// weigh prints the size against the budget.
func (b *builder) weigh(flavour string, files ...string) error {
	var n int64
	for _, f := range files {
		st, err := os.Stat(f)
		if err != nil {
			return err
		}
		n += st.Size()
	}
	fmt.Fprintf(b.say, "%s: kernel and ramdisk %.1f MB of %.0f MB\n", flavour, float64(n)/1e6, float64(budget)/1e6)
	if n > budget && !b.fast {
		return fmt.Errorf("flavour %s is over its budget by %d bytes", flavour, n-budget)
	}
	return nil
}

// initrd makes a ramdisk of one program and the modules.
func (b *builder) initrd(ctx context.Context, name string, k kernel, flavour, pkg, out string, more ...string) error {
	bin := filepath.Join(b.cache, name+".init")
	if err := b.program(ctx, pkg, bin); err != nil {
		return err
	}
	set, paths, err := moduleSet(k.modules, flavour, more...)
	if err != nil {
		return err
	}
	list, err := json.Marshal(set)
	if err != nil {
		return err
	}
	level := "-19"
	if b.fast {
		level = "-3"
	}
	key, err := digest([]string{k.name, string(list), level}, bin)
	if err != nil {
		return err
	}
	var added []byte
	if pkg == "cmd/ingot-agent" && b.add != "" {
		if added, err = archive(b.add); err != nil {
			return err
		}
		if key, err = digest([]string{key, string(added)}); err != nil {
			return err
		}
	}
	return b.product(name, key, []string{out}, func() error {
		prog, err := os.ReadFile(bin)
		if err != nil {
			return err
		}
		files, err := readAll(set, paths)
		if err != nil {
			return err
		}
		var c cpio
		for _, d := range []string{"dev", "proc", "sys", "run", "modules"} {
			c.dir(d)
		}
		c.console()
		c.file("init", 0o755, prog)
		c.file("modules/modules.json", 0o644, list)
		for _, f := range slices.Sorted(maps.Keys(files)) {
			c.file("modules/"+f, 0o644, files[f])
		}
		data, err := compress(ctx, level, c.bytes())
		if err != nil {
			return err
		}
		if added == nil {
			return replace(out, data)
		}
		// Archives after the first are unpacked over it (buffer-format.rst).
		more, err := compress(ctx, level, added)
		if err != nil {
			return err
		}
		for len(data)%4 != 0 {
			data = append(data, 0)
		}
		return replace(out, append(data, more...))
	})
}

func compress(ctx context.Context, level string, data []byte) ([]byte, error) {
	z := exec.CommandContext(ctx, "zstd", level, "-T0", "-q", "-c")
	z.Stdin = bytes.NewReader(data)
	out, err := z.Output()
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return out, nil
}

// uki joins kernel, ramdisk and arguments into one EFI program. The addresses
// are those of systemd's stub; the ramdisk comes last, for it may grow.
func (b *builder) uki(ctx context.Context, name, vmlinuz, initrd, cmdline, out string) error {
	key, err := digest([]string{cmdline}, vmlinuz, initrd, stub)
	if err != nil {
		return err
	}
	return b.product(name, key, []string{out}, func() error {
		tmp, err := os.MkdirTemp(b.cache, "uki-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		for f, text := range map[string]string{"cmdline": cmdline, "osrel": "ID=ingot\nNAME=ingot\n"} {
			if err := os.WriteFile(filepath.Join(tmp, f), []byte(text), 0o644); err != nil {
				return err
			}
		}
		var args []string
		for _, s := range []struct{ section, file, at string }{
			{".osrel", "osrel", "0x20000"}, {".cmdline", "cmdline", "0x30000"}, {".linux", vmlinuz, "0x2000000"}, {".initrd", initrd, "0x4000000"},
		} {
			args = append(args, "--add-section", s.section+"="+s.file, "--change-section-vma", s.section+"="+s.at)
		}
		if err := sh(ctx, tmp, "objcopy", append(args, stub, "uki.efi")...); err != nil {
			return err
		}
		return os.Rename(filepath.Join(tmp, "uki.efi"), out)
	})
}

// replace writes a file by rename: nobody serves half a kernel.
func replace(path string, data []byte) error {
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
