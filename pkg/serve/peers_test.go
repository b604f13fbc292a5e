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

	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/pkg/auth"
	"github.com/ingot-metal/ingot/pkg/host"
)

// replicaAt serves a handler as another replica's HTTPS door.
func replicaAt(t *testing.T, ca *auth.CA, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)}
	go func() { _ = srv.Serve(tls.NewListener(l, doorTLS(ca, nil))) }()
	t.Cleanup(func() { _ = srv.Close() })
	return "https://" + l.Addr().String()
}

// What is seen of a machine is told to the replica that has its host, and to no
// stranger; nobody else can tell it.
func TestForward(t *testing.T) {
	ca := newCA(t)
	log := slog.New(slog.DiscardHandler)
	p := newPeers(ca, log)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go p.run(ctx)
	type told struct {
		host types.NamespacedName
		seen host.Seen
	}
	heard := make(chan told, 4)
	in := sightings{token: p.token, saw: func(k types.NamespacedName, s host.Seen) { heard <- told{k, s} }}
	mux := http.NewServeMux()
	mux.Handle("POST "+seenPath, in)
	w1 := types.NamespacedName{Namespace: "rack", Name: "w1"}

	stranger := replicaAt(t, newCA(t), http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a stranger is told") }))
	p.forward(stranger, w1, host.Seen{DHCP: true})
	p.forward(replicaAt(t, ca, mux), w1, host.Seen{DHCP: true, OtherServer: "10.0.0.9"})
	select {
	case got := <-heard:
		if got != (told{w1, host.Seen{DHCP: true, OtherServer: "10.0.0.9"}}) {
			t.Errorf("told %+v", got)
		}
	case <-time.After(time.Minute):
		t.Fatal("nobody is told")
	}

	for name, req := range map[string]*http.Request{
		"no token":      httptest.NewRequest(http.MethodPost, seenPath, strings.NewReader(`{"host":"rack/w1"}`)),
		"another token": httptest.NewRequest(http.MethodPost, seenPath, strings.NewReader(`{"host":"rack/w1"}`)),
	} {
		if name == "another token" {
			req.Header.Set("Authorization", "Bearer "+ca.Token("something else"))
		}
		w := httptest.NewRecorder()
		in.ServeHTTP(w, req)
		if w.Code != http.StatusUnauthorized || len(heard) != 0 {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
}

// A request that came to the wrong replica is answered as by the right one.
func TestRelay(t *testing.T) {
	ca := newCA(t)
	p := newPeers(ca, slog.New(slog.DiscardHandler))
	door := replicaAt(t, ca, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path != "/x" || string(body) != "report" || r.Header.Get(forwarded) == "" {
			t.Errorf("%s got %q", r.URL.Path, body)
		}
		http.Error(w, "said before", http.StatusConflict)
	}))
	ask := func(door string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		p.relay(w, httptest.NewRequest(http.MethodPost, "/x", nil), door, []byte("report"))
		return w
	}
	if w := ask(door); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "said before") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ask("https://127.0.0.1:1"); w.Code != http.StatusBadGateway {
		t.Errorf("nobody there: %d", w.Code)
	}
}

func TestAdvertised(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for advertise, want := range map[string]string{
		"":              "https://127.0.0.1:" + port,
		"10.0.0.1":      "https://10.0.0.1:" + port,
		"10.0.0.1:443":  "https://10.0.0.1:443",
		"fd00::1":       "https://[fd00::1]:" + port,
		"[fd00::1]:443": "https://[fd00::1]:443",
		"node.example":  "https://node.example:" + port,
	} {
		s := &service{Config: Config{Advertise: advertise}, l: listeners{https: l}}
		if got := s.advertised(); got != want {
			t.Errorf("%q: %s, want %s", advertise, got, want)
		}
	}
}
