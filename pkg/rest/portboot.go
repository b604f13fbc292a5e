package rest

import (
	"errors"
	"strings"

	"github.com/ingot-metal/ingot/pkg/node"
)

// createPort stores a port. The first one that boots from the network gives its host
// the MAC address to boot from.
func createPort(c *call, r *resource, is *object) (*node.Object, error) {
	if not, ok := c.s.Nodes.Object(node.KindNoPort, is.id); ok && is.id != "" {
		if err := c.s.Nodes.DeleteObject(c.Context(), not); err != nil {
			return nil, err
		}
	}
	o, err := r.store(c, is)
	if err != nil {
		return nil, err
	}
	if err := c.s.bootFrom(c, is, ""); err != nil {
		return nil, errors.Join(err, c.s.Nodes.DeleteObject(c.Context(), o))
	}
	return o, nil
}

// updatePort stores a port anew; one that nobody made is made by that.
func updatePort(c *call, r *resource, was *node.Object, is *object) (*node.Object, error) {
	old, err := r.open(c, was)
	if err != nil {
		return nil, err
	}
	var o *node.Object
	if _, stored := c.s.Nodes.Object(node.KindPort, was.UUID); stored {
		o, err = r.restore(c, was, is)
	} else {
		o, err = r.store(c, is)
	}
	if err != nil {
		return nil, err
	}
	if err := c.s.bootFrom(c, is, old.text("address")); err != nil {
		return nil, err
	}
	return o, c.hideNIC(is.node, old.text("address"))
}

// bootFrom makes a port's MAC address the one that its host boots from, if the host
// has none, or had the one that the port had.
func (s *Server) bootFrom(c *call, is *object, had string) error {
	for range 3 {
		n, ok := s.Nodes.Get(is.node)
		if !ok || n.Host == nil || !is.flag("pxe_enabled") {
			return nil
		}
		has, mac := n.Host.Spec.BootMACAddress, is.text("address")
		switch strings.ToLower(has) {
		case mac:
			return nil
		case "":
			if _, err := s.Nodes.SetBootMAC(c.Context(), n, mac); !errors.Is(err, node.ErrChanged) {
				return err
			}
		case had:
			s.moveBoot(c, n, has, mac)
			return nil
		default:
			return nil
		}
	}
	return nil // somebody else is at it; FinishInterrupted comes by
}

// moveBoot has a host boot from another address, where that is allowed. Where it is
// not, the port is changed nevertheless: the record of the NIC is right then, and what
// the host boots from is for kubectl.
func (s *Server) moveBoot(c *call, n *node.Node, from, to string) {
	if _, err := s.Nodes.MoveBootMAC(c.Context(), n, from, to); err != nil {
		s.Log.Warn("a host keeps the boot MAC address that a port had", "node", n.UUID, "mac", from, "err", err)
	}
}

// removePort deletes a port. Its host boots from another one then, if it is led from
// here.
func removePort(c *call, o *node.Object) error {
	if _, stored := c.s.Nodes.Object(node.KindPort, o.UUID); stored {
		if err := c.s.Nodes.DeleteObject(c.Context(), o); err != nil {
			return err
		}
	}
	mac := addressOf(o)
	if n, ok := c.s.Nodes.Get(o.Node); ok && ledFromHere(n) && strings.ToLower(n.Host.Spec.BootMACAddress) == mac {
		c.s.moveBoot(c, n, n.Host.Spec.BootMACAddress, c.s.nextBoot(o))
	}
	return c.hideNIC(o.Node, mac)
}

// hideNIC notes of a port that a host's own NICs would show that it is not wanted.
func (c *call) hideNIC(id, mac string) error {
	shown, ok := c.s.kept.allPorts(c.s).byMAC[mac]
	if !ok || shown.Node != id {
		return nil
	}
	if _, stored := c.s.Nodes.Object(node.KindPort, shown.UUID); stored {
		return nil
	}
	_, err := c.s.Nodes.CreateObject(c.Context(), node.Object{Kind: node.KindNoPort, UUID: shown.UUID, Node: id, Body: shown.Body})
	if errors.Is(err, node.ErrExists) {
		return nil
	}
	return err
}

// ledFromHere reports whether a node's host was made, or is led, by REST clients.
func ledFromHere(n *node.Node) bool {
	return n.Host != nil && n.Record != nil && (n.Record.Spec.Hold != "" || n.Record.Status.Node != nil)
}

// nextBoot is the address of another port of the same node that boots from the
// network; empty: there is none.
func (s *Server) nextBoot(than *node.Object) string {
	r := s.portResource()
	for _, o := range s.Nodes.Objects(node.KindPort) {
		if o.Node != than.Node || o.UUID == than.UUID {
			continue
		}
		if d, err := s.kept.doc(r, o); err == nil && string(r.at(d, "pxe_enabled")) == "true" {
			return addressOf(o)
		}
	}
	return ""
}
