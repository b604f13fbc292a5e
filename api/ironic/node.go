package ironic

import "encoding/json"

// Object is a JSON object whose keys are the clients' own.
type Object map[string]any

// Node is the whole document of a node, as the newest microversion shows it. What
// older ones lack is a matter of pkg/rest's table of fields. Pointers are null
// where nothing is known. Times are RFC 3339 in UTC.
type Node struct {
	UUID   string  `json:"uuid"`
	Name   *string `json:"name"`
	Driver string  `json:"driver"`

	ProvisionState       *State  `json:"provision_state"`
	TargetProvisionState *State  `json:"target_provision_state"`
	ProvisionUpdatedAt   *string `json:"provision_updated_at"`
	PowerState           *Power  `json:"power_state"`
	TargetPowerState     *Power  `json:"target_power_state"`
	LastError            *string `json:"last_error"`
	Reservation          *string `json:"reservation"`
	Maintenance          bool    `json:"maintenance"`
	MaintenanceReason    *string `json:"maintenance_reason"`
	Fault                *string `json:"fault"`
	Health               *string `json:"health"`

	DriverInfo         Object `json:"driver_info"`
	DriverInternalInfo Object `json:"driver_internal_info"`
	InstanceInfo       Object `json:"instance_info"`
	Properties         Object `json:"properties"`
	Extra              Object `json:"extra"`
	NetworkData        Object `json:"network_data"`
	RAIDConfig         Object `json:"raid_config"`
	TargetRAIDConfig   Object `json:"target_raid_config"`
	CleanStep          Object `json:"clean_step"`
	DeployStep         Object `json:"deploy_step"`
	ServiceStep        Object `json:"service_step"`

	InstanceUUID   *string  `json:"instance_uuid"`
	InstanceName   *string  `json:"instance_name"`
	AllocationUUID *string  `json:"allocation_uuid"`
	ChassisUUID    *string  `json:"chassis_uuid"`
	ParentNode     *string  `json:"parent_node"`
	Owner          *string  `json:"owner"`
	Lessee         *string  `json:"lessee"`
	Shard          *string  `json:"shard"`
	ResourceClass  *string  `json:"resource_class"`
	Traits         []string `json:"traits"`
	Description    *string  `json:"description"`

	Protected       bool    `json:"protected"`
	ProtectedReason *string `json:"protected_reason"`
	Retired         bool    `json:"retired"`
	RetiredReason   *string `json:"retired_reason"`

	AutomatedClean  *bool   `json:"automated_clean"`
	ConsoleEnabled  bool    `json:"console_enabled"`
	DisablePowerOff bool    `json:"disable_power_off"`
	BootMode        *string `json:"boot_mode"`
	SecureBoot      *bool   `json:"secure_boot"`

	Conductor      *string `json:"conductor"`
	ConductorGroup string  `json:"conductor_group"`

	BIOSInterface       string `json:"bios_interface"`
	BootInterface       string `json:"boot_interface"`
	ConsoleInterface    string `json:"console_interface"`
	DeployInterface     string `json:"deploy_interface"`
	FirmwareInterface   string `json:"firmware_interface"`
	InspectInterface    string `json:"inspect_interface"`
	ManagementInterface string `json:"management_interface"`
	NetworkInterface    string `json:"network_interface"`
	PowerInterface      string `json:"power_interface"`
	RAIDInterface       string `json:"raid_interface"`
	RescueInterface     string `json:"rescue_interface"`
	StorageInterface    string `json:"storage_interface"`
	VendorInterface     string `json:"vendor_interface"`

	InspectionStartedAt  *string `json:"inspection_started_at"`
	InspectionFinishedAt *string `json:"inspection_finished_at"`
	CreatedAt            *string `json:"created_at"`
	UpdatedAt            *string `json:"updated_at"`
}

// Clone copies a node with all that it points to.
func (n Node) Clone() Node {
	text, err := json.Marshal(n)
	if err != nil {
		return n // cannot be: every value came from JSON
	}
	var c Node
	if json.Unmarshal(text, &c) != nil {
		return n
	}
	return c
}
