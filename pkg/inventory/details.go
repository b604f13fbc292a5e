package inventory

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	metal3v1alpha1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/api/agent"
)

const mebibyte = 1 << 20

// HardwareDetails renders an inventory as BareMetalHost's status.hardware and
// HardwareData show it, field by field as the baremetal-operator maps Ironic's
// inventory, since CAPM3 takes node addresses and MACs from there.
func HardwareDetails(inv agent.Inventory) metal3v1alpha1.HardwareDetails {
	return metal3v1alpha1.HardwareDetails{
		SystemVendor: metal3v1alpha1.HardwareSystemVendor{
			Manufacturer: inv.Vendor.Manufacturer,
			ProductName:  inv.Vendor.Product,
			SerialNumber: inv.Vendor.Serial,
		},
		Firmware: metal3v1alpha1.Firmware{BIOS: metal3v1alpha1.BIOS{
			Date:    inv.Firmware.Date,
			Vendor:  inv.Firmware.Vendor,
			Version: inv.Firmware.Version,
		}},
		RAMMebibytes: int(inv.Memory.Physical / mebibyte),
		NIC:          nics(inv.NICs),
		Storage:      storage(inv.Disks),
		CPU: metal3v1alpha1.CPU{
			Arch:           inv.CPU.Arch,
			Model:          inv.CPU.Model,
			ClockMegahertz: metal3v1alpha1.ClockSpeed(inv.CPU.MHz) * metal3v1alpha1.MegaHertz,
			Flags:          slices.Sorted(slices.Values(inv.CPU.Flags)),
			Count:          cmp.Or(inv.CPU.Threads, inv.CPU.Cores),
		},
		Hostname: inv.Hostname,
	}
}

// nics yields one entry per address family: two for a dual-stack interface, one
// without an address for an interface that has none.
func nics(in []agent.NIC) []metal3v1alpha1.NIC {
	sorted := slices.SortedStableFunc(slices.Values(in), func(a, b agent.NIC) int { return cmp.Compare(a.Name, b.Name) })
	var out []metal3v1alpha1.NIC
	for _, n := range sorted {
		entry := metal3v1alpha1.NIC{
			Name:       n.Name,
			Model:      strings.TrimSpace(n.Vendor + " " + n.Product),
			MAC:        strings.ToLower(n.MAC),
			SpeedGbps:  n.SpeedMbps / 1000,
			PXE:        n.PXE,
			PCIAddress: n.PCIAddress,
		}
		v4, v6 := addresses(n.Addresses)
		if v4 != "" || v6 == "" {
			entry.IP = v4
			out = append(out, entry)
		}
		if v6 != "" {
			entry.IP = v6
			out = append(out, entry)
		}
	}
	return out
}

// addresses picks the first usable address of each family. Link-local ones are
// left out: CAPM3 publishes these as the machine's InternalIP.
func addresses(in []string) (v4, v6 string) {
	for _, s := range in {
		a, err := parseAddr(s)
		if err != nil {
			continue
		}
		a = a.Unmap().WithZone("")
		if !a.IsGlobalUnicast() || a.IsLinkLocalUnicast() || a == netip.IPv4Unspecified() {
			continue
		}
		if a.Is4() && v4 == "" {
			v4 = a.String()
		} else if a.Is6() && v6 == "" {
			v6 = a.String()
		}
	}
	return v4, v6
}

func storage(in []agent.Disk) []metal3v1alpha1.Storage {
	out := make([]metal3v1alpha1.Storage, 0, len(in))
	for _, d := range sortedDisks(in) {
		name, alternates := d.Name, []string{d.Name}
		if d.ByPath != "" {
			name = d.ByPath
			alternates = append(alternates, d.ByPath)
		}
		for _, a := range slices.Sorted(slices.Values(d.AlternateNames)) {
			if !slices.Contains(alternates, a) {
				alternates = append(alternates, a)
			}
		}
		out = append(out, metal3v1alpha1.Storage{
			Name:               name,
			AlternateNames:     alternates,
			Rotational:         d.Rotational,
			Type:               diskType(d),
			SizeBytes:          metal3v1alpha1.Capacity(d.Size),
			Vendor:             d.Vendor,
			Model:              d.Model,
			SerialNumber:       d.Serial,
			WWN:                d.WWN,
			WWNVendorExtension: d.WWNVendorExtension,
			WWNWithExtension:   d.WWNWithExtension,
			HCTL:               d.HCTL,
		})
	}
	return out
}

// diskType is the baremetal-operator's rule, so that one disk has one type
// whoever inspected it.
func diskType(d agent.Disk) metal3v1alpha1.DiskType {
	switch {
	case d.Rotational:
		return metal3v1alpha1.HDD
	case strings.HasPrefix(d.Name, "/dev/nvme"), d.Type == agent.DiskNVMe && !strings.HasPrefix(d.Name, "/dev/"):
		return metal3v1alpha1.NVME // a BMC names bays, not devices
	default:
		return metal3v1alpha1.SSD
	}
}

func sortedDisks(in []agent.Disk) []agent.Disk {
	return slices.SortedStableFunc(slices.Values(in), func(a, b agent.Disk) int { return cmp.Compare(a.Name, b.Name) })
}
