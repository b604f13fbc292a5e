package inventory

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	metal3v1alpha1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/api/agent"
)

// shelf is a machine with every kind of disk that the rules tell apart.
func shelf() []agent.Disk {
	return []agent.Disk{
		{Name: "/dev/sdc", Size: 16 * gibibyte, Removable: true, Vendor: "Kingston", Model: "DataTraveler", Serial: "K1"},
		{Name: "/dev/sdb", Size: 480 * gibibyte, Vendor: "ATA", Model: "SSDSC2KB48", Serial: "P2", HCTL: "0:0:1:0", WWN: "0x5000B2", WWNWithExtension: "0x5000b2aa", WWNVendorExtension: "0xaa"},
		{Name: "/dev/sda", Size: 480 * gibibyte, Vendor: "ATA", Model: "SSDSC2KB48", Serial: "P1", HCTL: "0:0:0:0", WWN: "0x5000b1", ByPath: "/dev/disk/by-path/pci-0-ata-1", AlternateNames: []string{"/dev/disk/by-id/ata-P1"}},
		{Name: "/dev/sdd", Size: 8000 * gibibyte, Rotational: true, Vendor: "SEAGATE", Model: "ST8000", Serial: "Z1"},
		{Name: "/dev/sde", Size: 2 * gibibyte, Vendor: "Dell", Model: "IDSDM", Serial: "D1"},
		{Name: "/dev/sdf", Size: 100 * gibibyte, ReadOnly: true, Model: "worn", Serial: "W1"},
		{Name: "/dev/sdg", Model: "card reader", Serial: "C1"},
	}
}

func TestChooseDisk(t *testing.T) {
	yes, no := true, false
	type hints = metal3v1alpha1.RootDeviceHints
	tests := []struct {
		name   string
		hints  *hints
		strict bool
		want   string
		reason string
		others []string
		code   string
	}{
		{name: "no hints: smallest fixed writable disk", want: "/dev/sda", reason: "no root device hints: smallest of 3 fixed disks"},
		{name: "hints without a value are none", hints: &hints{}, strict: true, want: "/dev/sda"},
		{name: "device name", hints: &hints{DeviceName: "/dev/sdb"}, want: "/dev/sdb", reason: "the only disk that matches deviceName /dev/sdb"},
		{name: "by-path link", hints: &hints{DeviceName: "/dev/disk/by-path/pci-0-ata-1"}, want: "/dev/sda"},
		{name: "by-id link", hints: &hints{DeviceName: "/dev/disk/by-id/ata-P1"}, want: "/dev/sda"},
		{name: "device name is exact", hints: &hints{DeviceName: "/dev/sd"}, code: CodeHintNone},
		{name: "hctl", hints: &hints{HCTL: "0:0:1:0"}, want: "/dev/sdb"},
		{name: "model is a part, in any case", hints: &hints{Model: "st8"}, want: "/dev/sdd"},
		{name: "vendor is a part, in any case", hints: &hints{Vendor: "seag"}, want: "/dev/sdd"},
		{name: "serial number, in any case", hints: &hints{SerialNumber: " p2 "}, want: "/dev/sdb"},
		{name: "serial number is no part", hints: &hints{SerialNumber: "P"}, code: CodeHintNone},
		{name: "wwn", hints: &hints{WWN: "0x5000b2"}, want: "/dev/sdb"},
		{name: "wwn with extension", hints: &hints{WWNWithExtension: "0x5000B2AA"}, want: "/dev/sdb"},
		{name: "wwn vendor extension", hints: &hints{WWNVendorExtension: "0xAA"}, want: "/dev/sdb"},
		{name: "size", hints: &hints{MinSizeGigabytes: 481}, want: "/dev/sdd"},
		{name: "size is at least", hints: &hints{MinSizeGigabytes: 8000}, want: "/dev/sdd"},
		{name: "size is in GiB", hints: &hints{MinSizeGigabytes: 8001}, code: CodeHintNone},
		{name: "rotational", hints: &hints{Rotational: &yes}, want: "/dev/sdd"},
		{name: "a small disk may be named", hints: &hints{SerialNumber: "D1"}, want: "/dev/sde"},
		{name: "a removable disk may be named", hints: &hints{SerialNumber: "K1"}, want: "/dev/sdc"},
		{name: "a removable disk is not met by chance", hints: &hints{Rotational: &no, MinSizeGigabytes: 10}, want: "/dev/sda", others: []string{"/dev/sdb"}},
		{name: "a read-only disk never", hints: &hints{SerialNumber: "W1"}, code: CodeHintNone},
		{name: "an empty slot never", hints: &hints{DeviceName: "/dev/sdg"}, code: CodeHintNone},
		{name: "all hints must hold", hints: &hints{Model: "SSDSC2KB48", SerialNumber: "Z1"}, code: CodeHintNone},
		{name: "several match", hints: &hints{Model: "SSDSC2KB48"}, want: "/dev/sda", reason: "smallest of 2 disks that match model SSDSC2KB48", others: []string{"/dev/sdb"}},
		{name: "several match, strict", hints: &hints{Model: "SSDSC2KB48"}, strict: true, code: CodeHintMany},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ChooseDisk(shelf(), tt.hints, tt.strict)
			var coded interface{ Code() string }
			if errors.As(err, &coded) != (tt.code != "") || (tt.code != "" && coded.Code() != tt.code) {
				t.Fatalf("error %v, want code %q", err, tt.code)
			}
			if got.Disk.Name != tt.want {
				t.Errorf("chose %q, want %q", got.Disk.Name, tt.want)
			}
			if tt.reason != "" && got.Reason != tt.reason {
				t.Errorf("reason %q, want %q", got.Reason, tt.reason)
			}
			var others []string
			for _, d := range got.Others {
				others = append(others, d.Name)
			}
			if diff := cmp.Diff(tt.others, others); diff != "" {
				t.Errorf("others (-want +got):\n%s", diff)
			}
		})
	}
}

func TestChooseDiskErrors(t *testing.T) {
	disks := shelf()[:3]
	_, err := ChooseDisk(disks, &metal3v1alpha1.RootDeviceHints{Model: "kb48", WWN: "0x9"}, false)
	want := "no disk will do: " +
		"/dev/sda (480.0 GiB, ATA SSDSC2KB48, P1): wwn 0x9 is wanted, it has 0x5000b1; " +
		"/dev/sdb (480.0 GiB, ATA SSDSC2KB48, P2): wwn 0x9 is wanted, it has 0x5000B2; " +
		"/dev/sdc (16.0 GiB, Kingston DataTraveler, K1): model kb48 is wanted, it has DataTraveler"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	_, err = ChooseDisk(disks, &metal3v1alpha1.RootDeviceHints{Model: "kb48"}, true)
	want = "2 disks match the root device hints: /dev/sda (480.0 GiB, ATA SSDSC2KB48, P1); " +
		"/dev/sdb (480.0 GiB, ATA SSDSC2KB48, P2); to name the first, add serialNumber: P1"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	_, err = ChooseDisk(nil, nil, false)
	if err == nil || err.Error() != "no disk was found in the machine" {
		t.Errorf("got %v", err)
	}
}
