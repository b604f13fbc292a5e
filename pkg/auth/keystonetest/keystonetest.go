// Package keystonetest is a Keystone for tests: it gives tokens to one service user,
// says who the tokens of others stand for, and fails when it is told to.
package keystonetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Password of the service user.
const Password = "service-password"

// Token is what a token stands for.
type Token struct {
	User, Project, ProjectName string
	Roles                      []string
	System                     bool
	Expires                    time.Time
}

// Keystone answers what a service asks (API v3, /v3/auth/tokens).
type Keystone struct {
	URL string
	now func() time.Time

	mu       sync.Mutex
	tokens   map[string]Token
	own      map[string]time.Time
	password string
	status   int           // that is answered to everything; 0: what is right
	held     chan struct{} // validations wait for it to be closed; nil: they do not
	asked    int
	logins   int
	last     json.RawMessage
	problems []string
}

// New starts one, which ends with the test.
func New(t testing.TB, now func() time.Time) *Keystone {
	t.Helper()
	k := &Keystone{now: now, tokens: map[string]Token{}, own: map[string]time.Time{}, password: Password}
	s := httptest.NewServer(k)
	k.URL = s.URL + "/identity"
	t.Cleanup(func() {
		s.Close()
		for _, p := range k.problems {
			t.Error(p)
		}
	})
	return k
}

// Cloud writes a clouds.yaml whose credential this Keystone takes, and returns its
// path.
func (k *Keystone) Cloud(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "clouds.yaml")
	k.WriteCloud(t, path, Password)
	return path
}

// WriteCloud writes a clouds.yaml with some password.
func (k *Keystone) WriteCloud(t testing.TB, path, password string) {
	t.Helper()
	text := fmt.Sprintf("clouds:\n  ingot:\n    auth:\n      auth_url: %s/v3\n      username: ingot\n      password: %q\n      project_name: service\n      user_domain_name: Default\n", k.URL, password)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Give makes a token known.
func (k *Keystone) Give(id string, t Token) { k.locked(func() { k.tokens[id] = t }) }

// Revoke makes one unknown.
func (k *Keystone) Revoke(id string) { k.locked(func() { delete(k.tokens, id) }) }

// RevokeOwn makes the tokens of the service unknown.
func (k *Keystone) RevokeOwn() { k.locked(func() { clear(k.own) }) }

// SetPassword changes the service user's.
func (k *Keystone) SetPassword(p string) { k.locked(func() { k.password = p }) }

// Fail has everything answered with a status; 0: with what is right.
func (k *Keystone) Fail(status int) { k.locked(func() { k.status = status }) }

// Hold has validations wait until release is called.
func (k *Keystone) Hold() (release func()) {
	c := make(chan struct{})
	k.locked(func() { k.held = c })
	return func() {
		k.locked(func() { k.held = nil })
		close(c)
	}
}

// Asked is how many validations and logins there were.
func (k *Keystone) Asked() (validations, logins int) {
	k.locked(func() { validations, logins = k.asked, k.logins })
	return validations, logins
}

// LastLogin is the body of the last one.
func (k *Keystone) LastLogin() (body json.RawMessage) {
	k.locked(func() { body = k.last })
	return body
}

func (k *Keystone) locked(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
}

// ServeHTTP implements http.Handler.
func (k *Keystone) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/identity/v3/auth/tokens" {
		k.locked(func() { k.problems = append(k.problems, "keystone is asked for "+r.URL.Path) })
		http.NotFound(w, r)
		return
	}
	if r.Method == http.MethodPost {
		k.locked(func() { k.login(w, r) })
		return
	}
	var held chan struct{}
	k.locked(func() { k.asked++; held = k.held })
	if held != nil {
		select {
		case <-held:
		case <-r.Context().Done():
		}
	}
	k.locked(func() { k.validate(w, r) })
}

func (k *Keystone) login(w http.ResponseWriter, r *http.Request) {
	k.logins++
	if k.status != 0 {
		w.WriteHeader(k.status)
		return
	}
	if json.NewDecoder(r.Body).Decode(&k.last) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var body struct {
		Auth struct {
			Identity struct {
				Password *struct {
					User struct{ Password string } `json:"user"`
				} `json:"password"`
				Credential *struct{ ID, Secret string } `json:"application_credential"`
			} `json:"identity"`
		} `json:"auth"`
	}
	_ = json.Unmarshal(k.last, &body) // it was JSON a moment ago; what is missing is no password
	id := body.Auth.Identity
	if (id.Password == nil || id.Password.User.Password != k.password) && (id.Credential == nil || id.Credential.Secret != k.password) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	token, expires := fmt.Sprintf("own-%d", k.logins), k.now().Add(time.Hour)
	k.own[token] = expires
	w.Header().Set("X-Subject-Token", token)
	w.WriteHeader(http.StatusCreated)
	document(w, Token{User: "ingot", Roles: []string{"service"}, Expires: expires})
}

func (k *Keystone) validate(w http.ResponseWriter, r *http.Request) {
	if k.status != 0 {
		w.WriteHeader(k.status)
		return
	}
	if until, ok := k.own[r.Header.Get("X-Auth-Token")]; !ok || !k.now().Before(until) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	t, ok := k.tokens[r.Header.Get("X-Subject-Token")]
	if !ok || !k.now().Before(t.Expires) {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	document(w, t)
}

func document(w http.ResponseWriter, t Token) {
	type object = map[string]any
	roles := []object{}
	for _, r := range t.Roles {
		roles = append(roles, object{"id": r, "name": r})
	}
	doc := object{
		"methods": []string{"password"}, "audit_ids": []string{"x"}, "roles": roles,
		"expires_at": t.Expires.UTC().Format("2006-01-02T15:04:05.000000Z"),
		"user":       object{"id": "id-of-" + t.User, "name": t.User, "domain": object{"id": "default"}},
	}
	switch {
	case t.System:
		doc["system"] = object{"all": true}
	case t.Project != "":
		doc["project"] = object{"id": t.Project, "name": t.ProjectName, "domain": object{"id": "default"}}
	}
	_ = json.NewEncoder(w).Encode(object{"token": doc}) // who asked may be gone
}
