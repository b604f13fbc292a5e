package dhcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// ListenReplies opens a packet socket on which the answers of all DHCP servers on an interface are seen (UDP to port 68), each with the sender's MAC as a
// [LinkAddr]. A UDP socket on port 67 never sees them. It is for reading only, and needs CAP_NET_RAW.
func ListenReplies(ifname string) (net.PacketConn, error) {
	conn, err := listenReplies(ifname)
	if err != nil {
		return nil, fmt.Errorf("listen for DHCP answers on %s: %w", ifname, err)
	}
	return conn, nil
}

func listenReplies(ifname string) (*replies, error) {
	ifi, err := net.InterfaceByName(ifname)
	if err != nil {
		return nil, err
	}
	// Protocol 0 receives nothing until the filter stands and bind names one.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	filter, err := replyFilter()
	if err == nil {
		err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16([]byte{0x08, 0x00}), Ifindex: ifi.Index})
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return &replies{file: os.NewFile(uintptr(fd), "packet:"+ifname)}, nil
}

// replyFilter passes UDP to port 68 in whole IPv4 packets. Offsets begin at the IP header (SOCK_DGRAM).
func replyFilter() ([]unix.SockFilter, error) {
	raw, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 6},
		bpf.LoadAbsolute{Off: 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x1fff, SkipTrue: 4},
		bpf.LoadMemShift{Off: 0},
		bpf.LoadIndirect{Off: 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: ClientPort, SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		return nil, err
	}
	out := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		out[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return out, nil
}

// replies is a read-only net.PacketConn over a packet socket.
type replies struct{ file *os.File }

func (c *replies) ReadFrom(p []byte) (int, net.Addr, error) {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return 0, nil, net.ErrClosed
	}
	buf := make([]byte, maxPacket+64)
	for {
		var n int
		var from unix.Sockaddr
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			n, from, failed = unix.Recvfrom(int(fd), buf, 0)
			return !errors.Is(failed, unix.EAGAIN) && !errors.Is(failed, unix.EINTR)
		})
		if errors.Is(err, os.ErrClosed) {
			return 0, nil, net.ErrClosed
		}
		if err = errors.Join(err, failed); err != nil {
			return 0, nil, err
		}
		src, payload, ok := udpPayload(buf[:n])
		if !ok {
			continue
		}
		addr := &LinkAddr{UDPAddr: *net.UDPAddrFromAddrPort(src)}
		if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Halen == 6 {
			if ll.Pkttype == unix.PACKET_OUTGOING {
				continue // our own
			}
			addr.MAC = net.HardwareAddr(append([]byte{}, ll.Addr[:6]...))
		}
		return copy(p, payload), addr, nil
	}
}

// udpPayload takes an IPv4 packet apart.
func udpPayload(b []byte) (netip.AddrPort, []byte, bool) {
	if len(b) < 20 || b[0]>>4 != 4 || b[9] != unix.IPPROTO_UDP {
		return netip.AddrPort{}, nil, false
	}
	header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < 20 || total > len(b) || total < header+8 {
		return netip.AddrPort{}, nil, false
	}
	udp := b[header:total]
	length := int(binary.BigEndian.Uint16(udp[4:]))
	if length < 8 || length > len(udp) {
		return netip.AddrPort{}, nil, false
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:16])), binary.BigEndian.Uint16(udp)), udp[8:length], true
}

func (c *replies) WriteTo([]byte, net.Addr) (int, error) {
	return 0, errors.New("this socket only listens")
}
func (c *replies) Close() error                       { return c.file.Close() }
func (c *replies) LocalAddr() net.Addr                { return &net.UDPAddr{IP: net.IPv4zero, Port: ClientPort} }
func (c *replies) SetDeadline(t time.Time) error      { return c.file.SetDeadline(t) }
func (c *replies) SetReadDeadline(t time.Time) error  { return c.file.SetReadDeadline(t) }
func (c *replies) SetWriteDeadline(t time.Time) error { return c.file.SetWriteDeadline(t) }
