package redfish

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

const sessionsURI = "/redfish/v1/SessionService/Sessions"

func TestLoginAnswers(t *testing.T) {
	for _, tc := range []struct {
		name          string
		token, where  string
		body          string
		class         bmc.Class
		part, session string
	}{
		{name: "relative", token: "t", where: sessionsURI + "/1", session: sessionsURI + "/1"},
		{name: "absolute, with another address", token: "t", where: "https://10.0.0.9" + sessionsURI + "/1", session: sessionsURI + "/1"},
		{name: "another collection of sessions (iDRAC 8)", token: "t", where: "/redfish/v1/Sessions/1", session: "/redfish/v1/Sessions/1"},
		{name: "trailing slash (iLO)", token: "t", where: sessionsURI + "/admin01/", session: sessionsURI + "/admin01/"},
		{name: "in the body alone", token: "t", body: `{"@odata.id": "` + sessionsURI + `/7"}`, session: sessionsURI + "/7"},
		{name: "bad Location, good body", token: "t", where: "/", body: `{"@odata.id": "` + sessionsURI + `/7"}`, session: sessionsURI + "/7"},
		{name: "nowhere", token: "t", body: `oops`},
		{name: "no token", where: sessionsURI + "/1", class: bmc.Protocol, part: "gave no token"},
		{name: "no session's URI", token: "t", where: "/redfish/v1/AccountService/Accounts/1", class: bmc.Protocol, part: "no session's URI"},
		{name: "climbing", token: "t", where: sessionsURI + "/../../Accounts/Sessions/../1", class: bmc.Protocol, part: "no session's URI"},
		{name: "the collection itself", token: "t", where: sessionsURI, class: bmc.Protocol, part: "no session's URI"},
		{name: "no URI at all", token: "t", where: "://", class: bmc.Protocol, part: "no session's URI"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake(t)
			f.tokens["t"] = true
			f.fault = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPost {
					return false
				}
				if tc.token != "" {
					w.Header().Set("X-Auth-Token", tc.token)
				}
				if tc.where != "" {
					w.Header().Set("Location", tc.where)
				}
				w.WriteHeader(http.StatusCreated)
				fmt.Fprint(w, tc.body)
				return true
			}
			s, err := dial(t, serve(t, f), admin, Options{})
			if tc.class != "" {
				wantError(t, err, tc.class, "", tc.part)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Endpoint().SessionURI(); got != tc.session {
				t.Errorf("session %q, want %q", got, tc.session)
			}
			f.forget()
			if err := s.Close(context.Background()); err != nil {
				t.Error(err)
			}
			if got := strings.Join(f.requests(), " "); tc.session != "" && got != "DELETE "+tc.session || tc.session == "" && got != "" {
				t.Errorf("Close sent %q", got)
			}
		})
	}
}

func TestEndSession(t *testing.T) {
	f := newFake(t)
	first := mustDial(t, f)
	left := first.SessionURI() // recorded; then the process is killed
	s := mustDial(t, f)
	e, ctx := s, context.Background()
	if len(f.tokens) != 2 {
		t.Fatalf("%d sessions open, want 2", len(f.tokens))
	}
	if err := e.EndSession(ctx, left); err != nil || len(f.tokens) != 1 {
		t.Errorf("sessions open: %v, %v", f.tokens, err)
	}
	if err := e.EndSession(ctx, e.SessionURI()); err != nil || len(f.tokens) != 1 {
		t.Errorf("our own session: %v, %v", f.tokens, err)
	}
	for _, code := range []int{404, 410} {
		f.fault = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodDelete {
				w.WriteHeader(code)
			}
			return r.Method == http.MethodDelete
		}
		if err := e.EndSession(ctx, left); err != nil {
			t.Errorf("a session that has ended by itself (%d): %v", code, err)
		}
	}
	f.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusForbidden)
		}
		return r.Method == http.MethodDelete
	}
	wantError(t, e.EndSession(ctx, left), bmc.Forbidden, "", "403")
	f.fault = nil
	f.docs[left] = map[string]any{"UserName": "somebody"}
	f.forget()
	if err := e.EndSession(ctx, left); err != nil || strings.Join(f.requests(), " ") != "GET "+left {
		t.Errorf("somebody else's session of that name: %v, sent %q", err, f.requests())
	}
	f.docs[left] = map[string]any{"UserName": "admin"}
	if err := e.EndSession(ctx, left); err != nil || !slices.Contains(f.requests(), "DELETE "+left) {
		t.Errorf("our session: %v, sent %q", err, f.requests())
	}
	f.forget()
	for _, uri := range []string{"", sysPath, sessionsURI, sessionsURI + "/../../Systems/1", "http://[", "/Sessions/.."} {
		wantError(t, e.EndSession(ctx, uri), bmc.BadRequest, "", "no session's URI")
	}
	if got := f.requests(); len(got) != 0 {
		t.Errorf("sent %q", got)
	}
}

// A 401 to everything: each call costs one new login at most, and then nothing is
// sent any more, so no account locks (XCC: 5 tries in 3600 s; facts/bmc.md §2).
func TestStormOf401(t *testing.T) {
	f := newFake(t)
	s := mustDial(t, f)
	f.mu.Lock()
	f.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			return false // logins go well
		}
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	f.mu.Unlock()
	f.forget()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := s.PowerState(context.Background())
			var e *bmc.Error
			if !errors.As(err, &e) || e.Class != bmc.Auth {
				t.Errorf("%v, want class auth", err)
			}
		})
	}
	wg.Wait()
	if f.logins > 3 || f.loginsNo != 0 {
		t.Errorf("%d logins, %d refused", f.logins, f.loginsNo)
	}
	f.forget()
	_, err := s.PowerState(context.Background())
	wantError(t, err, bmc.Auth, bmc.CodeAuth, "")
	if got := f.requests(); len(got) != 0 {
		t.Errorf("sent after the refusal: %q", got)
	}
	if s.Refused() == nil {
		t.Error("the owner does not learn of it")
	}
}

// A BMC that forgets each session at once is asked for a few, then for none.
func TestSessionsThatDoNotLast(t *testing.T) {
	f := newFake(t)
	s := mustDial(t, f)
	c := newClock()
	s.e.now = c.now
	kill := func() {
		f.mu.Lock()
		clear(f.tokens)
		f.mu.Unlock()
	}
	for range 10 {
		kill()
		if _, err := s.PowerState(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if f.logins != 1+maxRenewals {
		t.Errorf("%d logins, want %d", f.logins, 1+maxRenewals)
	}
	// Sessions that time out between polls are no storm.
	f = newFake(t)
	s = mustDial(t, f)
	s.e.now = c.now
	for range 10 {
		kill()
		c.pass(time.Minute)
		if _, err := s.PowerState(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if f.logins != 11 {
		t.Errorf("%d logins, want 11", f.logins)
	}
}

// quirk.NoSessions. Evidence: openstack/sushy-tools
// sushy_tools/emulator/templates/root.json (0051bd4) has neither SessionService
// nor Links.Sessions, and emulator/main.py asks for Basic (RedfishAuthMiddleware).
// A BMC that offers sessions and makes them without a token is unverified.
func TestQuirkNoSessions(t *testing.T) {
	for _, on := range []bool{true, false} {
		f := newFake(t)
		f.fault = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost && r.URL.Path == sessionsURI {
				w.WriteHeader(http.StatusCreated)
			}
			return r.URL.Path == sessionsURI
		}
		s, err := dial(t, serve(t, f), admin, Options{Quirks: quirk.Set{quirk.NoSessions: on}})
		if !on {
			wantError(t, err, bmc.Protocol, "", "no-sessions")
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.PowerState(context.Background()); err != nil || got != bmc.PowerOff {
			t.Errorf("power %q, %v", got, err)
		}
		if got := strings.Join(f.requests(), " "); strings.Contains(got, sessionsURI) {
			t.Errorf("asked for a session: %s", got)
		}
	}
}
