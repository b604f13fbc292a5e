package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
)

// newNode reads the body of a new node.
func (c *call) newNode() (ironic.Node, error) {
	var d ironic.Node
	var body map[string]any
	if err := c.read(&body); err != nil {
		return d, err
	}
	if err := c.sent(&nodes, body, onCreate); err != nil {
		return d, err
	}
	if body["driver"] == nil {
		return d, badRequest("Schema error for node: 'driver' is a required property")
	}
	text, err := json.Marshal(body)
	if err != nil {
		return d, err
	}
	if err := decode(text, &d); err != nil {
		return d, err
	}
	wholeObjects(&d)
	if d.Name != nil {
		if err := c.acceptName(*d.Name, "Cannot create node with invalid name '"+*d.Name+"'", ""); err != nil {
			return d, err
		}
	}
	if _, taken := c.s.Nodes.Get(d.UUID); d.UUID != "" && taken {
		return d, conflict("A node with UUID %s already exists.", d.UUID)
	}
	if err := c.acceptRelations(&ironic.Node{UUID: d.UUID}, &d); err != nil {
		return d, err
	}
	if err := acceptSizes(&d); err != nil {
		return d, err
	}
	syncInstanceName(&ironic.Node{}, &d)
	if err := fillInterfaces(&d); err != nil {
		return d, err
	}
	born := ironic.Enroll
	if c.version < 11 {
		born = ironic.Available // such clients know of no steps before it
	}
	d.ProvisionState = &born
	return d, nil
}

// acceptName checks a node's name; refused is what an invalid one is answered. own is
// the UUID of the node that may have it already.
func (c *call) acceptName(name, refused, own string) error {
	if c.version < 5 {
		return notAcceptable("")
	}
	if !c.validName(name) || uuidLike(name) {
		return badRequest("%s", refused)
	}
	if slices.Contains(reservedNames, name) {
		return badRequest("The word \"%s\" is reserved and can not be used as a node name. Reserved words are: %s.", name, strings.Join(reservedNames, ", "))
	}
	if other, taken := c.s.Nodes.Get(name); taken && other.UUID != own {
		return conflict("A node with name %s already exists.", name)
	}
	return nil
}

// acceptRelations checks what a node names of other resources.
func (c *call) acceptRelations(was, is *ironic.Node) error {
	if id := is.ChassisUUID; id != nil && !same(was.ChassisUUID, id) {
		if _, found := c.s.Nodes.Object(node.KindChassis, *id); !found {
			return badRequest("Chassis %s could not be found.", *id)
		}
	}
	if id := is.ParentNode; id != nil && !same(was.ParentNode, id) {
		parent, found := c.s.Nodes.Get(*id)
		if !found || parent.UUID == was.UUID {
			return badRequest("Node %s could not be found.", *id)
		}
		is.ParentNode = &parent.UUID
	}
	if id := is.InstanceUUID; id != nil && !same(was.InstanceUUID, id) {
		for _, other := range c.s.Nodes.List() {
			if same(other.InstanceUUID, id) && other.UUID != was.UUID {
				return conflict("Instance %s is already associated with a node, it cannot be associated with this other node %s", *id, was.UUID)
			}
		}
	}
	return nil
}

func same(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

// wholeObjects makes empty objects of those that a client took away: Ironic shows no
// null there.
func wholeObjects(d *ironic.Node) {
	for _, o := range []*ironic.Object{
		&d.DriverInfo, &d.DriverInternalInfo, &d.InstanceInfo, &d.Properties, &d.Extra, &d.NetworkData,
		&d.RAIDConfig, &d.TargetRAIDConfig, &d.CleanStep, &d.DeployStep, &d.ServiceStep,
	} {
		if *o == nil {
			*o = ironic.Object{}
		}
	}
	if d.Traits == nil {
		d.Traits = []string{}
	}
}

// acceptSizes: schedulers reckon with these properties.
func acceptSizes(d *ironic.Node) error {
	var wrong []string
	for _, name := range []string{"local_gb", "cpus", "memory_mb"} {
		value := d.Properties[name]
		text := fmt.Sprint(value)
		if n, err := strconv.ParseFloat(strings.TrimSpace(text), 64); value != nil && (err != nil || n < 0) {
			wrong = append(wrong, name+"="+string(clip([]byte(text))))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return badRequest("The following properties for node %s should be non-negative integers, but provided values are: %s", d.UUID, strings.Join(wrong, ", "))
}

// syncInstanceName keeps instance_name (1.104) and Nova's older display_name equal:
// what was changed last counts.
func syncInstanceName(was, is *ironic.Node) {
	before, _ := was.InstanceInfo["display_name"].(string)
	now, _ := is.InstanceInfo["display_name"].(string)
	switch {
	case !same(was.InstanceName, is.InstanceName):
		info := ironic.Object{}
		for k, v := range is.InstanceInfo {
			info[k] = v
		}
		delete(info, "display_name")
		if is.InstanceName != nil {
			info["display_name"] = *is.InstanceName
		}
		is.InstanceInfo = info
	case before != now && now == "":
		is.InstanceName = nil
	case before != now && len(now) <= 255:
		is.InstanceName = &now
	}
}

// changedNode is what a patch makes of a node, if it may.
func (c *call) changedNode(n *node.Node, changes []change) (ironic.Node, error) {
	var to ironic.Node
	reset, given, err := flag(c.URL.Query(), "reset_interfaces")
	if err != nil {
		return to, err
	}
	if given && c.version < 45 {
		return to, notAcceptable("")
	}
	if reset && !slices.ContainsFunc(changes, func(ch change) bool { return ch.Path == "/driver" && ch.Op != "remove" }) {
		return to, badRequest("The reset_interfaces parameter can only be used when changing the node's driver.")
	}
	if err := updatable(&n.Node, changes, c.version); err != nil {
		return to, err
	}
	was := n.Node
	wholeObjects(&was)
	if err := nodes.patched(was, changes, &to); err != nil {
		return to, err
	}
	wholeObjects(&to)
	if to.Driver == "" {
		return to, badRequest("Schema error for patch: 'driver' is a required property")
	}
	if to.Name != nil && (!same(n.Name, to.Name) || touches(changes, "name")) {
		refused := "Node " + c.PathValue("node") + ": Cannot change name to invalid name '" + *to.Name + "'"
		if err := c.acceptName(*to.Name, refused, n.UUID); err != nil {
			return to, err
		}
	}
	if n.ChassisUUID != nil && to.ChassisUUID == nil && c.version < 25 {
		return to, notAcceptable("")
	}
	if err := c.acceptRelations(&n.Node, &to); err != nil {
		return to, err
	}
	if err := c.acceptOwner(n, &to); err != nil {
		return to, err
	}
	if touches(changes, "properties") {
		if err := acceptSizes(&to); err != nil {
			return to, err
		}
	}
	syncInstanceName(&n.Node, &to)
	return to, acceptChange(&n.Node, &to, changes, reset)
}

func touches(changes []change, field string) bool {
	return slices.ContainsFunc(changes, func(ch change) bool { return ch.root() == field })
}

// patchable reports whether a node on its way from a state may be changed
// (ironic/common/states.py UPDATE_ALLOWED_STATES): Inspecting is what 1.39 closed.
func patchable(st ironic.State) bool {
	row, _ := node.RowOf(st)
	return row.Patch || st == ironic.Inspecting
}

// updatable reports whether a node may be patched in the state that it is in.
func updatable(n *ironic.Node, changes []change, v ironic.Version) error {
	if n.Maintenance && len(changes) == 1 && changes[0].Op == "remove" && changes[0].Path == "/instance_uuid" {
		return nil // the way out for an instance that is stuck
	}
	st := stateOf(n)
	switch {
	case n.TargetProvisionState != nil && *n.TargetProvisionState != "" && !patchable(st):
		return conflict("Node %s can not be updated while a state transition is in progress.", n.UUID)
	case st == ironic.Inspecting && v >= 39:
		return conflict("Cannot update node \"%s\" while it is in state \"%s\".", n.UUID, st)
	}
	return nil
}

func stateOf(n *ironic.Node) ironic.State {
	if n.ProvisionState == nil {
		return ironic.NoState
	}
	return *n.ProvisionState
}

// settledStates are those in which what a driver is made of may be changed.
var settledStates = []ironic.State{ironic.Enroll, ironic.Inspecting, ironic.InspectWait, ironic.Manageable, ironic.Available}

func settled() string {
	names := make([]string, len(settledStates))
	for i, st := range settledStates {
		names[i] = string(st)
	}
	return strings.Join(names, ", ")
}

// acceptChange applies the rules of Ironic's conductor to a change
// (ironic/conductor/manager.py update_node), and what follows from it.
func acceptChange(was, is *ironic.Node, changes []change, reset bool) error {
	st := stateOf(was)
	calm := slices.Contains(settledStates, st)
	if !is.Maintenance && was.Maintenance {
		is.MaintenanceReason, is.Fault = nil, nil
	}
	switch {
	case !is.Protected:
		if is.ProtectedReason != nil && touches(changes, "protected_reason") {
			return badRequest("The protected_reason field can only be set when protected is True")
		}
		is.ProtectedReason = nil
	case !was.Protected && st != ironic.Active && st != ironic.Rescue:
		return conflict("Node %s can only be made protected in provision states 'active' or 'rescue', the current state is '%s'", was.UUID, st)
	}
	switch {
	case !is.Retired:
		if is.RetiredReason != nil && touches(changes, "retired_reason") {
			return badRequest("The retired_reason field can only be set when retired is True")
		}
		is.RetiredReason = nil
	case !was.Retired && st == ironic.Available:
		return conflict("Node %s can not have 'retired' set in provision state 'available', the current state is '%s'", was.UUID, st)
	}
	if was.InstanceUUID != nil && is.InstanceUUID != nil && !same(was.InstanceUUID, is.InstanceUUID) {
		return conflict("Node %s is associated with instance %s.", was.UUID, *was.InstanceUUID)
	}
	if was.AllocationUUID != nil && was.InstanceUUID != nil && is.InstanceUUID == nil && !was.Maintenance && !calm {
		return conflict("Node %s with an allocation can not have instance_uuid removed unless it is in one of allowed (%s) states or in maintenance mode.", was.UUID, settled())
	}
	if was.ResourceClass != nil && !same(was.ResourceClass, is.ResourceClass) && !calm {
		return conflict("Node %s can not have resource_class updated unless it is in one of allowed (%s) states.", was.UUID, settled())
	}
	return acceptDriver(was, is, changes, reset, calm || is.Maintenance)
}

// acceptDriver checks a change of the driver or of its interfaces.
func acceptDriver(was, is *ironic.Node, changes []change, reset, calm bool) error {
	if was.Driver != is.Driver && was.ConsoleEnabled {
		return conflict("Node %s can not update the driver while the console is enabled. Please stop the console first.", was.UUID)
	}
	changed := was.Driver != is.Driver
	for _, t := range interfaceTypes {
		before, now := t.of(was), t.of(is)
		if reset && !touches(changes, t.name+"_interface") {
			*now = ""
			continue
		}
		if *before == *now {
			continue
		}
		if !calm {
			return conflict("Node %s can not have %s_interface updated unless it is in one of allowed (%s) states or in maintenance mode.", was.UUID, t.name, settled())
		}
		changed = true
	}
	if !changed {
		return nil // whatever it has is what it had
	}
	return fillInterfaces(is)
}

// acceptOwner: who owns an allocation owns its node.
func (c *call) acceptOwner(n *node.Node, is *ironic.Node) error {
	if same(n.Owner, is.Owner) || n.AllocationUUID == nil {
		return nil
	}
	o, found := c.s.Nodes.Object(node.KindAllocation, *n.AllocationUUID)
	var body struct {
		Owner *string `json:"owner"`
	}
	if !found || json.Unmarshal(o.Body, &body) != nil || body.Owner == nil {
		return nil
	}
	return conflict("Cannot update owner of node \"%s\" while it is allocated to an allocation with an owner.", n.UUID)
}

// deletable reports whether a node may be deleted (ironic/conductor/manager.py
// destroy_node). Maintenance opens every state: that is how broken ones are let go.
func deletable(n *ironic.Node) error {
	row, _ := node.RowOf(stateOf(n))
	switch {
	case !n.Maintenance && n.InstanceUUID != nil:
		return conflict("Node %s is associated with instance %s.", n.UUID, *n.InstanceUUID)
	case n.Protected:
		return refuse(http.StatusForbidden, "Node %s is protected and cannot be undeployed, rebuilt or deleted", n.UUID)
	case !n.Maintenance && !row.Delete:
		return conflict("Can not delete node \"%s\" while it is in provision state \"%s\". Valid provision states to perform deletion are: \"('manageable', 'enroll', 'adopt failed', 'available')\", or set the node into maintenance mode", n.UUID, stateOf(n))
	}
	return nil
}
