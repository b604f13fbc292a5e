package inventory

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metal3v1alpha1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/api/agent"
)

// sample has what the mapping treats specially: two families, no address, a
// by-path link, unsorted lists.
func sample() agent.Inventory {
	return agent.Inventory{
		Vendor:   agent.Vendor{Manufacturer: "Dell Inc.", Product: "PowerEdge R640", Serial: "ABC1234"},
		Firmware: agent.Firmware{Mode: agent.FirmwareUEFI, Vendor: "Dell Inc.", Version: "2.19.1", Date: "06/04/2023"},
		CPU:      agent.CPU{Arch: "x86_64", Model: "Xeon", MHz: 3900, Sockets: 2, Cores: 32, Threads: 64, Flags: []string{"sse2", "aes"}},
		Memory:   agent.Memory{Physical: 512 * gibibyte, Usable: 503 * gibibyte},
		Disks: []agent.Disk{
			{Name: "/dev/sdb", Size: 2 << 40, Rotational: true, Type: agent.DiskHDD, HCTL: "0:0:1:0", Serial: "Z1"},
			{Name: "/dev/nvme0n1", ByPath: "/dev/disk/by-path/pci-0000:01:00.0-nvme-1", AlternateNames: []string{"/dev/disk/by-id/nvme-x"}, Size: 1 << 40, Type: agent.DiskNVMe, Model: "PM983", Serial: "S1", WWN: "eui.1"},
		},
		NICs: []agent.NIC{
			{Name: "eno2", MAC: "52:54:00:AA:00:02", Vendor: "0x8086", Product: "0x1572"},
			{Name: "eno1", MAC: "52:54:00:aa:00:01", Vendor: "0x8086", Product: "0x1572", SpeedMbps: 25000, PXE: true, PCIAddress: "0000:3b:00.0", Addresses: []string{"fe80::1/64", "192.0.2.7/24", "2001:db8::7/64", "192.0.2.8"}},
		},
		Hostname: "localhost",
	}
}

func TestHardwareDetails(t *testing.T) {
	want := metal3v1alpha1.HardwareDetails{
		SystemVendor: metal3v1alpha1.HardwareSystemVendor{Manufacturer: "Dell Inc.", ProductName: "PowerEdge R640", SerialNumber: "ABC1234"},
		Firmware:     metal3v1alpha1.Firmware{BIOS: metal3v1alpha1.BIOS{Date: "06/04/2023", Vendor: "Dell Inc.", Version: "2.19.1"}},
		RAMMebibytes: 524288,
		NIC: []metal3v1alpha1.NIC{
			{Name: "eno1", Model: "0x8086 0x1572", MAC: "52:54:00:aa:00:01", IP: "192.0.2.7", SpeedGbps: 25, PXE: true, PCIAddress: "0000:3b:00.0"},
			{Name: "eno1", Model: "0x8086 0x1572", MAC: "52:54:00:aa:00:01", IP: "2001:db8::7", SpeedGbps: 25, PXE: true, PCIAddress: "0000:3b:00.0"},
			{Name: "eno2", Model: "0x8086 0x1572", MAC: "52:54:00:aa:00:02"},
		},
		Storage: []metal3v1alpha1.Storage{
			{
				Name:           "/dev/disk/by-path/pci-0000:01:00.0-nvme-1",
				AlternateNames: []string{"/dev/nvme0n1", "/dev/disk/by-path/pci-0000:01:00.0-nvme-1", "/dev/disk/by-id/nvme-x"},
				Type:           metal3v1alpha1.NVME, SizeBytes: 1 << 40, Model: "PM983", SerialNumber: "S1", WWN: "eui.1",
			},
			{Name: "/dev/sdb", AlternateNames: []string{"/dev/sdb"}, Rotational: true, Type: metal3v1alpha1.HDD, SizeBytes: 2 << 40, HCTL: "0:0:1:0", SerialNumber: "Z1"},
		},
		CPU:      metal3v1alpha1.CPU{Arch: "x86_64", Model: "Xeon", ClockMegahertz: 3900, Flags: []string{"aes", "sse2"}, Count: 64},
		Hostname: "localhost",
	}
	in := sample()
	if diff := cmp.Diff(want, HardwareDetails(in)); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(sample(), in); diff != "" {
		t.Errorf("the argument was changed:\n%s", diff)
	}
}

// All that the host says of a machine comes back.
func TestOfDetails(t *testing.T) {
	named := sample()
	named.NICs[0].Vendor, named.NICs[0].Product = "", "Intel(R) X710 10GbE"
	for name, inv := range map[string]agent.Inventory{"an agent's": sample(), "a BMC's": named, "none": {}} {
		want := HardwareDetails(inv)
		back := OfDetails(want)
		if diff := cmp.Diff(want, HardwareDetails(back)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		for i, d := range sortedDisks(inv.Disks) {
			if got := sortedDisks(back.Disks)[i]; got.Name != d.Name || got.ByPath != d.ByPath {
				t.Errorf("%s: disk %s at %q is %s at %q", name, d.Name, d.ByPath, got.Name, got.ByPath)
			}
		}
		for _, n := range back.NICs {
			if n.Name == "eno1" && (n.Vendor != "0x8086" || n.Product != "0x1572" || len(n.Addresses) != 2) {
				t.Errorf("%s: %+v", name, n)
			}
		}
	}
}

func TestCheck(t *testing.T) {
	many := func(n int) []string { return make([]string, n) }
	tests := []struct {
		name   string
		change func(*agent.Inventory)
		want   string // part of the error; empty: believed
	}{
		{"sample", func(*agent.Inventory) {}, ""},
		{"empty", func(i *agent.Inventory) { *i = agent.Inventory{} }, ""},
		{"cciss name", func(i *agent.Inventory) { i.Disks[0].Name = "/dev/cciss/c0d0" }, ""},
		{"long string", func(i *agent.Inventory) { i.Vendor.Serial = strings.Repeat("x", 1025) }, "inventory.vendor.serial has 1025 bytes"},
		{"long string deep down", func(i *agent.Inventory) { i.Disks[1].AlternateNames[0] = strings.Repeat("x", 1025) }, "inventory.disks[1].alternateNames[0] has"},
		{"not UTF-8", func(i *agent.Inventory) { i.CPU.Model = "\xff" }, "inventory.cpu.model is not UTF-8"},
		{"flags", func(i *agent.Inventory) { i.CPU.Flags = many(5000) }, "inventory.cpu.flags has 5000 entries"},
		{"disks", func(i *agent.Inventory) { i.Disks = make([]agent.Disk, 2000) }, "inventory.disks has 2000"},
		{"disk outside of /dev", func(i *agent.Inventory) { i.Disks[0].Name = "/dev/../etc/passwd" }, "is no device"},
		{"disk without a name", func(i *agent.Inventory) { i.Disks[0].Name = "" }, "is no device"},
		{"disk twice", func(i *agent.Inventory) { i.Disks[0].Name = i.Disks[1].Name }, "is there twice"},
		{"negative disk", func(i *agent.Inventory) { i.Disks[0].Size = -1 }, "negative size"},
		{"links", func(i *agent.Inventory) { i.Disks[0].AlternateNames = many(200) }, "more than 128"},
		{"MAC", func(i *agent.Inventory) { i.NICs[0].MAC = "52:54" }, `inventory.nics[0].mac "52:54"`},
		{"InfiniBand MAC", func(i *agent.Inventory) { i.NICs[0].MAC = "00:00:00:00:fe:80:00:00" }, "no Ethernet address"},
		{"address", func(i *agent.Inventory) { i.NICs[1].Addresses[0] = "::g" }, "no IP address"},
		{"interface with a blank", func(i *agent.Inventory) { i.NICs[0].Name = "eth 0" }, "is no interface"},
		{"interface twice", func(i *agent.Inventory) { i.NICs[0].Name = "eno1" }, "is there twice"},
		{"firmware mode", func(i *agent.Inventory) { i.Firmware.Mode = "efi" }, "neither bios nor uefi"},
		{"threads", func(i *agent.Inventory) { i.CPU.Threads = -4 }, "impossible number -4"},
		{"memory", func(i *agent.Inventory) { i.Memory.Physical = -4 }, "negative"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inv := sample()
			tt.change(&inv)
			err := Check(inv)
			if tt.want == "" && err != nil {
				t.Errorf("refused: %v", err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestClean(t *testing.T) {
	inv := sample()
	inv.Vendor.Serial = " ABC\x001234\n"
	inv.Disks[0].Model = "\x1b[31mEvil"
	inv.CPU.Flags[0] = "sse2\u202e"
	inv.Disks[0].Health = &agent.Health{}
	Clean(&inv)
	got := []string{inv.Vendor.Serial, inv.Disks[0].Model, inv.CPU.Flags[0]}
	if diff := cmp.Diff([]string{"ABC1234", "[31mEvil", "sse2"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestDiff(t *testing.T) {
	before, after := sample(), sample()
	after.Disks[0].Name, after.Disks[1].Name = "/dev/sdc", "/dev/nvme1n1" // renamed: no change
	after.NICs[0].MAC = strings.ToLower(after.NICs[0].MAC)
	if c := Diff(before, after); !c.Empty() || c.Lines() != nil {
		t.Errorf("change %v of what did not change", c.Lines())
	}
	after.Disks[0].Serial = "Z2"
	after.NICs = after.NICs[1:]
	after.Disks = append(after.Disks, agent.Disk{Name: "/dev/vda", Size: gibibyte})
	want := []string{
		"- disk /dev/sdb (2048.0 GiB, Z1)",
		"+ disk /dev/sdc (2048.0 GiB, Z2)",
		"+ disk /dev/vda (1.0 GiB)",
		"- nic eno2 52:54:00:AA:00:02",
	}
	if diff := cmp.Diff(want, Diff(before, after).Lines()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// What passes Check must never upset what comes after it.
func FuzzInventory(f *testing.F) {
	good, err := json.Marshal(sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"disks":[{"name":"/dev/sda","size":9223372036854775807,"numaNode":-1}],"nics":[{"name":"e","mac":"52-54-00-00-00-01","addresses":["::ffff:1.2.3.4","fe80::1%e"]}]}`))
	f.Add([]byte(`{"vendor":{"serial":"\u0000\ud800"},"memory":{"physical":9223372036854775807}}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var inv agent.Inventory
		if json.Unmarshal(b, &inv) != nil || Check(inv) != nil {
			return
		}
		Clean(&inv)
		d := HardwareDetails(inv)
		if _, err := json.Marshal(d); err != nil {
			t.Fatal(err)
		}
		if len(d.Storage) != len(inv.Disks) || len(d.NIC) < len(inv.NICs) {
			t.Fatalf("%d disks and %d NICs became %d and %d", len(inv.Disks), len(inv.NICs), len(d.Storage), len(d.NIC))
		}
		if c, err := ChooseDisk(inv.Disks, nil, false); err == nil && c.Disk.Size < minDefaultDisk {
			t.Fatalf("chose %+v", c.Disk)
		}
		if !Diff(inv, inv).Empty() {
			t.Fatal("differs from itself")
		}
	})
}

func BenchmarkChooseDisk(b *testing.B) {
	var disks []agent.Disk
	for i := range 100 {
		disks = append(disks, agent.Disk{Name: fmt.Sprintf("/dev/sd%03d", i), Size: 4 << 40, Model: "ST4000", Serial: fmt.Sprintf("Z%03d", i)})
	}
	hints := &metal3v1alpha1.RootDeviceHints{SerialNumber: "Z077", MinSizeGigabytes: 100}
	for b.Loop() {
		if _, err := ChooseDisk(disks, hints, true); err != nil {
			b.Fatal(err)
		}
	}
}

// What a BMC told has names that no kernel gave. Bounds are the same.
func TestCheckBMC(t *testing.T) {
	inv := func() agent.Inventory {
		return agent.Inventory{
			Disks: []agent.Disk{{Name: "Disk.Bay.0:Enclosure 1", Size: 1}}, NICs: []agent.NIC{{Name: "Port 1", MAC: "52:54:00:12:34:56"}},
		}
	}
	if err := CheckBMC(inv()); err != nil {
		t.Error(err)
	}
	if Check(inv()) == nil {
		t.Error("an agent may name a bay")
	}
	for name, change := range map[string]func(*agent.Inventory){
		"a device":          func(i *agent.Inventory) { i.Disks[0].Name = "/dev/sda" },
		"no name":           func(i *agent.Inventory) { i.Disks[0].Name = "" },
		"a long name":       func(i *agent.Inventory) { i.Disks[0].Name = strings.Repeat("x", maxLabel+1) },
		"a control":         func(i *agent.Inventory) { i.NICs[0].Name = "a\x1b[2J" },
		"no MAC":            func(i *agent.Inventory) { i.NICs[0].MAC = "" },
		"many disks":        func(i *agent.Inventory) { i.Disks = make([]agent.Disk, maxDisks+1) },
		"many accelerators": func(i *agent.Inventory) { i.Accelerators = make([]agent.Accelerator, maxList+1) },
		"a negative size":   func(i *agent.Inventory) { i.Disks[0].Size = -1 },
	} {
		i := inv()
		change(&i)
		if CheckBMC(i) == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
