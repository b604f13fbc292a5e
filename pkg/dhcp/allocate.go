package dhcp

import (
	"context"
	"errors"
	"hash/fnv"
	"net/netip"
	"time"
)

// allocate finds the address to offer: the reserved one; else the one it had; else the one it asks for; else the first free one from the place in the
// range that its MAC's hash names, so that a server that forgot everything offers the same again.
func (s *Server) allocate(ctx context.Context, r request, res Reservation) (netip.Addr, bool) {
	if res.IP.IsValid() {
		return s.allocateReserved(ctx, r, res.IP)
	}
	try := func(ip netip.Addr, until time.Time) error {
		if !s.lendable(ctx, ip) {
			return ErrTaken
		}
		return s.cfg.Leases.Claim(ctx, Lease{MAC: r.mac, IP: ip, Until: until}, r.now)
	}
	held, found, err := s.cfg.Leases.Find(ctx, r.mac)
	if err != nil {
		s.stored(r, err)
		return netip.Addr{}, false
	}
	until := r.now.Add(offerHold)
	if found {
		keep := until
		if held.Until.After(keep) {
			keep = held.Until // the offer may be refused, then the running lease still stands
		}
		if try(held.IP, keep) == nil {
			return held.IP, true
		}
	}
	if asked := addrOf(r.msg.RequestedIPAddress()); asked.IsValid() && try(asked, until) == nil {
		return asked, true
	}
	size := s.cfg.rangeSize()
	if size == 0 {
		e := r.event(NoAddress)
		e.Detail = "the machine has no reserved address and the network has no range"
		s.cfg.Observe(e)
		return netip.Addr{}, false
	}
	first, h := number(s.cfg.RangeStart), fnv.New32a()
	h.Write(r.mac[:])
	for i := range size {
		ip := address(first + uint32((uint64(h.Sum32())+uint64(i))%uint64(size)))
		switch err := try(ip, until); {
		case err == nil:
			return ip, true
		case !errors.Is(err, ErrTaken):
			s.stored(r, err)
			return netip.Addr{}, false
		}
	}
	e := r.event(NoAddress)
	e.Detail = "every address of the range is taken"
	s.cfg.Observe(e)
	return netip.Addr{}, false
}

// allocateReserved records a reserved address that lies inside the range, where it could have been lent before it was reserved.
func (s *Server) allocateReserved(ctx context.Context, r request, ip netip.Addr) (netip.Addr, bool) {
	if !s.cfg.Subnet.Contains(ip) {
		e := r.event(Conflict)
		e.Address, e.Detail = ip, "the reserved address is outside of "+s.cfg.Subnet.String()
		s.cfg.Observe(e)
		return netip.Addr{}, false
	}
	if !s.cfg.inRange(ip) {
		return ip, true
	}
	err := s.cfg.Leases.Claim(ctx, Lease{MAC: r.mac, IP: ip, Until: r.now.Add(s.cfg.LeaseTime)}, r.now)
	if errors.Is(err, ErrTaken) {
		e := r.event(Conflict)
		e.Address, e.Detail = ip, "the reserved address is lent to another machine until its lease ends"
		s.cfg.Observe(e)
		return netip.Addr{}, false
	}
	s.stored(r, err)
	return ip, err == nil
}

func (s *Server) lendable(ctx context.Context, ip netip.Addr) bool {
	if !s.cfg.lendable(ip) {
		return false
	}
	reserver, ok := s.hosts.(Reserver)
	return !ok || !reserver.Reserved(ctx, ip)
}

// confirm reports whether the machine may have the address that it asks for, and records the lease.
func (s *Server) confirm(ctx context.Context, r request, res Reservation, want netip.Addr) (bool, error) {
	if res.IP.IsValid() {
		if want != res.IP {
			return false, nil
		}
		if !s.cfg.inRange(want) {
			return true, nil
		}
	} else {
		held, found, err := s.cfg.Leases.Find(ctx, r.mac)
		switch {
		case err != nil:
			return false, err
		case found && held.IP != want && held.Until.After(r.now):
			return false, nil
		case !s.lendable(ctx, want):
			return false, nil
		}
	}
	err := s.cfg.Leases.Claim(ctx, Lease{MAC: r.mac, IP: want, Until: r.now.Add(s.cfg.LeaseTime)}, r.now)
	if errors.Is(err, ErrTaken) {
		return false, nil
	}
	return err == nil, err
}
