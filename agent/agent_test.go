package agent

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/agent/fault"
	api "github.com/ingot-metal/ingot/api/agent"
)

// server is a scripted agent door: answer says what each call gets.
type server struct {
	t      *testing.T
	url    string
	pin    string
	ca     *x509.Certificate
	caKey  *ecdsa.PrivateKey
	answer func(path string, body []byte) (status int, out any)

	mu    sync.Mutex
	calls []string
}

func newServer(t *testing.T, answer func(path string, body []byte) (int, any)) *server {
	t.Helper()
	caKey, ca := certificate(t, nil, nil, true)
	return newReplica(t, &server{ca: ca, caKey: caKey}, answer)
}

// newReplica is another door of a server.
func newReplica(t *testing.T, of *server, answer func(path string, body []byte) (int, any)) *server {
	t.Helper()
	s := &server{t: t, answer: answer, caKey: of.caKey, ca: of.ca}
	leafKey, leaf := certificate(t, s.ca, s.caKey, false)
	sum := sha256.Sum256(s.ca.Raw)
	s.pin = hex.EncodeToString(sum[:])
	pool := x509.NewCertPool()
	pool.AddCert(s.ca)
	ts := httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	ts.TLS = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw, s.ca.Raw}, PrivateKey: leafKey}},
		ClientAuth:   tls.VerifyClientCertIfGiven, ClientCAs: pool,
	}
	ts.EnableHTTP2 = true
	ts.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	ts.StartTLS()
	t.Cleanup(ts.Close)
	s.url = ts.URL
	return s
}

// certificate makes one; the server's is valid in 1990 only, for the agent's
// clock is not to matter.
func certificate(t *testing.T, parent *x509.Certificate, parentKey *ecdsa.PrivateKey, ca bool) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(1991, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA: ca, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	if ca {
		tmpl.NotAfter = time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC) // Go's server does look at the clock
	} else {
		tmpl.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	if parent == nil {
		parent, parentKey = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, c
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	var b bytes.Buffer
	if _, err := b.ReadFrom(r.Body); err != nil {
		return
	}
	if r.URL.Path != api.PathHello && len(r.TLS.VerifiedChains) == 0 {
		s.t.Errorf("%s without a client certificate", r.URL.Path)
	}
	s.mu.Lock()
	s.calls = append(s.calls, r.URL.Path)
	status, out := s.answer(r.URL.Path, b.Bytes())
	s.mu.Unlock()
	if out == nil && r.URL.Path == api.PathHello && status == 200 {
		out = s.welcome(b.Bytes())
	}
	if out == nil {
		out = struct{}{}
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(out)
}

func (s *server) welcome(body []byte) api.Welcome {
	var h api.Hello
	if err := json.Unmarshal(body, &h); err != nil {
		s.t.Error(err)
	}
	csr, err := x509.ParseCertificateRequest(h.CSR)
	if err != nil {
		s.t.Error(err)
		return api.Welcome{}
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, &x509.Certificate{Subject: s.ca.Subject, NotBefore: s.ca.NotBefore}, csr.PublicKey, s.caKey)
	if err != nil {
		s.t.Error(err)
	}
	return api.Welcome{Version: api.Version, Certificate: der, Now: time.Now(), Host: "default/a", Epoch: 5}
}

// devices count what they are asked.
type devices struct {
	mu      sync.Mutex
	asked   []string
	inspect func(ctx context.Context) error
}

func (d *devices) note(s string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, s)
}

func (d *devices) Inspect(ctx context.Context, p Progress) (api.Inventory, error) {
	d.note("inspect")
	p(1, 2, "devices", "disks")
	if d.inspect != nil {
		return api.Inventory{}, d.inspect(ctx)
	}
	return api.Inventory{Hostname: "a"}, nil
}

func (d *devices) Clean(context.Context, api.CleanStep, Progress) (api.CleanResult, error) {
	d.note("clean")
	return api.CleanResult{}, fault.New(fault.DiskInUse, "held by md0")
}

func (d *devices) RAID(_ context.Context, s api.RAIDStep, _ Progress) (api.RAIDResult, error) {
	d.note("raid")
	return api.RAIDResult{For: s.For}, nil
}

func (d *devices) Write(context.Context, api.WriteStep, Source, Progress) (api.WriteResult, error) {
	d.note("write")
	panic("bad disk")
}

func (s *server) config(d Devices) Config {
	return Config{
		Args: Args{URL: s.url, CAPin: s.pin, BootID: "b1"}, Devices: d, Log: slog.New(slog.DiscardHandler),
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	}
}

func run(t *testing.T, c Config) (End, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return Run(ctx, c)
}

// A whole conversation: every kind of step, one failing, one panicking, one
// asked for twice, one of an old epoch, and answers lost in between.
func TestConversation(t *testing.T) {
	steps := []api.Step{
		{ID: "1", Epoch: 5, Kind: api.StepInspect},
		{ID: "1", Epoch: 5, Kind: api.StepInspect}, // once more: a server that was restarted
		{ID: "2", Epoch: 6, Kind: api.StepClean, Clean: &api.CleanStep{}},
		{ID: "3", Epoch: 5, Kind: api.StepWrite, Write: &api.WriteStep{}}, // of an owner that is gone
		{ID: "4", Epoch: 6, Kind: api.StepWrite, Write: &api.WriteStep{}},
		{ID: "5", Epoch: 6, Kind: "dance"},
		{ID: "5a", Epoch: 6, Kind: api.StepRAID},
		{ID: "5b", Epoch: 6, Kind: api.StepRAID, RAID: &api.RAIDStep{For: "x"}},
		{ID: "6", Epoch: 6, Kind: api.StepReboot},
	}
	var got []string
	lost := 0
	s := newServer(t, func(path string, body []byte) (int, any) {
		if lost++; lost%3 == 0 {
			return 500, "not json of ours"
		}
		if path == api.PathResult {
			var r api.Result
			_ = json.Unmarshal(body, &r)
			got = append(got, r.StepID)
			return 200, nil
		}
		if path != api.PathNext {
			return 200, nil
		}
		var req api.NextRequest
		_ = json.Unmarshal(body, &req)
		if req.Last != nil {
			r := req.Last
			line := r.StepID
			if r.Error != nil {
				line += " " + r.Error.Code
			}
			if r.Inventory != nil {
				line += " " + r.Inventory.Hostname
			}
			if r.RAID != nil {
				line += " " + r.RAID.For
			}
			got = append(got, line)
			if r.StepID == steps[0].ID {
				steps = steps[1:]
			}
		}
		if req.Running != "" {
			return 200, api.Step{Kind: api.StepWait, Epoch: 5}
		}
		return 200, steps[0]
	})
	d := &devices{}
	end, err := run(t, s.config(d))
	if err != nil || !end.Reboot {
		t.Fatalf("end %+v, %v", end, err)
	}
	want := []string{"1 a", "1 a", "2 disk-in-use", "3 step-refused", "4 disk-io", "5 step-refused", "5a step-refused", "5b x", "6"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"inspect", "clean", "write", "raid"}, d.asked); diff != "" {
		t.Error("asked of the devices:", diff)
	}
}

func TestRefusals(t *testing.T) {
	for _, tc := range []struct {
		name, code string
		want       End
	}{
		{name: "not armed", code: api.ErrNotArmed, want: End{Reason: "the server refused: not-armed: m"}},
		{name: "gone", code: api.ErrGone, want: End{Reason: "the server refused: gone: m"}},
		{name: "version", code: api.ErrVersion, want: End{Reboot: true, Reason: "the server refused: version: m"}},
		{name: "always bad", code: api.ErrBadRequest, want: End{Reason: "the server refused: bad-request: m"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := 0
			s := newServer(t, func(string, []byte) (int, any) {
				if n++; n == 1 {
					return 503, api.Error{Code: api.ErrRetry}
				}
				return 400, api.Error{Code: tc.code, Message: "m"}
			})
			got, err := run(t, s.config(&devices{}))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A step that the server replaces is cancelled and waited for.
func TestReplaced(t *testing.T) {
	stopped := false
	d := &devices{inspect: func(ctx context.Context) error { <-ctx.Done(); stopped = true; return ctx.Err() }}
	n := 0
	s := newServer(t, func(path string, _ []byte) (int, any) {
		if path != api.PathNext {
			return 200, nil
		}
		if n++; n == 1 {
			return 200, api.Step{ID: "1", Epoch: 5, Kind: api.StepInspect}
		}
		return 200, api.Step{ID: "2", Epoch: 5, Kind: api.StepPowerOff}
	})
	end, err := run(t, s.config(d))
	if err != nil || end.Reboot || !stopped {
		t.Errorf("end %+v, %v, stopped %v", end, err, stopped)
	}
}

// Another server with a certificate of its own is not believed.
func TestPin(t *testing.T) {
	s := newServer(t, func(string, []byte) (int, any) { t.Error("a call got through"); return 200, nil })
	c := s.config(&devices{})
	c.Args.CAPin = hex.EncodeToString(make([]byte, 32))
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	c.Sleep = func(context.Context, time.Duration) error {
		if n++; n == 3 {
			cancel()
		}
		return nil
	}
	if _, err := Run(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want to go on until cancelled", err)
	}
}

func FuzzArgs(f *testing.F) {
	f.Add("quiet ingot.url=https://10.0.0.1:6183 ingot.ca=" + hex.EncodeToString(make([]byte, 32)) + " ingot.boot=x ingot.mac=52:54:00:00:00:01")
	f.Add("ingot.url= =")
	f.Fuzz(func(t *testing.T, line string) {
		a, err := ParseArgs(line)
		if err == nil && (a.URL == "" || len(a.CAPin) != 64) {
			t.Errorf("accepted %+v", a)
		}
	})
}
