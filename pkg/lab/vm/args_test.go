package vm

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func testConfig(t *testing.T) Config {
	t.Helper()
	cfg, err := Config{
		Name: "m1", Dir: "/lab/m1", UUID: "6A8C5F9E-0000-4000-8000-000000000001", QEMU: "/bin/true",
		Model: "model, with a comma",
		NICs: []NIC{
			{MAC: "52:54:00:AA:00:01", Socket: "/lab/sw,1"},
			{MAC: "52:54:00:aa:00:02", Model: E1000e, Tap: "tap0"},
		},
		Disks: []Disk{
			{SizeBytes: 1 << 30},
			{Kind: Virtio, SizeBytes: 1 << 30, Serial: "VIRT1"},
			{Kind: SCSI, SizeBytes: 1 << 30, Serial: "SCSI1", WWN: "0x5000c500a0b1c2d3"},
		},
	}.complete()
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestArgv(t *testing.T) {
	over := func(target simbmc.BootTarget) simbmc.BootOverride {
		return simbmc.BootOverride{Target: target, Enabled: simbmc.BootOnce}
	}
	tests := []struct {
		name   string
		set    settings
		change func(*Config)
	}{
		{name: "bios-disk", set: settings{Mode: simbmc.ModeLegacy}},
		{name: "bios-pxe", set: settings{Mode: simbmc.ModeLegacy, Override: over(simbmc.BootPXE)}, change: func(c *Config) { c.NativePXE = true }},
		{name: "uefi-pxe", set: settings{Mode: simbmc.ModeUEFI, Override: over(simbmc.BootPXE)}},
		{name: "uefi-http", set: settings{Mode: simbmc.ModeUEFI, Override: over(simbmc.BootUEFIHTTP)}},
		{name: "uefi-cd", set: settings{Mode: simbmc.ModeUEFI, Override: over(simbmc.BootCD)}, change: func(c *Config) { c.NativePXE = true }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig(t)
			if tt.change != nil {
				tt.change(&cfg)
			}
			args := argv(cfg, tt.set.plan(), 7)
			var text strings.Builder
			for i, a := range args {
				sep := " "
				if i+1 == len(args) || strings.HasPrefix(args[i+1], "-") {
					sep = "\n"
				}
				fmt.Fprint(&text, a, sep)
			}
			golden(t, tt.name+".args", text.String())
		})
	}
}

func TestConfigRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
	}{
		{name: "name with a slash", change: func(c *Config) { c.Name = "../x" }},
		{name: "relative directory", change: func(c *Config) { c.Dir = "lab" }},
		{name: "no UUID", change: func(c *Config) { c.UUID = "" }},
		{name: "no memory to speak of", change: func(c *Config) { c.MemoryMiB = 1 }},
		{name: "group MAC", change: func(c *Config) { c.NICs[0].MAC = "01:00:00:00:00:01" }},
		{name: "unknown NIC", change: func(c *Config) { c.NICs[0].Model = "ne2k" }},
		{name: "NIC on nothing", change: func(c *Config) { c.NICs[0].Socket = "" }},
		{name: "NIC on both", change: func(c *Config) { c.NICs[0].Tap = "tap1" }},
		{name: "TAP with an option", change: func(c *Config) { c.NICs[1].Tap = "tap0,x" }},
		{name: "unknown disk", change: func(c *Config) { c.Disks[0].Kind = "floppy" }},
		{name: "half a sector", change: func(c *Config) { c.Disks[0].SizeBytes = 1<<20 + 1 }},
		{name: "long serial", change: func(c *Config) { c.Disks[0].Serial = strings.Repeat("x", 21) }},
		{name: "WWN of an NVMe", change: func(c *Config) { c.Disks[0].WWN = "0x5000c500a0b1c2d3" }},
		{name: "mode", change: func(c *Config) { c.Mode = "BIOS" }},
		{name: "no QEMU", change: func(c *Config) { c.QEMU = "/nonexistent/qemu" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig(t)
			tt.change(&cfg)
			if _, err := cfg.complete(); err == nil {
				t.Error("accepted")
			}
		})
	}
}
