package rest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	kube "k8s.io/apimachinery/pkg/util/validation"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
)

// What has an owner: who it becomes when it is made, which of its fields are whose, and
// what of it a lessee does not see.

// mayCreate decides about a new node, and gives it to the project that makes it.
func (c *call) mayCreate(d *ironic.Node) error {
	const action = "baremetal:node:create"
	if parent := d.ParentNode; parent != nil && *parent != "" && !c.caller.unlimited() {
		if _, err := c.nodeOf(*parent); err != nil { // another project's node is no one's parent here
			return badRequest("Node %s could not be found.", *parent)
		}
	}
	if c.caller.Review != nil {
		namespace := c.s.Nodes.Namespace
		if d.Name != nil {
			// As pkg/node places it, to the letter: else it is made where nobody asked.
			if ns, rest, found := strings.Cut(*d.Name, "~"); found && len(kube.IsDNS1123Label(ns)) == 0 && rest != "" {
				namespace = ns
			}
		}
		return c.mayTo(action, target{}, namespace, "")
	}
	if err := c.may(action, nil); err != nil {
		return err
	}
	var err error
	d.Owner, err = c.ownerOf(d.Owner, "Cannot create a node as a project scoped admin with an owner other than your own project.")
	return err
}

// mayAllocate and mayMakeRunbook are the same for what else has an owner.
func (c *call) mayAllocate(asked *string) (*string, error) {
	if err := c.may("baremetal:allocation:create", nil); err != nil {
		return nil, err
	}
	if asked != nil && *asked != "" && c.can("baremetal:allocation:create_restricted", nil) {
		return asked, nil
	}
	return c.ownerOf(asked, "Cannot create allocation with an owner Project ID value not matching the requestor Project ID. Policy baremetal:allocation:create_restricted is required for this capability.")
}

func (c *call) mayMakeRunbook(asked *string) (*string, error) {
	if err := c.may("baremetal:runbook:create", nil); err != nil {
		return nil, err
	}
	return c.ownerOf(asked, "Cannot create a runbook as a project scoped admin with an owner other than your own project.")
}

// ownerOf is who is to own what the caller makes.
func (c *call) ownerOf(asked *string, text string) (*string, error) {
	project := c.caller.Project
	switch {
	case c.caller.System || c.caller.Review != nil:
		return asked, nil
	case project == "" || asked != nil && *asked != "" && *asked != project:
		return nil, refuse(http.StatusForbidden, "%s", text)
	}
	return &project, nil
}

// mayPatch decides about each field that a patch of n touches.
func (c *call) mayPatch(n *node.Node, changes []change) error {
	c.access.decided = true
	asked := map[string]bool{}
	for _, ch := range changes {
		action := patchAction(ch)
		if asked[action] {
			continue
		}
		asked[action] = true
		if err := c.may(action, n); err != nil {
			return err
		}
	}
	if len(changes) == 0 {
		return c.may("baremetal:node:update", n)
	}
	if n.ProvisionState != nil && *n.ProvisionState == ironic.Active &&
		slices.ContainsFunc(changes, func(ch change) bool { return ch.root() == "owner" }) &&
		!c.can("baremetal:node:update_owner_provisioned", n) {
		return conflict("Cannot update owner of node \"%s\" while it is in state \"%s\".", n.UUID, ironic.Active)
	}
	return nil
}

// patchAction is the action that a change of a node is.
func patchAction(ch change) string {
	switch name := ch.root(); name {
	case "extra", "instance_info":
		return "baremetal:node:update_" + name
	case "automated_clean":
		if ch.Value == nil || !slices.Contains([]string{"false", `"false"`, "0", `"0"`, `"no"`, `"off"`, `"f"`, `"n"`}, strings.ToLower(string(*ch.Value))) {
			return "baremetal:node:update"
		}
		return "baremetal:node:disable_cleaning"
	case "driver_info", "properties", "chassis_uuid", "instance_uuid", "lessee", "owner", "network_data", "conductor_group",
		"name", "shard", "parent_node", "disable_power_off":
		return "baremetal:node:update:" + name
	case "retired", "retired_reason":
		return "baremetal:node:update:retired"
	case "driver":
		return "baremetal:node:update:driver_interfaces"
	default:
		if strings.HasSuffix(name, "_interface") {
			return "baremetal:node:update:driver_interfaces"
		}
	}
	return "baremetal:node:update"
}

// redactions stand where a caller may see a node, but not how it is run: a lessee.
var redactions = []struct {
	field   int // of nodes
	action  string
	instead json.RawMessage
}{
	{nodeField("last_error"), "baremetal:node:get:last_error", json.RawMessage(`"** Value Redacted - Requires baremetal:node:get:last_error permission. **"`)},
	{nodeField("reservation"), "baremetal:node:get:reservation", json.RawMessage(`"** Redacted - requires baremetal:node:get:reservation permission. **"`)},
	{nodeField("driver_internal_info"), "baremetal:node:get:driver_internal_info", json.RawMessage(`{"content": "** Redacted - Requires baremetal:node:get:driver_internal_info permission. **"}`)},
	{nodeField("driver_info"), "baremetal:node:get:driver_info", json.RawMessage(`{"content": "** Redacted - requires baremetal:node:get:driver_info permission. **"}`)},
}

func nodeField(name string) int {
	return slices.IndexFunc(nodes.fields, func(f field) bool { return f.name == name })
}

// redacted is d, the document of n, as the caller may see it. It goes before sorting
// and filtering, which would tell.
func (c *call) redacted(n *node.Node, d doc) doc {
	if c.caller.Review != nil || policies["baremetal:node:get:filter_threshold"].rule(&c.caller, target{}) {
		return d
	}
	t, whole := targetOf(n), true
	for _, r := range redactions {
		if policies[r.action].rule(&c.caller, t) {
			continue
		}
		if whole {
			d, whole = slices.Clone(d), false
		}
		d[r.field] = r.instead
	}
	return d
}
