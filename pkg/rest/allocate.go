package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
)

// wish is what an allocation asks for.
type wish struct {
	Name          *string  `json:"name"`
	ResourceClass string   `json:"resource_class"`
	Traits        []string `json:"traits"`
	Candidates    []string `json:"candidate_nodes"`
	Owner         *string  `json:"owner"`
	State         string   `json:"state"`
}

func wishOf(o *node.Object) (wish, error) {
	var w wish
	if err := json.Unmarshal(o.Body, &w); err != nil {
		return w, fmt.Errorf("reading allocation %s: %w", o.UUID, err)
	}
	return w, nil
}

// suits reports whether a node can be given to an allocation now.
func (w wish) suits(n *node.Node) bool {
	return provisionState(n) == ironic.Available && n.InstanceUUID == nil && !n.Maintenance && n.PowerState != nil && w.matches(n)
}

func (w wish) matches(n *node.Node) bool {
	return n.ResourceClass != nil && *n.ResourceClass == w.ResourceClass && hasTraits(n, w.Traits)
}

func hasTraits(n *node.Node, want []string) bool {
	return !slices.ContainsFunc(want, func(t string) bool { return !slices.Contains(n.Traits, t) })
}

// candidates are the nodes that an allocation may get, in the order in which they are
// tried: first the one of its name, then the rest beginning at a place of its own, so
// that two allocations of one moment do not race for the same.
func (s *Server) candidates(o *node.Object, w wish) ([]*node.Node, error) {
	var class, all []*node.Node
	for _, n := range s.Nodes.List() {
		named := len(w.Candidates) == 0 || slices.Contains(w.Candidates, n.UUID)
		mine := w.Owner == nil || n.Owner != nil && *n.Owner == *w.Owner || n.Lessee != nil && *n.Lessee == *w.Owner
		plain := w
		plain.Traits = nil
		if named && mine && plain.suits(n) {
			class = append(class, n)
			if hasTraits(n, w.Traits) {
				all = append(all, n)
			}
		}
	}
	switch {
	case len(class) == 0 && len(w.Candidates) > 0:
		return nil, fmt.Errorf("none of the requested nodes are available and match the resource class %s", w.ResourceClass)
	case len(class) == 0:
		return nil, fmt.Errorf("no available nodes match the resource class %s", w.ResourceClass)
	case len(all) == 0:
		return nil, fmt.Errorf("no suitable nodes have the requested traits %s", strings.Join(w.Traits, ", "))
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(o.UUID)) // a hash takes everything
	at := int(h.Sum32() % uint32(len(all)))
	all = slices.Concat(all[at:], all[:at])
	if w.Name != nil {
		if i := slices.IndexFunc(all, func(n *node.Node) bool { return n.Name != nil && *n.Name == *w.Name }); i > 0 {
			all = slices.Concat(all[i:i+1], all[:i], all[i+1:])
		}
	}
	return all, nil
}

// allocate gives an allocation its node, or says in it why there is none. The node is
// taken first, by a write that fails if anybody changed it; that it names the
// allocation is how an interrupted one is found again. An error is one of the store;
// it may be tried again.
func (s *Server) allocate(ctx context.Context, o *node.Object) error {
	w, err := wishOf(o)
	if err != nil {
		return err
	}
	if of := s.holds(o.UUID); of != "" {
		return s.settleAllocation(ctx, o, of, "")
	}
	nodes, why := s.candidates(o, w)
	if why != nil {
		return s.settleAllocation(ctx, o, "", fmt.Sprintf("Failed to process allocation %s: %v.", o.UUID, why))
	}
	for _, n := range nodes {
		taken, err := s.take(ctx, o, w.Traits, w.suits, n)
		if err != nil {
			return fmt.Errorf("taking node %s for allocation %s: %w", n.UUID, o.UUID, err)
		}
		if taken {
			return s.settleAllocation(ctx, o, n.UUID, "")
		}
	}
	return s.settleAllocation(ctx, o, "", fmt.Sprintf("Failed to process allocation %s: all nodes were filtered out during reservation.", o.UUID))
}

// take makes a node the allocation's, unless somebody else was faster.
func (s *Server) take(ctx context.Context, o *node.Object, traits []string, suits func(*node.Node) bool, n *node.Node) (bool, error) {
	for range 3 {
		if n.InstanceUUID != nil && *n.InstanceUUID == o.UUID {
			return true, nil // a write that was interrupted has been finished by now
		}
		if !suits(n) {
			return false, nil
		}
		d := n.Node.Clone()
		d.InstanceUUID, d.AllocationUUID = &o.UUID, &o.UUID
		if d.InstanceInfo == nil {
			d.InstanceInfo = ironic.Object{}
		}
		d.InstanceInfo["traits"] = append([]string{}, traits...) // deploy templates are chosen by them
		_, err := s.Nodes.Update(ctx, n, d)
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, node.ErrChanged) && !errors.Is(err, node.ErrExists) {
			return false, err
		}
		var ok bool
		if n, ok = s.Nodes.Get(n.UUID); !ok {
			return false, nil
		}
	}
	return false, nil
}

// settleAllocation records how an allocation came out. If it was deleted meanwhile the
// node is let go again.
func (s *Server) settleAllocation(ctx context.Context, o *node.Object, of, why string) error {
	for range 3 {
		var body map[string]json.RawMessage
		if err := json.Unmarshal(o.Body, &body); err != nil {
			return fmt.Errorf("reading allocation %s: %w", o.UUID, err)
		}
		body["state"], body["last_error"] = quote(allocationActive), json.RawMessage("null")
		if of == "" {
			body["state"], body["last_error"] = quote(allocationError), quote(why)
		}
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		_, err = s.Nodes.UpdateObject(ctx, o, node.Object{Name: o.Name, Node: of, Body: text})
		now, known := s.Nodes.Object(node.KindAllocation, o.UUID)
		switch {
		case errors.Is(err, node.ErrNotFound), errors.Is(err, node.ErrChanged) && !known:
			return s.release(ctx, of, o.UUID)
		case !errors.Is(err, node.ErrChanged):
			return err
		}
		o = now
	}
	return node.ErrChanged
}

// backfill makes an allocation of a node that is in use already.
func (s *Server) backfill(ctx context.Context, o *node.Object, id string) (*node.Object, error) {
	w, err := wishOf(o)
	if err != nil {
		return nil, err
	}
	n, ok := s.Nodes.Get(id)
	if !ok {
		return nil, badRequest("Node %s could not be found.", id)
	}
	var wrong []string
	if st := provisionState(n); st != ironic.Active {
		wrong = append(wrong, fmt.Sprintf("Node must be in the \"active\" state, but the current state is %q", st))
	}
	if n.ResourceClass == nil && w.ResourceClass != "" || n.ResourceClass != nil && *n.ResourceClass != w.ResourceClass {
		wrong = append(wrong, fmt.Sprintf("Resource class %s does not match the requested resource class %s", orNone(deref(n.ResourceClass)), w.ResourceClass))
	}
	if !hasTraits(n, w.Traits) {
		wrong = append(wrong, fmt.Sprintf("List of traits %v does not match the requested traits %v", n.Traits, w.Traits))
	}
	if len(w.Candidates) > 0 && !slices.Contains(w.Candidates, n.UUID) {
		wrong = append(wrong, fmt.Sprintf("Candidate nodes must be empty or contain the target node, but got %v", w.Candidates))
	}
	var refused error
	switch {
	case len(wrong) > 0:
		refused = badRequest("Failed to process allocation %s: Cannot backfill an allocation for node %s: %s.", o.UUID, n.UUID, strings.Join(wrong, "; "))
	case n.InstanceUUID != nil && *n.InstanceUUID != o.UUID:
		refused = conflict("Node %s is associated with instance %s.", n.UUID, *n.InstanceUUID)
	default:
		free := func(n *node.Node) bool {
			return provisionState(n) == ironic.Active && (n.InstanceUUID == nil || *n.InstanceUUID == o.UUID)
		}
		taken, err := s.take(ctx, o, w.Traits, free, n)
		if err != nil {
			return nil, err
		}
		if !taken {
			refused = conflict("Node %s was changed in the meantime.", n.UUID)
		}
	}
	if refused != nil {
		return nil, errors.Join(refused, s.settleAllocation(ctx, o, "", refused.Error()))
	}
	if err := s.settleAllocation(ctx, o, n.UUID, ""); err != nil {
		return nil, err
	}
	now, ok := s.Nodes.Object(node.KindAllocation, o.UUID)
	if !ok {
		return nil, node.ErrNotFound
	}
	return now, nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// holds is the UUID of the node that an instance is on; empty: of none.
func (s *Server) holds(instance string) string {
	for _, n := range s.Nodes.List() {
		if n.InstanceUUID != nil && *n.InstanceUUID == instance {
			return n.UUID
		}
	}
	return ""
}

// dropAllocation lets go of an allocation's node, then deletes it. An allocation that
// was cut short does not name its node yet.
func (s *Server) dropAllocation(ctx context.Context, o *node.Object) error {
	of := o.Node
	if of == "" {
		of = s.holds(o.UUID)
	}
	if err := s.release(ctx, of, o.UUID); err != nil {
		return err
	}
	return s.Nodes.DeleteObject(ctx, o)
}

// release takes an instance from a node, if it is that one.
func (s *Server) release(ctx context.Context, id, instance string) error {
	for range 3 {
		n, ok := s.Nodes.Get(id)
		if !ok || n.InstanceUUID == nil || *n.InstanceUUID != instance {
			return nil
		}
		d := n.Node.Clone()
		d.InstanceUUID, d.AllocationUUID = nil, nil
		if _, err := s.Nodes.Update(ctx, n, d); !errors.Is(err, node.ErrChanged) {
			return err
		}
	}
	return node.ErrChanged
}
