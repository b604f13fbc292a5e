package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const grubDir = "/usr/lib/grub/i386-pc"

// Sizes and places of the hybrid image: GPT, a BIOS boot partition for GRUB's
// core, and an EFI system partition that both firmwares start from.
const (
	sector   = 512
	coreLBA  = 2048
	espLBA   = 4096
	demoSize = 64 << 20
)

// demo makes the image that tests and the demonstration install.
func (b *builder) demo(ctx context.Context) error {
	k, err := b.kernel(ctx, "vm")
	if err != nil {
		return err
	}
	initrd := filepath.Join(b.cache, "demo-initrd.img")
	if err := b.initrd(ctx, "demo-initrd", k, "vm", "images/demo-os", initrd, "isofs"); err != nil {
		return err
	}
	uki := filepath.Join(b.cache, "demo-uki.efi")
	const cmdline = "console=tty0 console=ttyS0 quiet panic=30"
	if err := b.uki(ctx, "demo-uki", k.vmlinuz, initrd, cmdline, uki); err != nil {
		return err
	}
	out := filepath.Join(b.out, "demo.raw")
	key, err := digest([]string{fmt.Sprint(demoSize), "1"}, uki)
	if err != nil {
		return err
	}
	return b.product("demo.raw", key, []string{out}, func() error {
		return b.hybrid(ctx, out, demoSize, map[string]string{
			"EFI/BOOT/BOOTX64.EFI": uki, "boot/vmlinuz": k.vmlinuz, "boot/initrd": initrd,
		}, "set timeout=0\nlinux /boot/vmlinuz "+cmdline+"\ninitrd /boot/initrd\nboot\n", 0)
	})
}

// hybrid makes a disk image that boots on BIOS and UEFI. A root partition of
// rootSize bytes follows the EFI system partition if it is not 0; espSize is
// then what remains.
func (b *builder) hybrid(ctx context.Context, out string, size int64, files map[string]string, grubCfg string, rootSize int64) error {
	tmp, err := os.MkdirTemp(b.cache, "image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	img := filepath.Join(tmp, "disk.raw")
	if err := os.WriteFile(img, nil, 0o644); err != nil {
		return err
	}
	if err := os.Truncate(img, size); err != nil {
		return err
	}
	espSectors := (size-rootSize)/sector - espLBA - 2048
	script := fmt.Sprintf("label: gpt\nstart=%d, size=2048, type=21686148-6449-6E6F-744E-656564454649\nstart=%d, size=%d, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\n", coreLBA, espLBA, espSectors)
	if rootSize > 0 {
		script += fmt.Sprintf("start=%d, size=%d, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name=root\n", espLBA+espSectors, rootSize/sector)
	}
	c := exec.CommandContext(ctx, "/usr/sbin/sfdisk", "-q", img)
	c.Stdin = strings.NewReader(script)
	if text, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("sfdisk: %w\n%s", err, text)
	}
	if err := sh(ctx, tmp, "/usr/sbin/mkfs.vfat", "-F", "32", "-s", "1", "-n", "ESP", "--offset", fmt.Sprint(espLBA), img, fmt.Sprint(espSectors/2)); err != nil {
		return err
	}
	cfg := filepath.Join(tmp, "grub.cfg")
	if err := os.WriteFile(cfg, []byte(grubCfg), 0o644); err != nil {
		return err
	}
	at := fmt.Sprintf("%s@@%d", img, espLBA*sector)
	if err := sh(ctx, tmp, "mmd", "-i", at, "::/EFI", "::/EFI/BOOT", "::/boot"); err != nil {
		return err
	}
	files["boot/grub.cfg"] = cfg
	for to, from := range files {
		if err := sh(ctx, tmp, "mcopy", "-i", at, from, "::/"+to); err != nil {
			return err
		}
	}
	if err := grubBIOS(ctx, tmp, img); err != nil {
		return err
	}
	return os.Rename(img, out)
}

// grubBIOS puts GRUB's boot sector and core into an image, as grub-install does
// (boot.S and diskboot.S of GRUB 2.06 name the fields).
func grubBIOS(ctx context.Context, tmp, img string) error {
	early := filepath.Join(tmp, "early.cfg")
	if err := os.WriteFile(early, []byte("search.fs_label ESP root\nconfigfile ($root)/boot/grub.cfg\n"), 0o644); err != nil {
		return err
	}
	core := filepath.Join(tmp, "core.img")
	err := sh(ctx, tmp, "grub-mkimage", "-O", "i386-pc", "-c", early, "-p", "/boot", "-o", core,
		"biosdisk", "part_gpt", "fat", "ext2", "linux", "normal", "configfile", "search", "search_label", "search_fs_uuid", "echo", "test")
	if err != nil {
		return err
	}
	c, err := os.ReadFile(core)
	if err != nil {
		return err
	}
	boot, err := os.ReadFile(grubDir + "/boot.img")
	if err != nil {
		return err
	}
	if len(c) < sector || len(c) > (espLBA-coreLBA)*sector || len(boot) < sector {
		return fmt.Errorf("GRUB's core has %d bytes, its boot sector %d", len(c), len(boot))
	}
	sectors := (len(c) + sector - 1) / sector
	binary.LittleEndian.PutUint64(c[0x1f4:], coreLBA+1)
	binary.LittleEndian.PutUint16(c[0x1fc:], uint16(sectors-1))
	binary.LittleEndian.PutUint16(c[0x1fe:], 0x820)
	binary.LittleEndian.PutUint64(boot[0x5c:], coreLBA)
	boot[0x66], boot[0x67] = 0x90, 0x90
	f, err := os.OpenFile(img, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err1 := f.WriteAt(boot[:0x1b8], 0)
	_, err2 := f.WriteAt(c, coreLBA*sector)
	return errors.Join(err1, err2, f.Close())
}
