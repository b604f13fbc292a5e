package agentapi

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/auth"
)

func clientTLS(ca *auth.CA) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate())
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}
}

// Whatever an agent sends, known or not, it is answered: with what it asked for,
// or with an error that it can read.
func FuzzHandlers(f *testing.F) {
	ca := newCA(f)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		f.Fatal(err)
	}
	der, hash, err := ca.Agent(csr, "rack/w1", "b1")
	if err != nil {
		f.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		f.Fatal(err)
	}
	state := &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf, ca.Certificate()}}}
	good := hello()
	good.CSR = csr
	for _, v := range []any{
		good,
		agent.NextRequest{Running: "b1.1", Last: &agent.Result{StepID: "b1.1"}},
		agent.Progress{StepID: "b1.1", Detail: "\xff"},
		agent.Result{StepID: "b1.1", Error: &agent.StepError{Code: "x"}},
	} {
		raw, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		for path := range uint8(4) {
			f.Add(path, true, raw)
			f.Add(path, false, raw)
		}
	}
	f.Add(uint8(0), false, []byte(`{"version":1,"bootID":"b1","csr":"MAA=","macs":["x"]}`))
	f.Add(uint8(1), true, []byte(`{"last":null}{}`))
	f.Add(uint8(2), true, []byte("\x00"))
	paths := []string{agent.PathHello, agent.PathNext, agent.PathProgress, agent.PathResult}
	f.Fuzz(func(t *testing.T, path uint8, known bool, body []byte) {
		s := New(ca, &boots{keyHash: hash}, time.Now, slog.New(slog.DiscardHandler))
		mux := http.NewServeMux()
		s.Register(mux)
		s.session("b1", "rack/w1").set(&agent.Step{ID: "b1.1"}, nil)
		// A poll that finds no work ends at once.
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, paths[path%4], bytes.NewReader(body))
		r.TLS = nil
		if known {
			r.TLS = state
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		switch w.Code {
		case http.StatusOK:
			if !known && paths[path%4] != agent.PathHello {
				t.Errorf("a stranger was answered: %s", w.Body)
			}
		case http.StatusBadRequest, http.StatusForbidden, http.StatusGone, http.StatusServiceUnavailable, http.StatusUpgradeRequired:
			var e agent.Error
			if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Code == "" || e.Message == "" {
				t.Errorf("status %d with %s", w.Code, w.Body)
			}
		default:
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
		if n := len(s.sessions); n != 1 {
			t.Errorf("%d sessions after one call", n)
		}
	})
}
