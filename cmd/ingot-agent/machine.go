package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ingot-metal/ingot/agent"
	"github.com/ingot-metal/ingot/agent/bare"
	"github.com/ingot-metal/ingot/agent/deploy"
	"github.com/ingot-metal/ingot/agent/disk"
	"github.com/ingot-metal/ingot/agent/efi"
	"github.com/ingot-metal/ingot/agent/erase"
	"github.com/ingot-metal/ingot/agent/inspect"
	"github.com/ingot-metal/ingot/agent/raid"
	api "github.com/ingot-metal/ingot/api/agent"
)

// machine is the real thing behind agent.Devices.
type machine struct {
	here   *inspect.Collector
	arrays raid.System
	log    *slog.Logger
}

func (m *machine) finder() disk.Finder { return disk.Finder{Dev: "/dev", Lookup: m.here.Disk} }

func (m *machine) Inspect(ctx context.Context, p agent.Progress) (api.Inventory, error) {
	inv, err := m.here.Inventory(ctx, p)
	inv.Methods = m.methods().Methods()
	for _, s := range inv.Skipped {
		m.log.Warn("not inspected", "what", s.What, "why", s.Reason)
	}
	return inv, err
}

func (m *machine) Clean(ctx context.Context, s api.CleanStep, p agent.Progress) (api.CleanResult, error) {
	// An array that is made of nothing but these disks goes with them.
	names := make([]string, len(s.Disks))
	for i, d := range s.Disks {
		names[i] = strings.TrimPrefix(d.Name, "/dev/")
	}
	if err := m.arrays.Stop(ctx, names); err != nil {
		return api.CleanResult{}, err
	}
	return m.eraser().Clean(ctx, s, p)
}

func (m *machine) eraser() erase.Eraser {
	return erase.Eraser{Finder: m.finder(), Partitions: m.here.Partitions}
}

func (m *machine) RAID(ctx context.Context, s api.RAIDStep, p agent.Progress) (api.RAIDResult, error) {
	return raid.Maker{Finder: m.finder(), System: m.arrays, Clean: m.eraser().Clean, Now: time.Now}.Make(ctx, s, p)
}

func (m *machine) Write(ctx context.Context, s api.WriteStep, src agent.Source, p agent.Progress) (api.WriteResult, error) {
	began := time.Now()
	w := disk.Writer{Finder: m.finder(), Workers: disk.Workers(runtime.NumCPU(), m.here.Available())}
	out, err := w.Write(ctx, s, src, p)
	if err != nil {
		return api.WriteResult{}, err
	}
	if err := out.Disk.Close(); err != nil {
		return api.WriteResult{}, err
	}
	m.log.Info("image written", "disk", s.Disk.Name, "bytes", out.Result.Written, "took", time.Since(began).Round(time.Millisecond))
	if m.here.Mode() == api.FirmwareUEFI {
		entry, err := bootEntry(ctx, out, s.BootLabel)
		if err != nil {
			// Firmware finds the removable-media path without an entry, and some
			// firmware keeps none at all: not a failed write.
			m.log.Warn("no boot entry was made; the firmware must find the disk by itself", "err", err)
		}
		out.Result.BootEntry = entry
	}
	return out.Result, nil
}

// methods are the ramdisk's own ways to install a machine.
func (m *machine) methods() deploy.Runner {
	return deploy.Runner{Dir: deploy.Dir, Temp: "/run", Finder: m.finder(), Say: func(line string) { m.log.Info("deploy", "says", line) }}
}

var _ agent.Deployer = (*machine)(nil)

func (m *machine) Deploy(ctx context.Context, s api.DeployStep, src agent.Source, p agent.Progress) (api.DeployResult, error) {
	res, err := m.methods().Deploy(ctx, s, src, p)
	unix.Sync()
	return res, err
}

// bootEntry makes the firmware start the loader of the image.
func bootEntry(ctx context.Context, w *disk.Written, label string) (entry string, err error) {
	if w.Table == nil {
		return "", errors.New("the image has no GPT")
	}
	esp, ok := w.Table.ESP()
	if !ok {
		return "", errors.New("the image has no EFI system partition")
	}
	const dir = "/run/esp"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	node := w.Disk.Partition(esp.Number)
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	bare.WaitFor(ctx, func() []string {
		if _, err := os.Stat(node); err != nil {
			return nil
		}
		return []string{node}
	})
	if err := unix.Mount(node, dir, "vfat", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return "", fmt.Errorf("mounting the EFI system partition: %w", err)
	}
	loader, err := efi.Loader(os.DirFS(dir), efiSuffix())
	if err = errors.Join(err, unix.Unmount(dir, 0)); err != nil {
		return "", err
	}
	if label == "" {
		label = "ingot"
	}
	return efi.Vars{Dir: "/sys/firmware/efi/efivars"}.First(
		efi.File(label, esp.Number, esp.First, esp.Last-esp.First+1, esp.GUID, loader))
}

func efiSuffix() string {
	if runtime.GOARCH == "arm64" {
		return "aa64"
	}
	return "x64"
}
