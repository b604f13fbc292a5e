package inventory

import (
	"net/netip"
	"strconv"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/api/ironic"
)

// Ironic renders an inventory as Ironic's REST API shows it: in the form of
// ironic-python-agent, with what Ironic's hooks make of it. bmcHost is the host of the
// BMC's address, which is shown if it is an IP.
//
// Our agent listens to no LLDP, so nothing is parsed of it.
func Ironic(inv agent.Inventory, bmcHost string) ironic.Introspection {
	out := ironic.Inventory{
		Interfaces: []ironic.Interface{}, Disks: []ironic.Disk{},
		CPU: ironic.CPU{
			ModelName: known(inv.CPU.Model), Count: inv.CPU.Threads, Architecture: inv.CPU.Arch,
			Flags: append([]string{}, inv.CPU.Flags...), SocketCount: known(inv.CPU.Sockets),
		},
		Memory: ironic.Memory{Total: inv.Memory.Usable, PhysicalMB: inv.Memory.Physical >> 20},
		SystemVendor: ironic.SystemVendor{
			ProductName: inv.Vendor.Product, SerialNumber: inv.Vendor.Serial, Manufacturer: inv.Vendor.Manufacturer,
			Firmware: ironic.Firmware{Vendor: inv.Firmware.Vendor, Version: inv.Firmware.Version, BuildDate: inv.Firmware.Date},
		},
		Boot:     ironic.BootInfo{CurrentBootMode: known(inv.Firmware.Mode)},
		Hostname: known(inv.Hostname),
	}
	if inv.CPU.MHz != 0 {
		out.CPU.Frequency = known(strconv.Itoa(inv.CPU.MHz))
	}
	if ip, err := netip.ParseAddr(bmcHost); err == nil {
		if ip.Unmap().Is4() {
			out.BMCAddress = known(ip.Unmap().String())
		} else {
			out.BMCv6Address = known(ip.String())
		}
	}
	data := ironic.PluginData{AllInterfaces: map[string]ironic.InspectedInterface{}, ParsedLLDP: map[string]ironic.LLDP{}, MACs: []string{}}
	for _, n := range inv.NICs {
		i := nic(n)
		out.Interfaces = append(out.Interfaces, i)
		data.AllInterfaces[n.Name] = ironic.InspectedInterface{Interface: i, PXEEnabled: n.PXE}
		data.MACs = append(data.MACs, n.MAC)
		if n.PXE {
			out.Boot.PXEInterface, data.BootInterface = known(n.MAC), known(n.MAC)
		}
	}
	for _, d := range inv.Disks {
		out.Disks = append(out.Disks, ironic.Disk{
			Name: d.Name, Model: known(d.Model), Size: d.Size, Rotational: d.Rotational, WWN: known(d.WWN),
			Serial: known(d.Serial), Vendor: known(d.Vendor), WWNWithExtension: known(d.WWNWithExtension),
			WWNVendorExtension: known(d.WWNVendorExtension), HCTL: known(d.HCTL), ByPath: known(d.ByPath),
			LogicalSectors: known(d.SectorSize), PhysicalSectors: known(d.PhysSectorSize), Transport: known(d.Bus),
		})
	}
	return ironic.Introspection{Inventory: out, PluginData: data}
}

func nic(n agent.NIC) ironic.Interface {
	i := ironic.Interface{
		Name: n.Name, MAC: n.MAC, HasCarrier: n.Link, LLDP: [][2]any{}, Vendor: known(n.Vendor), Product: known(n.Product),
		SpeedMbps: known(n.SpeedMbps), PCIAddress: known(n.PCIAddress), Driver: known(n.Driver),
	}
	for _, text := range n.Addresses {
		addr := address(text)
		switch {
		case !addr.IsValid():
		case addr.Is4() && i.IPv4 == nil:
			i.IPv4 = known(addr.String())
		case addr.Is6() && i.IPv6 == nil:
			i.IPv6 = known(addr.String())
		}
	}
	return i
}

// address reads an address, with the length of its prefix or without.
func address(text string) netip.Addr {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Addr().Unmap()
	}
	a, _ := netip.ParseAddr(text) // what is none is not shown
	return a.Unmap()
}

// known is a value, or null for none.
func known[T comparable](v T) *T {
	var none T
	if v == none {
		return nil
	}
	return &v
}
