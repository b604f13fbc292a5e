package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// ErrNoKeystone says that Keystone could not be asked: the request may be repeated.
var ErrNoKeystone = errors.New("keystone does not answer")

// As keystonemiddleware has them (token_cache_time), and what bounds the rest.
const (
	tokenFor          = 300 * time.Second // what Keystone said of a token; a revoked one is good for no longer
	keystoneWait      = 10 * time.Second
	validationsAtOnce = 32
	ownMargin         = time.Minute      // before its end our own token is replaced
	ownRetry          = 30 * time.Second // after Keystone refused our own credential: no account is locked
	downRetry         = time.Second      // after it did not answer: who waited does not wait again
	maxToken          = 8 << 10
	maxTokenDocument  = 1 << 20
)

// Token is who a Keystone token stands for.
type Token struct {
	UserID, User       string
	ProjectID, Project string   // empty: of no project
	Domain             string   // id of the project's
	Roles              []string // in lower case
	System             bool     // scoped to the system
	Expires            time.Time
}

// Keystone validates tokens with a Keystone, as a service of its own.
type Keystone struct {
	path, name string
	url        string
	now        func() time.Time
	log        *slog.Logger

	known  *recall[*Token]
	bad    *recall[struct{}] // apart: made-up tokens push no real one out
	flight singleflight.Group
	slots  chan struct{}

	mu    sync.Mutex
	seen  os.FileInfo
	cloud *Cloud
	http  *http.Client
	own   string // token of ours
	until time.Time
	wait  time.Time // until which our credential is not tried again
}

// NewKeystone reads one cloud of a clouds.yaml; its credential needs the right to
// validate tokens (the role service does).
func NewKeystone(path, name string, now func() time.Time, log *slog.Logger) (*Keystone, error) {
	k := &Keystone{
		path: path, name: name, now: now, log: log, slots: make(chan struct{}, validationsAtOnce),
		known: newRecall[*Token](16<<10, now), bad: newRecall[struct{}](4<<10, now),
	}
	if err := k.load(); err != nil {
		return nil, fmt.Errorf("reading the cloud whose tokens are taken: %w", err)
	}
	k.url = k.cloud.Auth.AuthURL
	if strings.HasPrefix(k.cloud.Auth.AuthURL, "http://") {
		log.Warn("tokens and a password go to Keystone in clear text", "auth_url", k.cloud.Auth.AuthURL)
	}
	return k, nil
}

// URL is where clients get tokens.
func (k *Keystone) URL() string { return k.url }

// load reads the file if it changed: a new password is taken up. k.mu is held, or k
// is new.
func (k *Keystone) load() error {
	is, err := os.Stat(k.path)
	if err != nil {
		return err
	}
	if !changed(k.seen, is) {
		return nil
	}
	c, err := ReadCloud(k.path, k.name)
	if err != nil {
		return err
	}
	h, err := c.client()
	if err != nil {
		return err
	}
	k.cloud, k.http, k.seen, k.own, k.wait = c, h, is, "", time.Time{}
	return nil
}

// In reports whether the token is of a project, by its id, or by its name in the
// domain default: elsewhere, whoever has a domain may take a name.
func (t *Token) In(project string) bool {
	return project != "" && t.ProjectID != "" && (t.ProjectID == project || t.Project == project && t.Domain == "default")
}

// Validate says who a token stands for: Refused if it counts for nothing,
// ErrNoKeystone if that is not known.
func (k *Keystone) Validate(ctx context.Context, token string) (*Token, error) {
	if token == "" {
		return nil, Refused("Authentication required")
	}
	if len(token) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, Refused("Invalid token")
	}
	id := k.known.id(token)
	if t, ok := k.known.get(id); ok {
		return t, nil
	}
	if _, ok := k.bad.get(id); ok {
		return nil, Refused("Invalid token")
	}
	// Those who come with the same token at once ask once; whoever goes away does
	// not take the answer from the others.
	done := k.flight.DoChan(string(id[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*keystoneWait)
		defer cancel()
		select {
		case k.slots <- struct{}{}:
			defer func() { <-k.slots }()
		case <-ctx.Done():
			return nil, ErrNoKeystone
		}
		return k.ask(ctx, id, token)
	})
	select {
	case r := <-done:
		t, _ := r.Val.(*Token)
		return t, r.Err
	case <-ctx.Done():
		return nil, ErrNoKeystone
	}
}

func (k *Keystone) ask(ctx context.Context, id [32]byte, token string) (*Token, error) {
	for range 2 {
		own, c, h, err := k.ownToken(ctx)
		if err != nil {
			k.log.Warn("tokens cannot be validated", "err", err)
			return nil, ErrNoKeystone
		}
		status, text, _, err := exchange(ctx, h, http.MethodGet, c.Auth.AuthURL+"/v3/auth/tokens?nocatalog", nil, map[string]string{"X-Auth-Token": own, "X-Subject-Token": token})
		switch {
		case err != nil:
			k.log.Warn("keystone does not answer", "err", err)
			return nil, ErrNoKeystone
		case status == http.StatusOK:
			t, err := parseToken(text)
			if err != nil {
				k.log.Warn("keystone answers what is not understood", "err", err)
				return nil, ErrNoKeystone
			}
			if !k.now().Before(t.Expires) {
				return nil, Refused("Invalid token")
			}
			until := k.now().Add(tokenFor)
			if t.Expires.Before(until) {
				until = t.Expires
			}
			k.known.put(id, t, until)
			return t, nil
		case status == http.StatusNotFound:
			k.bad.put(id, struct{}{}, k.now().Add(tokenFor))
			return nil, Refused("Invalid token")
		case status == http.StatusUnauthorized:
			k.drop(own) // it was revoked, or Keystone's keys were changed
		case status == http.StatusForbidden:
			k.log.Error("the credential of clouds.yaml may not validate tokens: give it the role service")
			return nil, ErrNoKeystone
		default:
			k.log.Warn("keystone does not answer", "status", status)
			return nil, ErrNoKeystone
		}
	}
	k.log.Warn("keystone refuses the tokens that it gives us")
	return nil, ErrNoKeystone
}

func (k *Keystone) drop(own string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.own == own {
		k.own = ""
	}
}

// ownToken returns the token by which we ask, and where. One request at a time gets
// a new one, the others wait for it.
func (k *Keystone) ownToken(ctx context.Context) (string, *Cloud, *http.Client, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.load(); err != nil {
		k.log.Warn("the cloud that was read before is asked on", "err", err)
	}
	now := k.now()
	if k.own != "" && now.Before(k.until.Add(-ownMargin)) {
		return k.own, k.cloud, k.http, nil
	}
	if now.Before(k.wait) {
		return "", nil, nil, errors.New("keystone gave no token a moment ago")
	}
	body, err := json.Marshal(k.cloud.request())
	if err != nil {
		return "", nil, nil, err
	}
	status, text, header, err := exchange(ctx, k.http, http.MethodPost, k.cloud.Auth.AuthURL+"/v3/auth/tokens?nocatalog", body, nil)
	if err != nil {
		k.wait = k.now().Add(downRetry)
		return "", nil, nil, err
	}
	if status == http.StatusUnauthorized || status == http.StatusForbidden {
		k.wait = now.Add(ownRetry)
		return "", nil, nil, errors.New("keystone refuses the credential of clouds.yaml")
	}
	token := header.Get("X-Subject-Token")
	if status != http.StatusCreated || token == "" {
		return "", nil, nil, fmt.Errorf("asked for a token, keystone answers %d", status)
	}
	t, err := parseToken(text)
	if err != nil {
		return "", nil, nil, err
	}
	k.own, k.until = token, t.Expires
	return k.own, k.cloud, k.http, nil
}

// exchange sends a request; no error of its has a header in it.
func exchange(ctx context.Context, h *http.Client, method, url string, body []byte, header map[string]string) (int, []byte, http.Header, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	r.Header.Set("Accept", "application/json")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	w, err := h.Do(r)
	if err != nil {
		return 0, nil, nil, err
	}
	defer w.Body.Close()
	text, err := io.ReadAll(io.LimitReader(w.Body, maxTokenDocument))
	return w.StatusCode, text, w.Header, err
}

// parseToken reads what Keystone says of a token.
func parseToken(text []byte) (*Token, error) {
	type named struct {
		ID     string              `json:"id"`
		Name   string              `json:"name"`
		Domain struct{ ID string } `json:"domain"`
	}
	var doc struct {
		Token struct {
			ExpiresAt string          `json:"expires_at"`
			User      named           `json:"user"`
			Project   *named          `json:"project"`
			Roles     []named         `json:"roles"`
			System    map[string]bool `json:"system"`
		} `json:"token"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("a token's document: %w", err)
	}
	d := doc.Token
	expires, err := time.Parse(time.RFC3339Nano, d.ExpiresAt)
	if err != nil {
		return nil, fmt.Errorf("a token's end: %w", err)
	}
	if d.User.ID == "" {
		return nil, errors.New("a token of nobody")
	}
	t := &Token{UserID: d.User.ID, User: d.User.Name, Expires: expires, System: d.System["all"]}
	if d.Project != nil {
		t.ProjectID, t.Project, t.Domain = d.Project.ID, d.Project.Name, d.Project.Domain.ID
	}
	if t.System && t.ProjectID != "" {
		return nil, errors.New("a token of two scopes")
	}
	for _, r := range d.Roles {
		t.Roles = append(t.Roles, strings.ToLower(r.Name))
	}
	return t, nil
}
