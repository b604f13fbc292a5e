package rest

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/node"
)

func managementRoutes() []route {
	const device, indicators = "/nodes/{node}/management/boot_device", "/nodes/{node}/management/indicators"
	return []route{
		{method: http.MethodGet, path: device, action: "baremetal:node:get_boot_device", do: atOwner(showBootDevice)},
		{method: http.MethodPut, path: device, action: "baremetal:node:set_boot_device", do: atOwner(setBootDevice)},
		{method: http.MethodGet, path: device + "/supported", action: "baremetal:node:get_boot_device", do: ofMachine(listBootDevices)},
		{method: http.MethodPut, path: "/nodes/{node}/management/inject_nmi", since: 29, action: "baremetal:node:inject_nmi", do: atOwner(injectNMI)},
		{method: http.MethodGet, path: indicators, since: 63, action: "baremetal:node:get_indicator_state", do: ofMachine(listIndicators)},
		{method: http.MethodGet, path: indicators + "/{indicator}", since: 63, action: "baremetal:node:get_indicator_state", do: atOwner(showIndicator)},
		{method: http.MethodPut, path: indicators + "/{indicator}", since: 63, action: "baremetal:node:set_indicator_state", do: atOwner(setIndicator)},
	}
}

// bootDevice is one of Ironic's names (ironic/common/boot_devices.py) and ours. Of its
// other names, no BMC of ours has a target: safe, wanboot, iscsiboot, floppy.
type bootDevice struct {
	name   string
	target bmc.BootTarget
}

// bootDevices are those that a node's driver has.
func bootDevices(n *node.Node) []bootDevice {
	all := []bootDevice{{"pxe", bmc.BootPXE}, {"disk", bmc.BootDisk}, {"cdrom", bmc.BootCD}, {"bios", bmc.BootSetup}, {"uefihttp", bmc.BootUEFIHTTP}}
	switch {
	case noopManagement(n):
		return all[:2]
	case n.Driver == fakeHardware:
		return all[:1]
	case n.Driver == "ipmi":
		return all[:4] // IPMI 2.0 §28.13 has no HTTP
	}
	return all
}

// noopManagement leaves a machine's boot order as somebody else has made it: the
// network first, then the disk. Only fakes may have it.
func noopManagement(n *node.Node) bool {
	return n.Driver == fakeHardware && n.ManagementInterface == "noop"
}

func listBootDevices(_ *call, n *node.Node) (*reply, error) {
	var names []string
	for _, d := range bootDevices(n) {
		names = append(names, d.name)
	}
	return ok(map[string]any{"supported_boot_devices": names})
}

// showBootDevice answers null for what is not known: with no override, a machine
// starts as its own order says.
func showBootDevice(c *call, n *node.Node) (*reply, error) {
	if n.Driver == fakeHardware {
		return ok(map[string]any{"boot_device": "pxe", "persistent": noopManagement(n)})
	}
	out := map[string]any{"boot_device": nil, "persistent": nil}
	err := askMachine(c, n, "get_boot_device", func(ctx context.Context, b bmc.Boot) error {
		o, err := b.BootOverride(ctx)
		if err != nil || o.Target == bmc.BootNone || o.Target == "" {
			return err
		}
		out["persistent"] = o.Persistent || o.Renew
		for _, d := range bootDevices(n) {
			if d.target == o.Target {
				out["boot_device"] = d.name
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ok(out)
}

func setBootDevice(c *call, n *node.Node) (*reply, error) {
	args, err := c.machineArguments([]string{"boot_device"}, "persistent")
	if err != nil {
		return nil, err
	}
	name, err := textArg(args, "boot_device")
	if err != nil {
		return nil, err
	}
	persistent, err := truthArg(args, "persistent")
	if err != nil {
		return nil, err
	}
	devices := bootDevices(n)
	i := slices.IndexFunc(devices, func(d bootDevice) bool { return d.name == name })
	if i < 0 {
		return nil, badRequest("Invalid boot device %s specified.", name)
	}
	if n.Driver == fakeHardware {
		return nil, nil
	}
	return nil, changeMachine(c, n, "set_boot_device", func(ctx context.Context, b bmc.Boot) error {
		return b.SetBootOverride(ctx, bmc.BootOverride{Target: devices[i].target, Persistent: persistent})
	})
}

func injectNMI(c *call, n *node.Node) (*reply, error) {
	if n.Driver == fakeHardware {
		return nil, unsupported(n, "inject_nmi")
	}
	return nil, changeMachine(c, n, "inject_nmi", func(ctx context.Context, p bmc.Power) error {
		return p.SetPower(ctx, bmc.ActionNMI)
	})
}

// indicator is a lamp of a machine.
type indicator struct {
	component, name string
	readonly        bool
	states          []string
}

// indicatorsOf a node: of a machine, its locator, which BMCs light and do not blink.
func indicatorsOf(n *node.Node) []indicator {
	if n.Driver == fakeHardware {
		return []indicator{
			{component: "chassis", name: "led-0", readonly: true, states: []string{"off", "on"}},
			{component: "system", name: "led", states: []string{"blinking", "off", "on"}},
		}
	}
	return []indicator{{component: "system", name: "led", states: []string{"off", "on"}}}
}

func listIndicators(c *call, n *node.Node) (*reply, error) {
	if noopManagement(n) {
		return nil, unsupported(n, "get_supported_indicators")
	}
	at, list := base(c.Request), []map[string]any{}
	for _, i := range indicatorsOf(n) {
		id := i.name + "@" + i.component
		path := "/nodes/" + c.PathValue("node") + "/management/indicators/" + id
		list = append(list, map[string]any{
			"name": id, "component": i.component, "readonly": i.readonly, "states": i.states,
			"links": []map[string]string{{"href": at + "/v1" + path, "rel": "self"}, {"href": at + path, "rel": "bookmark"}},
		})
	}
	return ok(map[string]any{"indicators": list})
}

// indicator finds the lamp of the path, which is written name@component.
func (c *call) indicator(n *node.Node) (*indicator, error) {
	id := c.PathValue("indicator")
	name, component, isBoth := strings.Cut(id, "@")
	if !isBoth {
		return nil, badRequest("Malformed indicator name %q", id)
	}
	all := indicatorsOf(n)
	if !slices.ContainsFunc(all, func(i indicator) bool { return i.component == component }) {
		return nil, badRequest("Invalid component %s specified.", component)
	}
	k := slices.IndexFunc(all, func(i indicator) bool { return i.component == component && i.name == name })
	if k < 0 {
		return nil, badRequest("Invalid indicator %s specified.", name)
	}
	return &all[k], nil
}

func showIndicator(c *call, n *node.Node) (*reply, error) {
	if noopManagement(n) {
		return nil, unsupported(n, "get_indicator_state")
	}
	if _, err := c.indicator(n); err != nil {
		return nil, err
	}
	if n.Driver == fakeHardware {
		return ok(map[string]any{"state": "on"})
	}
	state := "off"
	err := askMachine(c, n, "get_indicator_state", func(ctx context.Context, i bmc.Indicator) error {
		lit, err := i.Indicator(ctx)
		if lit {
			state = "on"
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return ok(map[string]any{"state": state})
}

func setIndicator(c *call, n *node.Node) (*reply, error) {
	args, err := c.machineArguments([]string{"state"})
	if err != nil {
		return nil, err
	}
	i, err := c.indicator(n)
	if err != nil {
		return nil, err
	}
	if n.Driver == fakeHardware {
		return nil, unsupported(n, "set_indicator_state")
	}
	state, err := textArg(args, "state")
	if err != nil {
		return nil, err
	}
	if !slices.Contains(i.states, state) {
		return nil, badRequest("Invalid indicator state %s: it has to be one of %s.", state, strings.Join(i.states, ", "))
	}
	return nil, changeMachine(c, n, "set_indicator_state", func(ctx context.Context, i bmc.Indicator) error {
		return i.SetIndicator(ctx, state == "on")
	})
}
