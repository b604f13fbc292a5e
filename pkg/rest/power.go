package rest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
)

func (s *Server) stateRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/nodes/{node}/states", action: "baremetal:node:get_states", query: []string{}, do: showStates},
		{method: http.MethodPut, path: "/nodes/{node}/states/provision", action: "baremetal:node:set_provision_state", limit: maxProvision, query: []string{}, do: setProvision},
		{method: http.MethodPut, path: "/nodes/{node}/states/power", action: "baremetal:node:set_power_state", query: []string{}, do: setPower},
	}
}

func showStates(c *call) (*reply, error) {
	n, err := c.node()
	if err != nil {
		return nil, err
	}
	shown, err := c.nodeDoc(n)
	if err != nil {
		return nil, err
	}
	states := map[string]any{
		"console_enabled": n.ConsoleEnabled, "last_error": shown[lastErrorField], "power_state": n.PowerState,
		"provision_state": c.shownState(n.ProvisionState), "target_power_state": n.TargetPowerState,
		"target_provision_state": n.TargetProvisionState, "provision_updated_at": n.ProvisionUpdatedAt,
	}
	if c.version >= 12 {
		d := n.Node
		wholeObjects(&d)
		states["raid_config"], states["target_raid_config"] = d.RAIDConfig, d.TargetRAIDConfig
	}
	if c.version >= 75 {
		states["boot_mode"], states["secure_boot"] = n.BootMode, n.SecureBoot
	}
	return ok(states)
}

var powerTargets = []ironic.Power{ironic.PowerOn, ironic.PowerOff, ironic.Reboot, ironic.SoftReboot, ironic.SoftPowerOff}

func setPower(c *call) (*reply, error) {
	args, err := c.arguments("target", "timeout")
	if err != nil {
		return nil, err
	}
	if args["target"] == nil {
		return nil, badRequest("Missing mandatory parameter: target")
	}
	text, err := textArgument(args, "target")
	if err != nil {
		return nil, err
	}
	timeout, err := seconds(args["timeout"])
	if err != nil {
		return nil, err
	}
	n, err := c.free()
	if err != nil {
		return nil, err
	}
	target := ironic.Power(text)
	if err := checkPower(&n.Node, target, timeout, c.version); err != nil {
		return nil, err
	}
	asked := node.Asked{Power: target}
	if timeout != nil {
		asked.Timeout = time.Duration(min(*timeout, maxPowerTimeout)) * time.Second
	}
	if _, err := c.s.Nodes.Ask(c.Context(), n, asked); err != nil {
		return nil, err
	}
	return &reply{status: http.StatusAccepted, location: "/nodes/" + c.PathValue("node") + "/states"}, nil
}

// maxPowerTimeout is in seconds; nobody waits longer for a machine.
const maxPowerTimeout = 24 * 60 * 60

// seconds reads a whole number, in digits or in a string of them; nil: not given.
func seconds(text json.RawMessage) (*int, error) {
	if text == nil {
		return nil, nil //nolint:nilnil // that nothing was said is no error
	}
	digits := string(text)
	var s string
	if json.Unmarshal(text, &s) == nil {
		digits = s
	}
	n, err := strconv.Atoi(digits)
	if err != nil {
		return nil, badRequest("Expected an integer for timeout: %s", clip([]byte(digits)))
	}
	return &n, nil
}

// checkPower applies Ironic's rules to a change of power.
func checkPower(n *ironic.Node, target ironic.Power, timeout *int, v ironic.Version) error {
	soft := target == ironic.SoftPowerOff || target == ironic.SoftReboot
	if (soft || timeout != nil && *timeout != 0) && v < 27 {
		return notAcceptable("")
	}
	if timeout != nil && *timeout < 1 {
		return badRequest("timeout has to be positive integer")
	}
	st := stateOf(n)
	if !slices.Contains(powerTargets, target) {
		power := "None"
		if n.PowerState != nil {
			power = string(*n.PowerState)
		}
		return badRequest("The requested action \"%s\" can not be performed on node \"%s\" while it is in state \"%s\".", clip([]byte(target)), n.UUID, power)
	}
	row, _ := node.RowOf(st)
	switch {
	case st == ironic.Cleaning || st == ironic.CleanWait:
		return badRequest("The requested action \"%s\" can not be performed on node \"%s\" while it is in state \"%s\".", target, n.UUID, st)
	case n.DisablePowerOff && (target == ironic.PowerOff || target == ironic.SoftPowerOff):
		return conflict("Node %s has power off disabled: its power can not be switched off.", n.UUID)
	case len(row.Verbs) == 0 || n.Reservation != nil:
		return locked(n)
	}
	if reason := unfit(n, "power"); reason != "" {
		return badRequest("%s", reason)
	}
	return nil
}
