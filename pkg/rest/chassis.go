package rest

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/ingot-metal/ingot/pkg/node"
)

// chassisKind is what a chassis has (ironic/api/controllers/v1/chassis.py).
var chassisKind = kind{name: "chassis", plural: "chassis", fields: []field{
	{name: "created_at"},
	{name: "description", summary: true, write: always, check: textField(255)},
	{name: "extra", write: always, check: objectField, object: true},
	{name: "nodes", object: true},
	{name: "updated_at"},
	{name: "uuid", summary: true, write: onCreate, check: uuidField("uuid")},
}}

func (s *Server) chassisResource() *resource {
	r := &resource{
		kind: &chassisKind, of: node.KindChassis, noun: "Chassis", arg: "chassis", path: "/chassis", policy: "baremetal:chassis",
		unset: map[string]string{"extra": "{}"},
	}
	r.dress = func(c *call, o *node.Object, d doc) doc {
		// Ironic puts the list of links into a list, and its schema says so.
		r.put(d, "nodes", slices.Concat(json.RawMessage("["), c.linkList("chassis/"+o.UUID+"/nodes"), json.RawMessage("]")))
		return d
	}
	r.removed = func(c *call, was *object) error {
		if slices.ContainsFunc(c.s.Nodes.List(), inChassis(was.id)) {
			return badRequest("Cannot complete the requested action because chassis %s contains nodes.", was.id)
		}
		return nil
	}
	return r
}

func inChassis(id string) func(*node.Node) bool {
	return func(n *node.Node) bool { return n.ChassisUUID != nil && *n.ChassisUUID == id }
}

func (s *Server) chassisRoutes() []route {
	r := s.chassisResource()
	not := func(*call) (*reply, error) { return nil, refuse(http.StatusForbidden, "Operation not permitted.") }
	return slices.Concat(r.routes(), []route{
		r.detailRoute(),
		{method: http.MethodGet, path: "/chassis/{ident}/nodes", action: "baremetal:node:list", do: func(c *call) (*reply, error) { return chassisNodes(c, false) }},
		{method: http.MethodGet, path: "/chassis/{ident}/nodes/detail", action: "baremetal:node:list", do: func(c *call) (*reply, error) { return chassisNodes(c, true) }},
		{method: http.MethodPost, path: "/chassis/{ident}/nodes", action: "baremetal:node:create", do: not},
	})
}

// chassisNodes lists the nodes of a chassis: the list of nodes with a filter that the
// path sets.
func chassisNodes(c *call, detail bool) (*reply, error) {
	id, isUUID := canonical(c.PathValue("ident"))
	if !isUUID {
		return nil, badRequest("Expected UUID for chassis_uuid: %s", c.PathValue("ident"))
	}
	if _, ok := c.s.Nodes.Object(node.KindChassis, id); !ok {
		return nil, notFound("Chassis %s could not be found.", id)
	}
	q := c.URL.Query()
	if detail && q.Has("fields") {
		return nil, badRequest("Unexpected arguments: fields")
	}
	q.Set("chassis_uuid", id)
	c.URL.RawQuery = q.Encode()
	return c.listNodes(detail)
}
