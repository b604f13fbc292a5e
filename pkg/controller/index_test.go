package controller

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/agentapi"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/engine"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/shard"
)

func TestNewer(t *testing.T) {
	for _, tc := range []struct {
		name, a, b string
		want       bool
	}{
		{name: "later", a: "10", b: "9", want: true},
		{name: "earlier", a: "9", b: "10"},
		{name: "the same", a: "10", b: "10"},
		{name: "beyond 32 bits", a: "18446744073709551615", b: "4294967296", want: true},
		{name: "no number: what was read last counts", a: "abc", b: "10", want: true},
		{name: "none yet", a: "10", b: "", want: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, b := &metal3.BareMetalHost{}, &metal3.BareMetalHost{}
			a.ResourceVersion, b.ResourceVersion = tc.a, tc.b
			if got := newer(a, b); got != tc.want {
				t.Errorf("newer(%q, %q) = %v", tc.a, tc.b, got)
			}
		})
	}
}

func TestShares(t *testing.T) {
	known := []string{"52:54:00:00:00:01", "52:54:00:00:00:0a"}
	for _, tc := range []struct {
		name    string
		known   []string
		claimed []string
		want    bool
	}{
		{name: "one of them", known: known, claimed: []string{"52:54:00:00:00:ff", "52:54:00:00:00:0a"}, want: true},
		{name: "written otherwise", known: known, claimed: []string{"52-54-00-00-00-0A"}, want: true},
		{name: "none of them", known: known, claimed: []string{"52:54:00:00:00:02"}},
		{name: "no MAC", known: known, claimed: []string{"nonsense", ""}},
		{name: "nothing claimed", known: known},
		{name: "nothing known, so nothing to check", claimed: []string{"52:54:00:00:00:02"}, want: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := shares(tc.known, tc.claimed); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func key(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "rack", Name: name}
}

func mac(t *testing.T, s string) net.HardwareAddr {
	t.Helper()
	m, err := net.ParseMAC(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// objects of a host with a MAC that is declared, one that its BMC names and one
// that an inspection found, and with a boot.
func objects(name, last, bootID, keyHash string) (*metal3.BareMetalHost, *v1alpha1.HostRecord) {
	b := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: name}}
	b.Spec.BootMACAddress = "52:54:00:AA:00:" + last
	b.Status.HardwareDetails = &metal3.HardwareDetails{NIC: []metal3.NIC{{MAC: "52:54:00:cc:00:" + last}, {MAC: "junk"}}}
	hr := &v1alpha1.HostRecord{}
	hr.Status.BMC = &v1alpha1.BMC{MACs: []string{"52:54:00:bb:00:" + last, "52:54:00:aa:00:" + last}}
	if bootID != "" {
		hr.Status.Boot = &v1alpha1.Boot{ID: bootID, KeyHash: keyHash}
	}
	return b, hr
}

// doors is a Hosts that nobody reconciles.
func doors(t *testing.T) *Hosts {
	t.Helper()
	c := &Hosts{
		Engine: &engine.Engine{Claims: shard.Sole(5)}, Shares: shard.Sole(5), hosts: map[types.NamespacedName]*live{}, index: newIndex(),
		wake: make(chan event.GenericEvent, 64), base: t.Context(), Now: time.Now,
	}
	c.polls = engine.NewPoller(t.Context(), c.Engine, time.Hour, c.powerFound, c.bmcSilent)
	c.reads = engine.NewReader(t.Context(), c.Engine, 0, c.firmwareRead)
	nowhere := func(context.Context, bmc.Address) string { return "" }
	c.ears = engine.NewEars(t.Context(), c.Engine, nowhere, c.bmcHeard)
	return c
}

func (c *Hosts) put(name, last, bootID, keyHash string) {
	b, hr := objects(name, last, bootID, keyHash)
	c.index.show(key(name), b, hr)
}

func TestBootOf(t *testing.T) {
	c := doors(t)
	c.put("w1", "01", "b1", "")
	c.put("w2", "02", "b2", "somebody")
	c.put("w3", "03", "", "")
	for _, tc := range []struct {
		name, mac string
		want      Boot
	}{
		{name: "declared, armed", mac: "52:54:00:aa:00:01", want: Boot{Host: key("w1"), ID: "b1", Known: true}},
		{name: "named by the BMC", mac: "52:54:00:bb:00:01", want: Boot{Host: key("w1"), ID: "b1", Known: true}},
		{name: "found by an inspection", mac: "52:54:00:cc:00:01", want: Boot{Host: key("w1"), ID: "b1", Known: true}},
		{name: "redeemed: nothing is ordered any more", mac: "52:54:00:aa:00:02", want: Boot{Host: key("w2"), Known: true}},
		{name: "nothing ordered", mac: "52:54:00:aa:00:03", want: Boot{Host: key("w3"), Known: true}},
		{name: "a stranger", mac: "52:54:00:aa:00:04"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := c.BootOf(mac(t, tc.mac)); got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

// What a host no longer says is no longer answered.
func TestIndexFollows(t *testing.T) {
	c := doors(t)
	c.put("w1", "01", "b1", "")
	c.index.uses(key("s1"), key("w1"))
	c.index.uses(key("s1"), key("w2"))

	c.put("w1", "09", "b2", "")
	if b := c.BootOf(mac(t, "52:54:00:aa:00:01")); b.Known {
		t.Errorf("the old MAC is still answered: %+v", b)
	}
	if b := c.BootOf(mac(t, "52:54:00:aa:00:09")); b.ID != "b2" {
		t.Errorf("the new MAC is answered with %+v", b)
	}
	if _, err := c.findBoot("b1"); err == nil {
		t.Error("the old boot is still believed")
	}

	// Another host with the same MAC does not take it away, nor drop it when it
	// goes.
	c.put("w2", "09", "b3", "")
	if b := c.BootOf(mac(t, "52:54:00:aa:00:09")); b.Host != key("w1") {
		t.Errorf("a later host took the MAC: %+v", b)
	}
	c.index.forget(key("w2"))
	if b := c.BootOf(mac(t, "52:54:00:aa:00:09")); b.Host != key("w1") {
		t.Errorf("forgetting a host dropped another's MAC: %+v", b)
	}
	if _, err := c.findBoot("b3"); err == nil {
		t.Error("a forgotten host's boot is still believed")
	}
	if users := c.index.secrets[key("s1")]; len(users) != 1 || !users[key("w1")] {
		t.Errorf("the Secret's users are %v", users)
	}
	c.index.forget(key("w1"))
	if n := len(c.index.boots) + len(c.index.macs) + len(c.index.secrets) + len(c.index.of); n != 0 {
		t.Errorf("%d entries are left of forgotten hosts: %+v", n, c.index)
	}
}

// Evidence of how far a boot got is kept for that boot alone, and only what is
// new wakes the host.
func TestSaw(t *testing.T) {
	c := doors(t)
	c.put("w1", "01", "b1", "")
	m := mac(t, "52:54:00:bb:00:01")
	saw := func() int {
		before := len(c.wake)
		c.Saw(m, func(s *host.Seen) { s.DHCP = true })
		return len(c.wake) - before
	}
	if n := saw(); n != 1 {
		t.Errorf("the first packet woke the host %d times", n)
	}
	if n := saw(); n != 0 {
		t.Errorf("the second packet woke the host %d times", n)
	}
	c.put("w1", "01", "b1", "") // the same boot, shown again
	if n := saw(); n != 0 {
		t.Error("what was seen of this boot is forgotten")
	}
	c.put("w1", "01", "b2", "")
	if n := saw(); n != 1 {
		t.Error("what was seen of an earlier boot counts for this one")
	}
	c.Saw(mac(t, "52:54:00:aa:00:77"), func(s *host.Seen) { s.DHCP = true })
	if len(c.hosts) != 1 {
		t.Errorf("a stranger's packet left something behind: %d hosts", len(c.hosts))
	}
}

func refusal(t *testing.T, err error) string {
	t.Helper()
	var r *agentapi.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("%v is no refusal", err)
	}
	return r.Code
}

func claim(bootID, keyHash, mac string) agentapi.Claim {
	return agentapi.Claim{Hello: agent.Hello{BootID: bootID, MACs: []string{mac}, MemoryMiB: 4096}, KeyHash: keyHash}
}

func TestRedeem(t *testing.T) {
	const own = "52:54:00:aa:00:01"
	c := doors(t)
	if _, err := c.Redeem(t.Context(), claim("b1", "k", own)); refusal(t, err) != agent.ErrRetry {
		t.Errorf("before the hosts are known: %v, want retry", err)
	}
	if _, err := c.Redeemed("b1", "k"); refusal(t, err) != agent.ErrRetry {
		t.Errorf("before the hosts are known: %v, want retry", err)
	}
	c.index.synced = true
	if _, err := c.Redeem(t.Context(), claim("b1", "k", own)); refusal(t, err) != agent.ErrNotArmed {
		t.Errorf("not ordered: %v", err)
	}
	c.put("w1", "01", "b1", "")
	if _, err := c.Redeem(t.Context(), claim("b1", "k", "52:54:00:aa:00:66")); refusal(t, err) != agent.ErrNotArmed {
		t.Errorf("another machine: %v", err)
	}
	if l := c.hosts[key("w1")]; l == nil || len(l.inbox) != 1 || l.inbox[0].Note == nil || l.inbox[0].Event != nil {
		t.Error("the host is not told that another machine claimed its boot, or believes it")
	}

	// Nobody records it: the agent asks again, and nothing was believed.
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Redeem(short, claim("b1", "k", own)); refusal(t, err) != agent.ErrRetry {
		t.Errorf("not recorded: %v, want retry", err)
	}

	// The reconciler records the first; the second claimant and the first again.
	go func() {
		<-c.wake
		for l := c.live(key("w1")); ; {
			l.mu.Lock()
			last := l.inbox[len(l.inbox)-1]
			l.mu.Unlock()
			if last.Extra.KeyHash == "first" {
				c.mu.Lock()
				c.put("w1", "01", "b1", "first")
				c.mu.Unlock()
				close(last.ack)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if g, err := c.Redeem(t.Context(), claim("b1", "first", own)); err != nil || g.Host != "rack/w1" || g.Epoch != 5 {
		t.Errorf("the first: %+v, %v", g, err)
	}
	if _, err := c.Redeem(t.Context(), claim("b1", "second", own)); refusal(t, err) != agent.ErrNotArmed {
		t.Errorf("the second: %v", err)
	}
	if g, err := c.Redeem(t.Context(), claim("b1", "first", own)); err != nil || g.Host != "rack/w1" {
		t.Errorf("the first again: %+v, %v", g, err)
	}
	if _, err := c.Redeemed("b1", "second"); refusal(t, err) != agent.ErrGone {
		t.Errorf("calls of the second: %v", err)
	}
	if g, err := c.Redeemed("b1", "first"); err != nil || g.Host != "rack/w1" {
		t.Errorf("calls of the first: %+v, %v", g, err)
	}
	c.put("w1", "01", "b2", "")
	if _, err := c.Redeemed("b1", "first"); refusal(t, err) != agent.ErrGone {
		t.Errorf("calls after the boot: %v", err)
	}
}

// A machine that is too small is sent away with the reason, and its boot stays
// unredeemed.
func TestTooLittleMemory(t *testing.T) {
	c := doors(t)
	c.index.synced = true
	c.put("w1", "01", "b1", "")
	small := claim("b1", "k", "52:54:00:aa:00:01")
	small.Hello.MemoryMiB = minMemoryMiB - 1
	if _, err := c.Redeem(t.Context(), small); refusal(t, err) != agent.ErrNotArmed {
		t.Errorf("got %v", err)
	}
	e, ok := c.hosts[key("w1")].inbox[0].Event.(host.Refused)
	if !ok || e.Problem.Code != "boot-ram" || e.BootID != "b1" {
		t.Errorf("the host is told %+v", e)
	}
}

// Makers of BMCs take either byte order of a UUID's first groups.
func TestSameUUID(t *testing.T) {
	const own = "00112233-4455-6677-8899-aabbccddeeff"
	for _, tc := range []struct {
		bmcs, smbios string
		want         bool
	}{
		{own, own, true},
		{own, "33221100-5544-7766-8899-AABBCCDDEEFF", true},
		{own, "00112233-4455-6677-8899-aabbccddee00", false},
		{"", own, true},
		{own, "Not Settable", true},
		{own, "ffffffff-ffff-ffff-ffff-ffffffffffff", true},
		{"00000000-0000-0000-0000-000000000000", own, true},
	} {
		if got := sameUUID(tc.bmcs, tc.smbios); got != tc.want {
			t.Errorf("%q and %q: %t", tc.bmcs, tc.smbios, got)
		}
	}
}

func TestSharedMAC(t *testing.T) {
	c := doors(t)
	c.put("w1", "01", "", "")
	c.put("w2", "01", "", "")
	b1, _ := objects("w1", "01", "", "")
	b2, _ := objects("w2", "01", "", "")
	if p := c.sharedMAC(b1); p != nil {
		t.Errorf("the host that was there first: %+v", p)
	}
	if p := c.sharedMAC(b2); p == nil || p.Code != "inspect-duplicate-mac" || p.Facts["other"] != "rack/w1" {
		t.Errorf("the later host: %+v", p)
	}
	mac, err := net.ParseMAC("52:54:00:aa:00:01")
	if err != nil {
		t.Fatal(err)
	}
	c.put("w1", "01", "", "") // seen again, it stays the first
	if b := c.BootOf(mac); b.Host != key("w1") {
		t.Errorf("the MAC is %+v's", b)
	}
	c.index.forget(key("w1"))
	if b := c.BootOf(mac); b.Host != key("w2") {
		t.Errorf("once the first is gone, the MAC is %+v's", b)
	}
	if p := c.sharedMAC(b2); p != nil {
		t.Errorf("once the first is gone: %+v", p)
	}
}

func TestParseNetwork(t *testing.T) {
	good := v1alpha1.ProvisioningNetworkSpec{
		Interface: "eth1", Address: "10.77.0.1/24", Range: &v1alpha1.AddressRange{Start: "10.77.0.100", End: "10.77.0.200"},
		Gateway: "10.77.0.254", DNS: []string{"10.77.0.2"}, NTP: []string{"10.77.0.3"},
	}
	n, err := parse(good)
	if err != nil || n.Addr.String() != "10.77.0.1/24" || n.DHCP.RangeEnd.String() != "10.77.0.200" || n.DHCP.Mode != "dhcp" || n.NoDHCP || len(n.DHCP.DNS) != 1 {
		t.Errorf("%+v, %v", n, err)
	}
	for mode, want := range map[v1alpha1.NetworkMode]struct {
		none bool
		mode string
	}{
		v1alpha1.NetworkDHCP: {mode: "dhcp"}, v1alpha1.NetworkProxy: {mode: "proxy"},
		v1alpha1.NetworkNone: {none: true, mode: "dhcp"}, v1alpha1.NetworkStatic: {none: true, mode: "dhcp"},
	} {
		s := good
		s.Mode = mode
		if n, err := parse(s); err != nil || n.NoDHCP != want.none || string(n.DHCP.Mode) != want.mode {
			t.Errorf("mode %s: %+v, %v", mode, n, err)
		}
	}
	for field, change := range map[string]func(*v1alpha1.ProvisioningNetworkSpec){
		"spec.address": func(s *v1alpha1.ProvisioningNetworkSpec) { s.Address = "10.77.0.1" },
		"spec.range.start": func(s *v1alpha1.ProvisioningNetworkSpec) {
			s.Range = &v1alpha1.AddressRange{Start: "x", End: "y"}
		},
		"spec.gateway": func(s *v1alpha1.ProvisioningNetworkSpec) { s.Gateway = "gw" },
		"spec.dns":     func(s *v1alpha1.ProvisioningNetworkSpec) { s.DNS = []string{"10.0.0.1", "ns"} },
	} {
		s := good
		change(&s)
		if _, err := parse(s); err == nil || len(err.Error()) < len(field) || err.Error()[:len(field)] != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}
