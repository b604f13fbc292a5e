package agent

// Inventory is what an agent found in its machine. Fields that could not be
// read are zero and named in Skipped with the reason.
type Inventory struct {
	Vendor   Vendor    `json:"vendor"`
	Firmware Firmware  `json:"firmware"`
	CPU      CPU       `json:"cpu"`
	Memory   Memory    `json:"memory"`
	NUMA     []NUMA    `json:"numa,omitempty"`
	Disks    []Disk    `json:"disks,omitempty"`
	NICs     []NIC     `json:"nics,omitempty"`
	PCI      []PCI     `json:"pci,omitempty"`
	Hostname string    `json:"hostname,omitempty"`
	Skipped  []Skipped `json:"skipped,omitempty"`
	Methods  []string  `json:"methods,omitempty"` // custom deploy methods of the ramdisk

	// Accelerators are GPUs and their like, where a BMC names them.
	Accelerators []Accelerator `json:"accelerators,omitempty"`
}

// Vendor is the system as SMBIOS types 1 to 3 name it (DSP0134).
type Vendor struct {
	Manufacturer string `json:"manufacturer,omitempty"`
	Product      string `json:"product,omitempty"`
	Serial       string `json:"serial,omitempty"`
	SKU          string `json:"sku,omitempty"`
	Family       string `json:"family,omitempty"`
	UUID         string `json:"uuid,omitempty"`
	BoardSerial  string `json:"boardSerial,omitempty"`
	AssetTag     string `json:"assetTag,omitempty"`
}

// Firmware is the platform firmware (SMBIOS type 0) and the mode it booted in.
type Firmware struct {
	Mode       string `json:"mode"` // FirmwareBIOS or FirmwareUEFI
	SecureBoot bool   `json:"secureBoot"`
	Vendor     string `json:"vendor,omitempty"`
	Version    string `json:"version,omitempty"`
	Date       string `json:"date,omitempty"`
	BMC        string `json:"bmc,omitempty"` // version of the BMC's own firmware
}

// CPU describes all processors; Flags are of the first, sorted.
type CPU struct {
	Arch    string   `json:"arch"` // x86_64, aarch64
	Model   string   `json:"model,omitempty"`
	MHz     int      `json:"mhz,omitempty"` // maximum
	Sockets int      `json:"sockets"`
	Cores   int      `json:"cores"`
	Threads int      `json:"threads"`
	Flags   []string `json:"flags,omitempty"`
}

// Memory in bytes; Modules are the populated slots (SMBIOS type 17).
type Memory struct {
	Physical int64    `json:"physical"`
	Usable   int64    `json:"usable"`
	Modules  []Module `json:"modules,omitempty"`
}

// Module is one DIMM.
type Module struct {
	Slot   string `json:"slot"`
	Size   int64  `json:"size"` // bytes
	Type   string `json:"type,omitempty"`
	MTs    int    `json:"mts,omitempty"` // megatransfers a second
	Vendor string `json:"vendor,omitempty"`
	Serial string `json:"serial,omitempty"`
	Part   string `json:"part,omitempty"`
}

// NUMA is one node: its CPUs as a list in the kernel's form (0-3,8) and memory.
type NUMA struct {
	ID     int    `json:"id"`
	CPUs   string `json:"cpus"`
	Memory int64  `json:"memory"` // bytes
}

// Kinds of Disk.Type.
const (
	DiskHDD  = "HDD"
	DiskSSD  = "SSD"
	DiskNVMe = "NVME"
)

// BusMD is the Disk.Bus of an array of software RAID.
const BusMD = "md"

// Member reports whether the disk is part of an array of software RAID, which is
// to be used in its place.
func (d Disk) Member() bool {
	for _, h := range d.Holders {
		if len(h) > 2 && h[:2] == "md" && h[2] >= '0' && h[2] <= '9' {
			return true
		}
	}
	return false
}

// Disk is one block device that could hold an operating system or data.
type Disk struct {
	Name               string   `json:"name"`                     // /dev/nvme0n1
	ByPath             string   `json:"byPath,omitempty"`         // /dev/disk/by-path/…
	AlternateNames     []string `json:"alternateNames,omitempty"` // other /dev/disk/by-* links
	Type               string   `json:"type"`
	Size               int64    `json:"size"`       // bytes
	SectorSize         int      `json:"sectorSize"` // logical, bytes
	PhysSectorSize     int      `json:"physSector"` // physical, bytes
	Rotational         bool     `json:"rotational"`
	Removable          bool     `json:"removable"`
	ReadOnly           bool     `json:"readOnly"`
	Vendor             string   `json:"vendor,omitempty"`
	Model              string   `json:"model,omitempty"`
	Serial             string   `json:"serial,omitempty"`
	WWN                string   `json:"wwn,omitempty"`
	WWNWithExtension   string   `json:"wwnWithExtension,omitempty"`
	WWNVendorExtension string   `json:"wwnVendorExtension,omitempty"`
	HCTL               string   `json:"hctl,omitempty"`
	Firmware           string   `json:"firmware,omitempty"`
	Bus                string   `json:"bus,omitempty"` // nvme, virtio, scsi, ata, usb, mmc, md (BusMD)
	PCIAddress         string   `json:"pciAddress,omitempty"`
	NUMANode           int      `json:"numaNode"`
	Health             *Health  `json:"health,omitempty"`
	Holders            []string `json:"holders,omitempty"` // what uses it: md0, dm-0
}

// Health is the part of SMART (NVMe log page 02h) that an operator acts on.
type Health struct {
	CriticalWarning int   `json:"criticalWarning"` // NVMe 2.0, figure 207
	TemperatureC    int   `json:"temperatureC"`
	PercentUsed     int   `json:"percentUsed"`
	MediaErrors     int64 `json:"mediaErrors"`
	PowerOnHours    int64 `json:"powerOnHours"`
}

// NIC is one Ethernet interface.
type NIC struct {
	Name       string   `json:"name"`
	MAC        string   `json:"mac"` // permanent where it is known
	Addresses  []string `json:"addresses,omitempty"`
	Link       bool     `json:"link"`
	SpeedMbps  int      `json:"speedMbps,omitempty"`
	MTU        int      `json:"mtu,omitempty"`
	Driver     string   `json:"driver,omitempty"`
	Firmware   string   `json:"firmware,omitempty"`
	Vendor     string   `json:"vendor,omitempty"`  // PCI id, 0x8086
	Product    string   `json:"product,omitempty"` // PCI id, 0x10d3
	PCIAddress string   `json:"pciAddress,omitempty"`
	NUMANode   int      `json:"numaNode"`
	PXE        bool     `json:"pxe"` // the interface this boot came from
}

// PCI is one function.
type PCI struct {
	Address  string `json:"address"`
	Vendor   string `json:"vendor"`  // id, 0x8086
	Product  string `json:"product"` // id
	Class    string `json:"class"`   // 0x020000
	Driver   string `json:"driver,omitempty"`
	NUMANode int    `json:"numaNode"`
	Link     string `json:"link,omitempty"`    // current, 8.0 GT/s x4
	LinkMax  string `json:"linkMax,omitempty"` // as the device could
	Name     string `json:"name,omitempty"`    // as a BMC names it, which often knows no ids
}

// Kinds of Accelerator.Type (DSP0268 Processor.ProcessorType).
const (
	AcceleratorGPU  = "GPU"
	AcceleratorFPGA = "FPGA"
)

// Accelerator is a processor that runs no operating system.
type Accelerator struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Vendor string `json:"vendor,omitempty"`
	Model  string `json:"model,omitempty"`
	Serial string `json:"serial,omitempty"`
}

// Skipped names something that could not be read, and why.
type Skipped struct {
	What   string `json:"what"`
	Reason string `json:"reason"`
}
