package auth

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/auth/keystonetest"
)

// clock is a time that stands still until it is moved.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

type keystoneTest struct {
	*testing.T
	sim   *keystonetest.Keystone
	k     *Keystone
	clock *clock
	path  string
	log   *bytes.Buffer
}

func newKeystoneTest(t *testing.T) *keystoneTest {
	t.Helper()
	c, log := newClock(), &bytes.Buffer{}
	sim := keystonetest.New(t, c.now)
	path := sim.Cloud(t)
	k, err := NewKeystone(path, "", c.now, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return &keystoneTest{T: t, sim: sim, k: k, clock: c, path: path, log: log}
}

// is validates a token; want is the user, or "refused" or "unknown".
func (t *keystoneTest) is(token, want string) {
	t.Helper()
	got := "unknown"
	who, err := t.k.Validate(context.Background(), token)
	var refused Refused
	switch {
	case err == nil:
		got = who.User
	case errors.As(err, &refused):
		got = "refused"
	case !errors.Is(err, ErrNoKeystone):
		got = err.Error()
	}
	if got != want {
		t.Errorf("token %s: %s, want %s", token, got, want)
	}
}

func (t *keystoneTest) asked(validations, logins int) {
	t.Helper()
	if v, l := t.sim.Asked(); v != validations || l != logins {
		t.Errorf("keystone was asked %d times and logged in to %d times, want %d and %d", v, l, validations, logins)
	}
}

func TestKeystoneSaysWho(t *testing.T) {
	s := newKeystoneTest(t)
	expires := s.clock.now().Add(time.Hour)
	s.sim.Give("member", keystonetest.Token{User: "ada", Project: "p1", ProjectName: "demo", Roles: []string{"Member", "reader"}, Expires: expires})
	s.sim.Give("system", keystonetest.Token{User: "root", Roles: []string{"admin"}, System: true, Expires: expires})
	got, err := s.k.Validate(t.Context(), "member")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&Token{UserID: "id-of-ada", User: "ada", ProjectID: "p1", Project: "demo", Domain: "default", Roles: []string{"member", "reader"}, Expires: expires}, got); diff != "" {
		t.Error(diff)
	}
	if got, err := s.k.Validate(t.Context(), "system"); err != nil || !got.System || got.ProjectID != "" {
		t.Errorf("system: %+v, %v", got, err)
	}
	if want := `{"auth":{"identity":{"methods":["password"],"password":{"user":{"domain":{"name":"Default"},"name":"ingot","password":"service-password"}}},"scope":{"project":{"domain":{"name":"Default"},"name":"service"}}}}`; string(s.sim.LastLogin()) != want {
		t.Errorf("logged in by %s", s.sim.LastLogin())
	}
	if s.k.URL() != s.sim.URL {
		t.Errorf("clients are sent to %s", s.k.URL())
	}
	if text := s.log.String(); strings.Contains(text, keystonetest.Password) || strings.Contains(text, "own-1") {
		t.Errorf("a secret is in the log: %s", text)
	}
}

func TestTokenIn(t *testing.T) {
	for _, tc := range []struct {
		t       Token
		project string
		want    bool
	}{
		{Token{ProjectID: "p", Project: "service", Domain: "default"}, "service", true},
		{Token{ProjectID: "p", Project: "service", Domain: "theirs"}, "service", false},
		{Token{ProjectID: "p", Project: "service", Domain: "theirs"}, "p", true},
		{Token{ProjectID: "p", Project: "service", Domain: "default"}, "", false},
		{Token{System: true}, "", false},
	} {
		if got := tc.t.In(tc.project); got != tc.want {
			t.Errorf("%+v in %q: %v", tc.t, tc.project, got)
		}
	}
}

func TestKeystoneIsAskedOncePerToken(t *testing.T) {
	s := newKeystoneTest(t)
	s.sim.Give("a", keystonetest.Token{User: "ada", Expires: s.clock.now().Add(time.Hour)})
	for range 3 {
		s.is("a", "ada")
		s.is("made-up", "refused")
	}
	s.asked(2, 1)
	// Until the answer is five minutes old, a revoked token is good.
	s.sim.Revoke("a")
	s.clock.pass(tokenFor - time.Second)
	s.is("a", "ada")
	s.clock.pass(time.Second)
	s.is("a", "refused")
	s.is("made-up", "refused")
	s.asked(4, 1)
}

func TestKeystoneExpiry(t *testing.T) {
	s := newKeystoneTest(t)
	s.sim.Give("short", keystonetest.Token{User: "ada", Expires: s.clock.now().Add(time.Minute)})
	s.is("short", "ada")
	s.clock.pass(time.Minute)
	s.is("short", "refused")
}

func TestKeystoneOutage(t *testing.T) {
	s := newKeystoneTest(t)
	s.sim.Give("a", keystonetest.Token{User: "ada", Expires: s.clock.now().Add(time.Hour)})
	s.sim.Give("b", keystonetest.Token{User: "bob", Expires: s.clock.now().Add(time.Hour)})
	s.is("a", "ada")
	for _, status := range []int{http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusForbidden, http.StatusFound, http.StatusTooManyRequests} {
		s.sim.Fail(status)
		s.is("a", "ada") // what is known holds
		s.is("b", "unknown")
	}
	s.sim.Fail(0)
	s.is("b", "bob") // what was not known is not remembered
}

func TestKeystoneIsNotThere(t *testing.T) {
	c := newClock()
	path := filepath.Join(t.TempDir(), "clouds.yaml")
	text := "clouds: {x: {auth: {auth_url: 'http://127.0.0.1:1', username: u, password: hunter2}}}"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	k, err := NewKeystone(path, "x", c.now, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Validate(t.Context(), "t"); !errors.Is(err, ErrNoKeystone) {
		t.Error(err)
	}
	if strings.Contains(log.String(), "hunter2") {
		t.Errorf("the password is in the log: %s", &log)
	}
}

// Our own token is replaced when Keystone forgets it, and before it ends.
func TestKeystoneOwnToken(t *testing.T) {
	s := newKeystoneTest(t)
	for _, id := range []string{"a", "b", "c"} {
		s.sim.Give(id, keystonetest.Token{User: id, Expires: s.clock.now().Add(24 * time.Hour)})
	}
	s.is("a", "a")
	s.sim.RevokeOwn()
	s.is("b", "b")
	s.asked(3, 2) // b was asked for twice
	s.clock.pass(time.Hour - ownMargin)
	s.is("c", "c")
	s.asked(4, 3)
}

// A refused password is not sent again and again, and a new one is taken up.
func TestKeystoneRefusesUs(t *testing.T) {
	s := newKeystoneTest(t)
	s.sim.Give("a", keystonetest.Token{User: "ada", Expires: s.clock.now().Add(time.Hour)})
	s.sim.SetPassword("another")
	for range 5 {
		s.is("a", "unknown")
	}
	s.asked(0, 1)
	s.clock.pass(ownRetry)
	s.is("a", "unknown")
	s.asked(0, 2)
	s.sim.WriteCloud(t, s.path, "another")
	s.is("a", "ada")
	s.asked(1, 3)
}

// Who comes at the same time with the same token asks once; one who goes away leaves
// the others their answer.
func TestKeystoneCoalesces(t *testing.T) {
	s := newKeystoneTest(t)
	s.sim.Give("a", keystonetest.Token{User: "ada", Expires: s.clock.now().Add(time.Hour)})
	release := s.sim.Hold()
	var wg sync.WaitGroup
	gone, leave := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { _, err := s.k.Validate(gone, "a"); first <- err }()
	for {
		if v, _ := s.sim.Asked(); v == 1 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	for range 20 {
		wg.Go(func() { s.is("a", "ada") })
	}
	leave()
	if err := <-first; !errors.Is(err, ErrNoKeystone) {
		t.Errorf("who went away is told %v", err)
	}
	release()
	wg.Wait()
	s.asked(1, 1)
}

func TestKeystoneTokensThatAreNone(t *testing.T) {
	s := newKeystoneTest(t)
	for _, token := range []string{"", "a b", "a\nX-Auth-Token: b", strings.Repeat("x", maxToken+1), "ä"} {
		s.is(token, "refused")
	}
	s.asked(0, 0)
}

func TestClouds(t *testing.T) {
	const good = "auth_url: https://k:5000/v3/, username: u, password: p"
	for _, tc := range []struct{ name, text, cloud, err string }{
		{"only one", "clouds: {a: {auth: {" + good + "}}}", "", ""},
		{"named", "clouds: {a: {auth: {" + good + "}}, b: {}}", "a", ""},
		{"credential", "clouds: {a: {auth: {auth_url: 'https://k', application_credential_id: i, application_credential_secret: s}}}", "", ""},
		{"which", "clouds: {a: {auth: {" + good + "}}, b: {}}", "", "name one of a, b"},
		{"no such", "clouds: {a: {auth: {" + good + "}}}", "z", "no cloud"},
		{"no verification", "clouds: {a: {auth: {" + good + "}, verify: false}}", "", "verify"},
		{"no password", "clouds: {a: {auth: {auth_url: 'https://k', username: u}}}", "", "want a user"},
		{"half a credential", "clouds: {a: {auth: {auth_url: 'https://k', application_credential_id: i}}}", "", "want a user"},
		{"a file", "clouds: {a: {auth: {auth_url: 'file:///x', username: u, password: p}}}", "", "auth_url"},
		{"user in the URL", "clouds: {a: {auth: {auth_url: 'https://u:hunter2@k', username: u, password: p}}}", "", "auth_url"},
		{"no YAML", "clouds: [hunter2", "", "not a clouds.yaml"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := parseCloud([]byte(tc.text), tc.cloud)
			switch {
			case tc.err == "" && err != nil:
				t.Error(err)
			case tc.err == "":
				if strings.Contains(c.Auth.AuthURL, "v3") {
					t.Errorf("auth_url %s", c.Auth.AuthURL)
				}
			case err == nil || !strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), "hunter2"):
				t.Errorf("%v, want %s", err, tc.err)
			}
		})
	}
}

func FuzzToken(f *testing.F) {
	f.Add([]byte(`{"token": {"expires_at": "2026-01-01T00:00:00.000000Z", "user": {"id": "x", "name": "n"}, "roles": [{"name": "Admin"}], "system": {"all": true}}}`))
	f.Add([]byte(`{"token": {"expires_at": "2026-01-01T00:00:00Z", "user": {"id": "x"}, "project": {"id": "p"}, "system": {"all": true}}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, err := parseToken(text); err == nil && (got.UserID == "" || got.Expires.IsZero() && !bytes.Contains(text, []byte("0001")) || got.System && got.ProjectID != "") {
			t.Errorf("%+v", got)
		}
	})
}

func FuzzCloud(f *testing.F) {
	f.Add([]byte("clouds: {a: {auth: {auth_url: 'https://k:5000/v3', username: u, password: p, system_scope: all}}}"))
	f.Add([]byte("clouds: {a: null}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if c, err := parseCloud(text, ""); err == nil && (c.Auth.AuthURL == "" || c.request() == nil) {
			t.Errorf("%+v", c)
		}
	})
}
