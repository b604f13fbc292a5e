package inspect

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/anatol/smart.go"

	"github.com/ingot-metal/ingot/agent/raid"
	api "github.com/ingot-metal/ingot/api/agent"
)

func (c *Collector) disks() (func(*api.Inventory), error) {
	var out []api.Disk
	for _, name := range list(filepath.Join(c.Sys, "block")) {
		if d, ok := c.Disk(name); ok {
			out = append(out, d)
		}
	}
	return func(inv *api.Inventory) { inv.Disks = out }, nil
}

// Disk describes one block device by its kernel name. It is false for what
// cannot hold an operating system: loop, ram, optical and stacked devices, boot
// areas of eMMC, empty card readers.
func (c *Collector) Disk(name string) (api.Disk, bool) {
	dir := filepath.Join(c.Sys, "block", name)
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return api.Disk{}, false
	}
	array, isArray := c.array(name)
	switch {
	case isArray:
	case strings.Contains(real, "/virtual/") && !strings.Contains(real, "/nvme-subsystem/"),
		strings.HasPrefix(name, "sr"), strings.HasPrefix(name, "fd"), strings.Contains(name, "boot"), strings.HasSuffix(name, "rpmb"):
		return api.Disk{}, false
	}
	// size counts 512 byte units whatever the sector size (block/genhd.c).
	size := readInt(0, dir, "size") * 512
	if size == 0 {
		return api.Disk{}, false
	}
	d := api.Disk{
		Name: "/dev/" + name, Size: size,
		SectorSize:     int(readInt(512, dir, "queue/logical_block_size")),
		PhysSectorSize: int(readInt(512, dir, "queue/physical_block_size")),
		Rotational:     readString(dir, "queue/rotational") == "1",
		Removable:      readString(dir, "removable") == "1",
		ReadOnly:       readString(dir, "ro") == "1",
		Vendor:         readString(dir, "device/vendor"),
		Model:          readString(dir, "device/model"),
		Firmware:       first(readString(dir, "device/firmware_rev"), readString(dir, "device/rev")),
		PCIAddress:     pciAddress(real),
		Holders:        c.holders(dir),
	}
	if strings.Contains(real, "/nvme-subsystem/") {
		d.PCIAddress = c.controller(dir)
	}
	d.Bus, d.HCTL = bus(name, real)
	if strings.HasPrefix(d.Vendor, "0x") {
		d.Vendor = "" // virtio and NVMe: a PCI id, not a name
	}
	d.Type = api.DiskSSD
	if isArray {
		d.Bus, d.HCTL, d.Serial, d.Model = api.BusMD, "", array.UUID, fmt.Sprintf("Linux software RAID %d", array.Level)
		d.AlternateNames = []string{"/dev/md/" + array.Name, "/dev/disk/by-id/md-uuid-" + mdUUID(array.UUID)}
		if d.Rotational {
			d.Type = api.DiskHDD
		}
		return d, true
	}
	switch {
	case d.Bus == "nvme":
		d.Type = api.DiskNVMe
	case d.Rotational && d.Bus != "virtio":
		d.Type = api.DiskHDD
	}
	d.Serial = first(readString(dir, "serial"), readString(dir, "device/serial"), vpd80(filepath.Join(dir, "device/vpd_pg80")))
	d.WWN, d.WWNVendorExtension = wwn(first(readString(dir, "wwid"), readString(dir, "device/wwid")))
	d.WWNWithExtension = d.WWN + d.WWNVendorExtension
	if d.PCIAddress != "" {
		d.NUMANode = node(c.Sys, "bus/pci/devices", d.PCIAddress)
	}
	d.ByPath, d.AlternateNames = links(d, name)
	return d, true
}

// array tells whether a device is an array of software RAID, the one kind of
// stacked device that may hold an operating system.
func (c *Collector) array(name string) (raid.Array, bool) {
	if c.Array == nil || !strings.HasPrefix(name, "md") {
		return raid.Array{}, false
	}
	return c.Array(name)
}

// mdUUID writes a UUID as mdadm does, and with it udev.
func mdUUID(hex string) string {
	if len(hex) != 32 {
		return hex
	}
	return hex[:8] + ":" + hex[8:16] + ":" + hex[16:24] + ":" + hex[24:]
}

// holders are the devices stacked on the disk or one of its partitions.
func (c *Collector) holders(dir string) []string {
	out := list(filepath.Join(dir, "holders"))
	for _, p := range list(dir) {
		if strings.HasPrefix(p, filepath.Base(dir)) {
			out = append(out, list(filepath.Join(dir, p, "holders"))...)
		}
	}
	if len(out) == 0 {
		return nil
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// controller is the PCI address of a multipath NVMe namespace, whose own device
// is below the subsystem: that of its first controller.
func (c *Collector) controller(dir string) string {
	for _, name := range list(filepath.Join(dir, "device")) {
		if real, err := filepath.EvalSymlinks(filepath.Join(dir, "device", name)); err == nil && strings.HasPrefix(name, "nvme") {
			if a := pciAddress(real); a != "" {
				return a
			}
		}
	}
	return ""
}

// bus tells what a disk hangs on by its place in the device tree.
func bus(name, real string) (bus, hctl string) {
	if m := regexp.MustCompile(`/target[0-9:]+/([0-9]+:[0-9]+:[0-9]+:[0-9]+)/`).FindStringSubmatch(real + "/"); m != nil {
		hctl = m[1]
	}
	switch {
	case strings.HasPrefix(name, "nvme"):
		return "nvme", ""
	case strings.HasPrefix(name, "vd"):
		return "virtio", ""
	case strings.HasPrefix(name, "mmcblk"):
		return "mmc", ""
	case strings.Contains(real, "/usb"):
		return "usb", hctl
	case strings.Contains(real, "/ata"):
		return "ata", hctl
	}
	return "scsi", hctl
}

// wwn splits the kernel's wwid. NAA 6 identifiers (SPC-4 7.8.6.6.5) have 16
// digits and a vendor extension of 16 more, which udev keeps apart. Names that
// are not worldwide (t10., the BOGUS_NID form of NVMe) are no WWN.
func wwn(wwid string) (base, extension string) {
	switch {
	case strings.HasPrefix(wwid, "naa."):
		h := strings.TrimPrefix(wwid, "naa.")
		if len(h) == 32 {
			return "0x" + h[:16], h[16:]
		}
		return "0x" + h, ""
	case strings.HasPrefix(wwid, "eui."), strings.HasPrefix(wwid, "uuid."):
		return wwid, ""
	}
	return "", ""
}

// vpd80 is the serial number page (SPC-4 7.8.15): four bytes of head, then text.
func vpd80(path string) string {
	b, err := os.ReadFile(path)
	if err != nil || len(b) < 4 {
		return ""
	}
	n := min(int(b[2])<<8|int(b[3]), len(b)-4)
	return strings.TrimSpace(strings.TrimRight(string(b[4:4+n]), "\x00"))
}

// links are the names that udev's rules (60-persistent-storage.rules) would have
// made under /dev/disk; there is no udev in the ramdisk. They are for root
// device hints, so only the forms that hints use are made.
func links(d api.Disk, name string) (byPath string, others []string) {
	const by = "/dev/disk/by-"
	pci := "pci-" + d.PCIAddress
	id := regexp.MustCompile(`[^A-Za-z0-9#+.:=@_/-]+`)
	clean := func(s string) string { return id.ReplaceAllString(strings.TrimSpace(s), "_") }
	switch d.Bus {
	case "nvme":
		if m := regexp.MustCompile(`n([0-9]+)$`).FindStringSubmatch(name); m != nil && d.PCIAddress != "" {
			byPath = by + "path/" + pci + "-nvme-" + m[1]
		}
		if d.WWN != "" {
			others = append(others, by+"id/nvme-"+d.WWN)
		}
		if d.Model != "" && d.Serial != "" {
			others = append(others, by+"id/nvme-"+clean(d.Model)+"_"+clean(d.Serial))
		}
	case "virtio":
		if d.PCIAddress != "" {
			byPath = by + "path/" + pci
			others = append(others, by+"path/virtio-"+pci)
		}
		if d.Serial != "" {
			// The driver keeps 20 bytes (VIRTIO_BLK_ID_BYTES).
			others = append(others, by+"id/virtio-"+clean(d.Serial))
		}
	case "scsi", "ata", "usb":
		if d.PCIAddress != "" && d.HCTL != "" && d.Bus == "scsi" {
			byPath = by + "path/" + pci + "-scsi-" + "0:" + d.HCTL[strings.Index(d.HCTL, ":")+1:]
		}
		if d.WWNWithExtension != "" {
			others = append(others, by+"id/wwn-"+d.WWNWithExtension)
		}
		if d.Model != "" && d.Serial != "" && d.Bus == "ata" {
			others = append(others, by+"id/ata-"+clean(d.Model)+"_"+clean(d.Serial))
		}
	}
	return byPath, others
}

// nvmeHealth reads log page 02h (NVMe 2.0, figure 207).
func nvmeHealth(dev string) (*api.Health, error) {
	d, err := smart.OpenNVMe(dev)
	if err != nil {
		return nil, err
	}
	log, err := d.ReadSMART()
	if err := errors.Join(err, d.Close()); err != nil {
		return nil, err
	}
	return &api.Health{
		CriticalWarning: int(log.CritWarning), TemperatureC: int(log.Temperature) - 273, PercentUsed: int(log.PercentUsed),
		MediaErrors: int64(log.MediaErrors.Val[0]), PowerOnHours: int64(log.PowerOnHours.Val[0]),
	}, nil
}

func first(s ...string) string {
	for _, v := range s {
		if v != "" {
			return v
		}
	}
	return ""
}

// Extent is a range of a disk in bytes.
type Extent struct{ Offset, Size int64 }

// Partitions are those of a disk that the kernel knows.
func (c *Collector) Partitions(name string) (out []Extent) {
	dir := filepath.Join(c.Sys, "block", name)
	for _, p := range list(dir) {
		if strings.HasPrefix(p, name) && readString(dir, p, "partition") != "" {
			// Both count 512 byte units, as a disk's size does.
			out = append(out, Extent{readInt(0, dir, p, "start") * 512, readInt(0, dir, p, "size") * 512})
		}
	}
	return out
}
