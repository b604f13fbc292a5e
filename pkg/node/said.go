package node

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/api/v1alpha1"
)

// said is what clients of the REST door have said of a node, as NodeAttributes keeps
// it. What a BareMetalHost has a place for is there as well, in the client's own
// words: they are shown for as long as they mean what the BareMetalHost says, so that
// a document reads as it was written, and a change by kubectl is seen at once.
// Secrets are not here: ironic.Masked stands for each.
type said struct {
	Driver           string        `json:"driver,omitempty"`
	DriverInfo       ironic.Object `json:"driver_info,omitempty"`
	InstanceInfo     ironic.Object `json:"instance_info,omitempty"`
	Properties       ironic.Object `json:"properties,omitempty"`
	Extra            ironic.Object `json:"extra,omitempty"`
	NetworkData      ironic.Object `json:"network_data,omitempty"`
	TargetRAIDConfig ironic.Object `json:"target_raid_config,omitempty"`
	Traits           []string      `json:"traits,omitempty"`

	InstanceName    *string `json:"instance_name,omitempty"`
	AllocationUUID  *string `json:"allocation_uuid,omitempty"`
	ChassisUUID     *string `json:"chassis_uuid,omitempty"`
	ParentNode      *string `json:"parent_node,omitempty"`
	Owner           *string `json:"owner,omitempty"`
	Lessee          *string `json:"lessee,omitempty"`
	Shard           *string `json:"shard,omitempty"`
	ResourceClass   *string `json:"resource_class,omitempty"`
	Protected       bool    `json:"protected,omitempty"`
	ProtectedReason *string `json:"protected_reason,omitempty"`
	Retired         bool    `json:"retired,omitempty"`
	RetiredReason   *string `json:"retired_reason,omitempty"`
	AutomatedClean  *bool   `json:"automated_clean,omitempty"`
	ConsoleEnabled  bool    `json:"console_enabled,omitempty"`
	ConductorGroup  string  `json:"conductor_group,omitempty"`
	BootMode        *string `json:"boot_mode,omitempty"`
	SecureBoot      *bool   `json:"secure_boot,omitempty"`
	LastError       *string `json:"last_error,omitempty"` // of what was asked of the machine at once; until the next verb

	Interfaces map[string]string `json:"interfaces,omitempty"` // by their first words: bios, boot …

	Secret string `json:"secret,omitempty"`       // name of the Secret that we made of driver_info's
	Drive  string `json:"config_drive,omitempty"` // name of the Secret that we made of the config drive
	Over   string `json:"image_over,omitempty"`   // which image of the BareMetalHost what is said of images was said at

	at    connection // that driver and driver_info mean
	atErr error

	newImage bool // learned just now
}

// errTooLarge says that what was said does not fit.
func tooLarge(n int) error {
	return refuse("What is stored of a node has at most %d bytes of JSON; this is %d. Keep what is large elsewhere.", v1alpha1.MaxAttributes, n)
}

// text is said as it is stored.
func (w said) text() ([]byte, error) {
	out, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("writing attributes: %w", err)
	}
	if len(out) > v1alpha1.MaxAttributes {
		return nil, tooLarge(len(out))
	}
	return out, nil
}

func (w said) clone() said {
	w.DriverInfo, w.InstanceInfo, w.Properties = maps.Clone(w.DriverInfo), maps.Clone(w.InstanceInfo), maps.Clone(w.Properties)
	w.Interfaces = maps.Clone(w.Interfaces)
	return w // the rest is replaced, never changed
}

// learn takes over what a document that a client wrote says otherwise than the one
// that it was shown.
func (w *said) learn(was, is *ironic.Node) {
	learn(&w.DriverInfo, was.DriverInfo, is.DriverInfo)
	learn(&w.InstanceInfo, was.InstanceInfo, is.InstanceInfo)
	learn(&w.Properties, was.Properties, is.Properties)
	w.learnImage(was.InstanceInfo, is.InstanceInfo)
	if is.Driver != was.Driver {
		w.Driver = is.Driver
	}
	w.Extra, w.NetworkData = is.Extra, is.NetworkData
	if !reflect.DeepEqual(was.TargetRAIDConfig, is.TargetRAIDConfig) {
		w.TargetRAIDConfig = is.TargetRAIDConfig
	}
	w.Traits = is.Traits
	w.InstanceName, w.AllocationUUID, w.ChassisUUID, w.ParentNode = is.InstanceName, is.AllocationUUID, is.ChassisUUID, is.ParentNode
	w.Owner, w.Lessee, w.Shard, w.ResourceClass = is.Owner, is.Lessee, is.Shard, is.ResourceClass
	w.Protected, w.ProtectedReason, w.Retired, w.RetiredReason = is.Protected, is.ProtectedReason, is.Retired, is.RetiredReason
	w.ConsoleEnabled, w.ConductorGroup = is.ConsoleEnabled, is.ConductorGroup
	w.AutomatedClean = is.AutomatedClean
	if !equal(was.BootMode, is.BootMode) {
		w.BootMode = is.BootMode
	}
	if !equal(was.LastError, is.LastError) {
		w.LastError = is.LastError
	}
	if !equal(was.SecureBoot, is.SecureBoot) {
		w.SecureBoot = is.SecureBoot
	}
	before := interfaces(was)
	for name, at := range interfaces(is) {
		if *at == *before[name] {
			continue
		}
		if w.Interfaces == nil {
			w.Interfaces = map[string]string{}
		}
		if w.Interfaces[name] = *at; *at == "" {
			delete(w.Interfaces, name)
		}
	}
}

// learn makes of what was said what is now said, key by key. What was shown, and is
// sent back as it was shown, was not said.
func learn(into *ironic.Object, was, is ironic.Object) {
	out := ironic.Object{}
	for k, v := range is {
		_, already := (*into)[k]
		if shown, ok := was[k]; already || !ok || !reflect.DeepEqual(shown, v) {
			out[k] = v
		}
	}
	if len(out) == 0 {
		out = nil
	}
	*into = out
}

// learnImage takes over the whole of what is said of the image, if any of it is new:
// an image and its checksum never part.
func (w *said) learnImage(was, is ironic.Object) {
	if !slices.ContainsFunc(imageKeys, func(k string) bool { return !reflect.DeepEqual(was[k], is[k]) }) {
		return
	}
	for _, k := range imageKeys {
		delete(w.InstanceInfo, k)
		if v, ok := is[k]; ok {
			if w.InstanceInfo == nil {
				w.InstanceInfo = ironic.Object{}
			}
			w.InstanceInfo[k] = v
		}
	}
	w.newImage = true
}

func equal[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// interfaces are a node's interfaces by their first words.
func interfaces(d *ironic.Node) map[string]*string {
	return map[string]*string{
		"bios": &d.BIOSInterface, "boot": &d.BootInterface, "console": &d.ConsoleInterface, "deploy": &d.DeployInterface,
		"firmware": &d.FirmwareInterface, "inspect": &d.InspectInterface, "management": &d.ManagementInterface,
		"network": &d.NetworkInterface, "power": &d.PowerInterface, "raid": &d.RAIDInterface, "rescue": &d.RescueInterface,
		"storage": &d.StorageInterface, "vendor": &d.VendorInterface,
	}
}
