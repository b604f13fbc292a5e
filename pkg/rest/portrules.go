package rest

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
)

// madePort completes a new port, or refuses it.
func madePort(c *call, is *object) error {
	is.truths("pxe_enabled", "is_smartnic", "available_for_dynamic_portgroup")
	if err := settlePort(c, nil, is); err != nil {
		return err
	}
	if link := is.object("local_link_connection"); is.flag("is_smartnic") && (link["port_id"] == nil || link["hostname"] == nil) {
		return badRequest("Smart NIC port must have port_id and hostname in local_link_connection")
	}
	if id := is.text("portgroup_uuid"); id != "" && is.flag("pxe_enabled") {
		if g, ok := c.s.Nodes.Object(node.KindPortGroup, id); ok && !standalone(c, g) {
			return conflict("Port group %s doesn't support standalone ports. This port cannot be created as a member of that portgroup as the port's 'pxe_enabled' field was set to True.", id)
		}
	}
	return nil
}

// settlePort normalises what was sent of a port and checks what others must not
// have, too.
func settlePort(c *call, was, is *object) error {
	mac, _ := normalMAC(is.text("address"))
	is.fields["address"] = mac
	if other, taken := c.s.kept.allPorts(c.s).byMAC[mac]; taken && other.UUID != is.id {
		return conflict("A port with MAC address %s already exists.", mac)
	}
	if text, ok := is.fields["physical_network"].(string); ok && text == "" {
		return badRequest("A non-empty value is required when setting physical_network")
	}
	if err := settleLink(c, was, is); err != nil {
		return err
	}
	text := is.text("portgroup_uuid")
	if text == "" {
		return nil
	}
	id, ok := canonical(text)
	if !ok {
		return badRequest("Expected UUID for portgroup_uuid: %s", text)
	}
	is.fields["portgroup_uuid"] = id
	g, ok := c.s.Nodes.Object(node.KindPortGroup, id)
	switch {
	case !ok:
		return badRequest("Portgroup %s could not be found.", id)
	case g.Node != is.node:
		return badRequest("Port can not be added to a portgroup belonging to a different node.")
	}
	return samePhysicalNetwork(c, was, is, g)
}

// samePhysicalNetwork holds the members of a port group to one physical network.
func samePhysicalNetwork(c *call, was, is *object, g *node.Object) error {
	if was != nil && was.text("portgroup_uuid") == g.UUID && was.text("physical_network") == is.text("physical_network") {
		return nil
	}
	r := c.s.portResource()
	for _, o := range c.s.kept.allPorts(c.s).list {
		if o.Node != is.node || o.UUID == is.id {
			continue
		}
		member, err := r.open(c, o)
		if err != nil {
			return err
		}
		if member.text("portgroup_uuid") == g.UUID && member.text("physical_network") != is.text("physical_network") {
			return conflict("Port with physical network %s cannot become a member of port group %s which has ports in physical network %s.",
				orNone(is.text("physical_network")), g.UUID, orNone(member.text("physical_network")))
		}
	}
	return nil
}

func orNone(s string) string {
	if s == "" {
		return "None"
	}
	return s
}

var datapathForm = regexp.MustCompile(`^0x[0-9a-f]{16}$`)

// linkKeys are what a local_link_connection may have; those of VTEPs came with 1.90
// and went with 1.105.
var linkKeys = []string{"hostname", "network_type", "port_id", "switch_id", "switch_info", "vtep-logical-switch", "vtep-physical-switch"}

func localLinkField(v any) error {
	if v == nil {
		return nil
	}
	link, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("%s is not of type 'object'", python(v))
	}
	for key, value := range link {
		if !slices.Contains(linkKeys, key) {
			return fmt.Errorf("%s is not valid under any of the given schemas. Possible root cause: Additional properties are not allowed ('%s' was unexpected)", python(v), key)
		}
		if _, ok := value.(string); !ok {
			return fmt.Errorf("%s is not valid under any of the given schemas. Possible root cause: %s is not of type 'string'", python(v), python(value))
		}
	}
	has := func(names ...string) bool {
		return !slices.ContainsFunc(names, func(n string) bool { return link[n] == nil })
	}
	kind := link["network_type"]
	switch {
	case kind != nil && kind != "managed" && kind != "unmanaged":
		return fmt.Errorf("%s is not one of ['managed', 'unmanaged']", python(kind))
	case len(link) == 0, has("port_id", "switch_id"), has("port_id", "hostname"), kind == "unmanaged", has("port_id", "vtep-logical-switch", "vtep-physical-switch"):
	default:
		return fmt.Errorf("%s is not valid under any of the given schemas. Possible root cause: 'switch_id' is a required property", python(v))
	}
	if id, ok := link["switch_id"].(string); ok {
		if _, ok := switchID(id); !ok {
			return badRequest("Expected a MAC address or OpenFlow datapath ID but received %s.", id)
		}
	}
	return nil
}

// switchID is a switch's MAC address or OpenFlow datapath in lower case.
func switchID(s string) (string, bool) {
	if mac, ok := normalMAC(s); ok {
		return mac, true
	}
	s = strings.ToLower(s)
	return s, datapathForm.MatchString(s)
}

// settleLink normalises a local_link_connection and refuses what the version does not
// have.
func settleLink(c *call, was, is *object) error {
	link := is.object("local_link_connection")
	if was != nil && reflect.DeepEqual(was.object("local_link_connection"), link) {
		return nil
	}
	if link["network_type"] != nil && c.version < 64 {
		return notAcceptable("The field local_link_connection/network_type came with 1.64.")
	}
	for _, key := range []string{"vtep-logical-switch", "vtep-physical-switch"} {
		if link[key] != nil && c.version < 90 {
			return notAcceptable("The field local_link_connection/%s came with 1.90.", key)
		}
		if link[key] != nil && c.version >= 105 {
			return badRequest("Schema error for port: local_link_connection: Additional properties are not allowed ('%s' was unexpected)", key)
		}
	}
	if id, ok := link["switch_id"].(string); ok {
		link["switch_id"], _ = switchID(id)
	}
	return nil
}

// changedPort says whether a port may be changed so in its node's state
// (ironic/conductor/manager.py update_port).
func changedPort(c *call, was, is *object) error {
	if was.node != is.node {
		// Ironic fails here. Two hosts would boot from one address.
		return badRequest("Port %s stays with its node %s: delete it, and make it anew for the other.", was.id, was.node)
	}
	is.truths("pxe_enabled", "is_smartnic", "available_for_dynamic_portgroup")
	if err := settlePort(c, was, is); err != nil {
		return err
	}
	n, ok := c.s.Nodes.Get(is.node)
	if !ok {
		return badRequest("Node %s could not be found.", is.node)
	}
	state := provisionState(n)
	if state == ironic.Inspecting && c.version >= 39 {
		return conflict("Cannot update port %q on %q while it is in state %q.", is.id, n.UUID, state)
	}
	if n.Maintenance {
		return nil
	}
	if was.text("address") != is.text("address") && (state == ironic.Active || n.InstanceUUID != nil) {
		return conflict("Cannot update hardware address for port %s as node %s is active or has instance UUID assigned", is.id, n.UUID)
	}
	if slices.Contains(rewirable, state) {
		return nil
	}
	attributes := []string{"portgroup_uuid", "pxe_enabled", "local_link_connection", "physical_network"}
	for _, name := range attributes {
		if !reflect.DeepEqual(was.fields[name], is.fields[name]) {
			return conflict("Port %s can not have any connectivity attributes (%s) updated unless node %s is in a %s state or in maintenance mode. The current state is %s.",
				is.id, strings.Join(attributes, ", "), n.UUID, states(rewirable), state)
		}
	}
	return nil
}

// rewirable are the states in which a node's ports may be plugged in otherwise.
var rewirable = []ironic.State{ironic.Enroll, ironic.Inspecting, ironic.InspectWait, ironic.Manageable}

func states(list []ironic.State) string {
	names := make([]string, len(list))
	for i, s := range list {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

func provisionState(n *node.Node) ironic.State {
	if n.ProvisionState == nil {
		return ironic.NoState
	}
	return *n.ProvisionState
}

func removedPort(c *call, was *object) error {
	vif, _ := was.object("internal_info")[tenantVIF].(string)
	if n, ok := c.s.Nodes.Get(was.node); vif != "" && ok && !n.Maintenance {
		return conflict("Cannot delete the port %s as it is bound to VIF %s for tenant use.", was.id, vif)
	}
	return nil
}
