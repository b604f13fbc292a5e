package inventory

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/api/agent"
)

var update = flag.Bool("update", false, "write testdata/ironic.json anew")

// The form of ironic-python-agent, key by key: clients read every one of them.
func TestIronic(t *testing.T) {
	inv := agent.Inventory{
		Vendor:   agent.Vendor{Manufacturer: "Dell Inc.", Product: "R750", Serial: "CN1"},
		Firmware: agent.Firmware{Mode: agent.FirmwareUEFI, Vendor: "Dell", Version: "1.2", Date: "01/02/2026"},
		CPU:      agent.CPU{Arch: "x86_64", Model: "Xeon", MHz: 3500, Sockets: 2, Cores: 32, Threads: 64, Flags: []string{"aes", "avx"}},
		Memory:   agent.Memory{Physical: 64 << 30, Usable: 63 << 30},
		Disks: []agent.Disk{{
			Name: "/dev/nvme0n1", ByPath: "/dev/disk/by-path/p1", Type: agent.DiskNVMe, Size: 1 << 40, SectorSize: 512, PhysSectorSize: 4096,
			Vendor: "Intel", Model: "P5510", Serial: "S1", WWN: "eui.1", WWNWithExtension: "eui.1x", WWNVendorExtension: "x", HCTL: "0:0:0:0", Bus: "nvme",
		}},
		NICs: []agent.NIC{
			{
				Name: "eth0", MAC: "52:54:00:00:00:01", Addresses: []string{"192.0.2.7/24", "2001:db8::7/64", "192.0.2.8/24", "nonsense"}, Link: true,
				SpeedMbps: 25000, Driver: "ice", Vendor: "0x8086", Product: "0x1592", PCIAddress: "0000:65:00.0", PXE: true,
			},
			{Name: "eth1", MAC: "52:54:00:00:00:02"},
		},
		Hostname: "m1",
	}
	got, err := json.MarshalIndent(Ironic(inv, "192.0.2.3"), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	golden := filepath.Join("testdata", "ironic.json")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}

	// Of nothing, nothing is made up, and no list is null.
	empty, err := json.Marshal(Ironic(agent.Inventory{}, "bmc.example"))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"interfaces":[]`, `"disks":[]`, `"flags":[]`, `"bmc_address":null`, `"bmc_v6address":null`, `"all_interfaces":{}`, `"parsed_lldp":{}`, `"current_boot_mode":null`} {
		if !strings.Contains(string(empty), part) {
			t.Errorf("no %s in %s", part, empty)
		}
	}
	if v6 := Ironic(agent.Inventory{}, "2001:db8::1").Inventory; v6.BMCAddress != nil || v6.BMCv6Address == nil || *v6.BMCv6Address != "2001:db8::1" {
		t.Errorf("%v %v", v6.BMCAddress, v6.BMCv6Address)
	}
}
