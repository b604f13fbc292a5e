package dhcp

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

var update = flag.Bool("update", false, "rewrite the golden files; read the difference")

var (
	fixedMAC   = MAC{0x52, 0x54, 0, 0, 0, 1}
	rangeMAC   = MAC{0x52, 0x54, 0, 0, 0, 2}
	otherMAC   = MAC{0x52, 0x54, 0, 0, 0, 3}
	unknownMAC = MAC{0x52, 0x54, 0, 0xff, 0xff, 0xff}

	serverIP = netip.MustParseAddr("10.77.0.1")
	fixedIP  = netip.MustParseAddr("10.77.0.50")
)

type hosts map[MAC]Reservation

func (h hosts) Lookup(_ context.Context, mac net.HardwareAddr) (Reservation, bool) {
	r, ok := h[MAC(mac)]
	return r, ok
}

func (h hosts) Reserved(_ context.Context, ip netip.Addr) bool {
	for _, r := range h {
		if r.IP == ip {
			return true
		}
	}
	return false
}

func known() hosts {
	return hosts{fixedMAC: {IP: fixedIP, Hostname: "worker-1"}, rangeMAC: {Hostname: "bad name"}, otherMAC: {}}
}

type bench struct {
	*Server
	now    time.Time
	mu     sync.Mutex
	events []Event
}

func newBench(t *testing.T, change func(*Config)) *bench {
	t.Helper()
	b := &bench{now: time.Unix(1_800_000_000, 0)}
	cfg := Config{
		ServerIP: serverIP, Subnet: netip.MustParsePrefix("10.77.0.0/24"), Gateway: netip.MustParseAddr("10.77.0.254"),
		RangeStart: netip.MustParseAddr("10.77.0.100"), RangeEnd: netip.MustParseAddr("10.77.0.199"),
		DNS: []netip.Addr{netip.MustParseAddr("10.77.0.2")}, NTP: []netip.Addr{netip.MustParseAddr("10.77.0.3")},
		ScriptURL: func(mac net.HardwareAddr) string { return "http://10.77.0.1:6180/boot/ipxe?mac=" + mac.String() },
		HTTPBase:  "http://10.77.0.1:6180",
		Observe: func(e Event) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.events = append(b.events, e)
		},
		Now: func() time.Time { return b.now },
	}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg, known())
	if err != nil {
		t.Fatal(err)
	}
	b.Server = s
	return b
}

func (b *bench) ask(m *dhcpv4.DHCPv4) *outgoing {
	return b.answer(context.Background(), m, netip.MustParseAddrPort("0.0.0.0:68"), nil, false)
}

func (b *bench) kinds() []Kind {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Kind
	for _, e := range b.events {
		out = append(out, e.Kind)
	}
	b.events = nil
	return out
}

// message builds a request as a client would; every client here puts its name into option 61 to see it come back.
func message(mac MAC, kind dhcpv4.MessageType, more ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	m, err := dhcpv4.New(append([]dhcpv4.Modifier{
		dhcpv4.WithTransactionID(dhcpv4.TransactionID{1, 2, 3, 4}), dhcpv4.WithHwAddr(mac.HardwareAddr()), dhcpv4.WithMessageType(kind),
	}, more...)...)
	if err != nil {
		panic(err) // only a failing random source
	}
	m.OpCode, m.HWType = dhcpv4.OpcodeBootRequest, iana.HWTypeEthernet
	return m
}

func opt(code uint8, value ...byte) dhcpv4.Modifier {
	return dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(code), value)
}

func requested(ip string) dhcpv4.Modifier { return opt(50, net.ParseIP(ip).To4()...) }
func serverID(ip string) dhcpv4.Modifier  { return opt(54, net.ParseIP(ip).To4()...) }
func ciaddr(ip string) dhcpv4.Modifier    { return dhcpv4.WithClientIP(net.ParseIP(ip)) }
func relayed(ip string) dhcpv4.Modifier   { return dhcpv4.WithGatewayIP(net.ParseIP(ip)) }

func uuid() dhcpv4.Modifier {
	return opt(97, 0, 0x44, 0x45, 0x4c, 0x4c, 0, 0x10, 0x80, 0x31, 0x80, 0xc4, 0xb7, 0xc0, 0x4f, 0x31, 0x32, 0x33)
}

func clientOptions(class string, arch ...byte) []dhcpv4.Modifier {
	return []dhcpv4.Modifier{opt(60, []byte(class)...), opt(93, arch...), opt(94, 1, 3, 16), uuid()}
}

// TestGolden is what each firmware sends (options as SeaBIOS's and OVMF's own stacks and Debian's iPXE of 2019 set them) and is told.
func TestGolden(t *testing.T) {
	proxy := func(c *Config) { c.Mode = ModeProxy }
	for _, test := range []struct {
		name    string
		config  func(*Config)
		options []dhcpv4.Modifier
	}{
		{name: "bios-pxe", options: clientOptions("PXEClient:Arch:00000:UNDI:002001", 0, 0)},
		{name: "ovmf-pxe", options: clientOptions("PXEClient:Arch:00007:UNDI:003000", 0, 7)},
		{name: "ovmf-http", options: clientOptions("HTTPClient:Arch:00016:UNDI:003000", 0, 16)},
		{name: "ipxe", options: append(clientOptions("PXEClient:Arch:00000:UNDI:002001", 0, 0), opt(77, []byte("iPXE")...), opt(175, 0x13, 1, 1))},
		{name: "ipxe-efi", options: append(clientOptions("PXEClient:Arch:00007:UNDI:003010", 0, 7), opt(77, append([]byte{4}, "iPXE"...)...))},
		{name: "arm64-pxe", options: clientOptions("PXEClient:Arch:00011:UNDI:003000", 0, 11)},
		{name: "os", options: []dhcpv4.Modifier{opt(61, 1, 0x52, 0x54, 0, 0, 0, 1), opt(55, 1, 3, 6, 12)}},
		{name: "proxy-ovmf-pxe", config: proxy, options: clientOptions("PXEClient:Arch:00007:UNDI:003000", 0, 7)},
		{name: "proxy-ovmf-http", config: proxy, options: clientOptions("HTTPClient:Arch:00016:UNDI:003000", 0, 16)},
		{name: "proxy-ipxe", config: proxy, options: append(clientOptions("PXEClient:Arch:00000:UNDI:002001", 0, 0), opt(77, []byte("iPXE")...))},
		{name: "proxy-os", config: proxy},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, test.config)
			req := message(fixedMAC, dhcpv4.MessageTypeDiscover, test.options...)
			var text strings.Builder
			fmt.Fprintf(&text, "%s\n", req.Summary())
			if out := b.ask(req); out == nil {
				fmt.Fprintln(&text, "---- no answer")
			} else {
				again, err := dhcpv4.FromBytes(out.msg.ToBytes())
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&text, "---- to %v\n%s\nraw 43 %x, 97 %x, 175 %x\n", out.to, again.Summary(), again.Options[43], again.Options[97], again.Options[175])
			}
			fmt.Fprintf(&text, "---- events %v\n", b.kinds())
			golden(t, test.name, text.String())
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// TestOption43 holds the rule that cost OVMF its boot: 60 PXEClient and 43 come together or not at all.
func TestOption43(t *testing.T) {
	for _, mode := range []Mode{ModeDHCP, ModeProxy} {
		for arch := range byte(32) {
			for _, class := range []string{"PXEClient", "HTTPClient", ""} {
				for _, ipxe := range []bool{false, true} {
					b := newBench(t, func(c *Config) { c.Mode = mode })
					m := message(fixedMAC, dhcpv4.MessageTypeDiscover, clientOptions(class, 0, arch)...)
					if ipxe {
						m.UpdateOption(dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(175), []byte{1}))
					}
					out := b.ask(m)
					if out == nil {
						continue
					}
					if pxe, has43 := out.msg.ClassIdentifier() == "PXEClient", out.msg.Options.Has(dhcpv4.GenericOptionCode(43)); pxe != has43 {
						t.Errorf("mode %s arch %d class %q ipxe %v: option 60 PXEClient %v, option 43 %v", mode, arch, class, ipxe, pxe, has43)
					}
				}
			}
		}
	}
}

// TestStates walks the rules of RFC 2131 §4.3. Each step is one message to one server.
func TestStates(t *testing.T) {
	type step struct {
		what  string
		msg   *dhcpv4.DHCPv4
		later time.Duration // the clock moves on first
		want  string        // "OFFER 10.77.0.50 > 255.255.255.255:68", "" for silence
		kinds []Kind
	}
	const bcast = " > 255.255.255.255:68"
	lent := "10.77.0.113" // where rangeMAC's hash points
	next := "10.77.0.114"
	for _, test := range []struct {
		name   string
		config func(*Config)
		steps  []step
	}{
		{name: "reserved", steps: []step{
			{what: "discover", msg: message(fixedMAC, dhcpv4.MessageTypeDiscover), want: "OFFER 10.77.0.50" + bcast, kinds: []Kind{Seen, Replied}},
			{what: "select", msg: message(fixedMAC, dhcpv4.MessageTypeRequest, serverID("10.77.0.1"), requested("10.77.0.50")), want: "ACK 10.77.0.50" + bcast, kinds: []Kind{Seen, Replied}},
			{what: "renew", msg: message(fixedMAC, dhcpv4.MessageTypeRequest, ciaddr("10.77.0.50")), want: "ACK 10.77.0.50 > 10.77.0.50:68", kinds: []Kind{Seen, Replied}},
			{what: "init-reboot", msg: message(fixedMAC, dhcpv4.MessageTypeRequest, requested("10.77.0.50")), want: "ACK 10.77.0.50" + bcast, kinds: []Kind{Seen, Replied}},
			{what: "init-reboot elsewhere", msg: message(fixedMAC, dhcpv4.MessageTypeRequest, requested("192.168.1.9")), want: "NAK 0.0.0.0" + bcast, kinds: []Kind{Seen, Replied}},
			{what: "renew of another's: broadcast NAK", msg: message(fixedMAC, dhcpv4.MessageTypeRequest, ciaddr("10.77.0.51")), want: "NAK 0.0.0.0" + bcast, kinds: []Kind{Seen, Replied}},
			{what: "inform", msg: message(fixedMAC, dhcpv4.MessageTypeInform, ciaddr("10.77.0.50")), want: "ACK 0.0.0.0 > 10.77.0.50:68", kinds: []Kind{Seen, Replied}},
			{what: "request of nothing", msg: message(fixedMAC, dhcpv4.MessageTypeRequest), kinds: []Kind{Seen}},
		}},
		{name: "unknown", steps: []step{
			{what: "discover", msg: message(unknownMAC, dhcpv4.MessageTypeDiscover), kinds: []Kind{Unknown}},
			{what: "init-reboot", msg: message(unknownMAC, dhcpv4.MessageTypeRequest, requested("10.77.0.120")), kinds: []Kind{Unknown}},
			{what: "inform", msg: message(unknownMAC, dhcpv4.MessageTypeInform, ciaddr("10.77.0.120")), kinds: []Kind{Unknown}},
		}},
		{name: "range", steps: []step{
			{what: "discover", msg: message(rangeMAC, dhcpv4.MessageTypeDiscover), want: "OFFER " + lent + bcast, kinds: []Kind{Seen, Replied}},
			{what: "select", msg: message(rangeMAC, dhcpv4.MessageTypeRequest, serverID("10.77.0.1"), requested(lent)), want: "ACK " + lent + bcast, kinds: []Kind{Seen, Replied}},
			{what: "another asks for it", msg: message(otherMAC, dhcpv4.MessageTypeRequest, requested(lent)), want: "NAK 0.0.0.0" + bcast, kinds: []Kind{Seen, Replied}},
			{what: "asks for a second", msg: message(rangeMAC, dhcpv4.MessageTypeRequest, requested(next)), want: "NAK 0.0.0.0" + bcast, kinds: []Kind{Seen, Replied}},
			{what: "asks for the server's", msg: message(otherMAC, dhcpv4.MessageTypeRequest, requested("10.77.0.1")), want: "NAK 0.0.0.0" + bcast, kinds: []Kind{Seen, Replied}},
			{what: "the same address after expiry", later: 3 * time.Hour, msg: message(rangeMAC, dhcpv4.MessageTypeDiscover, requested("10.77.0.150")), want: "OFFER " + lent + bcast, kinds: []Kind{Seen, Replied}},
			{what: "release", msg: message(rangeMAC, dhcpv4.MessageTypeRelease, ciaddr(lent), serverID("10.77.0.1")), kinds: []Kind{Seen}},
			{what: "another may have it now", msg: message(otherMAC, dhcpv4.MessageTypeDiscover, requested(lent)), want: "OFFER " + lent + bcast, kinds: []Kind{Seen, Replied}},
			{what: "the first goes to the next", msg: message(rangeMAC, dhcpv4.MessageTypeDiscover), want: "OFFER " + next + bcast, kinds: []Kind{Seen, Replied}},
		}},
		{name: "a forgetful server lets a running machine keep its address", steps: []step{
			{what: "renew", msg: message(rangeMAC, dhcpv4.MessageTypeRequest, ciaddr("10.77.0.160")), want: "ACK 10.77.0.160 > 10.77.0.160:68", kinds: []Kind{Seen, Replied}},
		}},
		{name: "decline", steps: []step{
			{what: "of an address not held", msg: message(rangeMAC, dhcpv4.MessageTypeDecline, requested(lent)), kinds: []Kind{Seen, Declined}},
			{what: "discover", msg: message(rangeMAC, dhcpv4.MessageTypeDiscover), want: "OFFER " + lent + bcast, kinds: []Kind{Seen, Replied}},
			{what: "decline", msg: message(rangeMAC, dhcpv4.MessageTypeDecline, requested(lent)), kinds: []Kind{Seen, Declined}},
			{what: "the next one", msg: message(rangeMAC, dhcpv4.MessageTypeDiscover), want: "OFFER " + next + bcast, kinds: []Kind{Seen, Replied}},
			{what: "the quarantine ends", later: time.Hour, msg: message(otherMAC, dhcpv4.MessageTypeDiscover, requested(lent)), want: "OFFER " + lent + bcast, kinds: []Kind{Seen, Replied}},
		}},
		{name: "another server", steps: []step{
			{what: "discover", msg: message(rangeMAC, dhcpv4.MessageTypeDiscover), want: "OFFER " + lent + bcast, kinds: []Kind{Seen, Replied}},
			{what: "chosen instead of us", msg: message(rangeMAC, dhcpv4.MessageTypeRequest, serverID("10.77.0.9"), requested("10.77.0.20")), kinds: []Kind{OtherServer}},
			{what: "what we offered is free", msg: message(otherMAC, dhcpv4.MessageTypeDiscover, requested(lent)), want: "OFFER " + lent + bcast, kinds: []Kind{Seen, Replied}},
		}},
		{name: "relay", steps: []step{
			{what: "discover", msg: message(fixedMAC, dhcpv4.MessageTypeDiscover, relayed("10.77.0.254")), want: "OFFER 10.77.0.50 > 10.77.0.254:67", kinds: []Kind{Seen, Replied}},
			{what: "another network's", msg: message(fixedMAC, dhcpv4.MessageTypeDiscover, relayed("10.78.0.254")), kinds: nil},
			{what: "link selection", msg: message(fixedMAC, dhcpv4.MessageTypeDiscover, relayed("10.99.0.254"), opt(82, 5, 4, 10, 77, 0, 0)), want: "OFFER 10.77.0.50 > 10.99.0.254:67 82=05040a4d0000", kinds: []Kind{Seen, Replied}},
			{what: "NAK with the broadcast bit", msg: message(fixedMAC, dhcpv4.MessageTypeRequest, requested("10.78.0.3"), relayed("10.77.0.254")), want: "NAK 0.0.0.0 > 10.77.0.254:67 broadcast", kinds: []Kind{Seen, Replied}},
		}},
		{name: "relayed clients only", config: func(c *Config) { c.ServerIP = netip.MustParseAddr("192.0.2.1") }, steps: []step{
			{what: "on our own wire", msg: message(fixedMAC, dhcpv4.MessageTypeDiscover), kinds: nil},
			{what: "relayed", msg: message(fixedMAC, dhcpv4.MessageTypeDiscover, relayed("10.77.0.254")), want: "OFFER 10.77.0.50 > 10.77.0.254:67", kinds: []Kind{Seen, Replied}},
		}},
		{name: "no range", config: func(c *Config) { c.RangeStart, c.RangeEnd = netip.Addr{}, netip.Addr{} }, steps: []step{
			{what: "discover", msg: message(rangeMAC, dhcpv4.MessageTypeDiscover), kinds: []Kind{Seen, NoAddress}},
			{what: "reserved", msg: message(fixedMAC, dhcpv4.MessageTypeDiscover), want: "OFFER 10.77.0.50" + bcast, kinds: []Kind{Seen, Replied}},
		}},
		{name: "a range of one that is the gateway's", config: func(c *Config) { c.RangeStart, c.RangeEnd = c.Gateway, c.Gateway }, steps: []step{
			{what: "discover", msg: message(rangeMAC, dhcpv4.MessageTypeDiscover), kinds: []Kind{Seen, NoAddress}},
		}},
		{name: "reserved inside of the range", config: func(c *Config) { c.RangeStart, c.RangeEnd = fixedIP, fixedIP }, steps: []step{
			{what: "never lent", msg: message(rangeMAC, dhcpv4.MessageTypeDiscover, requested("10.77.0.50")), kinds: []Kind{Seen, NoAddress}},
			{what: "its own", msg: message(fixedMAC, dhcpv4.MessageTypeDiscover), want: "OFFER 10.77.0.50" + bcast, kinds: []Kind{Seen, Replied}},
		}},
		{name: "proxy", config: func(c *Config) { c.Mode = ModeProxy }, steps: []step{
			{what: "the other server's business", msg: message(fixedMAC, dhcpv4.MessageTypeRequest, append(clientOptions("PXEClient", 0, 7), serverID("10.77.0.9"), requested("10.77.0.50"))...), kinds: nil},
			{what: "renew", msg: message(fixedMAC, dhcpv4.MessageTypeRequest, ciaddr("10.77.0.50")), kinds: []Kind{Seen}},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, test.config)
			for _, s := range test.steps {
				b.now = b.now.Add(s.later)
				got := describe(b.ask(s.msg))
				if got != s.want {
					t.Errorf("%s: got %q, want %q", s.what, got, s.want)
				}
				if diff := cmp.Diff(s.kinds, b.kinds()); diff != "" {
					t.Errorf("%s: events (-want +got):\n%s", s.what, diff)
				}
			}
		})
	}
}

func describe(o *outgoing) string {
	if o == nil {
		return ""
	}
	text := fmt.Sprintf("%v %v > %v", o.msg.MessageType(), o.msg.YourIPAddr, o.to)
	if o.msg.YourIPAddr == nil {
		text = fmt.Sprintf("%v 0.0.0.0 > %v", o.msg.MessageType(), o.to)
	}
	if v := o.msg.Options.Get(dhcpv4.OptionRelayAgentInformation); v != nil {
		text += fmt.Sprintf(" 82=%x", v)
	}
	if o.msg.IsBroadcast() {
		text += " broadcast"
	}
	return text
}

// TestBootServer is what a PXE client asks on port 4011 when a proxy made the offer.
func TestBootServer(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Mode = ModeProxy })
	m := message(fixedMAC, dhcpv4.MessageTypeRequest, append(clientOptions("PXEClient:Arch:00007:UNDI:003000", 0, 7), ciaddr("10.77.0.50"))...)
	out := b.answer(context.Background(), m, netip.MustParseAddrPort("10.77.0.50:4011"), nil, true)
	if got, want := describe(out), "ACK 0.0.0.0 > 10.77.0.50:4011"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	if out.msg.BootFileName != LoaderUEFI || out.msg.Options.Has(dhcpv4.OptionIPAddressLeaseTime) {
		t.Errorf("got %s", out.msg.Summary())
	}
}

// TestEveryAddressOnce fills a range from many machines: no address twice, the last machine refused, and a new server chooses nearly the same.
func TestEveryAddressOnce(t *testing.T) {
	all := hosts{}
	for i := range byte(101) {
		all[MAC{2, 0, 0, 0, 7, i}] = Reservation{}
	}
	run := func() map[MAC]string {
		b := newBench(t, nil)
		b.hosts = all
		got, seen := map[MAC]string{}, map[string]MAC{}
		for i := range byte(101) {
			mac := MAC{2, 0, 0, 0, 7, i}
			out := b.ask(message(mac, dhcpv4.MessageTypeDiscover))
			if (out == nil) != (i == 100) {
				t.Fatalf("machine %d: answer %v", i, describe(out))
			}
			if out == nil {
				break
			}
			ip := out.msg.YourIPAddr.String()
			if other, twice := seen[ip]; twice {
				t.Fatalf("%s given to %v and %v", ip, other, mac)
			}
			seen[ip], got[mac] = mac, ip
		}
		return got
	}
	if diff := cmp.Diff(run(), run()); diff != "" {
		t.Errorf("a second server gave other addresses:\n%s", diff)
	}
}

func TestOtherServersAnswerIsSeen(t *testing.T) {
	b := newBench(t, nil)
	m := message(fixedMAC, dhcpv4.MessageTypeOffer, serverID("10.77.0.9"), dhcpv4.WithYourIP(net.IPv4(10, 77, 0, 33)), opt(67, []byte("pxelinux.0\n")...))
	m.OpCode = dhcpv4.OpcodeBootReply
	lan := net.HardwareAddr{0x52, 0x54, 0, 0xab, 0, 9}
	if out := b.answer(context.Background(), m, netip.MustParseAddrPort("10.77.0.9:67"), lan, false); out != nil {
		t.Fatalf("an answer was answered: %v", describe(out))
	}
	want := []Event{{
		Kind: OtherServer, Time: b.now, MAC: fixedMAC.HardwareAddr(), Message: "OFFER", Server: netip.MustParseAddr("10.77.0.9"), ServerMAC: lan,
		Address: netip.MustParseAddr("10.77.0.33"), Boot: "pxelinux.0",
	}}
	if diff := cmp.Diff(want, b.events, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	b.events = nil
	m.UpdateOption(dhcpv4.OptServerIdentifier(net.IPv4(10, 77, 0, 1)))
	b.ask(m)
	if len(b.events) != 0 {
		t.Errorf("our own answer made events: %v", b.events)
	}
}

func TestEventCarriesTheClient(t *testing.T) {
	b := newBench(t, nil)
	b.ask(message(fixedMAC, dhcpv4.MessageTypeDiscover, clientOptions("PXEClient:Arch:00011\x1b", 0, 11)...))
	got := b.events[1]
	want := Event{
		Kind: WrongArch, Time: b.now, MAC: fixedMAC.HardwareAddr(), Message: "DISCOVER", Firmware: FirmwareOther, Arch: []uint16{11},
		VendorClass: "PXEClient:Arch:00011", UUID: "44454c4c-0010-8031-80c4-b7c04f313233",
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no server address", func(c *Config) { c.ServerIP = netip.Addr{} }, "server address"},
		{"IPv6", func(c *Config) { c.Subnet = netip.MustParsePrefix("2001:db8::/64") }, "subnet"},
		{"half a range", func(c *Config) { c.RangeEnd = netip.Addr{} }, "both its ends"},
		{"range outside", func(c *Config) { c.RangeEnd = netip.MustParseAddr("10.78.0.1") }, "outside"},
		{"range backwards", func(c *Config) { c.RangeEnd = netip.MustParseAddr("10.77.0.99") }, "before it begins"},
		{"range too large", func(c *Config) {
			c.Subnet = netip.MustParsePrefix("10.0.0.0/8")
			c.RangeStart, c.RangeEnd = netip.MustParseAddr("10.0.0.0"), netip.MustParseAddr("10.255.255.255")
		}, "more than"},
		{"gateway outside", func(c *Config) { c.Gateway = netip.MustParseAddr("10.78.0.1") }, "gateway"},
		{"no script", func(c *Config) { c.ScriptURL = nil }, "script"},
		{"mode", func(c *Config) { c.Mode = "both" }, "mode"},
		{"lease", func(c *Config) { c.LeaseTime = time.Second }, "lease time"},
		{"DNS", func(c *Config) { c.DNS = []netip.Addr{netip.MustParseAddr("::1")} }, "IPv4"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := newBench(t, nil).cfg
			test.change(&cfg)
			if _, err := New(cfg, known()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

// TestServe exchanges packets over loopback, as a relay would: answers then go to the relay's port 67, so this one sends from ciaddr instead.
func TestServe(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.ServerIP, c.Subnet = netip.MustParseAddr("127.0.0.1"), netip.MustParsePrefix("127.0.0.0/24")
		c.RangeStart, c.RangeEnd, c.Gateway = netip.Addr{}, netip.Addr{}, netip.Addr{}
		c.Mode = ModeProxy
	})
	ctx, cancel := context.WithCancel(t.Context())
	conn := listenLoopback(t)
	boot := asBootServer{conn}
	done := make(chan error, 1)
	go func() { done <- b.Serve(ctx, boot) }()

	client := listenLoopback(t)
	defer client.Close()
	deadline := time.Now().Add(time.Minute)
	if err := client.SetDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	junk := [][]byte{nil, []byte("hello"), make([]byte, 240), make([]byte, 4000)}
	good := message(fixedMAC, dhcpv4.MessageTypeRequest, append(clientOptions("PXEClient", 0, 0), ciaddr("127.0.0.1"))...).ToBytes()
	for _, p := range append(junk, good) {
		if _, err := client.WriteTo(p, conn.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 1500)
	n, _, err := client.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	got, err := dhcpv4.FromBytes(buf[:n])
	if err != nil || got.BootFileName != LoaderBIOS {
		t.Errorf("got %v, %v", got, err)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("Serve: %v", err)
		}
	case <-time.After(time.Until(deadline)):
		t.Fatal("Serve does not end with its context")
	}
}

// asBootServer makes a loopback socket look bound to port 4011.
type asBootServer struct{ net.PacketConn }

func (asBootServer) LocalAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4zero, Port: BootServerPort} }

func listenLoopback(t *testing.T) net.PacketConn {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestServeReportsADeadSocket(t *testing.T) {
	conn := listenLoopback(t)
	conn.Close()
	if err := newBench(t, nil).Serve(t.Context(), conn); err == nil {
		t.Error("no error")
	}
}

func TestLimiter(t *testing.T) {
	l, now, allowed := newLimiter(), time.Unix(0, 0), 0
	for range 100 {
		if l.allow(fixedMAC, now) {
			allowed++
		}
	}
	if allowed != perMACBurst {
		t.Errorf("%d of 100 at once allowed, want %d", allowed, perMACBurst)
	}
	if !l.allow(fixedMAC, now.Add(time.Second)) {
		t.Error("nothing allowed a second later")
	}
	for i := range 5 * limiterSize {
		l.allow(MAC{2, 0, byte(i >> 16), byte(i >> 8), byte(i)}, now)
	}
	if n := len(l.young) + len(l.old); n > 2*limiterSize {
		t.Errorf("%d buckets kept", n)
	}
}

func FuzzAnswer(f *testing.F) {
	for _, m := range []*dhcpv4.DHCPv4{
		message(fixedMAC, dhcpv4.MessageTypeDiscover, clientOptions("PXEClient:Arch:00007:UNDI:003000", 0, 7)...),
		message(rangeMAC, dhcpv4.MessageTypeRequest, serverID("10.77.0.1"), requested("10.77.0.113")),
		message(rangeMAC, dhcpv4.MessageTypeDecline, requested("10.77.0.113")),
		message(fixedMAC, dhcpv4.MessageTypeInform, ciaddr("10.77.0.50"), opt(77, 4, 'i', 'P', 'X', 'E'), opt(175)),
		message(fixedMAC, dhcpv4.MessageTypeDiscover, relayed("10.77.0.254"), opt(82, 5, 4, 10, 77, 0, 0)),
	} {
		f.Add(m.ToBytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		msg, err := dhcpv4.FromBytes(data)
		if err != nil {
			return
		}
		b := newBench(t, nil)
		for _, bootPort := range []bool{false, true} {
			out := b.answer(context.Background(), msg, netip.MustParseAddrPort("10.77.0.50:68"), nil, bootPort)
			if out == nil {
				continue
			}
			if _, ok := known()[MAC(msg.ClientHWAddr)]; !ok {
				t.Fatalf("an unknown machine was answered: %s", out.msg.Summary())
			}
			again, err := dhcpv4.FromBytes(out.msg.ToBytes())
			if err != nil {
				t.Fatalf("the answer does not parse: %v", err)
			}
			if again.OpCode != dhcpv4.OpcodeBootReply || again.TransactionID != msg.TransactionID || !again.ServerIdentifier().Equal(net.IPv4(10, 77, 0, 1)) {
				t.Fatalf("got %s", again.Summary())
			}
		}
		for _, e := range b.events {
			for _, text := range []string{e.UserClass, e.VendorClass, e.Boot} {
				if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
					t.Fatalf("text of the network's in an event: %q", text)
				}
			}
		}
	})
}
