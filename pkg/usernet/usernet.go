package usernet

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/ingot-metal/ingot/pkg/usernet/frame"
)

const (
	nic        = 1
	mtu        = 1500
	queueDepth = 4096 // packets that wait for the wire; more are dropped
	ioBuffer   = 128 << 10
	// writeTimeout unplugs from a switch that has stopped reading.
	writeTimeout = 10 * time.Second
)

// Config says who the stack is on the wire.
type Config struct {
	MAC  net.HardwareAddr // 6 bytes, unicast
	Addr netip.Prefix     // IPv4 address and the size of its network, as 10.77.0.1/24
	Log  *slog.Logger     // nil: none
}

// Stack is one interface with one IPv4 address.
type Stack struct {
	addr netip.Prefix
	mac  net.HardwareAddr
	log  *slog.Logger
	ip   *stack.Stack
	link *channel.Endpoint

	conn net.Conn
	out  *bufio.Writer // guarded by outMu
	// outMu keeps frames whole: packets of the stack and advertisements of ours
	// are written by different goroutines.
	outMu sync.Mutex

	closeOnce sync.Once
	done      chan struct{}
	wg        sync.WaitGroup
}

// Attach connects to the switch at socketPath. The context bounds the attempt
// only.
func Attach(ctx context.Context, socketPath string, cfg Config) (*Stack, error) {
	if len(cfg.MAC) != 6 || cfg.MAC[0]&1 != 0 {
		return nil, fmt.Errorf("attach to switch: %q is no unicast MAC address", cfg.MAC)
	}
	if !cfg.Addr.IsValid() || !cfg.Addr.Addr().Is4() {
		return nil, fmt.Errorf("attach to switch: %s is no IPv4 address with a prefix length", cfg.Addr)
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", socketPath)
	if err != nil {
		return nil, fmt.Errorf("attach to switch: %w", err)
	}
	s := &Stack{
		addr: cfg.Addr, mac: cfg.MAC, log: cfg.Log, conn: conn,
		out:  bufio.NewWriterSize(conn, ioBuffer),
		done: make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.build(); err != nil {
		_ = conn.Close()
		s.ip.Destroy()
		return nil, fmt.Errorf("attach to switch: %w", err)
	}
	s.wg.Go(func() { s.end("read", s.receive()) })
	s.wg.Go(func() { s.end("write", s.transmit()) })
	return s, nil
}

func (s *Stack) build() error {
	s.ip = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
	})
	sack := tcpip.TCPSACKEnabled(true)
	// The Ethernet header is the link's; what remains of its MTU is IP's.
	s.link = channel.New(queueDepth, mtu+frame.Min, tcpip.LinkAddress(s.mac))
	err := errors.Join(
		asError("enable SACK", s.ip.SetTransportProtocolOption(tcp.ProtocolNumber, &sack)),
		asError("create interface", s.ip.CreateNIC(nic, ethernet.New(s.link))),
		asError("add address", s.ip.AddProtocolAddress(nic, tcpip.ProtocolAddress{
			Protocol: ipv4.ProtocolNumber,
			AddressWithPrefix: tcpip.AddressWithPrefix{
				Address: tcpip.AddrFrom4(s.addr.Addr().As4()), PrefixLen: s.addr.Bits(),
			},
		}, stack.AddressProperties{})),
	)
	// Everything is on the link; broadcasts need a route too.
	s.ip.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}})
	return err
}

func asError(what string, err tcpip.Error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %s", what, err)
}

// Addr is the address of the stack and its network.
func (s *Stack) Addr() netip.Prefix { return s.addr }

// HardwareAddr is the MAC address of the stack.
func (s *Stack) HardwareAddr() net.HardwareAddr { return s.mac }

// Done is closed when the switch has gone away or Close was called.
func (s *Stack) Done() <-chan struct{} { return s.done }

// Close detaches from the switch and fails every socket of the stack.
func (s *Stack) Close() error {
	s.end("close", net.ErrClosed)
	s.wg.Wait()
	return nil
}

// end takes the stack down once, whichever half noticed first.
func (s *Stack) end(half string, err error) {
	s.closeOnce.Do(func() {
		if !errors.Is(err, net.ErrClosed) {
			s.log.Warn("switch has gone away", "half", half, "err", err)
		}
		_ = s.conn.Close()
		close(s.done)
		s.ip.Close()
		s.link.Close()
	})
}

// receive hands frames from the wire to the stack.
func (s *Stack) receive() error {
	r := bufio.NewReaderSize(s.conn, ioBuffer)
	for {
		wire, err := frame.Read(r)
		if err != nil {
			return err
		}
		f := frame.Payload(wire)
		if advert, ok := advertise(f, [6]byte(s.mac)); ok {
			if err := s.write([][]byte{advert}, true); err != nil {
				return err
			}
			continue
		}
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(f)})
		s.link.InjectInbound(0, pkt)
		pkt.DecRef()
	}
}

// transmit writes the stack's packets to the wire, and flushes when there is
// none left.
func (s *Stack) transmit() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-s.done
		cancel()
	}()
	for {
		pkt := s.link.ReadContext(ctx)
		if pkt == nil {
			return net.ErrClosed
		}
		err := s.write(pkt.AsSlices(), s.link.NumQueued() == 0)
		pkt.DecRef()
		if err != nil {
			return err
		}
	}
}

func (s *Stack) write(parts [][]byte, flush bool) error {
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	s.outMu.Lock()
	defer s.outMu.Unlock()
	if flush || s.out.Available() < size+frame.HeaderLen {
		if err := s.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return err
		}
	}
	head := [frame.HeaderLen]byte{byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}
	_, err := s.out.Write(head[:])
	for _, p := range parts {
		if err == nil {
			_, err = s.out.Write(p)
		}
	}
	if err == nil && flush {
		err = s.out.Flush()
	}
	return err
}
