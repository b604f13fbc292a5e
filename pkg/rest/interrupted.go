package rest

import (
	"context"
	"errors"
	"time"

	"github.com/ingot-metal/ingot/pkg/node"
)

// atRest is how old a write of two objects has to be before somebody else finishes
// it: whoever began it may be at it still, and another replica may not have seen both.
const atRest = time.Minute

// FinishInterrupted carries on what writes more than one object, where a process ended
// between two of them: allocations that have no node yet, those whose node was given
// back, and hosts without a MAC address to boot from that have a port for it. It is
// called at the start, when the store is filled, and now and then.
func (s *Server) FinishInterrupted(ctx context.Context) error {
	now := s.Now()
	var errs []error
	for _, o := range s.Nodes.Objects(node.KindAllocation) {
		touched := o.Created
		if o.Updated.After(touched) {
			touched = o.Updated
		}
		if now.Sub(touched) < atRest {
			continue
		}
		w, err := wishOf(o)
		switch {
		case err != nil:
		case w.State == allocating:
			err = s.allocate(ctx, o)
		case w.State == allocationActive:
			if n, ok := s.Nodes.Get(o.Node); !ok || n.InstanceUUID == nil || *n.InstanceUUID != o.UUID {
				err = s.Nodes.DeleteObject(ctx, o)
			}
		}
		errs = append(errs, err)
	}
	r := s.portResource()
	seen := map[string]bool{}
	// However fresh a port is: it does no harm to be the second who gives a host its
	// address, and without one the machine cannot be inspected.
	for _, o := range s.Nodes.Objects(node.KindPort) {
		n, ok := s.Nodes.Get(o.Node)
		if !ok || n.Host == nil || n.Host.Spec.BootMACAddress != "" || seen[o.Node] {
			continue
		}
		d, err := s.kept.doc(r, o)
		if err != nil || string(r.at(d, "pxe_enabled")) != "true" {
			errs = append(errs, err)
			continue
		}
		seen[o.Node] = true
		if _, err := s.Nodes.SetBootMAC(ctx, n, addressOf(o)); !errors.Is(err, node.ErrChanged) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
