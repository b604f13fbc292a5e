//go:build e2e

package qemu

import (
	"encoding/binary"
	"encoding/json"
	"net"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/pkg/lab"
	labnet "github.com/ingot-metal/ingot/pkg/lab/net"
)

// explained is what `ingot explain -o json` says that tests read.
type explained struct {
	Code string   `json:"code"`
	Seen []string `json:"seen"`
	Do   []string `json:"do"`
	Next string   `json:"next"`
}

func (r *site) explain(name string) explained {
	r.t.Helper()
	var e explained
	out := r.ingot("explain", name, "-o", "json")
	if err := json.Unmarshal([]byte(out), &e); err != nil {
		r.t.Fatalf("ingot explain -o json: %v\n%s", err, out)
	}
	return e
}

// impatient are limits for machines that are known to fail: a boot on a busy
// machine must still fit.
func impatient() []string { return []string{"--boot-timeout", "90s", "--retry-unit", "1s"} }

// TestSecondDHCPServer has somebody else on the wire who answers first. The host says who it is; once that one is gone, it goes on by itself.
func TestSecondDHCPServer(t *testing.T) {
	r := start(t, lab.Config{}, biosIPMI, impatient()...)
	stop := rogue(t, r.lab.Switch)
	r.enrol()
	r.await("lab-1", "in error", patience, func(b *metal3.BareMetalHost) bool { return b.Status.ErrorType == metal3.InspectionError })
	e := r.explain("lab-1")
	if e.Code != "boot-other-dhcp" || !strings.Contains(strings.Join(append(e.Seen, e.Do...), "\n"), rogueIP) || len(e.Do) == 0 || e.Next == "" {
		t.Errorf("explained as %+v; want boot-other-dhcp that names %s", e, rogueIP)
	}
	if ranges, err := r.lab.VMs["lab-1"].WriteLog(0); err != nil || len(ranges) != 0 {
		t.Errorf("the disk was written: %v %v", ranges, err)
	}
	stop()
	r.awaitState("lab-1", metal3.StateAvailable, patience)
}

const rogueIP = "10.77.0.9"

// rogue answers DHCP as a misconfigured server would, and is always the first: it
// sees a machine's packet before the switch passes it on.
func rogue(t *testing.T, sw *labnet.Switch) (stop func()) {
	t.Helper()
	return sw.Tap(func(f []byte) {
		const ethernet, ipv4, udp = 14, 20, 8
		if len(f) < ethernet+ipv4+udp || f[23] != 17 || binary.BigEndian.Uint16(f[36:38]) != 67 {
			return
		}
		m, err := dhcpv4.FromBytes(f[ethernet+ipv4+udp:])
		if err != nil {
			return
		}
		kind := dhcpv4.MessageTypeOffer
		if m.MessageType() == dhcpv4.MessageTypeRequest {
			if !m.ServerIdentifier().Equal(net.ParseIP(rogueIP)) {
				return
			}
			kind = dhcpv4.MessageTypeAck
		}
		reply, err := dhcpv4.NewReplyFromRequest(m,
			dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(net.IPv4(10, 77, 0, 66)), dhcpv4.WithServerIP(net.ParseIP(rogueIP)),
			dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithLeaseTime(600),
			dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.ParseIP(rogueIP))),
			dhcpv4.WithOption(dhcpv4.OptBootFileName("http://"+rogueIP+"/somebody-elses-loader")),
			dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(175), []byte{0xb0, 1, 1}), // iPXE: do not wait for others
		)
		if err != nil {
			return
		}
		if err := sw.Inject(broadcast(reply.ToBytes())); err != nil {
			t.Error(err)
		}
	})
}

// broadcast is a UDP packet from the rogue's port 67 to everybody's 68.
func broadcast(payload []byte) []byte {
	f := make([]byte, 14+20+8+len(payload))
	copy(f, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 8, 0})
	ip, udp := f[14:34], f[34:42]
	ip[0], ip[8], ip[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(ip[2:], uint16(len(f)-14))
	copy(ip[12:], net.ParseIP(rogueIP).To4())
	copy(ip[16:], net.IPv4bcast.To4())
	sum := uint32(0)
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum))
	binary.BigEndian.PutUint16(udp[0:], 67)
	binary.BigEndian.PutUint16(udp[2:], 68)
	binary.BigEndian.PutUint16(udp[4:], uint16(8+len(payload))) // no checksum: RFC 768 allows it
	copy(f[42:], payload)
	return f
}

// TestLittleMemory has a machine whose memory does not suffice: the agent gets as
// far as its hello, and is told no before it touches anything.
func TestLittleMemory(t *testing.T) {
	r := start(t, lab.Config{MemoryMiB: 128}, biosIPMI, impatient()...)
	r.enrol()
	r.await("lab-1", "in error", patience, func(b *metal3.BareMetalHost) bool { return b.Status.ErrorType == metal3.InspectionError })
	if e := r.explain("lab-1"); e.Code != "boot-ram" || len(e.Do) == 0 {
		t.Errorf("explained as %+v; want boot-ram with a remedy", e)
	}
	if ranges, err := r.lab.VMs["lab-1"].WriteLog(0); err != nil || len(ranges) != 0 {
		t.Errorf("the disk was written: %v %v", ranges, err)
	}
}
