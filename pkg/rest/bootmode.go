package rest

import (
	"context"
	"fmt"
	"net/http"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/node"
)

func bootModeRoutes() []route {
	return []route{
		{method: http.MethodPut, path: "/nodes/{node}/states/boot_mode", since: 76, action: "baremetal:node:set_boot_mode", do: atOwner(setBootMode)},
		{method: http.MethodPut, path: "/nodes/{node}/states/secure_boot", since: 76, action: "baremetal:node:set_secure_boot", do: atOwner(setSecureBoot)},
	}
}

// setBootMode has the machine start in another firmware mode: what its next start
// is overridden with stays. What ingot boots it into later follows the mode that is
// declared (properties/capabilities), as in Ironic.
func setBootMode(c *call, n *node.Node) (*reply, error) {
	args, err := c.machineArguments([]string{"target"})
	if err != nil {
		return nil, err
	}
	mode, known := map[any]bmc.BootMode{"uefi": bmc.BootModeUEFI, "bios": bmc.BootModeLegacy}[asText(args["target"])]
	if !known {
		return nil, badRequest("Invalid boot mode %v requested for node. Allowed boot modes are: bios, uefi", args["target"])
	}
	if err := steadyNode(n, "boot mode"); err != nil {
		return nil, err
	}
	name := fmt.Sprint(args["target"])
	err = beginChange(c, n, "set_boot_mode", "Failed to change boot mode to '"+name+"': ", func(ctx context.Context, b bmc.Boot) error {
		o, err := b.BootOverride(ctx)
		if err != nil || o.Mode == mode {
			return err
		}
		o.Mode, o.Renew = mode, false
		return b.SetBootOverride(ctx, o)
	}, func(d *ironic.Node) { d.BootMode = &name })
	return toStates(c, err)
}

func setSecureBoot(c *call, n *node.Node) (*reply, error) {
	args, err := c.machineArguments([]string{"target"})
	if err != nil {
		return nil, err
	}
	on, err := truthArg(args, "target")
	if err != nil {
		return nil, err
	}
	if args["target"] == nil {
		return nil, badRequest("Invalid secure_boot None requested for node. Allowed secure_boot states are: True, False")
	}
	if err := steadyNode(n, "secure_boot state"); err != nil {
		return nil, err
	}
	word := map[bool]string{true: "True", false: "False"}[on]
	err = beginChange(c, n, "set_secure_boot_state", "Failed to change secure_boot state to '"+word+"': ", func(ctx context.Context, s bmc.SecureBoot) error {
		_, err := s.SetSecureBoot(ctx, on)
		return err
	}, func(d *ironic.Node) { d.SecureBoot = &on })
	return toStates(c, err)
}

// asText is v if it can be a key.
func asText(v any) any {
	if s, ok := v.(string); ok {
		return s
	}
	return nil
}

// steadyNode refuses what would interfere with what is under way.
func steadyNode(n *node.Node, what string) error {
	if !changing(n.ProvisionState) {
		return nil
	}
	return conflict("Node is in %s state. Since node is transitioning, the %s will not be set as this may interfere with ongoing changes and result in erroneous modification. Try again later.", *n.ProvisionState, what)
}

// toStates accepts, and says where it is to be seen.
func toStates(c *call, err error) (*reply, error) {
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusAccepted, location: "/nodes/" + c.PathValue("node") + "/states"}, nil
}
