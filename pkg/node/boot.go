package node

import (
	"context"
	"net"
)

// SetBootMAC has a machine boot from the interface with that address, if none was
// chosen yet.
func (s *Store) SetBootMAC(ctx context.Context, was *Node, mac string) (*Node, error) {
	return s.MoveBootMAC(ctx, was, "", mac)
}

// MoveBootMAC has a machine boot from the interface with another address than from;
// an empty one: from none. A machine that boots from a third one is left alone. The
// API may refuse it: what a host boots from is Metal3's to fix.
func (s *Store) MoveBootMAC(ctx context.Context, was *Node, from, to string) (*Node, error) {
	if hw, err := net.ParseMAC(to); to != "" && (err != nil || len(hw) != 6) {
		return nil, refuse("%q is no MAC address.", to)
	} else if to != "" {
		to = hw.String()
	}
	if was.Host == nil {
		return nil, ErrNotFound
	}
	if was.Host.Spec.BootMACAddress != from {
		return was, nil
	}
	defer s.alone(was.Key).Unlock()
	n, err := s.begin(ctx, was)
	if err != nil {
		return nil, err
	}
	if n.Host.Spec.BootMACAddress != from {
		return nil, ErrChanged
	}
	dr, err := s.draft(ctx, n)
	if err != nil {
		return nil, err
	}
	dr.host.Spec.BootMACAddress = to
	return s.store(ctx, dr)
}
