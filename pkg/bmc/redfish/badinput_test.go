package redfish

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// endless sends a body that does not end.
func endless(w http.ResponseWriter, _ *http.Request) {
	junk := strings.Repeat(" ", 1<<20)
	for range 1024 {
		if _, err := io.WriteString(w, junk); err != nil {
			return
		}
	}
}

// TestBadInput has one line for each bad input that the issue names: each ends in
// a classed error, within bounds.
func TestBadInput(t *testing.T) {
	everywhere := func(h http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool { h(w, r); return true }
	}
	spaces := bomb()
	full := status(http.StatusServiceUnavailable, `{"error": {"@Message.ExtendedInfo": [{"MessageId": "IDRAC.1.4.RAC0218", "Message": "The maximum number of user sessions is reached."}]}}`)
	for _, tc := range []struct {
		name     string
		fault    func(w http.ResponseWriter, r *http.Request) bool
		call     func(context.Context, *System) error // nil: read the power state
		class    bmc.Class
		code     string
		part     string
		requests int // at most
		bound    time.Duration
	}{
		{name: "malformed JSON", fault: atSystem(status(200, `{"PowerState": "On"`)), class: bmc.Protocol, part: "no JSON", requests: 1},
		{name: "JSON nested beyond measure", fault: atSystem(status(200, strings.Repeat(`{"a":`, 1<<20))), class: bmc.Protocol, requests: 1},
		{
			name: "wrong types", fault: atSystem(status(200, `{"@odata.id": 7, "PowerState": "Off", "Actions": {"#ComputerSystem.Reset": ["target"]}, "Boot": 1}`)),
			call:  func(ctx context.Context, s *System) error { return s.SetPower(ctx, bmc.ActionOn) },
			class: bmc.Unsupported, part: "no reset", requests: 1,
		},
		{name: "endless body", fault: atSystem(endless), class: bmc.Protocol, part: "longer than 16 MiB", requests: 1},
		{
			name: "compressed without end", class: bmc.Protocol, part: "longer than 16 MiB", requests: 1,
			fault: atSystem(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", "gzip")
				_, _ = w.Write(spaces)
			}),
		},
		{
			name: "does not unpack", class: bmc.Protocol, part: "does not unpack", requests: 1,
			fault: atSystem(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", "gzip")
				fmt.Fprint(w, `{"PowerState": "On"}`)
			}),
		},
		{
			name: "redirect loop", class: bmc.Protocol, part: "more than 3", requests: 1 + maxRedirects,
			fault: atSystem(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, sysPath, http.StatusTemporaryRedirect)
			}),
		},
		{name: "slow-drip answer", fault: atSystem(drip), class: bmc.Unreachable, code: bmc.CodeSlow, part: "in time", requests: 1, bound: 2 * time.Second},
		{name: "401 storm", fault: everywhere(status(401, "")), class: bmc.Auth, code: bmc.CodeAuth, requests: 2},
		{
			name: "503 with Retry-After", class: bmc.Busy, requests: 3,
			fault: atSystem(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "4")
				w.WriteHeader(http.StatusServiceUnavailable)
			}),
		},
		{
			name: "session exhaustion, and Basic refused as well", class: bmc.Busy, code: bmc.CodeSessionsFull, part: "maximum number of user sessions", requests: 4,
			call: func(ctx context.Context, s *System) error {
				s.e.auth.mu.Lock()
				s.e.auth.current = identity{} // as after Close
				s.e.auth.mu.Unlock()
				_, err := s.PowerState(ctx)
				return err
			},
			fault: everywhere(full),
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake(t)
			s, err := dial(t, serve(t, f), admin, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if tc.bound > 0 {
				s.e.timeout = time.Second
			}
			f.mu.Lock()
			f.fault = tc.fault
			f.mu.Unlock()
			f.forget()
			start := time.Now()
			if tc.call == nil {
				tc.call = func(ctx context.Context, s *System) error { _, err := s.PowerState(ctx); return err }
			}
			err = tc.call(context.Background(), s)
			took := time.Since(start)
			wantError(t, err, tc.class, tc.code, tc.part)
			if n := len(f.requests()); n > tc.requests {
				t.Errorf("%d requests, want at most %d", n, tc.requests)
			}
			if tc.bound > 0 && took > tc.bound {
				t.Errorf("took %v", took)
			}
			if n := len(err.Error()); n > 2000 {
				t.Errorf("an error of %d bytes", n)
			}
			f.mu.Lock()
			f.fault = nil
			f.mu.Unlock()
		})
	}
	// TLS name mismatch and clock skew: TestCertificates has all of them.
	ca := issue(t, key(t), nil, nothing)
	t.Run("TLS name mismatch", func(t *testing.T) {
		addr, _ := secure(t, ca, nil)
		addr.Host = "localhost"
		_, err := dial(t, addr, admin, Options{RootCAs: ca.pool()})
		wantError(t, err, bmc.TLSIdentity, bmc.CodeTLSUntrusted, "made out to another name: to 127.0.0.1, not to localhost")
	})
	t.Run("clock skew", func(t *testing.T) {
		addr, _ := secure(t, ca, nil)
		e := NewEndpoint(addr, admin, Options{RootCAs: ca.pool()})
		e.now = newClock().now // ours stands in May
		_, err := e.System(context.Background(), "")
		wantError(t, err, bmc.TLSIdentity, bmc.CodeTLSUntrusted, "our clock says 2026-05-04T12:00:00Z; one of the two clocks is wrong")
	})
	t.Run("not HTTP at all", func(t *testing.T) {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			fmt.Fprint(conn, "SSH-2.0-dropbear\r\n")
			conn.Close()
		}))
		t.Cleanup(srv.Close)
		addr, err := bmc.ParseAddress("redfish+" + srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		_, err = dial(t, addr, admin, Options{})
		wantError(t, err, bmc.Protocol, "", "no HTTP")
	})
}
