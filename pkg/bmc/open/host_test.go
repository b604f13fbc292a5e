package open

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

func TestHostOptions(t *testing.T) {
	key := bytes.Repeat([]byte{0xab}, 32)
	pin := FormatPin(key)
	for _, tc := range []struct {
		name    string
		address string
		a       map[string]string
		want    Options
		says    string // of the error
	}{
		{name: "nothing"},
		{name: "another's annotations", a: map[string]string{"ingot.dev/other": "x"}},
		{
			name: "all", a: map[string]string{AnnotationQuirks: " vmedia-patch,-etag-required ", AnnotationTLS: "legacy", AnnotationPin: "first-use"},
			want: Options{Quirks: "vmedia-patch,-etag-required", Legacy: true, TrustOnFirstUse: true},
		},
		{name: "a key", a: map[string]string{AnnotationPin: pin}, want: Options{PinSPKI: string(key)}},
		{name: "a key as openssl writes it", a: map[string]string{AnnotationPin: "sha256:" + strings.TrimSuffix(strings.Repeat("AB:", 32), ":")}, want: Options{PinSPKI: string(key)}},
		{name: "quirks over IPMI", address: "ipmi://10.0.0.3", a: map[string]string{AnnotationQuirks: "-ipmi-keep-boot-timer"}, want: Options{Quirks: "-ipmi-keep-boot-timer"}},
		{name: "no quirk", a: map[string]string{AnnotationQuirks: "vmedia-pach"}, says: "ingot.dev/bmc-quirks: \"vmedia-pach\": no quirk is called \"vmedia-pach\"; the closest are vmedia-patch"},
		{name: "no profile", a: map[string]string{AnnotationTLS: "1.0"}, says: `ingot.dev/bmc-tls: "1.0": write legacy`},
		{name: "a short key", a: map[string]string{AnnotationPin: "sha256:abcd"}, says: `ingot.dev/bmc-pin: "sha256:abcd": write first-use, or sha256: and 64 hex digits`},
		{name: "a key without its kind", a: map[string]string{AnnotationPin: hex.EncodeToString(key)}, says: "ingot.dev/bmc-pin"},
		{name: "a pin over IPMI", address: "ipmi://10.0.0.3", a: map[string]string{AnnotationPin: pin}, says: "not spoken to over TLS"},
		{name: "legacy over HTTP", address: "redfish+http://10.0.0.3", a: map[string]string{AnnotationTLS: "legacy"}, says: "not spoken to over TLS"},
		{name: "a long value is cut", a: map[string]string{AnnotationTLS: strings.Repeat("x", 1<<20)}, says: `xxx": write`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr, err := bmc.ParseAddress(cmpOr(tc.address, "redfish://10.0.0.3"))
			if err != nil {
				t.Fatal(err)
			}
			got, err := HostOptions(addr, tc.a)
			if tc.says != "" {
				var e *bmc.Error
				if !errors.As(err, &e) || e.Code != bmc.CodeOptions || !strings.Contains(err.Error(), tc.says) || len(err.Error()) > 600 {
					t.Errorf("error %v, want %q", err, tc.says)
				}
				return
			}
			if err != nil || got != tc.want {
				t.Errorf("%+v, %v; want %+v", got, err, tc.want)
			}
		})
	}
	id := OptionsID(map[string]string{AnnotationPin: "first-use"})
	if id == "" || id == OptionsID(map[string]string{AnnotationTLS: "first-use"}) || OptionsID(map[string]string{"x": "y"}) != "" {
		t.Errorf("id %q", id)
	}
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// TestIPMITakesAnOperatorsQuirks: the list reaches the driver of either protocol.
func TestIPMITakesAnOperatorsQuirks(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	body := simbmc.NewMemory(simbmc.Info{UUID: "6b6c1f0e-52a1-4d0c-9a61-0f0c33aa1101", Name: "m1"}, simbmc.ModeUEFI, nil, nil)
	b := simbmc.New(body, simbmc.Config{Username: admin.Username, Password: admin.Password})
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan struct{})
	go func() { defer close(served); _ = b.ServeIPMI(ctx, pc) }()
	t.Cleanup(func() { cancel(); pc.Close(); b.Close(); <-served })
	conn, err := Open(t.Context(), "ipmi://"+pc.LocalAddr().String(), admin, Options{Quirks: string(quirk.IPMIUEFIDisk)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if got := conn.(interface{ Quirks() []quirk.Name }).Quirks(); !slices.Contains(got, quirk.IPMIUEFIDisk) {
		t.Errorf("quirks %v", got)
	}
}

// TestPoolRemembersABMCThatDoesNotAnswer: polls of a BMC that is gone are not
// sent, whoever found it gone; a person's call always is.
func TestPoolRemembersABMCThatDoesNotAnswer(t *testing.T) {
	p, c, _, url := pool(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	l.Close()
	dead := func(system string) Key { return Key{Address: "redfish+http://" + at + "/redfish/v1/Systems/" + system} }
	get := func(k Key, ctx context.Context) string {
		_, done, err := p.Get(ctx, k, admin)
		if err == nil {
			done()
			t.Fatal("it answered")
		}
		return err.Error()
	}
	poll := bmc.WithPriority(t.Context(), bmc.Background)
	for range 3 {
		get(dead("1"), t.Context())
	}
	for _, system := range []string{"1", "2"} {
		if got := get(dead(system), poll); !strings.Contains(got, "not asked") {
			t.Errorf("a poll of system %s: %s", system, got)
		}
	}
	if got := get(dead("1"), t.Context()); strings.Contains(got, "not asked") {
		t.Errorf("a person's call: %s", got)
	}
	c.pass()
	if got := get(dead("1"), poll); strings.Contains(got, "not asked") || len(p.behind) != 1 {
		t.Errorf("after a rest: %s; %d BMCs kept", got, len(p.behind))
	}
	c.pass()
	if len(p.behind) != 0 {
		t.Errorf("%d BMCs are kept that nobody asks for", len(p.behind))
	}
	use(t, p, Key{Address: url + "/redfish/v1/Systems/1"})
}

// TestPoolPollDoesNotGiveUpForAPerson: whoever waits for a poll's login tries
// himself when the poll gives up.
func TestPoolPollDoesNotGiveUpForAPerson(t *testing.T) {
	p, _, s, url := pool(t)
	key := Key{Address: url + "/redfish/v1/Systems/1"}
	s.mu.Lock() // the BMC is slow
	ctx, cancel := context.WithCancel(bmc.WithPriority(t.Context(), bmc.Background))
	polled := make(chan error, 1)
	go func() { _, _, err := p.Get(ctx, key, admin); polled <- err }()
	eventually(t, func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.entries[key] != nil })
	got := make(chan error, 1)
	go func() {
		_, done, err := p.Get(t.Context(), key, admin)
		if err == nil {
			done()
		}
		got <- err
	}()
	eventually(t, func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.entries[key].users == 2 })
	cancel()
	if err := <-polled; err == nil {
		t.Error("the poll did not give up")
	}
	s.mu.Unlock()
	if err := <-got; err != nil {
		t.Errorf("the person gave up with it: %v", err)
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen")
		}
	}
}

// TestPoolRefusalCountsForSiblings: a password that a BMC refused is not tried
// again for each machine behind it.
func TestPoolRefusalCountsForSiblings(t *testing.T) {
	p, c, s, url := pool(t)
	wrong := bmc.Credentials{Username: "admin", Password: "hunter2"}
	for _, system := range []string{"1", "2", "3"} {
		if _, _, err := p.Get(t.Context(), Key{Address: url + "/redfish/v1/Systems/" + system}, wrong); bmc.ClassOf(err) != bmc.Auth {
			t.Errorf("system %s: %v", system, err)
		}
	}
	want(t, s, 1, 0)
	c.pass()
	use(t, p, Key{Address: url + "/redfish/v1/Systems/2"})
	want(t, s, 2, 1)
}

// TestPoolKeepsTheFirstKey: the key that was seen in an opening that failed
// otherwise is the one that is believed.
func TestPoolKeepsTheFirstKey(t *testing.T) {
	s := &service{sessions: map[string]bool{}, password: "secret", down: true}
	var h http.Handler = s
	first := httptest.NewTLSServer(h)
	defer first.Close()
	p, c := NewPool(time.Minute), &clock{}
	p.after = c.after
	key := Key{Address: "redfish+" + first.URL + "/redfish/v1/Systems/1", Options: Options{TrustOnFirstUse: true}}
	if _, _, err := p.Get(t.Context(), key, admin); bmc.ClassOf(err) != bmc.Busy {
		t.Fatalf("err = %v, want class busy", err)
	}
	if e := p.behind[way{first.URL, "", key.Options}]; e == nil || len(e.e.SPKI()) == 0 {
		t.Errorf("kept: %+v", e)
	}
	p.Drop(key)
	if len(p.behind) != 0 {
		t.Error("Drop forgets nothing")
	}
}
