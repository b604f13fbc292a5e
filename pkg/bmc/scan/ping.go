package scan

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// The two questions, both without a session and without an account. The first is
// what the standard has for it; pyghmi, under VirtualBMC, and some BMCs do not
// know it, and answer the second, with which every IPMI client begins.
var (
	// asfPing is an ASF Presence Ping (DSP0136 §3.2.4.1) with tag 0.
	asfPing = [...]byte{0x06, 0x00, 0xff, 0x06, 0x00, 0x00, 0x11, 0xbe, 0x80, 0x00, 0x00, 0x00}
	// authCapabilities is Get Channel Authentication Capabilities of the present
	// channel, for IPMI 2.0 and an administrator (IPMI 2.0 §22.13).
	authCapabilities = [...]byte{
		0x06, 0x00, 0xff, 0x07, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9,
		0x20, 0x18, 0xc8, 0x81, 0x00, 0x38, 0x8e, 0x04, 0xb5,
	}
)

// pinger asks any number of addresses through one socket.
type pinger struct {
	conn net.PacketConn
	port int

	mu      sync.Mutex
	waiting map[netip.Addr]chan struct{}
}

func newPinger(like netip.Addr, port int) (*pinger, error) {
	network := "udp4"
	if like.Is6() {
		network = "udp6"
	}
	conn, err := net.ListenPacket(network, ":0")
	if err != nil {
		return nil, fmt.Errorf("open a socket for IPMI: %w", err)
	}
	p := &pinger{conn: conn, port: port, waiting: map[netip.Addr]chan struct{}{}}
	go p.listen()
	return p, nil
}

func (p *pinger) close() { _ = p.conn.Close() }

// listen ends with the socket.
func (p *pinger) listen() {
	buf := make([]byte, 512)
	for {
		n, from, err := p.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		addr, ok := from.(*net.UDPAddr)
		if !ok || addr.Port != p.port || !isIPMI(buf[:n]) {
			continue
		}
		p.mu.Lock()
		ip := addr.AddrPort().Addr().Unmap().WithZone("")
		if answered := p.waiting[ip]; answered != nil {
			close(answered)
			delete(p.waiting, ip)
		}
		p.mu.Unlock()
	}
}

// isIPMI knows a Presence Pong that names IPMI (DSP0136 §3.2.4.2: bit 7 of the
// supported entities), and any answer to the second question.
func isIPMI(b []byte) bool {
	if len(b) < 5 || b[0] != 0x06 {
		return false
	}
	switch b[3] & 0x1f {
	case 0x06:
		return len(b) >= 21 && b[8] == 0x40 && b[20]&0x80 != 0
	case 0x07:
		// Answers of network function 07h to command 38h, in the format of IPMI
		// 1.5 (§13.6).
		return len(b) >= 21 && b[4] == 0x00 && b[15]>>2 == 0x07 && b[19] == 0x38
	}
	return false
}

// ping asks twice, for datagrams get lost.
func (p *pinger) ping(ctx context.Context, a netip.Addr, timeout time.Duration) bool {
	answered := make(chan struct{})
	p.mu.Lock()
	p.waiting[a.WithZone("")] = answered
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		if p.waiting[a.WithZone("")] == answered {
			delete(p.waiting, a.WithZone(""))
		}
		p.mu.Unlock()
	}()
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, uint16(p.port)))
	for range 2 {
		for _, question := range [][]byte{asfPing[:], authCapabilities[:]} {
			// Where the network says no there is no BMC: silence will tell.
			_, _ = p.conn.WriteTo(question, to)
		}
		timer := time.NewTimer(timeout / 2)
		select {
		case <-answered:
			timer.Stop()
			return true
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
		}
	}
	return false
}
