package inspect

import (
	"net"
	"path/filepath"
	"strings"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"

	api "github.com/ingot-metal/ingot/api/agent"
)

// Ethernet lists the names of the physical interfaces.
func (c *Collector) Ethernet() []string {
	root := filepath.Join(c.Sys, "class/net")
	var out []string
	for _, name := range list(root) {
		// ARPHRD_ETHER, and a device behind it: no lo, bridges, VLANs.
		if readString(root, name, "type") == "1" && linkBase(root, name, "device") != "" {
			out = append(out, name)
		}
	}
	return out
}

// MACs lists those of the physical interfaces.
func (c *Collector) MACs() []string {
	var out []string
	for _, name := range c.Ethernet() {
		out = append(out, readString(c.Sys, "class/net", name, "address"))
	}
	return out
}

func (c *Collector) nics() (func(*api.Inventory), error) {
	root := filepath.Join(c.Sys, "class/net")
	var eth *ethtool.Ethtool
	if c.Live {
		// Without it (another kernel's sysfs) the files alone must do.
		if e, err := ethtool.NewEthtool(); err == nil {
			eth = e
			defer e.Close()
		}
	}
	var out []api.NIC
	for _, name := range c.Ethernet() {
		real, err := filepath.EvalSymlinks(filepath.Join(root, name))
		if err != nil {
			continue
		}
		n := api.NIC{
			Name: name, MAC: readString(root, name, "address"), MTU: int(readInt(0, root, name, "mtu")),
			Link: readString(root, name, "carrier") == "1", SpeedMbps: int(max(0, readInt(0, root, name, "speed"))),
			Driver: linkBase(root, name, "device/driver"), PCIAddress: pciAddress(real),
		}
		if n.PCIAddress != "" {
			dev := filepath.Join(c.Sys, "bus/pci/devices", n.PCIAddress)
			n.Vendor, n.Product, n.NUMANode = readString(dev, "vendor"), readString(dev, "device"), node(dev)
		}
		if eth != nil {
			ask(eth, &n)
		}
		n.PXE = c.BootMAC != "" && strings.EqualFold(n.MAC, c.BootMAC)
		out = append(out, n)
	}
	return func(inv *api.Inventory) { inv.NICs = out }, nil
}

// ask fills what only the kernel's live answers have. What a driver does not
// know stays as it is: none of it is worth failing for.
func ask(eth *ethtool.Ethtool, n *api.NIC) {
	if info, err := eth.DriverInfo(n.Name); err == nil {
		n.Firmware = known(strings.TrimPrefix(info.FwVersion, "N/A"))
	}
	if mac, err := eth.PermAddr(n.Name); err == nil {
		if m, err := net.ParseMAC(mac); err == nil && !strings.HasPrefix(mac, "00:00:00:00:00:00") {
			n.MAC = m.String()
		}
	}
	link, err := netlink.LinkByName(n.Name)
	if err != nil {
		return
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return
	}
	for _, a := range addrs {
		if !a.IP.IsLinkLocalUnicast() {
			n.Addresses = append(n.Addresses, a.IP.String())
		}
	}
}
