package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

const (
	workers      = 4
	queueLength  = 128
	maxPacket    = 1500            // a client may send what fits its MTU (RFC 2131 §2: option 57); more is not DHCP
	lookupTime   = 2 * time.Second // a client asks again after four
	maxReadFails = 10
	// Offsets of RFC 2131 figure 1.
	offHLen, offCHAddr, minHeader = 2, 28, 240
)

// LinkAddr is what a socket may return as a packet's source to tell the sender's MAC with its address.
type LinkAddr struct {
	net.UDPAddr
	MAC net.HardwareAddr
}

// Server answers on the sockets it is handed.
type Server struct {
	cfg   Config
	hosts Hosts
}

// New checks the configuration.
func New(cfg Config, hosts Hosts) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("dhcp: %w", err)
	}
	return &Server{cfg: cfg, hosts: hosts}, nil
}

// datagram is a packet on its way from the socket to a worker.
type datagram struct {
	buf  [maxPacket + 1]byte
	n    int
	from netip.AddrPort
	mac  net.HardwareAddr
}

// Serve answers on one socket until ctx is done (then it returns nil) or the socket fails. It closes the socket. It may be called for several sockets at
// once: one bound to port 67, in proxy mode one bound to 4011, and one on which other servers' answers are seen.
//
// Packets of one MAC are handled in the order they came; what the workers cannot keep up with is dropped, as the network would.
func (s *Server) Serve(ctx context.Context, conn net.PacketConn) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	bootPort := portOf(conn.LocalAddr()) == BootServerPort

	free := sync.Pool{New: func() any { return new(datagram) }}
	var queues [workers]chan *datagram
	var wg sync.WaitGroup
	for i := range queues {
		queues[i] = make(chan *datagram, queueLength/workers)
		wg.Go(func() {
			for d := range queues[i] {
				s.handle(ctx, conn, d, bootPort)
				free.Put(d)
			}
		})
	}
	defer wg.Wait()
	defer func() {
		for _, q := range queues {
			close(q)
		}
	}()

	limits, fails := newLimiter(), 0
	for {
		d := free.Get().(*datagram)
		n, from, err := conn.ReadFrom(d.buf[:])
		if err != nil {
			if fails++; ctx.Err() != nil {
				return nil
			} else if errors.Is(err, net.ErrClosed) || fails == maxReadFails {
				return fmt.Errorf("dhcp: read: %w", err)
			}
			continue
		}
		fails = 0
		d.n, d.from, d.mac = n, addrPortOf(from), nil
		if l, ok := from.(*LinkAddr); ok {
			d.mac = l.MAC
		}
		mac, ok := peekMAC(d.buf[:n])
		if !ok || n > maxPacket || !limits.allow(mac, s.cfg.Now()) {
			free.Put(d)
			continue
		}
		select {
		case queues[(int(mac[3])^int(mac[4])^int(mac[5]))%workers] <- d:
		default:
			free.Put(d)
		}
	}
}

// peekMAC reads the client's address without decoding the rest, so that a flood is cheap to refuse.
func peekMAC(b []byte) (MAC, bool) {
	if len(b) < minHeader || iana.HWType(b[1]) != iana.HWTypeEthernet || b[offHLen] != 6 {
		return MAC{}, false
	}
	return MAC(b[offCHAddr : offCHAddr+6]), true
}

func (s *Server) handle(ctx context.Context, conn net.PacketConn, d *datagram, bootPort bool) {
	msg, err := dhcpv4.FromBytes(d.buf[:d.n])
	if err != nil {
		s.cfg.Log.Debug("dhcp packet does not parse", "from", d.from, "error", err)
		return
	}
	lookup, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	out := s.answer(lookup, msg, d.from, d.mac, bootPort)
	if out == nil {
		return
	}
	if _, err := conn.WriteTo(out.msg.ToBytes(), net.UDPAddrFromAddrPort(out.to)); err != nil && ctx.Err() == nil {
		s.cfg.Log.Warn("dhcp answer not sent", "mac", msg.ClientHWAddr, "to", out.to, "error", err)
	}
}

func portOf(a net.Addr) uint16 { return addrPortOf(a).Port() }

func addrPortOf(a net.Addr) netip.AddrPort {
	var p netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		p = a.AddrPort()
	case *LinkAddr:
		p = a.AddrPort()
	}
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}
