package usernet_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	labnet "github.com/ingot-metal/ingot/pkg/lab/net"
	"github.com/ingot-metal/ingot/pkg/usernet"
)

func listen(t *testing.T, path string) *labnet.Switch {
	t.Helper()
	sw, err := labnet.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sw.Close() })
	return sw
}

func attach(t *testing.T, path string, last byte) *usernet.Stack {
	t.Helper()
	s, err := usernet.Attach(t.Context(), path, usernet.Config{
		MAC:  net.HardwareAddr{0x52, 0x54, 0, 0xab, 0, last},
		Addr: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 77, 0, last}), 24),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestHTTPBetweenStacks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sw")
	listen(t, path)
	server, client := attach(t, path, 1), attach(t, path, 2)

	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // 16 MiB
	ln, err := server.ListenTCP(80)
	if err != nil {
		t.Fatal(err)
	}
	hs := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	})}
	served := make(chan error, 1)
	go func() { served <- hs.Serve(ln) }()

	transport := &http.Transport{DialContext: client.DialContext}
	req, err := http.NewRequestWithContext(bounded(t), http.MethodGet, "http://10.77.0.1/image", nil)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	n, err := io.Copy(sum, resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	took := time.Since(start)
	if want := sha256.Sum256(body); !bytes.Equal(sum.Sum(nil), want[:]) {
		t.Errorf("%d bytes arrived changed", n)
	}
	t.Logf("%.0f MB/s", float64(n)/1e6/took.Seconds())
	transport.CloseIdleConnections()

	// A stack that is closed ends the servers on it.
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-served:
		if err == nil {
			t.Error("Serve returned nil")
		}
	case <-bounded(t).Done():
		t.Error("Serve goes on after the stack was closed")
	}
}

func TestBroadcast(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sw")
	listen(t, path)
	server, client := attach(t, path, 1), attach(t, path, 2)

	dhcp, err := server.ListenUDP(netip.Addr{}, 67)
	if err != nil {
		t.Fatal(err)
	}
	machine, err := client.ListenUDP(netip.Addr{}, 68)
	if err != nil {
		t.Fatal(err)
	}
	deadline, _ := bounded(t).Deadline()
	exchange := func(from, to net.PacketConn, port int, text string) net.Addr {
		t.Helper()
		if err := to.SetReadDeadline(deadline); err != nil {
			t.Fatal(err)
		}
		if _, err := from.WriteTo([]byte(text), &net.UDPAddr{IP: net.IPv4bcast, Port: port}); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1500)
		n, peer, err := to.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(buf[:n]); got != text {
			t.Fatalf("got %q, want %q", got, text)
		}
		return peer
	}
	exchange(machine, dhcp, 67, "discover")
	exchange(dhcp, machine, 68, "offer")
}

func TestBoundUDP(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sw")
	listen(t, path)
	server, client := attach(t, path, 1), attach(t, path, 2)

	if _, err := server.ListenUDP(netip.MustParseAddr("10.77.0.9"), 69); err == nil {
		t.Error("listens on somebody else's address")
	}
	tftp, err := server.ListenUDP(server.Addr().Addr(), 69)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tftp.LocalAddr().String(), "10.77.0.1:69"; got != want {
		t.Errorf("local address %s, want %s", got, want)
	}
	conn, err := client.DialContext(t.Context(), "udp", "10.77.0.1:69")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("read")); err != nil {
		t.Fatal(err)
	}
	deadline, _ := bounded(t).Deadline()
	if err := tftp.SetReadDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, _, err := tftp.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "read" {
		t.Errorf("got %q, %v", buf[:n], err)
	}

	// A blocked read ends with the stack.
	ended := make(chan error, 1)
	go func() {
		_ = tftp.SetReadDeadline(time.Time{})
		_, _, err := tftp.ReadFrom(make([]byte, 100))
		ended <- err
	}()
	_ = server.Close()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("read returned nil after Close")
		}
	case <-bounded(t).Done():
		t.Error("read goes on after the stack was closed")
	}
}

func TestAttachAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sw")
	sw := listen(t, path)
	first := attach(t, path, 1)
	if err := sw.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-first.Done():
	case <-bounded(t).Done():
		t.Fatal("the stack did not notice that the switch has gone")
	}
	if _, err := usernet.Attach(t.Context(), path, usernet.Config{
		MAC: first.HardwareAddr(), Addr: first.Addr(),
	}); err == nil {
		t.Fatal("attached to a switch that is not there")
	}

	listen(t, path)
	again, peer := attach(t, path, 1), attach(t, path, 2)
	ln, err := again.ListenTCP(0)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			_, _ = conn.Write([]byte("here"))
			_ = conn.Close()
		}
	}()
	conn, err := peer.DialContext(bounded(t), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != "here" {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestAttachRefuses(t *testing.T) {
	good := net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}
	tests := []struct {
		name string
		cfg  usernet.Config
	}{
		{name: "no MAC", cfg: usernet.Config{Addr: netip.MustParsePrefix("10.0.0.1/24")}},
		{name: "group MAC", cfg: usernet.Config{MAC: net.HardwareAddr{1, 0, 0, 0, 0, 1}, Addr: netip.MustParsePrefix("10.0.0.1/24")}},
		{name: "no address", cfg: usernet.Config{MAC: good}},
		{name: "IPv6", cfg: usernet.Config{MAC: good, Addr: netip.MustParsePrefix("fd00::1/64")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := usernet.Attach(t.Context(), "/nonexistent", tt.cfg); err == nil {
				t.Error("no error")
			}
		})
	}
}
