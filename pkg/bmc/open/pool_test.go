package open

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// service is a Redfish BMC with two systems that counts its sessions.
type service struct {
	mu       sync.Mutex
	logins   int
	sessions map[string]bool
	password string
	down     bool
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch path := strings.TrimRight(r.URL.Path, "/"); {
	case s.down:
		w.WriteHeader(http.StatusServiceUnavailable)
	case path == "/redfish/v1":
		fmt.Fprint(w, `{"RedfishVersion": "1.15.0", "Links": {"Sessions": {"@odata.id": "/sessions"}}}`)
	case path == "/sessions":
		var login struct{ Password string }
		_ = json.NewDecoder(r.Body).Decode(&login)
		s.logins++
		if login.Password != s.password {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		token := fmt.Sprint(s.logins)
		s.sessions[token] = true
		w.Header().Set("X-Auth-Token", token)
		w.Header().Set("Location", "/sessions/"+token)
		w.WriteHeader(http.StatusCreated)
	case r.Method == http.MethodDelete:
		delete(s.sessions, strings.TrimPrefix(path, "/sessions/"))
		w.WriteHeader(http.StatusNoContent)
	case !s.sessions[r.Header.Get("X-Auth-Token")]:
		w.WriteHeader(http.StatusUnauthorized)
	default:
		fmt.Fprintf(w, `{"@odata.id": %q, "PowerState": "On"}`, path)
	}
}

func (s *service) count() (logins, sessions int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logins, len(s.sessions)
}

// clock runs what a Pool wants to be done later when the test says so.
type clock struct {
	mu    sync.Mutex
	later map[int]func()
	n     int
}

func (c *clock) after(_ time.Duration, f func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.later == nil {
		c.later = map[int]func(){}
	}
	c.n++
	n := c.n
	c.later[n] = f
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, waiting := c.later[n]
		delete(c.later, n)
		return waiting
	}
}

func (c *clock) pass() {
	c.mu.Lock()
	due := c.later
	c.later = nil
	c.mu.Unlock()
	for _, f := range due {
		f()
	}
}

var admin = bmc.Credentials{Username: "admin", Password: "secret"}

func pool(t *testing.T) (*Pool, *clock, *service, string) {
	t.Helper()
	s := &service{sessions: map[string]bool{}, password: "secret"}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	p, c := NewPool(time.Minute), &clock{}
	p.after = c.after
	return p, c, s, "redfish+" + srv.URL
}

func use(t *testing.T, p *Pool, key Key) {
	t.Helper()
	conn, done, err := p.Get(context.Background(), key, admin)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	if got, err := conn.(bmc.Power).PowerState(context.Background()); err != nil || got != bmc.PowerOn {
		t.Errorf("power %q, %v", got, err)
	}
}

func want(t *testing.T, s *service, logins, sessions int) {
	t.Helper()
	if l, n := s.count(); l != logins || n != sessions {
		t.Errorf("%d logins and %d sessions open, want %d and %d", l, n, logins, sessions)
	}
}

func TestPoolKeepsAndCloses(t *testing.T) {
	p, c, s, url := pool(t)
	key := Key{Address: url + "/redfish/v1/Systems/1", Version: "1"}
	use(t, p, key)
	use(t, p, key)
	want(t, s, 1, 1)
	c.pass()
	want(t, s, 1, 0)
	use(t, p, key)
	want(t, s, 2, 1)
	p.Close()
	want(t, s, 2, 0)
	if _, _, err := p.Get(context.Background(), key, admin); err == nil {
		t.Error("a closed pool gives")
	}
}

func TestPoolKeepsWhatIsInUse(t *testing.T) {
	p, c, s, url := pool(t)
	key := Key{Address: url + "/redfish/v1/Systems/1"}
	use(t, p, key)
	conn, done, err := p.Get(context.Background(), key, admin)
	if err != nil {
		t.Fatal(err)
	}
	c.pass()
	p.Close()
	want(t, s, 1, 1)
	if _, err := conn.(bmc.Power).PowerState(context.Background()); err != nil {
		t.Error(err)
	}
	done()
	done() // once more does nothing
	want(t, s, 1, 0)
}

func TestPoolSharesASessionPerBMC(t *testing.T) {
	p, c, s, url := pool(t)
	use(t, p, Key{Address: url + "/redfish/v1/Systems/1"})
	use(t, p, Key{Address: url + "/redfish/v1/Systems/2"})
	want(t, s, 1, 1)
	use(t, p, Key{Address: url + "/redfish/v1/Systems/2", Version: "2"})
	want(t, s, 2, 2)
	c.pass()
	want(t, s, 2, 0)
}

func TestPoolOpensOnceForMany(t *testing.T) {
	p, _, s, url := pool(t)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() { use(t, p, Key{Address: url + "/redfish/v1/Systems/1"}) })
	}
	wg.Wait()
	want(t, s, 1, 1)
	p.Close()
	want(t, s, 1, 0)
}

func TestPoolRemembersRefusal(t *testing.T) {
	p, c, s, url := pool(t)
	key := Key{Address: url + "/redfish/v1/Systems/1", Version: "1"}
	try := func(password string) error {
		_, done, err := p.Get(context.Background(), key, bmc.Credentials{Username: "admin", Password: password})
		if err == nil {
			done()
		}
		return err
	}
	for range 3 {
		if err := try("hunter2"); bmc.ClassOf(err) != bmc.Auth {
			t.Fatalf("err = %v, want class auth", err)
		}
	}
	want(t, s, 1, 0)
	c.pass()
	_ = try("hunter2")
	want(t, s, 2, 0)
	p.Drop(key)
	if err := try("secret"); err != nil {
		t.Error(err)
	}
	want(t, s, 3, 1)
	key.Version = "2"
	if err := try("secret"); err != nil {
		t.Error(err)
	}
}

func TestPoolSeesAPasswordChange(t *testing.T) {
	p, c, s, url := pool(t)
	key := Key{Address: url + "/redfish/v1/Systems/1", Version: "1"}
	s.mu.Lock()
	s.password = "another"
	s.mu.Unlock()
	old := bmc.Credentials{Username: "admin", Password: "another"}
	read := func() error {
		conn, done, err := p.Get(context.Background(), key, old)
		if err != nil {
			return err
		}
		defer done()
		_, err = conn.(bmc.Power).PowerState(context.Background())
		return err
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.password = "secret"
	clear(s.sessions)
	s.mu.Unlock()
	for range 3 {
		if err := read(); bmc.ClassOf(err) != bmc.Auth {
			t.Fatalf("err = %v, want class auth", err)
		}
	}
	want(t, s, 2, 0)
	c.pass()
	_ = read()
	want(t, s, 3, 0)
}

func TestPoolForgetsOtherFailures(t *testing.T) {
	p, _, s, url := pool(t)
	key := Key{Address: url + "/redfish/v1/Systems/1"}
	s.down = true
	if _, _, err := p.Get(context.Background(), key, admin); bmc.ClassOf(err) != bmc.Busy {
		t.Fatalf("err = %v, want class busy", err)
	}
	s.mu.Lock()
	s.down = false
	s.mu.Unlock()
	use(t, p, key)
}

func TestOpen(t *testing.T) {
	_, _, _, url := pool(t)
	conn, err := Open(context.Background(), url+"/redfish/v1/Systems/1", admin, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(context.Background()); err != nil {
		t.Error(err)
	}
	var e *bmc.Error
	if conn, err := Open(context.Background(), "refish://h", admin, Options{}); !errors.As(err, &e) || conn != nil {
		t.Errorf("Open of a bad address = %v, %v", conn, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if conn, err := Open(ctx, "ipmi://127.0.0.1:1", admin, Options{}); err == nil || conn != nil {
		t.Errorf("Open without time = %v, %v", conn, err)
	}
}
