package dhcp

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// request is one message of a client, taken apart.
type request struct {
	msg      *dhcpv4.DHCPv4
	mac      MAC
	client   client
	from     netip.AddrPort
	bootPort bool // it came to port 4011
	now      time.Time
}

// outgoing is an answer and where it goes.
type outgoing struct {
	msg *dhcpv4.DHCPv4
	to  netip.AddrPort
}

// answer decides what is said to one packet; nil: nothing.
func (s *Server) answer(ctx context.Context, msg *dhcpv4.DHCPv4, from netip.AddrPort, fromMAC net.HardwareAddr, bootPort bool) *outgoing {
	mac, err := macOf(msg.ClientHWAddr)
	if err != nil {
		return nil
	}
	now := s.cfg.Now()
	if msg.OpCode != dhcpv4.OpcodeBootRequest {
		s.otherAnswered(msg, mac, fromMAC, now)
		return nil
	}
	r := request{msg: msg, mac: mac, client: clientOf(msg), from: from, bootPort: bootPort, now: now}
	if !s.ours(msg) || msg.MessageType() == dhcpv4.MessageTypeNone { // a plain BOOTP client (RFC 1534) is nobody we know
		return nil
	}
	if id := addrOf(msg.ServerIdentifier()); id.IsValid() && id != s.cfg.ServerIP {
		s.otherChosen(ctx, r, id)
		return nil
	}
	res, known := s.hosts.Lookup(ctx, mac.HardwareAddr())
	if !known {
		s.cfg.Observe(r.event(Unknown))
		return nil
	}
	s.cfg.Observe(r.event(Seen))
	if r.client.firmware == FirmwareOther {
		s.cfg.Observe(r.event(WrongArch))
	}
	if bootPort || s.cfg.Mode == ModeProxy {
		return s.proxy(r)
	}
	switch msg.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		return s.discover(ctx, r, res)
	case dhcpv4.MessageTypeRequest:
		return s.request(ctx, r, res)
	case dhcpv4.MessageTypeInform:
		return s.inform(r, res)
	case dhcpv4.MessageTypeDecline:
		s.decline(ctx, r)
	case dhcpv4.MessageTypeRelease:
		if ip := addrOf(msg.ClientIPAddr); ip.IsValid() {
			s.stored(r, s.cfg.Leases.Release(ctx, mac, ip))
		}
	}
	return nil
}

// ours reports whether the client's network is the one served here: that of its relay, else that of the wire.
func (s *Server) ours(msg *dhcpv4.DHCPv4) bool {
	relay := addrOf(msg.GatewayIPAddr)
	if !relay.IsValid() {
		return s.cfg.Subnet.Contains(s.cfg.ServerIP)
	}
	if rai := msg.RelayAgentInfo(); rai != nil { // RFC 3527 §3: the link may differ from the address that the relay answers at
		if link := addrOf(net.IP(rai.Get(dhcpv4.GenericOptionCode(optLinkSelection)))); link.IsValid() {
			return s.cfg.Subnet.Contains(link)
		}
	}
	return s.cfg.Subnet.Contains(relay)
}

func (s *Server) discover(ctx context.Context, r request, res Reservation) *outgoing {
	ip, ok := s.allocate(ctx, r, res)
	if !ok {
		return nil
	}
	return s.give(r, res, dhcpv4.MessageTypeOffer, ip)
}

// request handles the four states of RFC 2131 §4.3.2, told apart as its table 4 does. A request that chose another server never comes here.
func (s *Server) request(ctx context.Context, r request, res Reservation) *outgoing {
	want := addrOf(r.msg.RequestedIPAddress()) // SELECTING, INIT-REBOOT
	if !want.IsValid() {
		want = addrOf(r.msg.ClientIPAddr) // RENEWING, REBINDING
	}
	if !want.IsValid() {
		return nil
	}
	ok, err := s.confirm(ctx, r, res, want)
	if err != nil {
		s.stored(r, err)
		return nil // a failing store is no reason to take an address from a running machine
	}
	if !ok {
		return s.refuse(r, want)
	}
	return s.give(r, res, dhcpv4.MessageTypeAck, want)
}

func (s *Server) give(r request, res Reservation, kind dhcpv4.MessageType, ip netip.Addr) *outgoing {
	out := s.reply(r.msg, kind)
	if kind == dhcpv4.MessageTypeAck {
		out.ClientIPAddr = r.msg.ClientIPAddr // RFC 2131 table 3
	}
	s.lease(out, ip)
	s.network(out, res.Hostname)
	return s.send(r, out, ip, destination(r.msg, out))
}

// inform answers a machine that has its address from elsewhere: everything but an address and its times (RFC 2131 §4.3.5).
func (s *Server) inform(r request, res Reservation) *outgoing {
	ip := addrOf(r.msg.ClientIPAddr)
	if !ip.IsValid() {
		return nil
	}
	out := s.reply(r.msg, dhcpv4.MessageTypeAck)
	out.ClientIPAddr = r.msg.ClientIPAddr
	s.network(out, res.Hostname)
	return s.send(r, out, netip.Addr{}, destination(r.msg, out))
}

// proxy answers with boot options only. On port 67 that is a DISCOVER's matter; a REQUEST there is between the client and the server that it chose.
func (s *Server) proxy(r request) *outgoing {
	switch r.client.firmware {
	case FirmwareNone, FirmwareOther:
		return nil
	}
	switch t := r.msg.MessageType(); {
	case t == dhcpv4.MessageTypeDiscover && !r.bootPort:
		out := s.reply(r.msg, dhcpv4.MessageTypeOffer)
		return s.send(r, out, netip.Addr{}, destination(r.msg, out))
	case r.bootPort && (t == dhcpv4.MessageTypeRequest || t == dhcpv4.MessageTypeInform):
		// PXE 2.1 §2.2.6: the boot server answers where the request came from.
		out := s.reply(r.msg, dhcpv4.MessageTypeAck)
		out.ClientIPAddr = r.msg.ClientIPAddr
		to := r.from
		if to.Addr().IsUnspecified() {
			to = destination(r.msg, out)
		}
		return s.send(r, out, netip.Addr{}, to)
	}
	return nil
}

func (s *Server) send(r request, out *dhcpv4.DHCPv4, ip netip.Addr, to netip.AddrPort) *outgoing {
	e := r.event(Replied)
	e.Boot = s.boot(out, r.mac, r.client.firmware)
	e.Reply, e.Address = out.MessageType().String(), ip
	s.cfg.Observe(e)
	return &outgoing{msg: out, to: to}
}

func (s *Server) refuse(r request, want netip.Addr) *outgoing {
	out := s.reply(r.msg, dhcpv4.MessageTypeNak)
	out.UpdateOption(dhcpv4.OptMessage("address " + want.String() + " is not this machine's here"))
	e := r.event(Replied)
	e.Reply, e.Address = out.MessageType().String(), want
	s.cfg.Observe(e)
	return &outgoing{msg: out, to: destination(r.msg, out)}
}

func (s *Server) decline(ctx context.Context, r request) {
	ip := addrOf(r.msg.RequestedIPAddress())
	if !ip.IsValid() {
		return
	}
	e := r.event(Declined)
	e.Address = ip
	s.cfg.Observe(e)
	// Only the holder may take an address out of use, or one machine could empty the range.
	held, found, err := s.cfg.Leases.Find(ctx, r.mac)
	if err == nil && found && held.IP == ip {
		err = s.cfg.Leases.Quarantine(ctx, ip, r.now.Add(declineHold))
	}
	s.stored(r, err)
}

// otherChosen: the client asks another server for an address. What we offered is free again (RFC 2131 §3.1 step 4). To a proxy this is the normal course.
func (s *Server) otherChosen(ctx context.Context, r request, id netip.Addr) {
	if s.cfg.Mode == ModeProxy {
		return
	}
	e := r.event(OtherServer)
	e.Server, e.Address = id, addrOf(r.msg.RequestedIPAddress())
	s.cfg.Observe(e)
	if r.msg.MessageType() != dhcpv4.MessageTypeRequest {
		return
	}
	if held, found, err := s.cfg.Leases.Find(ctx, r.mac); err == nil && found && !held.Until.After(r.now.Add(offerHold)) {
		s.stored(r, s.cfg.Leases.Release(ctx, r.mac, held.IP))
	}
}

// otherAnswered: another server's answer was seen. Beside a proxy only one that names something to boot is worth a word.
func (s *Server) otherAnswered(msg *dhcpv4.DHCPv4, mac MAC, fromMAC net.HardwareAddr, now time.Time) {
	id := addrOf(msg.ServerIdentifier())
	if !id.IsValid() || id == s.cfg.ServerIP {
		return
	}
	boot := printable(msg.Options.Get(dhcpv4.OptionBootfileName))
	if boot == "" {
		boot = printable([]byte(msg.BootFileName))
	}
	if s.cfg.Mode == ModeProxy && boot == "" {
		return
	}
	s.cfg.Observe(Event{
		Kind: OtherServer, Time: now, MAC: mac.HardwareAddr(), Message: msg.MessageType().String(),
		Server: id, ServerMAC: fromMAC, Address: addrOf(msg.YourIPAddr), Boot: boot,
	})
}

// stored reports a store that failed.
func (s *Server) stored(r request, err error) {
	if err == nil {
		return
	}
	e := r.event(NoAddress)
	e.Detail = err.Error()
	s.cfg.Observe(e)
	s.cfg.Log.Warn("dhcp lease store failed", "mac", r.mac, "error", err)
}

func (r request) event(k Kind) Event {
	return Event{
		Kind: k, Time: r.now, MAC: r.mac.HardwareAddr(), Message: r.msg.MessageType().String(), Firmware: r.client.firmware, Arch: r.client.arches,
		UserClass: r.client.userClass, VendorClass: r.client.vendorClass, UUID: r.client.uuid, Relay: addrOf(r.msg.GatewayIPAddr),
	}
}
