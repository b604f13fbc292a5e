package labnet_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	labnet "github.com/ingot-metal/ingot/pkg/lab/net"
	"github.com/ingot-metal/ingot/pkg/usernet/frame"
)

const patience = 30 * time.Second

var (
	macA      = [6]byte{2, 0, 0, 0, 0, 0xa}
	macB      = [6]byte{2, 0, 0, 0, 0, 0xb}
	macC      = [6]byte{2, 0, 0, 0, 0, 0xc}
	broadcast = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
)

func listen(t *testing.T) *labnet.Switch {
	t.Helper()
	sw, err := labnet.Listen(filepath.Join(t.TempDir(), "sw"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sw.Close() })
	return sw
}

func plug(t *testing.T, sw *labnet.Switch) net.Conn {
	t.Helper()
	before := len(sw.Ports())
	conn, err := net.Dial("unix", sw.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "port is plugged in", func() bool { return len(sw.Ports()) > before })
	return conn
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func eth(dst, src [6]byte, text string) []byte {
	f := append(append([]byte{}, dst[:]...), src[:]...)
	return append(append(f, 0x88, 0xb5), text...)
}

func send(t *testing.T, conn net.Conn, f []byte) {
	t.Helper()
	wire, err := frame.Wire(f)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(wire); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, conn net.Conn) string {
	t.Helper()
	wire, err := frame.Read(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(frame.Payload(wire)[14:])
}

func TestSwitchLearns(t *testing.T) {
	sw := listen(t)
	a, b, c := plug(t, sw), plug(t, sw), plug(t, sw)

	send(t, a, eth(broadcast, macA, "who is b"))
	for _, conn := range []net.Conn{b, c} {
		if got := receive(t, conn); got != "who is b" {
			t.Fatalf("got %q", got)
		}
	}
	send(t, b, eth(macA, macB, "me"))
	if got := receive(t, a); got != "me" {
		t.Fatalf("got %q", got)
	}
	// From here on only b hears what is for b: c's next frame is the last one.
	send(t, a, eth(macB, macA, "secret"))
	if got := receive(t, b); got != "secret" {
		t.Fatalf("got %q", got)
	}
	send(t, a, eth(broadcast, macA, "done"))
	if got := receive(t, c); got != "done" {
		t.Errorf("c heard %q", got)
	}
	ports := sw.Ports()
	if len(ports) != 3 || len(ports[0].MACs) != 1 || ports[0].MACs[0] != "02:00:00:00:00:0a" || ports[0].FramesIn != 3 || ports[0].FramesOut != 1 {
		t.Errorf("ports %+v", ports)
	}
}

// A machine that moves to another port, as after a restart of its QEMU, is
// found there at its first frame.
func TestSwitchFollowsMoves(t *testing.T) {
	sw := listen(t)
	a, b, c := plug(t, sw), plug(t, sw), plug(t, sw)
	send(t, b, eth(broadcast, macB, "1"))
	receive(t, a)
	receive(t, c)
	send(t, c, eth(broadcast, macB, "2"))
	receive(t, a)
	receive(t, b)
	send(t, a, eth(macB, macA, "3"))
	if got := receive(t, c); got != "3" {
		t.Errorf("got %q", got)
	}
	_ = c.Close()
	eventually(t, "address is forgotten", func() bool {
		for _, p := range sw.Ports() {
			for _, m := range p.MACs {
				if m == net.HardwareAddr(macB[:]).String() {
					return false
				}
			}
		}
		return len(sw.Ports()) == 2
	})
	send(t, a, eth(macB, macA, "4"))
	if got := receive(t, b); got != "4" {
		t.Errorf("got %q", got)
	}
}

func TestTapAndInject(t *testing.T) {
	sw := listen(t)
	a := plug(t, sw)
	seen := make(chan string, 10)
	cancel := sw.Tap(func(f []byte) { seen <- string(f[14:]) })
	send(t, a, eth(broadcast, macA, "from a"))
	if got := <-seen; got != "from a" {
		t.Errorf("tap saw %q", got)
	}
	if err := sw.Inject(eth(broadcast, macC, "injected")); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, a); got != "injected" {
		t.Errorf("got %q", got)
	}
	if got := <-seen; got != "injected" {
		t.Errorf("tap saw %q", got)
	}
	cancel()
	if err := sw.Inject(eth(broadcast, macC, "unseen")); err != nil {
		t.Fatal(err)
	}
	receive(t, a)
	if len(seen) != 0 {
		t.Errorf("a cancelled tap saw %q", <-seen)
	}
	if err := sw.Inject(make([]byte, frame.Max+1)); !errors.Is(err, frame.ErrLength) {
		t.Errorf("inject of a giant: %v", err)
	}
}

func TestHostilePeers(t *testing.T) {
	tests := []struct {
		name  string
		bytes []byte
	}{
		{name: "length of 4 GiB", bytes: []byte{0xff, 0xff, 0xff, 0xff}},
		{name: "length 0", bytes: []byte{0, 0, 0, 0}},
		{name: "noise", bytes: bytes.Repeat([]byte("GET / HTTP/1.1\r\n"), 100)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sw := listen(t)
			a, b, hostile := plug(t, sw), plug(t, sw), plug(t, sw)
			if _, err := hostile.Write(tt.bytes); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(hostile); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("hostile port: %v", err)
			}
			eventually(t, "port is unplugged", func() bool { return len(sw.Ports()) == 2 })
			send(t, a, eth(broadcast, macA, "alive"))
			if got := receive(t, b); got != "alive" {
				t.Errorf("got %q", got)
			}
		})
	}
}

// A port that never reads loses its own frames and nobody else's.
func TestSlowPortDrops(t *testing.T) {
	sw := listen(t)
	a, b := plug(t, sw), plug(t, sw)
	plug(t, sw) // never reads
	var heard atomic.Int64
	go func() {
		for {
			if _, err := frame.Read(b); err != nil {
				return
			}
			heard.Add(1)
		}
	}()
	big := strings.Repeat("x", 8000)
	const frames = 4000
	for i := range frames {
		send(t, a, eth(broadcast, macA, big))
		if i%100 == 99 { // b keeps up
			eventually(t, "b hears", func() bool { return heard.Load() == int64(i+1) })
		}
	}
	ports := sw.Ports()
	if ports[1].Dropped != 0 || ports[2].Dropped == 0 {
		t.Errorf("dropped: b %d, sleeper %d", ports[1].Dropped, ports[2].Dropped)
	}
}

func TestListen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sw")
	sw, err := labnet.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("socket %v, %v", fi, err)
	}
	if _, err := labnet.Listen(path); err == nil || !strings.Contains(err.Error(), "another switch") {
		t.Errorf("second switch on one socket: %v", err)
	}
	if err := sw.Close(); err != nil {
		t.Fatal(err)
	}

	// What a killed process leaves behind.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	_ = stale.Close()
	if sw, err = labnet.Listen(path); err != nil {
		t.Fatalf("stale socket: %v", err)
	}
	_ = sw.Close()

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := labnet.Listen(file); err == nil {
		t.Error("listens on a file")
	}
	if got, _ := os.ReadFile(file); string(got) != "precious" {
		t.Error("a file was replaced")
	}
	if _, err := labnet.Listen(filepath.Join(dir, strings.Repeat("x", 120))); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("long path: %v", err)
	}
}
