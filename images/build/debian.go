package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Sizes of the Debian image.
const (
	debianRoot = 1200 << 20
	debianSize = debianRoot + 64<<20
)

// packages of the Debian image.
const debianPackages = "linux-image-cloud-amd64,systemd-sysv,udev,dbus,cloud-init,netplan.io,iproute2,openssh-server"

// cloudCfg cuts cloud-init to what a first boot needs; under TCG each module of
// the rest costs seconds.
const cloudCfg = `datasource_list: [ConfigDrive, None]
cloud_init_modules: [set_hostname, users-groups, ssh]
cloud_config_modules: [runcmd]
cloud_final_modules: [scripts-user, final-message]
`

// debian makes a stock Debian with cloud-init from Debian's packages.
func (b *builder) debian(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("mmdebstrap makes device nodes and owners: run it with sudo")
	}
	name, err := newest(ctx, "linux-image-cloud-amd64")
	if err != nil {
		return err
	}
	version := strings.TrimPrefix(name, "linux-image-")
	out := filepath.Join(b.out, "debian.raw")
	key, err := digest([]string{debianPackages, cloudCfg, name, fmt.Sprint(debianSize), "1"})
	if err != nil {
		return err
	}
	return b.product("debian.raw", key, []string{out}, func() error {
		tmp, err := os.MkdirTemp(b.cache, "debian-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		root := filepath.Join(tmp, "root")
		if err := sh(ctx, tmp, "mmdebstrap", "--variant=minbase", "--include="+debianPackages, "bookworm", root); err != nil {
			return err
		}
		for path, text := range map[string]string{
			"etc/cloud/cloud.cfg.d/99-ingot.cfg": cloudCfg,
			"etc/fstab":                          "LABEL=ingot-root / ext4 errors=remount-ro 0 1\n",
		} {
			if err := os.WriteFile(filepath.Join(root, path), []byte(text), 0o644); err != nil {
				return err
			}
		}
		kernel, initrd := filepath.Join(root, "boot/vmlinuz-"+version), filepath.Join(root, "boot/initrd.img-"+version)
		cmdline := "root=LABEL=ingot-root ro console=tty0 console=ttyS0"
		uki := filepath.Join(tmp, "uki.efi")
		if err := b.uki(ctx, "debian-uki", kernel, initrd, cmdline, uki); err != nil {
			return err
		}
		// On BIOS, GRUB reads both from the root file system; the EFI system
		// partition has just the UKI.
		grub := fmt.Sprintf("search.fs_label ingot-root root\nset timeout=0\nlinux /boot/vmlinuz-%[1]s %[2]s\ninitrd /boot/initrd.img-%[1]s\nboot\n", version, cmdline)
		img := filepath.Join(tmp, "debian.raw")
		size := int64(debianSize + 64<<20)
		if err := b.hybrid(ctx, img, size, map[string]string{"EFI/BOOT/BOOTX64.EFI": uki}, grub, debianRoot); err != nil {
			return err
		}
		espSectors := (size-debianRoot)/sector - espLBA - 2048
		off := (espLBA + espSectors) * sector
		// -d copies the tree in: no mount, no loop device.
		if err := sh(ctx, tmp, "/usr/sbin/mkfs.ext4", "-q", "-L", "ingot-root", "-d", root, "-E", fmt.Sprintf("offset=%d", off), img, fmt.Sprintf("%dk", debianRoot>>10)); err != nil {
			return err
		}
		return os.Rename(img, out)
	})
}
