package rest

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
	"github.com/ingot-metal/ingot/pkg/openapi"
)

// allocationKind is what an allocation has (ironic/api/controllers/v1/allocation.py).
var allocationKind = kind{name: "allocation", plural: "allocations", fields: []field{
	{name: "candidate_nodes", write: onCreate, check: textsField, object: true},
	{name: "created_at"},
	{name: "extra", write: always, check: objectField, object: true},
	{name: "last_error"},
	{name: "name", write: always, check: textField(255)},
	{name: "node_uuid"},
	{name: "owner", since: 60, write: onCreate, check: textField(255)},
	{name: "resource_class", write: onCreate, check: textField(80)},
	{name: "state"},
	{name: "traits", write: onCreate, check: traitsField, object: true},
	{name: "updated_at"},
	{name: "uuid", write: onCreate, check: uuidField("uuid")},
}, filters: []openapi.Filter{{Name: "node"}, {Name: "owner", Since: 60}, {Name: "resource_class"}, {Name: "state"}}}

// The states of an allocation.
const (
	allocating       = "allocating"
	allocationActive = "active"
	allocationError  = "error"
)

func (s *Server) allocationResource() *resource {
	r := &resource{
		kind: &allocationKind, of: node.KindAllocation, noun: "Allocation", arg: "allocation", path: "/allocations",
		policy: "baremetal:allocation", lists: "baremetal:allocation:list", since: 52, late: http.StatusMethodNotAllowed, patch: 57, named: 1,
		unset: map[string]string{"candidate_nodes": "[]", "extra": "{}", "traits": "[]"},
		takes: []string{"node"}, whole: true,
	}
	r.pick = func(c *call) (func(*node.Object, doc) bool, error) { return pickAllocations(c, r) }
	r.made = madeAllocation
	r.create = func(c *call, is *object) (*node.Object, error) { return createAllocation(c, r, is) }
	r.removed = removedAllocation
	r.remove = func(c *call, o *node.Object) error {
		ctx, stop := c.unhurried()
		defer stop()
		return c.s.dropAllocation(ctx, o)
	}
	return r
}

func (s *Server) allocationRoutes() []route {
	r := s.allocationResource()
	return slices.Concat(r.routes(), []route{
		{method: http.MethodGet, path: "/nodes/{node}/allocation", since: 52, action: "baremetal:allocation:get", do: func(c *call) (*reply, error) {
			if err := c.knows("fields"); err != nil {
				return nil, err
			}
			o, err := allocationOf(c, "get")
			if err != nil {
				return nil, err
			}
			return r.answer(c, http.StatusOK, o)
		}},
		{method: http.MethodDelete, path: "/nodes/{node}/allocation", since: 52, action: "baremetal:allocation:delete", do: func(c *call) (*reply, error) {
			o, err := allocationOf(c, "delete")
			if err != nil {
				return nil, err
			}
			was, err := r.open(c, o)
			if err != nil {
				return nil, err
			}
			if err := removedAllocation(c, was); err != nil {
				return nil, err
			}
			return nil, r.remove(c, o)
		}},
	})
}

// allocationOf finds the allocation of the path's node, for an action.
func allocationOf(c *call, verb string) (*node.Object, error) {
	n, err := c.node()
	if err != nil {
		return nil, err
	}
	for _, o := range c.s.Nodes.Objects(node.KindAllocation) {
		if o.Node == n.UUID && c.seesObject(o) {
			return o, c.mayObject("baremetal:allocation:"+verb, o)
		}
	}
	return nil, notFound("Allocation for node %s was not found", c.PathValue("node"))
}

func pickAllocations(c *call, r *resource) (func(*node.Object, doc) bool, error) {
	q := c.URL.Query()
	of := ""
	if ident := q.Get("node"); ident != "" {
		n, ok := c.s.Nodes.Get(ident)
		if !ok || !c.sees(n) {
			return nil, badRequest("Node %s could not be found.", ident)
		}
		of = n.UUID
	}
	want := map[string][]byte{}
	for _, name := range []string{"owner", "resource_class", "state"} {
		if q.Has(name) {
			want[name] = quote(q.Get(name))
		}
	}
	return func(o *node.Object, d doc) bool {
		for name, value := range want {
			if !bytes.Equal(r.at(d, name), value) {
				return false
			}
		}
		return of == "" || o.Node == of
	}, nil
}

// madeAllocation checks what is asked for and names nodes by their UUIDs.
func madeAllocation(c *call, is *object) error {
	asked := is.text("owner")
	owner, err := c.mayAllocate(&asked)
	if err != nil {
		return err
	}
	if deref(owner) != "" {
		is.fields["owner"] = *owner
	}
	var backfill *node.Node
	if v := is.fields["node"]; v != nil {
		ident, _ := v.(string)
		if c.version < 58 {
			return badRequest("Cannot set node when creating an allocation in this API version")
		}
		n, ok := c.s.Nodes.Get(ident)
		if !ok || !c.sees(n) {
			return badRequest("Node %s could not be found.", ident)
		}
		backfill = n
	}
	if is.text("resource_class") == "" {
		if backfill == nil {
			return badRequest("The resource_class field is mandatory when not backfilling")
		}
		is.fields["resource_class"] = backfill.ResourceClass
	}
	var ids, missing []string
	for _, ident := range texts(is.fields["candidate_nodes"]) {
		if n, ok := c.s.Nodes.Get(ident); ok && c.sees(n) {
			ids = append(ids, n.UUID)
		} else {
			missing = append(missing, ident)
		}
	}
	if len(missing) > 0 {
		return badRequest("Nodes cannot be found: %s", strings.Join(missing, ", "))
	}
	if ids != nil {
		is.fields["candidate_nodes"] = ids
	}
	if backfill == nil {
		return nil
	}
	is.fields["node"] = backfill.UUID
	if is.id == "" && backfill.InstanceUUID != nil {
		is.id, _ = canonical(*backfill.InstanceUUID)
	}
	return nil
}

// allocateTime bounds the search for a node.
const allocateTime = 30 * time.Second

// unhurried is a context that a client which went away does not end: what was begun
// on two objects is finished.
func (c *call) unhurried() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(c.Context()), allocateTime)
}

// createAllocation stores an allocation and finds it a node. As in Ironic the answer
// is the allocation as it was before that.
func createAllocation(c *call, r *resource, is *object) (*node.Object, error) {
	ctx, stop := c.unhurried()
	defer stop()
	is.fields["state"] = allocating
	o, err := r.store(c, is)
	if err != nil {
		return nil, err
	}
	if id := is.text("node"); id != "" {
		return c.s.backfill(ctx, o, id)
	}
	if err := c.s.allocate(ctx, o); err != nil {
		c.s.Log.Warn("an allocation waits to be tried again", "allocation", o.UUID, "err", err)
	}
	return o, nil
}

// removedAllocation refuses to take a node away from under what runs on it.
func removedAllocation(c *call, was *object) error {
	n, ok := c.s.Nodes.Get(was.node)
	if !ok || n.Maintenance {
		return nil
	}
	state := provisionState(n)
	if n.TargetProvisionState != nil && !patchable(state) {
		return conflict("Cannot remove allocation %s for node %s, because the node is in state %s where updates are not allowed (and maintenance mode is off)", was.id, n.UUID, state)
	}
	if state == ironic.Active {
		return conflict("Cannot remove allocation %s for node %s, because the node is active (and maintenance mode is off)", was.id, n.UUID)
	}
	return nil
}
