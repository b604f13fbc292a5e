package serve

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/open"
	"github.com/ingot-metal/ingot/pkg/bmc/redfish"
	"github.com/ingot-metal/ingot/pkg/engine"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// context of the one host that hears.
type oneContext string

func (o oneContext) Heard(c string) bool { return c == string(o) }

func TestBMCEventsDoor(t *testing.T) {
	door := newBMCEvents(oneContext("ours"))
	mux := http.NewServeMux()
	mux.Handle("POST "+engine.EventsPath, door)
	for _, tc := range []struct {
		name, method, body string
		want               int
	}{
		{name: "an event", body: `{"Context": "ours", "Events": [{"MessageId": "x"}]}`, want: http.StatusNoContent},
		{name: "an event that says little", body: `{"Context": "ours", "Events": []}`, want: http.StatusNoContent},
		{name: "a stranger's", body: `{"Context": "theirs", "Events": []}`, want: http.StatusNotFound},
		{name: "nobody's", body: `{"Events": []}`, want: http.StatusNotFound},
		{name: "no event", body: `{"Context": "ours", "MetricValues": []}`, want: http.StatusBadRequest},
		{name: "no JSON", body: `ours`, want: http.StatusBadRequest},
		{name: "nothing", want: http.StatusBadRequest},
		{name: "endless", body: `{"Context": "ours", "x": "` + strings.Repeat("x", redfish.MaxEventBody) + `"}`, want: http.StatusRequestEntityTooLarge},
		{name: "a look", method: http.MethodGet, want: http.StatusMethodNotAllowed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.method == "" {
				tc.method = http.MethodPost
			}
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest(tc.method, engine.EventsPath, strings.NewReader(tc.body)))
			if w.Code != tc.want {
				t.Errorf("status %d, want %d", w.Code, tc.want)
			}
			if w.Code != http.StatusMethodNotAllowed && w.Body.Len() != 0 {
				t.Errorf("it says %q", w.Body)
			}
		})
	}
	t.Run("many at once", func(t *testing.T) {
		for range maxEventsAtOnce {
			door.slots <- struct{}{}
		}
		w := httptest.NewRecorder()
		door.ServeHTTP(w, httptest.NewRequest(http.MethodPost, engine.EventsPath, strings.NewReader("{}")))
		if w.Code != http.StatusServiceUnavailable {
			t.Errorf("status %d", w.Code)
		}
	})
}

func TestEventsAt(t *testing.T) {
	for _, tc := range []struct{ name, listen, bmc, want string }{
		{name: "our address is known", listen: "127.0.0.2:0", bmc: "redfish://127.0.0.1", want: "127.0.0.2"},
		{name: "open on all", listen: "0.0.0.0:0", bmc: "redfish://127.0.0.1", want: "127.0.0.1"},
		{name: "open on all of both kinds", listen: ":0", bmc: "redfish://127.0.0.1:8443", want: "127.0.0.1"},
		{name: "our loopback is not the BMC's", listen: "127.0.0.1:0", bmc: "redfish://192.0.2.1"},
		{name: "no way to the BMC", listen: ":0", bmc: "redfish://does-not-exist.invalid"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, err := net.Listen("tcp", tc.listen)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			addr, err := bmc.ParseAddress(tc.bmc)
			if err != nil {
				t.Fatal(err)
			}
			s := &service{l: listeners{https: l}}
			_, p, _ := net.SplitHostPort(l.Addr().String())
			want := ""
			if tc.want != "" {
				want = "https://" + net.JoinHostPort(tc.want, p) + engine.EventsPath
			}
			if got := s.eventsAt(t.Context(), addr); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// A machine that is switched at its panel is seen at once, although the next poll
// is an hour away: the real driver, a BMC on the wire, our own TLS.
func TestSwitchedAtThePanel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	body := simbmc.NewMemory(simbmc.Info{UUID: "6b6c1f0e-52a1-4d0c-9a61-0f0c33aa1101", Name: "m1"}, simbmc.ModeUEFI, nil, nil)
	board := simbmc.New(body, simbmc.Config{Username: "admin", Password: "secret", Events: true})
	defer board.Close()
	face, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- board.ServeRedfish(ctx, face, nil) }()

	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &service{ca: newCA(t), l: listeners{https: l}}
	pool := open.NewPool(time.Hour)
	defer pool.Close()
	e := &engine.Engine{BMCs: engine.NewPooled(pool, nil, slog.New(slog.DiscardHandler)), CA: s.ca, Log: slog.New(slog.DiscardHandler)}
	found := make(chan host.Power, 16)
	poller := engine.NewPoller(ctx, e, time.Hour, func(_ types.NamespacedName, p host.Power) { found <- p }, func(types.NamespacedName) {})
	ears := engine.NewEars(ctx, e, s.eventsAt, func(k types.NamespacedName) { poller.Wake(k) })
	mux := http.NewServeMux()
	mux.Handle("POST "+engine.EventsPath, newBMCEvents(ears))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)}
	go func() { _ = srv.Serve(tls.NewListener(l, doorTLS(s.ca, nil))) }()
	defer srv.Close()

	b := &metal3.BareMetalHost{}
	b.Namespace, b.Name, b.UID = "rack", "m1", "u1"
	b.Spec.BMC.Address = "redfish+http://" + face.Addr().String() + board.SystemPath()
	in := engine.Input{Key: types.NamespacedName{Namespace: "rack", Name: "m1"}, BMH: b, Creds: bmc.Credentials{Username: "admin", Password: "secret"}}
	in.Host.Power = host.PowerOff
	poller.Watch(in)
	ears.Listen(in)
	subscriptions := func() string {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+face.Addr().String()+"/redfish/v1/EventService/Subscriptions", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("admin", "secret")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return string(text)
	}
	await := func(what string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !strings.Contains(subscriptions(), what); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("no %s in %s", what, subscriptions())
			}
		}
	}
	await(`"Members@odata.count":1`)
	for _, want := range []struct {
		action simbmc.PowerAction
		power  host.Power
	}{{simbmc.PowerOn, host.PowerOn}, {simbmc.ForceOff, host.PowerOff}} {
		begun := time.Now()
		if err := board.Panel(ctx, want.action); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-found:
			if got != want.power {
				t.Errorf("found %q, want %q", got, want.power)
			}
			if d := time.Since(begun); d > 30*time.Second {
				t.Errorf("seen after %s", d)
			}
			in.Host.Power = got
			poller.Watch(in)
		case <-time.After(time.Minute):
			t.Fatalf("%s at the panel is not seen", want.action)
		}
	}
	ears.Release(in)
	await(`"Members@odata.count":0`)
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
