// Package bootnet answers on one provisioning network: DHCP, TFTP and, where the
// process's own listeners do not reach, the HTTP and HTTPS doors.
//
// A network is an interface of this machine, or a switch of a lab on this
// machine, named unix:/path. On the latter everything runs in this process, on a
// userspace IP stack, and needs no privilege.
package bootnet

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"

	"github.com/ingot-metal/ingot/pkg/dhcp"
	"github.com/ingot-metal/ingot/pkg/httpboot"
	"github.com/ingot-metal/ingot/pkg/ipxe"
	"github.com/ingot-metal/ingot/pkg/tftp"
	"github.com/ingot-metal/ingot/pkg/usernet"
)

// userspace is how the interface of a lab's switch is written.
const userspace = "unix:"

// tftpPort is assigned by IANA (RFC 1350).
const tftpPort = 69

// Network is what is served, and where.
type Network struct {
	Interface string       // name, or unix:/path of a lab's switch
	Addr      netip.Prefix // our own address there
	DHCP      dhcp.Config  // Mode "" serves no DHCP; addresses and URLs are filled in here
	NoDHCP    bool
}

// Doors are what every network shares.
type Doors struct {
	Hosts     dhcp.Hosts
	HTTP      http.Handler
	HTTPS     http.Handler
	TLS       *tls.Config
	HTTPPort  int
	HTTPSPort int
	Loaders   ipxe.Loaders
	Observe   func(dhcp.Event)
	Log       *slog.Logger
}

// Serve answers on the network until ctx is done or something fails. ready is
// called once, when everything listens.
func Serve(ctx context.Context, n Network, d Doors, ready func()) error {
	if d.Loaders == nil {
		return fmt.Errorf("network on %s: no boot loaders: install Debian's package ipxe (apt-get install ipxe), or name their directory with --loaders, and start again", n.Interface)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &server{Network: n, Doors: d, ctx: ctx, cancel: cancel}
	defer s.wg.Wait()
	defer cancel(nil)
	var err error
	if path, ok := strings.CutPrefix(n.Interface, userspace); ok {
		err = s.inUserspace(path)
	} else {
		err = s.onInterface()
	}
	if err != nil {
		return fmt.Errorf("network on %s: %w", n.Interface, err)
	}
	ready()
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("network on %s: %w", n.Interface, err)
	}
	return nil
}

type server struct {
	Network
	Doors
	ctx    context.Context // of one Serve
	cancel context.CancelCauseFunc
	stack  *usernet.Stack // nil: an interface of this machine
	wg     sync.WaitGroup
}

// errSwitch is why every server on a lab's switch ends when the switch does.
var errSwitch = errors.New("the switch is gone")

// run keeps a server going; its failure ends them all.
func (s *server) run(what string, f func() error) {
	s.wg.Go(func() {
		err := f()
		if err == nil || s.ctx.Err() != nil {
			return
		}
		if s.detached() {
			err = errSwitch // which closed the sockets, whoever notices first
		} else {
			err = fmt.Errorf("%s: %w", what, err)
		}
		s.cancel(err)
	})
}

// detached reports whether the switch that is served on is gone.
func (s *server) detached() bool {
	if s.stack == nil {
		return false
	}
	select {
	case <-s.stack.Done():
		return true
	default:
		return false
	}
}

// inUserspace attaches to a lab's switch and serves everything there.
func (s *server) inUserspace(path string) error {
	stack, err := usernet.Attach(s.ctx, path, usernet.Config{MAC: macOf(s.Interface, s.Addr), Addr: s.Addr, Log: s.Log})
	if err != nil {
		return err
	}
	s.stack = stack
	s.run("switch", func() error {
		defer stack.Close()
		select {
		case <-stack.Done():
			return errSwitch
		case <-s.ctx.Done():
			return nil
		}
	})
	for _, door := range []struct {
		port    int
		handler http.Handler
		tls     *tls.Config
	}{{s.HTTPPort, s.HTTP, nil}, {s.HTTPSPort, s.HTTPS, s.TLS}} {
		l, err := stack.ListenTCP(uint16(door.port))
		if err != nil {
			return err
		}
		s.http(l, door.handler, door.tls)
	}
	if err := s.files(stack.ListenUDP(s.Addr.Addr(), tftpPort)); err != nil {
		return err
	}
	if s.NoDHCP {
		return nil
	}
	// Port 68 shows what other servers broadcast to clients.
	for _, port := range []uint16{dhcp.ServerPort, dhcp.ClientPort} {
		if err := s.addresses(stack.ListenUDP(netip.Addr{}, port)); err != nil {
			return err
		}
	}
	return nil
}

// onInterface serves DHCP and TFTP on an interface of this machine. The HTTP
// doors listen on every address already.
func (s *server) onInterface() error {
	conn, err := net.ListenPacket("udp4", netip.AddrPortFrom(s.Addr.Addr(), tftpPort).String())
	if err := s.files(conn, err); err != nil {
		return err
	}
	if s.NoDHCP {
		return nil
	}
	conn, err = dhcp.Listen(s.ctx, s.Interface, dhcp.ServerPort)
	if err := s.addresses(conn, err); err != nil {
		return err
	}
	// Other servers' answers go to port 68, which takes a packet socket to see.
	if sniff, err := dhcp.ListenReplies(s.Interface); err != nil {
		s.Log.Warn("other DHCP servers will not be noticed", "interface", s.Interface, "err", err)
	} else if err := s.addresses(sniff, nil); err != nil {
		return err
	}
	if s.DHCP.Mode == dhcp.ModeProxy {
		conn, err := dhcp.Listen(s.ctx, s.Interface, dhcp.BootServerPort)
		return s.addresses(conn, err)
	}
	return nil
}

func (s *server) http(l net.Listener, h http.Handler, cfg *tls.Config) {
	srv := httpboot.NewServer(h, s.Log)
	if cfg != nil {
		l = tls.NewListener(l, cfg)
	}
	s.run("http", func() error {
		defer context.AfterFunc(s.ctx, func() { srv.Close() })()
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
}

// files serves the loaders by TFTP.
func (s *server) files(conn net.PacketConn, err error) error {
	if err != nil {
		return fmt.Errorf("tftp: %w", explainListen(err))
	}
	srv := tftp.New(tftp.Config{Files: tftp.Paths(s.Loaders.Files()), Log: s.Log})
	s.run("tftp", func() error { return srv.Serve(s.ctx, conn) })
	return nil
}

// addresses serves DHCP.
func (s *server) addresses(conn net.PacketConn, err error) error {
	if err != nil {
		return fmt.Errorf("dhcp: %w", explainListen(err))
	}
	c := s.DHCP
	c.ServerIP, c.Subnet = s.Addr.Addr(), s.Addr.Masked()
	base := fmt.Sprintf("http://%s", netip.AddrPortFrom(s.Addr.Addr(), uint16(s.HTTPPort)))
	c.HTTPBase = base
	c.ScriptURL = func(mac net.HardwareAddr) string { return base + "/boot/ipxe?mac=" + mac.String() }
	c.Observe, c.Log = s.Observe, s.Log
	srv, err := dhcp.New(c, s.Hosts)
	if err != nil {
		conn.Close()
		return err
	}
	s.run("dhcp", func() error { return srv.Serve(s.ctx, conn) })
	return nil
}

// explainListen tells what a socket below 1024 needs.
func explainListen(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: ports 67 and 69 need root, or setcap cap_net_bind_service,cap_net_raw+ep on the binary", err)
	}
	return err
}

// macOf is a MAC of our own on a switch, the same after each start, so that
// machines need not learn a new one.
func macOf(name string, addr netip.Prefix) net.HardwareAddr {
	sum := sha256.Sum256([]byte(name + addr.String()))
	mac := net.HardwareAddr(sum[:6])
	mac[0] = mac[0]&^1 | 2 // unicast, locally administered (IEEE 802 §8.4)
	return mac
}
