//go:build e2e

package vm_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/pkg/httpboot"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
	"github.com/ingot-metal/ingot/pkg/lab/vm"
)

func TestNetworkBoot(t *testing.T) {
	tests := []struct {
		name   string
		target simbmc.BootTarget
		mode   simbmc.BootMode
		change func(*vm.Config)
		loader string // fetched over HTTP
	}{
		{name: "bios-virtio", target: simbmc.BootPXE, mode: simbmc.ModeLegacy},
		{name: "bios-e1000e", target: simbmc.BootPXE, mode: simbmc.ModeLegacy, change: func(c *vm.Config) { c.NICs[0].Model = vm.E1000e }},
		{name: "uefi-virtio", target: simbmc.BootPXE, mode: simbmc.ModeUEFI},
		{name: "uefi-e1000e", target: simbmc.BootPXE, mode: simbmc.ModeUEFI, change: func(c *vm.Config) { c.NICs[0].Model = vm.E1000e }},
		{name: "uefi-native", target: simbmc.BootPXE, mode: simbmc.ModeUEFI, change: func(c *vm.Config) { c.NativePXE = true }},
		{name: "uefi-http", target: simbmc.BootUEFIHTTP, mode: simbmc.ModeUEFI, loader: "ipxe.efi"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			m := l.machine(tt.name, "idle", tt.change)
			ctx := bounded(t)
			must(t, m.SetBoot(ctx, once(tt.target, tt.mode)))
			start := time.Now()
			must(t, m.SetPower(ctx, simbmc.PowerOn))
			must(t, m.WaitSerial(ctx, fmt.Sprintf("guest: up guest=idle efi=%v nvme=%s-d0 product=lab machine", tt.mode == simbmc.ModeUEFI, tt.name)))
			t.Logf("power on to init: %.1f s", time.Since(start).Seconds())
			if tt.loader != "" && !l.fetched(httpboot.KindLoader, tt.loader) {
				t.Errorf("%s was not fetched over HTTP", tt.loader)
			}
			if o, _ := m.Boot(ctx); o.Enabled != simbmc.BootDisabled || o.Mode != tt.mode {
				t.Errorf("override after the boot: %+v", o)
			}
			_, err := m.WriteSerial([]byte("hello\n"))
			must(t, err)
			must(t, m.WaitSerial(ctx, "guest: heard hello"))
		})
	}
}

// The life of a machine: network once, a disk is written, a reset by the guest
// finds the disk. Writes and bytes are proved from outside.
func TestOnceThenDisk(t *testing.T) {
	l := newLab(t)
	m := l.machine("m1", "write", nil)
	ctx := bounded(t)
	must(t, m.SetBoot(ctx, once(simbmc.BootPXE, simbmc.ModeLegacy)))
	must(t, m.SetPower(ctx, simbmc.PowerOn))
	must(t, m.WaitSerial(ctx, "guest: written"))
	must(t, m.WaitSerial(ctx, "DISK BOOT"))
	if on, _ := m.Power(ctx); !on || m.Run() != 2 {
		t.Errorf("on %v, run %d", on, m.Run())
	}

	ranges, err := m.WriteLog(0)
	must(t, err)
	_, bytes := vm.WriteTotals(ranges)
	if bytes < 8<<20 || bytes > 10<<20 {
		t.Errorf("%d bytes were written: %+v", bytes, ranges)
	}
	for _, r := range ranges {
		if r.Run != 1 {
			t.Errorf("written after the installation: %+v", r)
		}
	}
	got, err := m.DiskSHA256(0, 512)
	must(t, err)
	if want := sha(bootSector()); got != want {
		t.Errorf("boot sector has digest %s, want %s", got, want)
	}
	t.Logf("writes %+v", ranges)
	t.Logf("journal %v", l.journal.Entries("m1"))
}

func TestPowerActions(t *testing.T) {
	l := newLab(t)
	m := l.machine("m1", "button", nil)
	ctx := bounded(t)
	pxe := simbmc.BootOverride{Target: simbmc.BootPXE, Enabled: simbmc.BootContinuous}
	must(t, m.SetBoot(ctx, pxe))
	must(t, m.SetPower(ctx, simbmc.PowerOn))
	must(t, m.WaitSerial(ctx, "guest: waits for the button"))
	must(t, m.SetPower(ctx, simbmc.GracefulShutdown))
	until(t, "guest powers off", func() bool { on, _ := m.Power(ctx); return !on })
	if m.PID() != 0 {
		t.Error("QEMU runs on")
	}

	must(t, m.SetPower(ctx, simbmc.PowerOn))
	first := m.PID()
	must(t, m.SetPower(ctx, simbmc.ForceRestart))
	if second := m.PID(); second == 0 || second == first || alive(first) {
		t.Errorf("process %d after %d", second, first)
	}
	until(t, "guest waits again", func() bool { return count(t, m, "guest: waits for the button") == 2 })
	must(t, m.SetPower(ctx, simbmc.GracefulRestart))
	until(t, "guest is up a third time", func() bool { return count(t, m, "guest: waits for the button") == 3 })

	last := m.PID()
	must(t, m.SetPower(ctx, simbmc.ForceOff))
	if on, _ := m.Power(ctx); on || alive(last) {
		t.Errorf("on %v after ForceOff", on)
	}
	if o, _ := m.Boot(ctx); o.Enabled != simbmc.BootContinuous || o.Target != simbmc.BootPXE {
		t.Errorf("continuous override became %+v", o)
	}
}

// A process that is stopped does not answer, and is killed by its pid.
func TestForceOffOfHungQEMU(t *testing.T) {
	l := newLab(t)
	m := l.machine("m1", "idle", nil)
	ctx := bounded(t)
	must(t, m.SetPower(ctx, simbmc.PowerOn))
	pid := m.PID()
	must(t, syscall.Kill(pid, syscall.SIGSTOP))
	must(t, m.SetPower(ctx, simbmc.ForceOff))
	if alive(pid) {
		t.Error("QEMU lives on")
	}
}

// Disks and settings survive the lab; power does not.
func TestLabRestart(t *testing.T) {
	l := newLab(t)
	dir := filepath.Join(t.TempDir(), "kept")
	keep := func(c *vm.Config) { c.Dir = dir }
	m := l.machine("m1", "write", keep)
	ctx := bounded(t)
	must(t, m.SetBoot(ctx, once(simbmc.BootPXE, simbmc.ModeLegacy)))
	must(t, m.SetPower(ctx, simbmc.PowerOn))
	must(t, m.WaitSerial(ctx, "guest: written"))
	must(t, m.Close())
	before, err := m.WriteLog(0)
	must(t, err)

	again := l.machine("m1", "idle", keep)
	if on, _ := again.Power(ctx); on {
		t.Error("on without anybody asking")
	}
	after, err := again.WriteLog(0)
	must(t, err)
	if len(before) == 0 || fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("write log %v became %v", before, after)
	}
	must(t, again.SetPower(ctx, simbmc.PowerOn))
	until(t, "the disk boots", func() bool { return count(t, again, "DISK BOOT") > 0 })
	if strings.Contains(fmt.Sprint(os.ReadDir(dir)), "run1.log") {
		t.Error("the log of an ended run remains")
	}
}

func TestGuestPanic(t *testing.T) {
	l := newLab(t)
	m := l.machine("m1", "panic", nil)
	ctx := bounded(t)
	must(t, m.SetBoot(ctx, once(simbmc.BootPXE, "")))
	must(t, m.SetPower(ctx, simbmc.PowerOn))
	must(t, m.WaitSerial(ctx, "Kernel panic"))
	if on, _ := m.Power(ctx); !on {
		t.Error("a panic switched the machine off")
	}
}

// Virtual media: iPXE's own ISO prints its banner from the CD.
func TestVirtualMedia(t *testing.T) {
	l := newLab(t)
	iso, err := os.ReadFile("/usr/lib/ipxe/ipxe.iso")
	must(t, err)
	url := serve(t, l, iso)
	m := l.machine("m1", "idle", func(c *vm.Config) { c.NICs = nil })
	ctx := bounded(t)
	must(t, m.InsertMedia(ctx, url))
	must(t, m.SetBoot(ctx, once(simbmc.BootCD, simbmc.ModeLegacy)))
	must(t, m.SetPower(ctx, simbmc.PowerOn))
	must(t, m.WaitSerial(ctx, "ISOLINUX"))
	if got, in, _ := m.Media(ctx); !in || got != url {
		t.Errorf("media %q, %v", got, in)
	}
	must(t, m.InsertMedia(ctx, url)) // while it runs
	must(t, m.EjectMedia(ctx))
	must(t, m.EjectMedia(ctx))
	if _, in, _ := m.Media(ctx); in {
		t.Error("the disc is still in")
	}
}
