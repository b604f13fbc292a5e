package dhcp

import (
	"context"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestKernelSockets needs root: a pair of virtual cards in a network namespace of this test's thread, a server on one, a client and another server on the
// other.
func TestKernelSockets(t *testing.T) {
	// Never unlocked: the thread ends with the goroutine, and its namespace with the last socket.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("needs root: %v", err)
	}
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "ingot0", HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}, PeerName: "ingot1", PeerHardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 9}}
	if err := netlink.LinkAdd(veth); err != nil {
		t.Skipf("needs virtual network cards: %v", err)
	}
	addr, err := netlink.ParseAddr("10.77.0.1/24")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrAdd(veth, addr); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ingot0", "ingot1"} {
		link, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(link); err != nil {
			t.Fatal(err)
		}
		// Both ends are in one namespace, so that each sees its own host's address come in.
		for key, value := range map[string]string{"accept_local": "1", "rp_filter": "0"} {
			if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+name+"/"+key, []byte(value), 0); err != nil {
				t.Skipf("cannot prepare the namespace: %v", err)
			}
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	listen := func(ifname string, port int) net.PacketConn {
		t.Helper()
		conn, err := Listen(ctx, ifname, port)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	server := listen("ingot0", ServerPort)
	if second, err := Listen(ctx, "ingot0", ServerPort); err == nil {
		second.Close()
		t.Error("a second socket shares the port")
	}
	sniffer, err := ListenReplies("ingot0")
	if err != nil {
		t.Fatal(err)
	}
	client, rogue := listen("ingot1", ClientPort), listen("ingot1", ServerPort)
	defer client.Close()
	defer rogue.Close()

	seen := make(chan Event, 100)
	b := newBench(t, func(c *Config) { c.Observe = func(e Event) { seen <- e } })
	done := make(chan error, 2)
	for _, conn := range []net.PacketConn{server, sniffer} {
		go func() { done <- b.Serve(ctx, conn) }()
	}

	// As a client does, it asks again: a card that is up may still drop what it is given first.
	everyone := &net.UDPAddr{IP: net.IPv4bcast, Port: ServerPort}
	buf := make([]byte, 2000)
	var n int
	var from net.Addr
	for try := 0; from == nil; try++ {
		if _, err := client.WriteTo(message(fixedMAC, dhcpv4.MessageTypeDiscover).ToBytes(), everyone); err != nil {
			t.Fatal(err)
		}
		if err := client.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if n, from, err = client.ReadFrom(buf); err != nil && try == 20 {
			t.Fatal(err)
		}
	}
	offer, err := dhcpv4.FromBytes(buf[:n])
	if err != nil || offer.MessageType() != dhcpv4.MessageTypeOffer || from.String() != "10.77.0.1:67" {
		t.Errorf("got %v from %v, %v", offer, from, err)
	}

	other := message(fixedMAC, dhcpv4.MessageTypeOffer, serverID("10.77.0.9"))
	other.OpCode = dhcpv4.OpcodeBootReply
	if _, err := rogue.WriteTo(other.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: ClientPort}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.After(time.Minute); ; {
		select {
		case e := <-seen:
			if e.Kind != OtherServer {
				continue
			}
			if e.Server != netip.MustParseAddr("10.77.0.9") || !slices.Equal(e.ServerMAC, net.HardwareAddr{2, 0, 0, 0, 0, 9}) {
				t.Errorf("got %+v", e)
			}
		case <-deadline:
			t.Fatal("the other server's offer was not seen")
		}
		break
	}
	cancel()
	for range 2 {
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("Serve does not end with its context")
		}
	}
}

func FuzzUDPPayload(f *testing.F) {
	f.Add([]byte{0x45, 0, 0, 30, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 255, 255, 255, 255, 0, 67, 0, 68, 0, 10, 0, 0, 'h', 'i'})
	f.Add([]byte{0x4f, 0, 0, 20, 0, 0, 0, 0, 64, 17})
	f.Fuzz(func(t *testing.T, data []byte) {
		if src, payload, ok := udpPayload(data); ok && (len(payload) > len(data)-28 || !src.Addr().Is4()) {
			t.Fatalf("%v, %d bytes of %d", src, len(payload), len(data))
		}
	})
}
