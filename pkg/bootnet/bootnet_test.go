package bootnet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/ingot-metal/ingot/pkg/dhcp"
	"github.com/ingot-metal/ingot/pkg/ipxe"
	labnet "github.com/ingot-metal/ingot/pkg/lab/net"
	"github.com/ingot-metal/ingot/pkg/usernet"
)

// machine is the one that is known.
var machine = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}

type known struct{}

func (known) Lookup(_ context.Context, mac net.HardwareAddr) (dhcp.Reservation, bool) {
	return dhcp.Reservation{Hostname: "w1"}, mac.String() == machine.String()
}

// loaders are files with a name in them.
func loaders(t *testing.T) ipxe.Loaders {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"undionly.kpxe", "snponly.efi", "ipxe.efi"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("loader "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ls, err := ipxe.FindLoaders(dir)
	if err != nil {
		t.Fatal(err)
	}
	return ls
}

// served is a network that is being served on a switch.
type served struct {
	t      *testing.T
	path   string
	events chan dhcp.Event
	done   chan error
}

func network(path string) Network {
	return Network{
		Interface: "unix:" + path, Addr: netip.MustParsePrefix("10.77.0.1/24"),
		DHCP: dhcp.Config{RangeStart: netip.MustParseAddr("10.77.0.100"), RangeEnd: netip.MustParseAddr("10.77.0.110"), Gateway: netip.MustParseAddr("10.77.0.254")},
	}
}

func serve(t *testing.T, path string) *served {
	t.Helper()
	s := &served{t: t, path: path, events: make(chan dhcp.Event, 256), done: make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan struct{})
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "at %s", r.Host) })
	go func() {
		s.done <- Serve(ctx, network(path), Doors{
			Hosts: known{}, HTTP: hello, HTTPS: hello, HTTPPort: 6180, HTTPSPort: 6183, Loaders: loaders(t), Log: slog.New(slog.DiscardHandler),
			Observe: func(e dhcp.Event) {
				select {
				case s.events <- e:
				default:
				}
			},
		}, func() { close(ready) })
	}()
	select {
	case <-ready:
	case err := <-s.done:
		t.Fatal(err)
	case <-time.After(time.Minute):
		t.Fatal("it is never ready")
	}
	t.Cleanup(cancel)
	return s
}

func attach(t *testing.T, path string) *usernet.Stack {
	t.Helper()
	c, err := usernet.Attach(t.Context(), path, usernet.Config{MAC: machine, Addr: netip.MustParsePrefix("10.77.0.50/24")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func listen(t *testing.T, path string) *labnet.Switch {
	t.Helper()
	sw, err := labnet.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sw.Close() })
	return sw
}

// discover broadcasts what a machine's firmware does and returns the offer.
func discover(t *testing.T, conn net.PacketConn, mac net.HardwareAddr, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()
	d, err := dhcpv4.NewDiscovery(mac, append([]dhcpv4.Modifier{
		dhcpv4.WithBroadcast(true),
		dhcpv4.WithOption(dhcpv4.OptClassIdentifier("PXEClient:Arch:00007:UNDI:003016")),
		dhcpv4.WithOption(dhcpv4.OptClientArch(iana.EFI_X86_64)),
	}, mods...)...)
	if err != nil {
		t.Fatal(err)
	}
	to := &net.UDPAddr{IP: net.IPv4bcast, Port: dhcp.ServerPort}
	buf := make([]byte, 2048)
	for range 20 {
		if _, err := conn.WriteTo(d.ToBytes(), to); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		for {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				break // asked again
			}
			if p, err := dhcpv4.FromBytes(buf[:n]); err == nil && p.TransactionID == d.TransactionID && p.MessageType() == dhcpv4.MessageTypeOffer {
				return p
			}
		}
	}
	t.Fatal("no offer")
	return nil
}

func TestUserspaceNetwork(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	sw := listen(t, path)
	s := serve(t, path)
	client := attach(t, path)
	conn, err := client.ListenUDP(netip.Addr{}, dhcp.ClientPort)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	t.Run("firmware is offered an address and a loader", func(t *testing.T) {
		offer := discover(t, conn, machine)
		ip, _ := netip.AddrFromSlice(offer.YourIPAddr.To4())
		if ip.Compare(netip.MustParseAddr("10.77.0.100")) < 0 || ip.Compare(netip.MustParseAddr("10.77.0.110")) > 0 {
			t.Errorf("address %s is outside of the range", ip)
		}
		if id := offer.ServerIdentifier(); !id.Equal(net.IPv4(10, 77, 0, 1)) {
			t.Errorf("server identifier %s", id)
		}
		if gw := offer.Router(); len(gw) != 1 || !gw[0].Equal(net.IPv4(10, 77, 0, 254)) {
			t.Errorf("gateway %v", gw)
		}
		if name := offer.BootFileNameOption() + offer.BootFileName; !strings.Contains(name, "snponly.efi") {
			t.Errorf("boot file %q", name)
		}
	})
	t.Run("iPXE is sent to its script", func(t *testing.T) {
		offer := discover(t, conn, machine, dhcpv4.WithOption(dhcpv4.OptUserClass("iPXE")))
		want := "http://10.77.0.1:6180/boot/ipxe?mac=" + machine.String()
		if name := offer.BootFileNameOption() + offer.BootFileName; !strings.Contains(name, want) {
			t.Errorf("boot file %q, want %s", name, want)
		}
	})
	t.Run("a stranger is seen and not answered", func(t *testing.T) {
		d, err := dhcpv4.NewDiscovery(net.HardwareAddr{2, 0, 0, 0, 0, 9})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.WriteTo(d.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: dhcp.ServerPort}); err != nil {
			t.Fatal(err)
		}
		for end := time.After(time.Minute); ; {
			select {
			case e := <-s.events:
				if e.Kind == dhcp.Replied && e.MAC.String() != machine.String() {
					t.Fatalf("answered %+v", e)
				}
				if e.Kind == dhcp.Unknown {
					return
				}
			case <-end:
				t.Fatal("the stranger is not noticed")
			}
		}
	})
	t.Run("TFTP hands out loaders alone", func(t *testing.T) {
		for name, want := range map[string]string{"snponly.efi": "loader snponly.efi", "../etc/passwd": ""} {
			if got, err := fetch(client, name); got != want || (err == nil) != (want != "") {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
	})
	t.Run("HTTP", func(t *testing.T) {
		web := &http.Client{Transport: &http.Transport{DialContext: client.DialContext}, Timeout: 20 * time.Second}
		defer web.CloseIdleConnections()
		for _, port := range []string{"6180", "6183"} {
			resp, err := web.Get("http://10.77.0.1:" + port + "/")
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || string(body) != "at 10.77.0.1:"+port {
				t.Errorf("port %s: %q, %v", port, body, err)
			}
		}
	})
	t.Run("after a restart of the switch it serves again", func(t *testing.T) {
		_ = client.Close()
		if err := sw.Close(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-s.done:
			if err == nil || !strings.Contains(err.Error(), "switch") {
				t.Errorf("it ended with %v", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("it does not notice that the switch is gone")
		}
		listen(t, path)
		serve(t, path)
		again, err := attach(t, path).ListenUDP(netip.Addr{}, dhcp.ClientPort)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		discover(t, again, machine)
	})
}

// fetch asks for one file of less than a block (RFC 1350).
func fetch(c *usernet.Stack, name string) (string, error) {
	conn, err := c.ListenUDP(netip.MustParseAddr("10.77.0.50"), 2000)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	rrq := append([]byte{0, 1}, name+"\x00octet\x00"...)
	if _, err := conn.WriteTo(rrq, &net.UDPAddr{IP: net.IPv4(10, 77, 0, 1), Port: tftpPort}); err != nil {
		return "", err
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		return "", err
	}
	buf := make([]byte, 1024)
	n, from, err := conn.ReadFrom(buf)
	if err != nil {
		return "", err
	}
	if n < 4 || binary.BigEndian.Uint16(buf) != 3 {
		return "", fmt.Errorf("refused: %q", buf[:n])
	}
	if _, err := conn.WriteTo([]byte{0, 4, buf[2], buf[3]}, from); err != nil {
		return "", err
	}
	return string(buf[4:n]), nil
}

func TestServeStopsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listen(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Serve(ctx, network(path), Doors{Hosts: known{}, HTTPPort: 6180, HTTPSPort: 6183, Loaders: loaders(t), Log: slog.New(slog.DiscardHandler)}, cancel)
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it does not end")
	}
}

// What cannot be served says what to do, with the network's name.
func TestErrors(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	for _, tc := range []struct {
		name    string
		network Network
		doors   Doors
		want    []string
	}{
		{name: "no loaders", network: network(missing), want: []string{missing, "apt-get install ipxe", "--loaders"}},
		{name: "no switch", network: network(missing), doors: Doors{Loaders: ipxe.Loaders{}}, want: []string{missing}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.doors.Log = slog.New(slog.DiscardHandler)
			err := Serve(t.Context(), tc.network, tc.doors, func() { t.Error("it says that it is ready") })
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v: does not say %s", err, want)
				}
			}
		})
	}
	if err := explainListen(os.ErrPermission); !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "setcap") {
		t.Errorf("got %v", err)
	}
}

// A network has the same MAC after each start, of the kind that nobody sells.
func TestMACOf(t *testing.T) {
	a, b := macOf("unix:/a", netip.MustParsePrefix("10.77.0.1/24")), macOf("unix:/b", netip.MustParsePrefix("10.77.0.1/24"))
	if a.String() == b.String() || a.String() != macOf("unix:/a", netip.MustParsePrefix("10.77.0.1/24")).String() {
		t.Errorf("%s and %s", a, b)
	}
	if a[0]&3 != 2 {
		t.Errorf("%s is not unicast and locally administered", a)
	}
}
