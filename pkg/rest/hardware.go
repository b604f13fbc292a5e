package rest

import (
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/api/ironic"
)

// interfaceTypes are the interfaces of a driver, with the version that shows each.
var interfaceTypes = []struct {
	name  string
	since ironic.Version // of the driver's fields; the node's are in its table
	of    func(*ironic.Node) *string
}{
	{"bios", 40, func(n *ironic.Node) *string { return &n.BIOSInterface }},
	{"boot", 30, func(n *ironic.Node) *string { return &n.BootInterface }},
	{"console", 30, func(n *ironic.Node) *string { return &n.ConsoleInterface }},
	{"deploy", 30, func(n *ironic.Node) *string { return &n.DeployInterface }},
	{"firmware", 86, func(n *ironic.Node) *string { return &n.FirmwareInterface }},
	{"inspect", 30, func(n *ironic.Node) *string { return &n.InspectInterface }},
	{"management", 30, func(n *ironic.Node) *string { return &n.ManagementInterface }},
	{"network", 30, func(n *ironic.Node) *string { return &n.NetworkInterface }},
	{"power", 30, func(n *ironic.Node) *string { return &n.PowerInterface }},
	{"raid", 30, func(n *ironic.Node) *string { return &n.RAIDInterface }},
	{"rescue", 38, func(n *ironic.Node) *string { return &n.RescueInterface }},
	{"storage", 33, func(n *ironic.Node) *string { return &n.StorageInterface }},
	{"vendor", 30, func(n *ironic.Node) *string { return &n.VendorInterface }},
}

// hardware is a hardware type: what a node's driver may be.
type hardware struct {
	name       string
	interfaces map[string][]string // by type; the first is the default
	properties map[string]string   // of driver_info
	required   []string            // of those
}

// The boot interfaces are two ways for us, and these are the names that clients have
// for them: over the network, and from virtual media. A console, too, has the name that
// clients know of the driver; what it is says its console_info.
var (
	networkBoot = []string{"ipxe", "pxe", "http-ipxe", "http"}
	agentDeploy = []string{"direct", "ramdisk", "custom-agent"}
)

// hardwareTypes are the drivers served, by name. fake-hardware is for tests: there is
// no machine behind it, and every interface pretends.
var hardwareTypes = []hardware{
	{
		name: "fake-hardware",
		interfaces: map[string][]string{
			"bios": {"fake", "no-bios"}, "boot": slices.Concat([]string{"fake"}, networkBoot, []string{"redfish-virtual-media"}),
			"console": {"fake", "no-console"}, "deploy": slices.Concat([]string{"fake"}, agentDeploy),
			"firmware": {"fake", "no-firmware"}, "inspect": {"fake", "no-inspect"}, "management": {"fake", "noop"},
			"network": {"noop"}, "power": {"fake"}, "raid": {"fake", "no-raid"}, "rescue": {"fake", "no-rescue"},
			"storage": {"noop", "fake", "external"}, "vendor": {"fake", "no-vendor"},
		},
		properties: map[string]string{},
	},
	{
		name: "idrac",
		interfaces: map[string][]string{
			"bios": {"idrac-redfish", "redfish", "no-bios"}, "boot": slices.Concat(networkBoot, []string{"idrac-redfish-virtual-media", "redfish-virtual-media", "redfish-https"}),
			"console": {"no-console", "redfish-graphical"}, "deploy": agentDeploy,
			"firmware": {"redfish", "no-firmware"}, "inspect": {"agent", "idrac-redfish", "redfish", "no-inspect"}, "management": {"idrac-redfish", "redfish"},
			"network": {"noop"}, "power": {"idrac-redfish", "redfish"}, "raid": {"idrac-redfish", "redfish", "agent", "no-raid"}, "rescue": {"no-rescue"},
			"storage": {"noop", "external"}, "vendor": {"idrac-redfish", "redfish", "no-vendor"},
		},
		properties: redfishProperties, required: []string{"redfish_address"},
	},
	{
		name: "ipmi",
		interfaces: map[string][]string{
			"bios": {"no-bios"}, "boot": networkBoot,
			"console": {"no-console", "ipmitool-socat"}, "deploy": agentDeploy,
			"firmware": {"no-firmware"}, "inspect": {"agent", "no-inspect"}, "management": {"ipmitool"},
			"network": {"noop"}, "power": {"ipmitool"}, "raid": {"no-raid", "agent"}, "rescue": {"no-rescue"},
			"storage": {"noop", "external"}, "vendor": {"ipmitool", "no-vendor"},
		},
		properties: map[string]string{
			"ipmi_address":    "Host name or IP address of the BMC. Required.",
			"ipmi_port":       "UDP port of the BMC. 623 unless given. Optional.",
			"ipmi_username":   "Account at the BMC. Optional.",
			"ipmi_password":   "Its password; kept in a Secret, never shown. Optional.",
			"ipmi_priv_level": "Privilege level of the session: ADMINISTRATOR unless given. Optional.",
		},
		required: []string{"ipmi_address"},
	},
	{
		name: "redfish",
		interfaces: map[string][]string{
			"bios": {"redfish", "no-bios"}, "boot": slices.Concat(networkBoot, []string{"redfish-virtual-media", "redfish-https"}),
			"console": {"no-console", "redfish-graphical"}, "deploy": agentDeploy,
			"firmware": {"redfish", "no-firmware"}, "inspect": {"agent", "redfish", "no-inspect"}, "management": {"redfish"},
			"network": {"noop"}, "power": {"redfish"}, "raid": {"redfish", "agent", "no-raid"}, "rescue": {"no-rescue"},
			"storage": {"noop", "external"}, "vendor": {"redfish", "no-vendor"},
		},
		properties: redfishProperties, required: []string{"redfish_address"},
	},
}

var redfishProperties = map[string]string{
	"redfish_address":   "URL of the Redfish service, https unless it says otherwise: https://bmc.example. Required.",
	"redfish_system_id": "Path of the ComputerSystem, /redfish/v1/Systems/1 for instance. Needed where the BMC has several. Optional.",
	"redfish_username":  "Account at the BMC. Optional.",
	"redfish_password":  "Its password; kept in a Secret, never shown. Optional.",
	"redfish_verify_ca": "true, false, or not given: whether the BMC's certificate is verified. Optional.",
}

// findHardware finds a hardware type by its name.
func findHardware(name string) (*hardware, bool) {
	i := slices.IndexFunc(hardwareTypes, func(h hardware) bool { return h.name == name })
	if i < 0 {
		return nil, false
	}
	return &hardwareTypes[i], true
}

// noDriver is Ironic's answer to a driver that no conductor serves.
func noDriver(driver, group string) error {
	return badRequest("No valid host was found. Reason: No conductor service registered which supports driver %s for conductor group \"%s\".", driver, group)
}

// fillInterfaces checks a node's interfaces against its driver, and gives it the
// defaults of those that it does not name.
func fillInterfaces(n *ironic.Node) error {
	h, ok := findHardware(n.Driver)
	if !ok {
		return noDriver(n.Driver, n.ConductorGroup)
	}
	for _, t := range interfaceTypes {
		impl := t.of(n)
		switch {
		case *impl == "":
			*impl = h.interfaces[t.name][0]
		case slices.Contains(h.interfaces[t.name], *impl):
		case slices.Contains(allInterfaces(t.name), *impl):
			return badRequest("%s interface implementation '%s' is not supported by hardware type %s.", t.name, *impl, n.Driver)
		default:
			return badRequest("Could not find the following interface in the 'ironic.hardware.interfaces.%s' entrypoint: %s. Valid interfaces are ['%s'].",
				t.name, clip([]byte(*impl)), strings.Join(allInterfaces(t.name), "', '"))
		}
	}
	return nil
}

// allInterfaces are those of a type that any driver has.
func allInterfaces(kind string) []string {
	var all []string
	for _, h := range hardwareTypes {
		all = append(all, h.interfaces[kind]...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
