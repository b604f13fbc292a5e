package vendorextra

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

func TestAMTPowerStates(t *testing.T) {
	for power, want := range map[int]bmc.PowerState{
		1: bmc.PowerUnknown, 2: bmc.PowerOn, 3: bmc.PowerOn, 4: bmc.PowerOn, 6: bmc.PowerOff, 7: bmc.PowerOff, 8: bmc.PowerOff, 10: bmc.PowerUnknown,
	} {
		a := dialAMT(t, &fakeAMT{power: power})
		if got, err := a.PowerState(t.Context()); err != nil || got != want {
			t.Errorf("state %d is %q, %v; want %q", power, got, err, want)
		}
	}
}

func TestAMTIdentify(t *testing.T) {
	f := &fakeAMT{power: 2}
	s := amtServer(t, f)
	conn, err := Open(t.Context(), AMT, addressOf(t, s), admin, quick())
	if err != nil {
		t.Fatal(err)
	}
	id, err := conn.Identify(t.Context())
	if err != nil || id.Protocol != "amt" || id.BMCVersion != "15.0.23.1706" {
		t.Errorf("Identify = %+v, %v", id, err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Error(err)
	}
	f.look(func() {
		if f.asked != 2 || f.answered != 4 {
			t.Errorf("%d and %d requests, want a challenge and two answers for each of two calls", f.asked, f.answered)
		}
		for _, to := range f.to {
			if to != s.URL+"/wsman" {
				t.Errorf("a message is addressed to %q, want the BMC's own URL", to)
			}
		}
	})
}

func TestAMTOrders(t *testing.T) {
	off := []int{2} // what a machine that is off can do
	for _, tt := range []struct {
		name    string
		action  bmc.PowerAction
		power   int
		offered []int
		fake    *fakeAMT
		want    string // what was ordered
		class   bmc.Class
	}{
		{name: "on", action: bmc.ActionOn, power: 8, offered: off, want: "2"},
		{name: "on when on", action: bmc.ActionOn, power: 2},
		{name: "on from hibernation", action: bmc.ActionOn, power: 7, offered: off, want: "2"},
		{name: "on from sleep", action: bmc.ActionOn, power: 4, offered: off, want: "2"},
		// The provider alone would order 12, which an operating system may ignore.
		{name: "off by force", action: bmc.ActionForceOff, power: 2, want: "8"},
		{name: "off when off", action: bmc.ActionForceOff, power: 8, offered: off},
		{name: "off when asleep", action: bmc.ActionForceOff, power: 4, offered: off, class: bmc.Unsupported},
		{name: "off, asking, when asleep", action: bmc.ActionSoftOff, power: 4, offered: off, class: bmc.Unsupported},
		{name: "off, asking, when off", action: bmc.ActionSoftOff, power: 8, offered: off},
		{name: "off, asking", action: bmc.ActionSoftOff, power: 2, want: "12"},
		{name: "off, asking, with no agent in the system", action: bmc.ActionSoftOff, power: 2, offered: []int{10, 8, 5}, class: bmc.Unsupported},
		{name: "reset", action: bmc.ActionReset, power: 2, want: "10"},
		{name: "reset when off", action: bmc.ActionReset, power: 8, offered: off, class: bmc.Unsupported},
		{name: "soft reset", action: bmc.ActionSoftReset, power: 2, want: "14"},
		{name: "cycle", action: bmc.ActionCycle, power: 2, want: "5"},
		{name: "cycle from off", action: bmc.ActionCycle, power: 8, offered: off, want: "2"},
		{name: "NMI", action: bmc.ActionNMI, power: 2, class: bmc.Unsupported},
		// The provider reads past this one and reports success.
		{name: "refused", action: bmc.ActionForceOff, power: 2, fake: &fakeAMT{returns: 2}, want: "8", class: bmc.BadRequest},
		{name: "busy", action: bmc.ActionForceOff, power: 2, fake: &fakeAMT{returns: 4099}, want: "8", class: bmc.Busy},
		{name: "taken, not done", action: bmc.ActionForceOff, power: 2, fake: &fakeAMT{deaf: true}, want: "8", class: bmc.Protocol},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := tt.fake
			if f == nil {
				f = &fakeAMT{}
			}
			f.power, f.offered = tt.power, tt.offered
			err := dialAMT(t, f).SetPower(t.Context(), tt.action)
			if (err == nil) != (tt.class == "") || err != nil && bmc.ClassOf(err) != tt.class {
				t.Errorf("error %v, want class %q", err, tt.class)
			}
			f.look(func() {
				if got := numbers(f.ordered); got != tt.want {
					t.Errorf("ordered %q, want %q", got, tt.want)
				}
			})
		})
	}
}

func TestAMTBoot(t *testing.T) {
	for target, source := range map[bmc.BootTarget]string{
		bmc.BootPXE: "Intel(r) AMT: Force PXE Boot", bmc.BootDisk: "Intel(r) AMT: Force Hard-drive Boot", bmc.BootCD: "Intel(r) AMT: Force CD/DVD Boot",
	} {
		f := &fakeAMT{power: 2}
		if err := dialAMT(t, f).SetBootOverride(t.Context(), bmc.BootOverride{Target: target, Mode: bmc.BootModeUEFI}); err != nil {
			t.Errorf("%s: %v", target, err)
		}
		f.look(func() {
			if f.source != source {
				t.Errorf("%s: boot source %q", target, f.source)
			}
			if got := element(f.put, "BIOSSetup"); got != "false" {
				t.Errorf("%s: BIOSSetup stays %q", target, got)
			}
		})
	}
	a := dialAMT(t, &fakeAMT{power: 2})
	for name, o := range map[string]bmc.BootOverride{
		"lasting": {Target: bmc.BootDisk, Persistent: true}, "HTTP": {Target: bmc.BootUEFIHTTP}, "none": {Target: bmc.BootNone},
	} {
		if err := a.SetBootOverride(t.Context(), o); bmc.ClassOf(err) != bmc.Unsupported {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := a.BootOverride(t.Context()); bmc.ClassOf(err) != bmc.Unsupported {
		t.Errorf("reading: %v", err)
	}
	a = dialAMT(t, &fakeAMT{power: 2, role: 1})
	if err := a.SetBootOverride(t.Context(), bmc.BootOverride{Target: bmc.BootPXE}); bmc.ClassOf(err) != bmc.Unsupported {
		t.Errorf("a refused role: %v", err)
	}
}

// A wrong password reaches AMT once, whatever is asked for how often. The
// provider alone sends it twice a message, and goes on to the next message.
func TestAMTWrongPasswordOnce(t *testing.T) {
	f := &fakeAMT{power: 2, creds: bmc.Credentials{Username: "admin", Password: "another"}}
	a := dialAMT(t, f)
	for range 3 {
		err := a.SetPower(t.Context(), bmc.ActionOn)
		if bmc.ClassOf(err) != bmc.Auth {
			t.Fatalf("error %v, want class auth", err)
		}
		if s := err.Error(); strings.Contains(s, admin.Password) || strings.Contains(s, admin.Username) {
			t.Errorf("the error tells the credentials: %s", s)
		}
	}
	if a.Refused() == nil {
		t.Error("nobody is told that the password was refused")
	}
	f.look(func() {
		if f.asked != 1 || f.answered != 1 {
			t.Errorf("%d challenges asked for and %d answered, want one of each", f.asked, f.answered)
		}
	})
}

func TestAMTStaleNonce(t *testing.T) {
	f := &fakeAMT{power: 2, stale: 1}
	a := dialAMT(t, f)
	if got, err := a.PowerState(t.Context()); err != nil || got != bmc.PowerOn {
		t.Errorf("power %q, %v", got, err)
	}
	f.look(func() { f.stale = 1 << 20 })
	if _, err := a.PowerState(t.Context()); bmc.ClassOf(err) != bmc.Auth {
		t.Errorf("stale for ever: %v", err)
	}
	f.look(func() {
		if f.answered > 6 {
			t.Errorf("%d answers to a server that turns all away", f.answered)
		}
	})
}

// Each of these ends in a classed error. The first ends the process in the
// provider's own parser, the challenges panic in its own digest.
func TestAMTHostile(t *testing.T) {
	endless := soap(enumeration+"EnumerateResponse", cim+"X", `<g:EnumerateResponse><g:EnumerationContext>1</g:EnumerationContext></g:EnumerateResponse>`)
	for name, answer := range map[string]string{
		"four million open elements": strings.Repeat("<a>", 1<<22),
		"a deep tree":                strings.Repeat("<a>", 1000) + strings.Repeat("</a>", 1000),
		"many elements":              "<a>" + strings.Repeat("<b/>", 100_000) + "</a>",
		"endless":                    strings.Repeat(" ", maxBody+1),
		"a list without end":         endless,
		"nothing":                    "",
		"no XML":                     "login failed",
		"no envelope":                "<a/>",
		"two roots":                  "<a/><b/>",
		"an envelope without a body": `<a:Envelope xmlns:a="http://www.w3.org/2003/05/soap-envelope"/>`,
		"an entity":                  `<!DOCTYPE a [<!ENTITY x "xx">]><a>&x;&x;</a>`,
		"not a number":               soap(enumeration+"EnumerateResponse", cim+"X", "<h:PowerState>on</h:PowerState>"),
		"a fault":                    soap("", "x", `<a:Fault><a:Reason><a:Text>no</a:Text></a:Reason></a:Fault>`),
	} {
		t.Run(name, func(t *testing.T) {
			a := dialAMT(t, &fakeAMT{answer: func() string { return answer }})
			for _, err := range []error{
				second(a.PowerState(t.Context())),
				a.SetPower(t.Context(), bmc.ActionForceOff),
				a.SetBootOverride(t.Context(), bmc.BootOverride{Target: bmc.BootPXE}),
			} {
				if c := bmc.ClassOf(err); err == nil || c != bmc.Protocol {
					t.Errorf("class %q of %v, want protocol", c, err)
				}
			}
		})
	}
	for _, header := range []string{"", "Digest", "Digest realm", `Digest realm="x`, `Digest nonce=""`, "Basic realm=x", `Digest nonce=1, qop="auth-int"`, `Digest nonce=1, algorithm=MD5-sess`} {
		s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", header)
			w.WriteHeader(http.StatusUnauthorized)
		}))
		_, err := newAMT(addressOf(t, s), admin, quick()).PowerState(t.Context())
		if bmc.ClassOf(err) != bmc.Protocol {
			t.Errorf("challenge %q: %v", header, err)
		}
		s.Close()
	}
}

func second[T any](_ T, err error) error { return err }

func TestAMTStatuses(t *testing.T) {
	for status, want := range map[int]bmc.Class{
		200: bmc.Protocol, 302: bmc.Protocol, 400: bmc.BadRequest, 403: bmc.Forbidden, 404: bmc.Unsupported, 500: bmc.Transient, 503: bmc.Busy,
	} {
		s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(status)
		}))
		_, err := newAMT(addressOf(t, s), admin, quick()).PowerState(t.Context())
		if bmc.ClassOf(err) != want {
			t.Errorf("HTTP %d: %v, want class %s", status, err, want)
		}
		s.Close()
	}
}

// In the clear only if the address asks for it.
func TestAMTPorts(t *testing.T) {
	for address, want := range map[string]string{
		"redfish://h":           "https://h:16993/wsman",
		"redfish+http://h":      "http://h:16992/wsman",
		"redfish://h:4443":      "https://h:4443/wsman",
		"redfish+http://[::1]/": "http://[::1]:16992/wsman",
	} {
		a, err := bmc.ParseAddress(address)
		if err != nil {
			t.Fatal(err)
		}
		if target := newAMT(a, admin, Options{}).target; target.String() != want {
			t.Errorf("%s is %s, want %s", address, target.String(), want)
		}
	}
}

// A stranger at the relay gets nothing through.
func TestRelayWantsItsToken(t *testing.T) {
	r := &relay{door: newDoor("h", Options{}), target: "https://127.0.0.1:1/wsman"}
	if err := r.listen(context.Background()); err != nil {
		t.Fatal(err)
	}
	defer r.close()
	for _, auth := range []string{"", `Digest username="admin"`, `Digest username=""`} {
		q, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, r.self, strings.NewReader("<a/>"))
		q.Header.Set("Authorization", auth)
		resp, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized || r.requests != 0 {
			t.Errorf("%q: HTTP %d, %d requests sent on", auth, resp.StatusCode, r.requests)
		}
	}
}

func TestScanHidesStates(t *testing.T) {
	f := &fakeAMT{power: 2, offered: []int{10, 8, 12}}
	in := soap("", "x", f.items("CIM_AssociatedPowerManagementService"))
	out, e, err := scan([]byte(in), func(s int) bool { return s == 8 })
	if err != nil || e.power != 2 || !slices.Equal(e.offered, []int{10, 8, 12}) {
		t.Fatalf("%+v, %v", e, err)
	}
	want := in
	for _, n := range []int{10, 12} {
		want = strings.Replace(want, fmt.Sprintf("<h:AvailableRequestedPowerStates>%d</h:AvailableRequestedPowerStates>", n), "", 1)
	}
	if string(out) != want {
		t.Errorf("got %s", out)
	}
}

func FuzzScan(f *testing.F) {
	f.Add([]byte(soap("", "x", "<h:ReturnValue>0</h:ReturnValue>")))
	f.Add([]byte("<a><AvailableRequestedPowerStates>1</b></a>"))
	f.Add([]byte("</a>"))
	f.Fuzz(func(t *testing.T, in []byte) {
		out, _, err := scan(in, func(int) bool { return false })
		if err == nil && len(out) > len(in) {
			t.Errorf("%d bytes became %d", len(in), len(out))
		}
	})
}

func FuzzChallenge(f *testing.F) {
	f.Add(fmt.Sprintf(challenge, "x", false))
	f.Add(`Digest realm=a,nonce="b",qop="auth,auth-int",algorithm=SHA-256,opaque=c`)
	f.Fuzz(func(t *testing.T, header string) {
		d := &digest{username: "u", password: "very secret", random: strings.NewReader("12345678")}
		if _, err := d.learn(header); err != nil {
			return
		}
		s, err := d.answer("POST", "/wsman")
		if err != nil || strings.Contains(s, "very secret") && !strings.Contains(header, "very secret") {
			t.Errorf("%q, %v", s, err)
		}
	})
}
