package inspect

import (
	"path/filepath"
	"regexp"
	"strings"

	api "github.com/ingot-metal/ingot/api/agent"
)

func (c *Collector) pci() (func(*api.Inventory), error) {
	root := filepath.Join(c.Sys, "bus/pci/devices")
	var out []api.PCI
	for _, addr := range list(root) {
		out = append(out, api.PCI{
			Address: addr, Vendor: readString(root, addr, "vendor"), Product: readString(root, addr, "device"),
			Class: readString(root, addr, "class"), Driver: linkBase(root, addr, "driver"),
			NUMANode: node(root, addr),
			Link:     pcieLink(readString(root, addr, "current_link_speed"), readString(root, addr, "current_link_width")),
			LinkMax:  pcieLink(readString(root, addr, "max_link_speed"), readString(root, addr, "max_link_width")),
		})
	}
	return func(inv *api.Inventory) { inv.PCI = out }, nil
}

// pcieLink joins a speed and a width as the kernel writes them: "8.0 GT/s PCIe"
// and "4".
func pcieLink(speed, width string) string {
	speed = strings.TrimSuffix(speed, " PCIe")
	if speed == "" || width == "" || width == "0" || strings.HasPrefix(speed, "Unknown") {
		return ""
	}
	return speed + " x" + width
}

// node of a PCI function; -1 (no affinity) counts as 0 on machines of one node.
func node(path ...string) int {
	return int(max(0, readInt(0, append(path, "numa_node")...)))
}

// pciAddress is the innermost function in a resolved sysfs path.
func pciAddress(path string) string {
	all := regexp.MustCompile(`[0-9a-f]{4,5}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]`).FindAllString(path, -1)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}
