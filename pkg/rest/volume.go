package rest

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
	"github.com/ingot-metal/ingot/pkg/openapi"
)

// Volumes are kept as data for clients that boot their nodes from them by the storage
// interface external. Nothing here logs in to one, so what its properties have of
// secrets is not stored at all: it is masked before.

// connectorKind is what a volume connector has.
var connectorKind = kind{name: "volume connector", plural: "connectors", detail: 32, fields: []field{
	{name: "connector_id", summary: true, write: always, check: textField(255)},
	{name: "created_at"},
	{name: "extra", write: always, check: objectField, object: true},
	{name: "node_uuid", summary: true, write: always, check: uuidField("node_uuid")},
	{name: "type", summary: true, write: always, check: textField(32)},
	{name: "updated_at"},
	{name: "uuid", summary: true, write: onCreate, check: uuidField("uuid")},
}, filters: []openapi.Filter{{Name: "node"}}}

// volumeTargetKind is what a volume target has.
var volumeTargetKind = kind{name: "volume target", plural: "targets", detail: 32, fields: []field{
	{name: "boot_index", summary: true, write: always, check: intField},
	{name: "created_at"},
	{name: "extra", write: always, check: objectField, object: true},
	{name: "node_uuid", summary: true, write: always, check: uuidField("node_uuid")},
	{name: "properties", write: always, check: objectField, object: true},
	{name: "updated_at"},
	{name: "uuid", summary: true, write: onCreate, check: uuidField("uuid")},
	{name: "volume_id", summary: true, write: always, check: textField(36)},
	{name: "volume_type", summary: true, write: always, check: textField(64)},
}, filters: []openapi.Filter{{Name: "node"}}}

// hiddenProperties stand where a caller may see a target, but not how it is reached.
const hiddenProperties = `{"redacted_contents": "** Value redacted: Requires permission baremetal:volume:view_target_properties access. Permission denied. **"}`

func (s *Server) connectorResource() *resource {
	r := &resource{
		kind: &connectorKind, of: node.KindVolumeConnector, noun: "Volume connector", arg: "connector", path: "/volume/connectors",
		policy: "baremetal:volume", lists: "baremetal:volume:list", since: 32,
		required: []string{"connector_id", "node_uuid", "type"}, unset: map[string]string{"extra": "{}"},
	}
	r.pick = pickOfNode
	unique := func(c *call, is *object) error {
		for _, o := range c.s.Nodes.Objects(r.of) {
			other, err := r.open(c, o)
			if err != nil {
				return err
			}
			if other.id != is.id && other.text("type") == is.text("type") && other.text("connector_id") == is.text("connector_id") {
				return conflict("A volume connector with type %s and connector ID %s already exists.", is.text("type"), is.text("connector_id"))
			}
		}
		return nil
	}
	r.made = unique
	r.changed = func(c *call, _, is *object) error {
		if err := poweredOff(c, is.node, "volume connector update"); err != nil {
			return err
		}
		return unique(c, is)
	}
	r.removed = func(c *call, was *object) error { return poweredOff(c, was.node, "volume connector deletion") }
	return r
}

func (s *Server) targetResource() *resource {
	r := &resource{
		kind: &volumeTargetKind, of: node.KindVolumeTarget, noun: "Volume target", arg: "target", path: "/volume/targets",
		policy: "baremetal:volume", lists: "baremetal:volume:list", since: 32,
		required: []string{"boot_index", "node_uuid", "volume_id", "volume_type"},
		unset:    map[string]string{"extra": "{}", "properties": "{}"},
	}
	r.pick = pickOfNode
	r.dress = func(c *call, o *node.Object, d doc) doc {
		n, _ := c.s.Nodes.Get(o.Node)
		if !c.can("baremetal:volume:view_target_properties", n) {
			r.put(d, "properties", json.RawMessage(hiddenProperties))
		}
		return d
	}
	settle := func(c *call, is *object) error {
		is.fields["properties"] = maskSecrets(is.fields["properties"], ironic.Masked)
		index, _ := integer(is.fields["boot_index"])
		for _, o := range c.s.Nodes.Objects(r.of) {
			if o.Node != is.node || o.UUID == is.id {
				continue
			}
			other, err := r.open(c, o)
			if err != nil {
				return err
			}
			if i, _ := integer(other.fields["boot_index"]); i == index {
				return conflict("A volume target with boot index '%d' for the same node already exists.", index)
			}
		}
		return nil
	}
	r.made = settle
	r.changed = func(c *call, _, is *object) error {
		if err := poweredOff(c, is.node, "volume target update"); err != nil {
			return err
		}
		return settle(c, is)
	}
	r.removed = func(c *call, was *object) error { return poweredOff(c, was.node, "volume target deletion") }
	return r
}

func (s *Server) volumeRoutes() []route {
	all := []route{
		{method: http.MethodGet, path: "/volume", since: 32, late: http.StatusNotFound, action: "baremetal:volume:list", do: func(c *call) (*reply, error) { return volumeIndex(c, "volume") }},
		{method: http.MethodGet, path: "/nodes/{node}/volume", since: 32, late: http.StatusNotFound, action: "baremetal:volume:get", do: func(c *call) (*reply, error) {
			n, err := c.node()
			if err != nil {
				return nil, err
			}
			return volumeIndex(c, "nodes/"+n.UUID+"/volume")
		}},
	}
	for _, r := range []*resource{s.connectorResource(), s.targetResource()} {
		all = slices.Concat(all, r.routes(), r.within("/nodes/{node}/volume/"+r.plural, 32, ofNode))
	}
	return all
}

func volumeIndex(c *call, at string) (*reply, error) {
	return ok(map[string]any{"links": c.links(at + "/"), "connectors": c.links(at + "/connectors"), "targets": c.links(at + "/targets")})
}

// pickOfNode is the filter ?node=.
func pickOfNode(c *call) (func(*node.Object, doc) bool, error) {
	of, err := nodeFilter(c)
	if err != nil || of == "" {
		return nil, err
	}
	return func(o *node.Object, _ doc) bool { return o.Node == of }, nil
}

// poweredOff refuses an action on the volumes of a node that may be using them.
func poweredOff(c *call, id, action string) error {
	n, ok := c.s.Nodes.Get(id)
	if !ok || n.PowerState != nil && *n.PowerState == ironic.PowerOff {
		return nil
	}
	state := "None"
	if n.PowerState != nil {
		state = string(*n.PowerState)
	}
	return badRequest("The requested action %q can not be performed on node %q while it is in state %q.", action, id, state)
}
