package ironic

// Introspection is the body of GET /nodes/{node}/inventory.
type Introspection struct {
	Inventory  Inventory  `json:"inventory"`
	PluginData PluginData `json:"plugin_data"`
}

// Inventory is what ironic-python-agent reports of a machine
// (ironic_python_agent/hardware.py). Pointers are null where nothing is known.
type Inventory struct {
	Interfaces   []Interface  `json:"interfaces"`
	CPU          CPU          `json:"cpu"`
	Disks        []Disk       `json:"disks"`
	Memory       Memory       `json:"memory"`
	BMCAddress   *string      `json:"bmc_address"`
	BMCv6Address *string      `json:"bmc_v6address"`
	SystemVendor SystemVendor `json:"system_vendor"`
	Boot         BootInfo     `json:"boot"`
	Hostname     *string      `json:"hostname"`
}

// Interface is a network interface.
type Interface struct {
	Name        string   `json:"name"`
	MAC         string   `json:"mac_address"`
	IPv4        *string  `json:"ipv4_address"`
	IPv6        *string  `json:"ipv6_address"`
	HasCarrier  bool     `json:"has_carrier"`
	LLDP        [][2]any `json:"lldp"` // type and value in hex
	Vendor      *string  `json:"vendor"`
	Product     *string  `json:"product"`
	ClientID    *string  `json:"client_id"`
	BIOSDevName *string  `json:"biosdevname"`
	SpeedMbps   *int     `json:"speed_mbps"`
	PCIAddress  *string  `json:"pci_address"`
	Driver      *string  `json:"driver"`
}

// CPU is all processors together.
type CPU struct {
	ModelName    *string  `json:"model_name"`
	Frequency    *string  `json:"frequency"` // MHz
	Count        int      `json:"count"`     // of threads
	Architecture string   `json:"architecture"`
	Flags        []string `json:"flags"`
	SocketCount  *int     `json:"socket_count"`
}

// Disk is a block device.
type Disk struct {
	Name               string  `json:"name"`
	Model              *string `json:"model"`
	Size               int64   `json:"size"` // bytes
	Rotational         bool    `json:"rotational"`
	WWN                *string `json:"wwn"`
	Serial             *string `json:"serial"`
	Vendor             *string `json:"vendor"`
	WWNWithExtension   *string `json:"wwn_with_extension"`
	WWNVendorExtension *string `json:"wwn_vendor_extension"`
	HCTL               *string `json:"hctl"`
	ByPath             *string `json:"by_path"`
	LogicalSectors     *int    `json:"logical_sectors"`
	PhysicalSectors    *int    `json:"physical_sectors"`
	Transport          *string `json:"tran"`
}

// Memory of a machine.
type Memory struct {
	Total      int64 `json:"total"` // bytes that the kernel uses
	PhysicalMB int64 `json:"physical_mb"`
}

// SystemVendor says who made it.
type SystemVendor struct {
	ProductName  string   `json:"product_name"`
	SerialNumber string   `json:"serial_number"`
	Manufacturer string   `json:"manufacturer"`
	Firmware     Firmware `json:"firmware"`
}

// Firmware of the platform.
type Firmware struct {
	Vendor    string `json:"vendor"`
	Version   string `json:"version"`
	BuildDate string `json:"build_date"`
}

// BootInfo is how the machine was booted when it was inspected.
type BootInfo struct {
	CurrentBootMode *string `json:"current_boot_mode"` // bios or uefi
	PXEInterface    *string `json:"pxe_interface"`     // MAC
}

// PluginData is what the hooks of Ironic's inspection make of an inventory, as far as
// clients read it.
type PluginData struct {
	AllInterfaces map[string]InspectedInterface `json:"all_interfaces"`
	ParsedLLDP    map[string]LLDP               `json:"parsed_lldp"`
	MACs          []string                      `json:"macs"`
	BootInterface *string                       `json:"boot_interface"` // MAC
}

// InspectedInterface is an interface and whether the machine was booted from it.
type InspectedInterface struct {
	Interface
	PXEEnabled bool `json:"pxe_enabled"`
}

// LLDP is what the switch said at an interface.
type LLDP struct {
	ChassisID    string `json:"switch_chassis_id,omitempty"`
	PortID       string `json:"switch_port_id,omitempty"`
	SystemName   string `json:"switch_system_name,omitempty"`
	UntaggedVLAN int    `json:"switch_port_untagged_vlan_id,omitempty"`
}
