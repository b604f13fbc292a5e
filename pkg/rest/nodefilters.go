package rest

import (
	"net/url"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
)

// keeps reports whether a list shows a node.
type keeps func(*node.Node) bool

// nodeFilters are the filters of node lists. Those without a version are looked at
// whatever the version is, as in Ironic.
var nodeFilters = []struct {
	name  string
	since ironic.Version
	make  func(name, text string) (keeps, error)
}{
	{"associated", 0, ifTrue(func(n *node.Node) bool { return n.InstanceUUID != nil })},
	{"chassis_uuid", 0, ifUUID(func(n *node.Node) *string { return n.ChassisUUID })},
	{"conductor", 49, ifText(func(n *node.Node) *string { return n.Conductor })},
	{"conductor_group", 46, func(_, text string) (keeps, error) {
		return func(n *node.Node) bool { return strings.EqualFold(n.ConductorGroup, text) }, nil
	}},
	{"description_contains", 0, func(_, text string) (keeps, error) {
		text = strings.ToLower(text)
		return func(n *node.Node) bool {
			return n.Description != nil && strings.Contains(strings.ToLower(*n.Description), text)
		}, nil
	}},
	{"driver", 16, func(_, text string) (keeps, error) {
		return func(n *node.Node) bool { return n.Driver == text }, nil
	}},
	{"fault", 42, faultFilter},
	{"include_children", 83, ifTrue(nil)}, // see children
	{"instance_name", 104, ifText(func(n *node.Node) *string { return n.InstanceName })},
	{"instance_uuid", 0, ifUUID(func(n *node.Node) *string { return n.InstanceUUID })},
	{"lessee", 65, ifText(func(n *node.Node) *string { return n.Lessee })},
	{"maintenance", 0, ifTrue(func(n *node.Node) bool { return n.Maintenance })},
	{"owner", 50, ifText(func(n *node.Node) *string { return n.Owner })},
	{"parent_node", 83, ifText(func(n *node.Node) *string { return n.ParentNode })},
	{"project", 0, func(_, text string) (keeps, error) {
		return func(n *node.Node) bool { return is(n.Owner, text) || is(n.Lessee, text) }, nil
	}},
	{"provision_state", 9, stateFilter},
	{"resource_class", 21, ifText(func(n *node.Node) *string { return n.ResourceClass })},
	{"retired", 0, ifTrue(func(n *node.Node) bool { return n.Retired })},
	{"shard", 82, func(_, text string) (keeps, error) {
		shards := strings.Split(strings.ToLower(text), ",")
		return func(n *node.Node) bool {
			return n.Shard != nil && slices.Contains(shards, strings.ToLower(*n.Shard))
		}, nil
	}},
	{"sharded", 82, ifTrue(func(n *node.Node) bool { return n.Shard != nil })},
}

func is(value *string, text string) bool { return value != nil && *value == text }

// ifTrue filters by a truth value; with no question it lets all through.
func ifTrue(question func(*node.Node) bool) func(name, text string) (keeps, error) {
	return func(name, text string) (keeps, error) {
		want, ok := truth(text)
		if !ok {
			return nil, notBool(name, text)
		}
		if question == nil {
			return func(*node.Node) bool { return true }, nil
		}
		return func(n *node.Node) bool { return question(n) == want }, nil
	}
}

func ifText(value func(*node.Node) *string) func(name, text string) (keeps, error) {
	return func(_, text string) (keeps, error) {
		return func(n *node.Node) bool { return is(value(n), text) }, nil
	}
}

func ifUUID(value func(*node.Node) *string) func(name, text string) (keeps, error) {
	return func(name, text string) (keeps, error) {
		if !uuidLike(text) {
			return nil, badRequest("Expected UUID for %s: %s", name, clip([]byte(text)))
		}
		return func(n *node.Node) bool { v := value(n); return v != nil && strings.EqualFold(*v, text) }, nil
	}
}

var validFaults = []string{ironic.FaultPower, ironic.FaultClean, ironic.FaultRescueAbort, ironic.FaultService}

func faultFilter(_, text string) (keeps, error) {
	if !slices.Contains(validFaults, text) {
		return nil, badRequest("Unrecognized fault \"%s\" is specified, allowed faults are ('%s')", clip([]byte(text)), strings.Join(validFaults, "', '")) //nolint:misspell // Ironic's spelling
	}
	return func(n *node.Node) bool { return is(n.Fault, text) }, nil
}

func stateFilter(_, text string) (keeps, error) {
	if _, known := node.RowOf(ironic.State(text)); !known {
		return nil, badRequest("Provision state \"%s\" is not valid", clip([]byte(text)))
	}
	return func(n *node.Node) bool { return n.ProvisionState != nil && string(*n.ProvisionState) == text }, nil
}

// nodeQuery are the parameters of node lists; detail and fields are not among those of
// /nodes/detail.
func nodeQuery(more ...string) []string {
	names := slices.Concat(pageQuery, more)
	for _, f := range nodeFilters {
		names = append(names, f.name)
	}
	return names
}

// nodeFilter is what a query asks for. Children of another node are shown when they
// are asked for, or found by something of their own (1.83).
func (c *call) nodeFilter(q url.Values) (keeps, error) {
	var all []keeps
	for _, f := range nodeFilters {
		if !q.Has(f.name) {
			continue
		}
		switch {
		case c.version < f.since && f.name == "provision_state":
			return nil, notAcceptable("")
		case c.version < f.since:
			return nil, sinceVersion(f.since)
		}
		one, err := f.make(f.name, q.Get(f.name))
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	if id := q.Get("chassis_uuid"); id != "" {
		if _, found := c.s.Nodes.Object(node.KindChassis, id); !found {
			return nil, notFound("Chassis %s could not be found.", id)
		}
	}
	if children, _ := truth(q.Get("include_children")); !children && !q.Has("parent_node") && !q.Has("instance_uuid") {
		all = append(all, func(n *node.Node) bool { return n.ParentNode == nil })
	}
	return func(n *node.Node) bool {
		for _, one := range all {
			if !one(n) {
				return false
			}
		}
		return true
	}, nil
}
