package rest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
	"github.com/ingot-metal/ingot/pkg/openapi"
)

// portgroupKind is what a port group has (ironic/api/controllers/v1/portgroup.py).
var portgroupKind = kind{name: "portgroup", plural: "portgroups", fields: []field{
	{name: "address", summary: true, write: always, check: macField("address")},
	{name: "category", since: 103, write: always, check: textField(80)},
	{name: "created_at"},
	{name: "dynamic_portgroup", since: 111},
	{name: "extra", write: always, check: objectField, object: true},
	{name: "internal_info", object: true},
	{name: "mode", write: always, check: textField(255)},
	{name: "name", summary: true, write: always, check: textField(255)},
	{name: "node_uuid", write: always, check: uuidField("node_uuid")},
	{name: "physical_network", since: 102, write: always, check: textField(64)},
	{name: "ports", object: true},
	{name: "properties", write: always, check: objectField, object: true},
	{name: "standalone_ports_supported", write: always, check: boolField},
	{name: "updated_at"},
	{name: "uuid", summary: true, write: onCreate, check: uuidField("uuid")},
}, filters: []openapi.Filter{{Name: "address"}, {Name: "conductor_groups", Since: 99}, {Name: "node"}, {Name: "shard", Since: 106}}}

// defaultMode is the mode of a port group that names none. Both mode and properties
// are shown to clients that are too old to set them, as Ironic does.
const defaultMode = "active-backup"

func (s *Server) portgroupResource() *resource {
	r := &resource{
		kind: &portgroupKind, of: node.KindPortGroup, noun: "Portgroup", arg: "portgroup", path: "/portgroups",
		policy: "baremetal:portgroup", lists: "baremetal:portgroup:list", since: 23, hides: http.StatusNotFound, late: http.StatusNotFound, named: 1, required: []string{"node_uuid"},
		unset: map[string]string{
			"dynamic_portgroup": "false", "extra": "{}", "internal_info": "{}", "mode": `"` + defaultMode + `"`,
			"properties": "{}", "standalone_ports_supported": "true",
		},
	}
	r.dress = func(c *call, o *node.Object, d doc) doc {
		r.put(d, "ports", c.linkList("portgroups/"+o.UUID+"/ports"))
		return d
	}
	r.pick = func(c *call) (func(*node.Object, doc) bool, error) { return pickPortgroups(c, r) }
	r.made = func(c *call, is *object) error {
		if c.version < 26 && (is.text("mode") != defaultMode || len(is.object("properties")) > 0) {
			return notAcceptable("The fields mode and properties can be set since 1.26.")
		}
		return settlePortgroup(c, is)
	}
	r.changed = changedPortgroup
	r.removed = removedPortgroup
	return r
}

func (s *Server) portgroupRoutes() []route {
	r := s.portgroupResource()
	return slices.Concat(r.routes(), []route{r.detailRoute()}, r.within("/nodes/{node}/portgroups", 24, ofNode))
}

// linkList is a list of links as JSON.
func (c *call) linkList(path string) json.RawMessage {
	text, _ := json.Marshal(c.links(path)) // texts can always be
	return text
}

func pickPortgroups(c *call, r *resource) (func(*node.Object, doc) bool, error) {
	owner := pickOwner(c)
	address, err := addressFilter(c)
	if err != nil {
		return nil, err
	}
	of, err := nodeFilter(c)
	if err != nil {
		return nil, err
	}
	return func(o *node.Object, d doc) bool {
		return (of == "" || o.Node == of) && (address == nil || bytes.Equal(r.at(d, "address"), address)) && (owner == nil || owner(o))
	}, nil
}

// nodeFilter is the UUID of ?node=; empty: not given.
func nodeFilter(c *call) (string, error) {
	ident := c.URL.Query().Get("node")
	if ident == "" {
		return "", nil
	}
	n, ok := c.s.Nodes.Get(ident)
	if !ok || !c.sees(n) {
		return "", notFound("Node %s could not be found.", ident)
	}
	return n.UUID, nil
}

func settlePortgroup(c *call, is *object) error {
	is.truths("standalone_ports_supported")
	if text := is.text("address"); text != "" {
		mac, _ := normalMAC(text)
		is.fields["address"] = mac
		for _, o := range c.s.Nodes.Objects(node.KindPortGroup) {
			if o.UUID != is.id && addressOf(o) == mac {
				return conflict("A portgroup with MAC address %s already exists.", mac)
			}
		}
	}
	return nil
}

func changedPortgroup(c *call, was, is *object) error {
	if c.version < 26 && (was.text("mode") != is.text("mode") || !reflect.DeepEqual(was.object("properties"), is.object("properties"))) {
		return notAcceptable("The fields mode and properties can be set since 1.26.")
	}
	if err := settlePortgroup(c, is); err != nil {
		return err
	}
	n, ok := c.s.Nodes.Get(is.node)
	if !ok {
		return badRequest("Node %s could not be found.", is.node)
	}
	state := provisionState(n)
	if state == ironic.Inspecting && c.version >= 39 {
		return conflict("Cannot update portgroup %q on node %q while it is in state %q.", is.id, n.UUID, state)
	}
	if was.node == is.node {
		return nil
	}
	if !slices.Contains(rewirable, state) && !n.Maintenance {
		return conflict("Portgroup %s can not be associated to node %s unless the node is in a %s state or in maintenance mode.", is.id, n.UUID, states(rewirable))
	}
	if hasPorts(c, is.id) {
		return badRequest("Portgroup %s can not be associated with node %s because there are ports associated with this portgroup.", is.id, n.UUID)
	}
	return nil
}

func removedPortgroup(c *call, was *object) error {
	if hasPorts(c, was.id) {
		return badRequest("Cannot complete the requested action because portgroup %s contains ports.", was.id)
	}
	return nil
}

// hasPorts reports whether a port group has members.
func hasPorts(c *call, id string) bool {
	r, want := c.s.portResource(), quote(id)
	return slices.ContainsFunc(c.s.Nodes.Objects(node.KindPort), func(o *node.Object) bool {
		d, err := c.s.kept.doc(r, o)
		return err == nil && bytes.Equal(r.at(d, "portgroup_uuid"), want)
	})
}

// standalone reports whether members of a port group may be used alone.
func standalone(c *call, g *node.Object) bool {
	r := c.s.portgroupResource()
	d, err := c.s.kept.doc(r, g)
	return err == nil && !bytes.Equal(r.at(d, "standalone_ports_supported"), []byte("false"))
}
