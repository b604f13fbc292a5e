//go:build e2e

package qemu

import (
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/pkg/lab"
	"github.com/ingot-metal/ingot/pkg/usernet"
)

// explained is what `ingot explain -o json` says that tests read.
type explained struct {
	Code string   `json:"code"`
	Seen []string `json:"seen"`
	Do   []string `json:"do"`
	Next string   `json:"next"`
}

func (r *rig) explain(name string) explained {
	r.t.Helper()
	var e explained
	out := r.ingot("explain", name, "-o", "json")
	if err := json.Unmarshal([]byte(out), &e); err != nil {
		r.t.Fatalf("ingot explain -o json: %v\n%s", err, out)
	}
	return e
}

// impatient are limits for machines that are known to fail.
func impatient() []string { return []string{"--boot-timeout", "40s", "--retry-unit", "1s"} }

// TestSecondDHCPServer has somebody else on the wire whose offers firmware likes
// better. The host says who it is; once that one is gone, it goes on by itself.
func TestSecondDHCPServer(t *testing.T) {
	r := start(t, lab.Config{}, biosIPMI, impatient()...)
	stop := rogue(t, r.lab.Socket)
	r.enrol()
	r.await("lab-1", "in error", 3*time.Minute, func(b *metal3.BareMetalHost) bool { return b.Status.ErrorType == metal3.InspectionError })
	e := r.explain("lab-1")
	if e.Code != "boot-other-dhcp" || !strings.Contains(strings.Join(append(e.Seen, e.Do...), "\n"), rogueIP) || len(e.Do) == 0 || e.Next == "" {
		t.Errorf("explained as %+v; want boot-other-dhcp that names %s", e, rogueIP)
	}
	if ranges, err := r.lab.VMs["lab-1"].WriteLog(0); err != nil || len(ranges) != 0 {
		t.Errorf("the disk was written: %v %v", ranges, err)
	}
	stop()
	r.awaitState("lab-1", metal3.StateAvailable, 4*time.Minute)
}

const rogueIP = "10.77.0.9"

// rogue answers DHCP on the switch as a misconfigured server would, with iPXE's
// option for a high priority (175.1), so that its offer is the one taken.
func rogue(t *testing.T, socket string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	st, err := usernet.Attach(ctx, socket, usernet.Config{
		MAC: net.HardwareAddr{2, 0, 0, 0, 0, 9}, Addr: netip.MustParsePrefix(rogueIP + "/24"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	conn, err := st.ListenUDP(netip.Addr{}, 67)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		buf := make([]byte, 1500)
		for {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			m, err := dhcpv4.FromBytes(buf[:n])
			if err != nil {
				continue
			}
			kind := dhcpv4.MessageTypeOffer
			if m.MessageType() == dhcpv4.MessageTypeRequest {
				if !m.ServerIdentifier().Equal(net.ParseIP(rogueIP)) {
					continue
				}
				kind = dhcpv4.MessageTypeAck
			}
			reply, err := dhcpv4.NewReplyFromRequest(m,
				dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(net.IPv4(10, 77, 0, 66)), dhcpv4.WithServerIP(net.ParseIP(rogueIP)),
				dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithLeaseTime(600),
				dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.ParseIP(rogueIP))),
				dhcpv4.WithOption(dhcpv4.OptBootFileName("http://"+rogueIP+"/somebody-elses-loader")),
				dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(175), []byte{1, 1, 100, 0xb0, 1, 1}),
			)
			if err != nil {
				continue
			}
			_, _ = conn.WriteTo(reply.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: 68})
		}
	}()
	return func() { st.Close() }
}

// TestLittleMemory has a machine whose memory does not suffice: the agent gets as
// far as its hello, and is told no before it touches anything.
func TestLittleMemory(t *testing.T) {
	r := start(t, lab.Config{MemoryMiB: 128}, biosIPMI, impatient()...)
	r.enrol()
	r.await("lab-1", "in error", 3*time.Minute, func(b *metal3.BareMetalHost) bool { return b.Status.ErrorType == metal3.InspectionError })
	if e := r.explain("lab-1"); e.Code != "boot-ram" || len(e.Do) == 0 {
		t.Errorf("explained as %+v; want boot-ram with a remedy", e)
	}
	if ranges, err := r.lab.VMs["lab-1"].WriteLog(0); err != nil || len(ranges) != 0 {
		t.Errorf("the disk was written: %v %v", ranges, err)
	}
}
