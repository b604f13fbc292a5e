package usernet

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// ListenTCP listens on the stack's address; port 0 picks a free one.
func (s *Stack) ListenTCP(port uint16) (net.Listener, error) {
	return gonet.ListenTCP(s.ip, s.local(port), ipv4.ProtocolNumber)
}

// ListenUDP opens a UDP socket on addr, which is the stack's own address or the
// zero Addr. The zero Addr receives broadcasts and may send them, as DHCP needs;
// a TFTP server needs the stack's own, because it tells the client's family by
// the address of its socket.
func (s *Stack) ListenUDP(addr netip.Addr, port uint16) (net.PacketConn, error) {
	at := tcpip.FullAddress{NIC: nic, Port: port}
	if addr.IsValid() && !addr.IsUnspecified() {
		if addr != s.addr.Addr() {
			return nil, fmt.Errorf("listen on udp %s: the address of this interface is %s", addr, s.addr.Addr())
		}
		at = s.local(port)
	}
	var queue waiter.Queue
	ep, err := s.ip.NewEndpoint(udp.ProtocolNumber, ipv4.ProtocolNumber, &queue)
	if err != nil {
		return nil, asError("open udp socket", err)
	}
	ep.SocketOptions().SetBroadcast(true)
	if err := ep.Bind(at); err != nil {
		ep.Close()
		return nil, asError(fmt.Sprintf("listen on udp port %d", port), err)
	}
	return gonet.NewUDPConn(&queue, ep), nil
}

// DialContext connects to an IPv4 address and port; network is tcp, tcp4, udp or
// udp4. It fits http.Transport. Names are not resolved.
func (s *Stack) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !to.Addr().Unmap().Is4() {
		return nil, fmt.Errorf("dial %s: want an IPv4 address and port", address)
	}
	full := tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFrom4(to.Addr().Unmap().As4()), Port: to.Port()}
	switch network {
	case "tcp", "tcp4":
		return gonet.DialContextTCP(ctx, s.ip, full, ipv4.ProtocolNumber)
	case "udp", "udp4":
		return gonet.DialUDP(s.ip, nil, &full, ipv4.ProtocolNumber)
	default:
		return nil, fmt.Errorf("dial %s: network %q is not supported", address, network)
	}
}

func (s *Stack) local(port uint16) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFrom4(s.addr.Addr().As4()), Port: port}
}
