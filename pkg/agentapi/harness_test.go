package agentapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/agent/transport"
	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/auth"
)

// boots knows one boot, b1 of rack/w1.
type boots struct {
	mu      sync.Mutex
	keyHash string
	gone    bool
	busy    bool
}

func (b *boots) Redeem(_ context.Context, c Claim) (Grant, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.busy:
		return Grant{}, errors.New("the database is slow")
	case c.Hello.BootID != "b1" || b.keyHash != "" && b.keyHash != c.KeyHash:
		return Grant{}, &Refusal{Code: agent.ErrNotArmed, Message: "not ordered, or redeemed by another"}
	}
	b.keyHash = c.KeyHash
	return Grant{Host: "rack/w1", Epoch: 7}, nil
}

func (b *boots) Redeemed(id, keyHash string) (Grant, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone || id != "b1" || keyHash != b.keyHash {
		return Grant{}, &Refusal{Code: agent.ErrGone, Message: "this boot is over"}
	}
	return Grant{Host: "rack/w1", Epoch: 7}, nil
}

// clock only moves when it is told to.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// door is a server on loopback, with the real TLS.
type door struct {
	*Server
	t     *testing.T
	boots *boots
	clock *clock
	log   *bytes.Buffer
	url   string
	addr  string
	http  *http.Server
}

func newCA(t testing.TB) *auth.CA {
	t.Helper()
	ca, err := auth.NewCA(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func open(t *testing.T) *door {
	t.Helper()
	return openAt(t, newCA(t), &boots{}, "127.0.0.1:0")
}

func openAt(t *testing.T, ca *auth.CA, b *boots, addr string) *door {
	t.Helper()
	d := &door{t: t, boots: b, clock: &clock{t: time.Now()}, log: &bytes.Buffer{}}
	d.Server = New(ca, b, d.clock.now, slog.New(slog.NewTextHandler(&locked{w: d.log}, nil)))
	cert, err := ca.Server([]net.IP{net.IPv4(127, 0, 0, 1)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate())
	mux := http.NewServeMux()
	d.Register(mux)
	d.addr = l.Addr().String()
	d.url = "https://" + d.addr
	d.http = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, 0),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{*cert}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool},
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = d.http.ServeTLS(l, "", "")
	}()
	t.Cleanup(func() {
		d.http.Close()
		<-done
	})
	return d
}

type locked struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// agent makes a machine's half of the conversation, with a key of its own.
func (d *door) agent() *transport.Transport {
	d.t.Helper()
	tr, err := transport.New(d.url, d.CA.Pin(), nil)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(tr.Close)
	return tr
}

func hello() agent.Hello {
	return agent.Hello{Version: agent.Version, BootID: "b1", MACs: []string{"52:54:00:00:00:01"}, Firmware: agent.FirmwareUEFI}
}

// welcomed is an agent that was let in.
func (d *door) welcomed() *transport.Transport {
	d.t.Helper()
	tr := d.agent()
	if _, err := tr.Hello(d.t.Context(), hello()); err != nil {
		d.t.Fatal(err)
	}
	return tr
}

// ran is what came of Run.
type ran struct {
	result agent.Result
	err    error
}

// run begins a step and returns where its result will come.
func (d *door) run(ctx context.Context, id string, secrets map[string][]byte) chan ran {
	c := make(chan ran, 1)
	go func() {
		r, err := d.Run(ctx, "b1", "rack/w1", agent.Step{ID: id, Kind: agent.StepInspect, Epoch: 7}, secrets)
		c <- ran{r, err}
	}()
	return c
}

func get[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(time.Minute):
		t.Fatalf("no %s", what)
		panic("unreachable")
	}
}

// codeOf what the server said to an agent.
func codeOf(err error) string {
	var r *transport.Refusal
	if errors.As(err, &r) {
		return r.Code
	}
	return ""
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}
