package inspect

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/agent/raid"
	api "github.com/ingot-metal/ingot/api/agent"
)

// tree makes files, and links where the text begins with "-> ".
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if len(text) > 3 && text[:3] == "-> " {
			err = os.Symlink(filepath.Join(root, text[3:]), path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// Devices as QEMU 7.2 shows them under Linux 6.1 (cloud kernel of Debian 12),
// and their attributes, taken from /sys of a lab machine.
func TestDisk(t *testing.T) {
	for _, tc := range []struct {
		name, disk string
		files      map[string]string
		want       *api.Disk
	}{
		{name: "nvme", disk: "nvme0n1", files: map[string]string{
			"block/nvme0n1": "-> devices/pci0000:00/0000:00:01.0/nvme/nvme0/nvme0n1",
			"devices/pci0000:00/0000:00:01.0/nvme/nvme0/nvme0n1/size":                  "4194304\n",
			"devices/pci0000:00/0000:00:01.0/nvme/nvme0/nvme0n1/wwid":                  "nvme.1b36-4e564d4531-51454d55204e564d65204374726c-00000001\n",
			"devices/pci0000:00/0000:00:01.0/nvme/nvme0/nvme0n1/device/serial":         "NVME1               \n",
			"devices/pci0000:00/0000:00:01.0/nvme/nvme0/nvme0n1/device/model":          "QEMU NVMe Ctrl                          \n",
			"devices/pci0000:00/0000:00:01.0/nvme/nvme0/nvme0n1/device/firmware_rev":   "7.2.22  \n",
			"devices/pci0000:00/0000:00:01.0/nvme/nvme0/nvme0n1/nvme0n1p1/holders/md0": "",
		}, want: &api.Disk{
			Name: "/dev/nvme0n1", Type: api.DiskNVMe, Bus: "nvme", Size: 2 << 30, SectorSize: 512, PhysSectorSize: 512,
			Serial: "NVME1", Model: "QEMU NVMe Ctrl", Firmware: "7.2.22", PCIAddress: "0000:00:01.0", Holders: []string{"md0"},
			ByPath: "/dev/disk/by-path/pci-0000:00:01.0-nvme-1", AlternateNames: []string{"/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_NVME1"},
		}},
		{name: "virtio-blk says rotational and has no model", disk: "vda", files: map[string]string{
			"block/vda": "-> devices/pci0000:00/0000:00:03.0/virtio1/block/vda",
			"devices/pci0000:00/0000:00:03.0/virtio1/block/vda/size":             "2048\n",
			"devices/pci0000:00/0000:00:03.0/virtio1/block/vda/serial":           "V1",
			"devices/pci0000:00/0000:00:03.0/virtio1/block/vda/queue/rotational": "1\n",
			"devices/pci0000:00/0000:00:03.0/virtio1/block/vda/device/vendor":    "0x1af4\n",
		}, want: &api.Disk{
			Name: "/dev/vda", Type: api.DiskSSD, Bus: "virtio", Size: 1 << 20, SectorSize: 512, PhysSectorSize: 512, Rotational: true,
			Serial: "V1", PCIAddress: "0000:00:03.0", ByPath: "/dev/disk/by-path/pci-0000:00:03.0",
			AlternateNames: []string{"/dev/disk/by-path/virtio-pci-0000:00:03.0", "/dev/disk/by-id/virtio-V1"},
		}},
		{name: "scsi with its serial in VPD page 80h", disk: "sda", files: map[string]string{
			"block/sda": "-> devices/pci0000:00/0000:00:04.0/virtio2/host0/target0:0:1/0:0:1:0/block/sda",
			"devices/pci0000:00/0000:00:04.0/virtio2/host0/target0:0:1/0:0:1:0/block/sda/size":             "2048\n",
			"devices/pci0000:00/0000:00:04.0/virtio2/host0/target0:0:1/0:0:1:0/block/sda/queue/rotational": "1\n",
			"devices/pci0000:00/0000:00:04.0/virtio2/host0/target0:0:1/0:0:1:0/block/sda/device/vendor":    "QEMU    \n",
			"devices/pci0000:00/0000:00:04.0/virtio2/host0/target0:0:1/0:0:1:0/block/sda/device/wwid":      "naa.60014051234567890123456789abcdef\n",
			"devices/pci0000:00/0000:00:04.0/virtio2/host0/target0:0:1/0:0:1:0/block/sda/device/vpd_pg80":  "\x00\x80\x00\x03S80",
		}, want: &api.Disk{
			Name: "/dev/sda", Type: api.DiskHDD, Bus: "scsi", HCTL: "0:0:1:0", Size: 1 << 20, SectorSize: 512, PhysSectorSize: 512, Rotational: true,
			Vendor: "QEMU", Serial: "S80", WWN: "0x6001405123456789", WWNVendorExtension: "0123456789abcdef", WWNWithExtension: "0x60014051234567890123456789abcdef",
			PCIAddress: "0000:00:04.0", ByPath: "/dev/disk/by-path/pci-0000:00:04.0-scsi-0:0:1:0",
			AlternateNames: []string{"/dev/disk/by-id/wwn-0x60014051234567890123456789abcdef"},
		}},
		{name: "loop", disk: "loop0", files: map[string]string{
			"block/loop0": "-> devices/virtual/block/loop0", "devices/virtual/block/loop0/size": "2048\n",
		}},
		{name: "empty reader", disk: "sdb", files: map[string]string{
			"block/sdb": "-> devices/x/sdb", "devices/x/sdb/size": "0\n",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &Collector{Sys: tree(t, tc.files)}
			got, ok := c.Disk(tc.disk)
			if ok != (tc.want != nil) {
				t.Fatalf("found %v", ok)
			}
			if tc.want != nil {
				if diff := cmp.Diff(*tc.want, got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// An array is a disk; other stacked devices are none.
func TestArray(t *testing.T) {
	c := &Collector{
		Sys: tree(t, map[string]string{
			"block/md0": "-> devices/virtual/block/md0", "devices/virtual/block/md0/size": "4096\n",
			"block/md1": "-> devices/virtual/block/md1", "devices/virtual/block/md1/size": "4096\n",
		}),
		Array: func(name string) (raid.Array, bool) {
			return raid.Array{Name: "root", UUID: "00112233445566778899aabbccddeeff", Level: 1}, name == "md0"
		},
	}
	got, ok := c.Disk("md0")
	want := api.Disk{
		Name: "/dev/md0", Type: api.DiskSSD, Bus: api.BusMD, Size: 2 << 20, SectorSize: 512, PhysSectorSize: 512,
		Serial: "00112233445566778899aabbccddeeff", Model: "Linux software RAID 1",
		AlternateNames: []string{"/dev/md/root", "/dev/disk/by-id/md-uuid-00112233:44556677:8899aabb:ccddeeff"},
	}
	if diff := cmp.Diff(want, got); diff != "" || !ok {
		t.Error(ok, diff)
	}
	if got, ok := c.Disk("md1"); ok {
		t.Errorf("%+v", got)
	}
}

// This very machine, whatever it is: nothing hangs, nothing panics, and what
// every machine has is there.
func TestHere(t *testing.T) {
	c := Here("")
	c.Live = false
	inv, err := c.Inventory(t.Context(), func(int64, int64, string, string) {})
	if err != nil {
		t.Fatal(err)
	}
	if inv.CPU.Threads == 0 || inv.Memory.Usable == 0 || inv.Firmware.Mode == "" {
		t.Errorf("got %+v %+v %+v", inv.CPU, inv.Memory, inv.Firmware)
	}
}

// A collector that hangs or panics is named, and the others are not lost.
func TestSkipped(t *testing.T) {
	c := &Collector{Limit: time.Millisecond}
	var inv api.Inventory
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	c.run(t.Context(), "slow", func() (func(*api.Inventory), error) { <-release; return nil, nil }, &inv)
	c.Limit = time.Minute
	c.run(t.Context(), "bad", func() (func(*api.Inventory), error) { panic("x") }, &inv)
	want := []api.Skipped{{What: "slow", Reason: "did not answer in time"}, {What: "bad", Reason: "panic: x"}}
	if diff := cmp.Diff(want, inv.Skipped); diff != "" {
		t.Error(diff)
	}
}

func FuzzModules(f *testing.F) {
	f.Add([]byte{17, 34, 0, 17, 0, 0, 0, 0, 64, 0, 64, 0, 0xff, 0x7f, 9, 0, 1, 0, 0x1a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 'D', 0, 0, 127, 4, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		mods, err := decodeModules(b)
		if err != nil && mods != nil {
			t.Error("modules beside an error")
		}
	})
}
