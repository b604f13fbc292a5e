package inventory

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metal3v1alpha1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/api/agent"
)

// What a BMC tells without a boot becomes the same facts for Metal3 as what an
// agent tells. The files are what pkg/bmc/redfish reads from recorded trees.
func TestHardwareDetailsOutOfBand(t *testing.T) {
	for _, tt := range []struct {
		set  string
		want metal3v1alpha1.HardwareDetails
	}{
		{"dell-r750-idrac9", metal3v1alpha1.HardwareDetails{
			SystemVendor: metal3v1alpha1.HardwareSystemVendor{Manufacturer: "Dell Inc.", ProductName: "PowerEdge R750", SerialNumber: "F54P1G3"},
			Firmware:     metal3v1alpha1.Firmware{BIOS: metal3v1alpha1.BIOS{Date: "09/16/2022", Vendor: "Dell Inc.", Version: "1.8.2"}},
			RAMMebibytes: 512 << 10,
			CPU:          metal3v1alpha1.CPU{Arch: "x86_64", Model: "Intel(R) Xeon(R) Gold 6354 CPU @ 3.00GHz", ClockMegahertz: 4000, Count: 72},
			NIC: []metal3v1alpha1.NIC{
				{Name: "NIC.Embedded.1-1-1", MAC: "70:b5:e8:f0:52:dc"},
				{Name: "NIC.Embedded.2-1-1", MAC: "70:b5:e8:f0:52:dd"},
				{Name: "NIC.Integrated.1-1-1", MAC: "e4:3d:1a:13:27:f0"},
				{Name: "NIC.Integrated.1-2-1", MAC: "e4:3d:1a:13:27:f1"},
				{Name: "NIC.Slot.5-1", MAC: "b8:3f:d2:90:97:c4"},
			},
			Storage: []metal3v1alpha1.Storage{
				{Name: "Disk.Bay.0:Enclosure.Internal.0-1", Type: metal3v1alpha1.NVME, SizeBytes: 1920383410176, Vendor: "KIOXIA Corporation", Model: "Dell Ent NVMe CM6 RI 1.92TB", SerialNumber: "61X0A002TCD8"},
				{Name: "Disk.Bay.1:Enclosure.Internal.0-1", Type: metal3v1alpha1.NVME, SizeBytes: 1920383410176, Vendor: "KIOXIA Corporation", Model: "Dell Ent NVMe CM6 RI 1.92TB", SerialNumber: "61M0A08ZTCD8"},
				{Name: "Disk.Bay.2:Enclosure.Internal.0-1", Type: metal3v1alpha1.NVME, SizeBytes: 1920383410176, Vendor: "KIOXIA Corporation", Model: "Dell Ent NVMe CM6 RI 1.92TB", SerialNumber: "61P0A06CTCD8"},
			},
		}},
		{"hpe-dl360-gen12-ilo7", metal3v1alpha1.HardwareDetails{
			SystemVendor: metal3v1alpha1.HardwareSystemVendor{Manufacturer: "HPE", ProductName: "HPE ProLiant Compute DL360 Gen12 -- SIMULATED", SerialNumber: "3M1D2V13TW"},
			Firmware:     metal3v1alpha1.Firmware{BIOS: metal3v1alpha1.BIOS{Date: "05/22/2025", Vendor: "HPE", Version: "U68 v1.40 (05/22/2025)"}},
			RAMMebibytes: 256 << 10,
			CPU:          metal3v1alpha1.CPU{Arch: "x86_64", Model: "Intel(R) Xeon(R) 6517P", ClockMegahertz: 4000, Count: 64},
			NIC:          []metal3v1alpha1.NIC{{Name: "13", MAC: "58:a2:e1:48:93:ae"}, {Name: "14", MAC: "58:a2:e1:48:93:af"}},
			Storage: []metal3v1alpha1.Storage{
				{Name: "0", Type: metal3v1alpha1.SSD, SizeBytes: 1600321314816, Vendor: "HPE", Model: "MO001600PXVRU", SerialNumber: "5F90A0810UG3", WWN: "0x58ce38ee236e3840", WWNWithExtension: "0x58ce38ee236e3840"},
				{Name: "1", Type: metal3v1alpha1.SSD, SizeBytes: 1600321314816, Vendor: "HPE", Model: "MO001600PXVRU", SerialNumber: "5F90A08R0UG3", WWN: "0x58ce38ee236e38a0", WWNWithExtension: "0x58ce38ee236e38a0"},
			},
		}},
	} {
		t.Run(tt.set, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("..", "bmc", "redfish", "testdata", tt.set+".json"))
			if err != nil {
				t.Fatal(err)
			}
			var inv agent.Inventory
			if err := json.Unmarshal(data, &inv); err != nil {
				t.Fatal(err)
			}
			got := HardwareDetails(inv)
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(metal3v1alpha1.Storage{}, "AlternateNames"), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("details (-want +got):\n%s", diff)
			}
			// Hints by serial number and WWN choose the same disk as they will in-band.
			last := got.Storage[len(got.Storage)-1]
			c, err := ChooseDisk(inv.Disks, &metal3v1alpha1.RootDeviceHints{SerialNumber: last.SerialNumber, WWN: last.WWN}, true)
			if err != nil || c.Disk.Name != last.Name {
				t.Errorf("chosen %s, %v, want %s", c.Disk.Name, err, last.Name)
			}
		})
	}
}
