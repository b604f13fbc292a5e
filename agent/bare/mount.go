package bare

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"
)

// Mount mounts the file systems of the kernel and takes the console.
func Mount(log *slog.Logger) error {
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"sysfs", "/sys", "sysfs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"devtmpfs", "/dev", "devtmpfs", unix.MS_NOSUID},
		{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV},
	} {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mounting %s: %w", m.target, err)
		}
	}
	// stdin, stdout and stderr came from the ramdisk's /dev/console, if it had
	// one; with devtmpfs there is one for sure.
	f, err := os.OpenFile("/dev/console", os.O_RDWR, 0)
	if err != nil {
		log.Warn("no console", "err", err)
		return nil
	}
	for fd := range 3 {
		if err := unix.Dup3(int(f.Fd()), fd, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return err
		}
	}
	return nil
}

// mountEFI shows the firmware's variables; on BIOS there are none.
func mountEFI(log *slog.Logger) {
	const dir = "/sys/firmware/efi/efivars"
	if _, err := os.Stat("/sys/firmware/efi"); err != nil {
		return
	}
	if err := unix.Mount("efivarfs", dir, "efivarfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil && !errors.Is(err, unix.EBUSY) {
		log.Warn("no EFI variables", "err", err)
	}
}

// QuietKernel leaves the console to us, but for errors.
func QuietKernel() { _ = os.WriteFile("/proc/sys/kernel/printk", []byte("4 4 1 7"), 0o644) }
