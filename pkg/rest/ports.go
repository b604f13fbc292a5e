package rest

import (
	"bytes"
	"net/http"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/pkg/node"
	"github.com/ingot-metal/ingot/pkg/openapi"
)

// portKind is what a port has (ironic/api/controllers/v1/port.py).
var portKind = kind{name: "port", plural: "ports", fields: []field{
	{name: "address", summary: true, write: always, check: macField("address")},
	{name: "available_for_dynamic_portgroup", since: 111, write: always, check: boolField},
	{name: "category", since: 101, write: always, check: textField(80)},
	{name: "created_at"},
	{name: "description", since: 97, write: always, check: textField(255)},
	{name: "extra", write: always, check: objectField, object: true},
	{name: "internal_info", since: 18, object: true},
	{name: "is_smartnic", since: 53, write: always, check: boolField},
	{name: "local_link_connection", since: 19, write: always, check: localLinkField, object: true},
	{name: "name", since: 88, write: always, check: textField(255)},
	{name: "node_uuid", write: always, check: uuidField("node_uuid")},
	{name: "physical_network", since: 34, write: always, check: textField(64)},
	{name: "portgroup_uuid", since: 24, write: always, check: uuidField("portgroup_uuid")},
	{name: "pxe_enabled", since: 19, write: always, check: boolField},
	{name: "updated_at"},
	{name: "uuid", summary: true, write: onCreate, check: uuidField("uuid")},
	{name: "vendor", since: 100, write: always, check: textField(32)},
}, filters: []openapi.Filter{
	{Name: "address"},
	{Name: "conductor_groups", Since: 99},
	{Name: "node"},
	{Name: "node_uuid"},
	{Name: "portgroup", Since: 24},
	{Name: "shard", Since: 82},
}}

func (s *Server) portResource() *resource {
	r := &resource{
		kind: &portKind, of: node.KindPort, noun: "Port", arg: "port", path: "/ports", policy: "baremetal:port", lists: "baremetal:port:list",
		named: 88, required: []string{"address", "node_uuid"},
		unset: map[string]string{
			"available_for_dynamic_portgroup": "true", "extra": "{}", "internal_info": "{}", "is_smartnic": "false",
			"local_link_connection": "{}", "pxe_enabled": "true",
		},
		source: func(c *call) []*node.Object { return c.s.kept.allPorts(c.s).list },
		find:   findPort,
	}
	r.pick = func(c *call) (func(*node.Object, doc) bool, error) { return pickPorts(c, r) }
	r.made, r.changed, r.removed = madePort, changedPort, removedPort
	r.create = func(c *call, is *object) (*node.Object, error) { return createPort(c, r, is) }
	r.update = func(c *call, was *node.Object, is *object) (*node.Object, error) { return updatePort(c, r, was, is) }
	r.remove = removePort
	return r
}

func (s *Server) portRoutes() []route {
	r := s.portResource()
	return slices.Concat(r.routes(), []route{r.detailRoute()}, r.within("/nodes/{node}/ports", 0, ofNode), r.within("/portgroups/{portgroup}/ports", 24, ofPortgroup))
}

func findPort(c *call, ident string) (*node.Object, bool) {
	all := c.s.kept.allPorts(c.s)
	if o, ok := all.byID[ident]; ok {
		return o, true
	}
	if _, isUUID := canonical(ident); isUUID {
		return nil, false
	}
	return c.s.Nodes.Object(node.KindPort, ident)
}

func ofPortgroup(c *call) (func(*node.Object) bool, error) {
	g, err := findPortgroup(c, c.PathValue("portgroup"))
	if err != nil {
		return nil, err
	}
	r := c.s.portResource()
	id := quote(g.UUID)
	return func(o *node.Object) bool {
		d, err := c.s.kept.doc(r, o)
		return err == nil && bytes.Equal(r.at(d, "portgroup_uuid"), id)
	}, nil
}

func findPortgroup(c *call, ident string) (*node.Object, error) {
	if id, isUUID := canonical(ident); isUUID {
		ident = id
	}
	g, ok := c.s.Nodes.Object(node.KindPortGroup, ident)
	if !ok || !c.seesObject(g) {
		return nil, notFound("Portgroup %s could not be found.", ident)
	}
	return g, nil
}

// pickPorts reads the filters of a list of ports.
func pickPorts(c *call, r *resource) (func(*node.Object, doc) bool, error) {
	q := c.URL.Query()
	nodeIdent, portgroup, exclusive := q.Get("node_uuid"), q.Get("portgroup"), 0
	if nodeIdent == "" {
		nodeIdent = q.Get("node")
	}
	owner := pickOwner(c)
	var of, in []byte
	for _, part := range []string{nodeIdent + c.PathValue("node"), portgroup + c.PathValue("portgroup"), q.Get("shard")} {
		if part != "" {
			exclusive++
		}
	}
	if exclusive > 1 {
		return nil, refuse(http.StatusForbidden, "Operation not permitted.")
	}
	if nodeIdent != "" {
		if _, isUUID := canonical(nodeIdent); !isUUID && c.version < 5 {
			return nil, notAcceptable("Names of nodes came with 1.5.")
		}
		n, ok := c.s.Nodes.Get(nodeIdent)
		if !ok || !c.sees(n) {
			return nil, notFound("Node %s could not be found.", nodeIdent)
		}
		of = quote(n.UUID)
	}
	if portgroup != "" {
		g, err := findPortgroup(c, portgroup)
		if err != nil {
			return nil, err
		}
		in = quote(g.UUID)
	}
	address, err := addressFilter(c)
	if err != nil {
		return nil, err
	}
	return func(o *node.Object, d doc) bool {
		return (address == nil || bytes.Equal(r.at(d, "address"), address)) &&
			(of == nil || bytes.Equal(r.at(d, "node_uuid"), of)) &&
			(in == nil || bytes.Equal(r.at(d, "portgroup_uuid"), in)) &&
			(owner == nil || owner(o))
	}, nil
}

// addressFilter is ?address= as JSON; nil: not given.
func addressFilter(c *call) ([]byte, error) {
	text := c.URL.Query().Get("address")
	if text == "" {
		return nil, nil
	}
	mac, ok := normalMAC(text)
	if !ok {
		return nil, badRequest("Expected valid MAC address for address: %s", text)
	}
	return quote(mac), nil
}

// pickOwner reads the filters that are about the node that a port or port group
// belongs to; nil: none.
func pickOwner(c *call) func(*node.Object) bool {
	q := c.URL.Query()
	if !q.Has("shard") && !q.Has("conductor_groups") {
		return nil
	}
	shards, groups := commaList(q["shard"]), commaList(q["conductor_groups"])
	return func(o *node.Object) bool {
		n, ok := c.s.Nodes.Get(o.Node)
		return ok && (len(shards) == 0 || n.Shard != nil && slices.Contains(shards, *n.Shard)) &&
			(len(groups) == 0 || slices.Contains(groups, n.ConductorGroup))
	}
}

// commaList splits values that are lists with commas.
func commaList(values []string) []string {
	var all []string
	for _, v := range strings.Split(strings.Join(values, ","), ",") {
		if v = strings.TrimSpace(v); v != "" {
			all = append(all, v)
		}
	}
	return all
}
