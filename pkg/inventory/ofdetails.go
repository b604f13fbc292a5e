package inventory

import (
	"strings"

	metal3v1alpha1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/api/agent"
)

// OfDetails is what HardwareDetails kept of an inventory.
func OfDetails(hw metal3v1alpha1.HardwareDetails) agent.Inventory {
	inv := agent.Inventory{
		Vendor: agent.Vendor{
			Manufacturer: hw.SystemVendor.Manufacturer, Product: hw.SystemVendor.ProductName, Serial: hw.SystemVendor.SerialNumber,
		},
		Firmware: agent.Firmware{Date: hw.Firmware.BIOS.Date, Vendor: hw.Firmware.BIOS.Vendor, Version: hw.Firmware.BIOS.Version},
		CPU: agent.CPU{
			Arch: hw.CPU.Arch, Model: hw.CPU.Model, MHz: int(hw.CPU.ClockMegahertz / metal3v1alpha1.MegaHertz),
			Threads: hw.CPU.Count, Flags: hw.CPU.Flags,
		},
		Memory:   agent.Memory{Physical: int64(hw.RAMMebibytes) * mebibyte},
		Hostname: hw.Hostname,
	}
	for _, s := range hw.Storage {
		inv.Disks = append(inv.Disks, disk(s))
	}
	for _, n := range hw.NIC {
		// A dual-stack interface has two entries, one after the other.
		if last := len(inv.NICs) - 1; last >= 0 && inv.NICs[last].Name == n.Name && inv.NICs[last].MAC == n.MAC {
			inv.NICs[last].Addresses = append(inv.NICs[last].Addresses, n.IP)
			continue
		}
		nic := agent.NIC{Name: n.Name, MAC: n.MAC, SpeedMbps: n.SpeedGbps * 1000, PCIAddress: n.PCIAddress, PXE: n.PXE}
		nic.Product = n.Model
		if vendor, product, two := strings.Cut(n.Model, " "); two && strings.HasPrefix(vendor, "0x") {
			nic.Vendor, nic.Product = vendor, product // PCI ids; a BMC names both in words
		}
		if n.IP != "" {
			nic.Addresses = []string{n.IP}
		}
		inv.NICs = append(inv.NICs, nic)
	}
	return inv
}

// disk has the device's own name where a path is shown as its name.
func disk(s metal3v1alpha1.Storage) agent.Disk {
	d := agent.Disk{
		Name: s.Name, AlternateNames: s.AlternateNames, Type: string(s.Type), Size: int64(s.SizeBytes), Rotational: s.Rotational, Vendor: s.Vendor, Model: s.Model,
		Serial: s.SerialNumber, WWN: s.WWN, WWNWithExtension: s.WWNWithExtension, WWNVendorExtension: s.WWNVendorExtension, HCTL: s.HCTL,
	}
	if strings.HasPrefix(s.Name, "/dev/disk/by-path/") {
		d.ByPath = s.Name
		for _, other := range s.AlternateNames {
			if !strings.HasPrefix(other, "/dev/disk/") {
				d.Name = other
				break
			}
		}
	}
	return d
}
