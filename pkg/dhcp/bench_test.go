package dhcp

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// BenchmarkAnswer is a firmware's first packet, from its bytes to the answer's.
func BenchmarkAnswer(b *testing.B) {
	s, err := New(Config{
		ServerIP: serverIP, Subnet: netip.MustParsePrefix("10.77.0.0/24"),
		RangeStart: netip.MustParseAddr("10.77.0.100"), RangeEnd: netip.MustParseAddr("10.77.0.199"),
		ScriptURL: func(mac net.HardwareAddr) string { return "http://10.77.0.1:6180/boot/ipxe?mac=" + mac.String() },
		HTTPBase:  "http://10.77.0.1:6180",
	}, known())
	if err != nil {
		b.Fatal(err)
	}
	raw := message(fixedMAC, dhcpv4.MessageTypeDiscover, clientOptions("PXEClient:Arch:00007:UNDI:003000", 0, 7)...).ToBytes()
	from := netip.MustParseAddrPort("0.0.0.0:68")
	b.ReportAllocs()
	for b.Loop() {
		m, err := dhcpv4.FromBytes(raw)
		if err != nil {
			b.Fatal(err)
		}
		out := s.answer(context.Background(), m, from, nil, false)
		if out == nil {
			b.Fatal("no answer")
		}
		_ = out.msg.ToBytes()
	}
}
