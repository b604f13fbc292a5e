package redfish

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// identity is how a request proves who sends it: nothing, a session's token, or
// Basic.
type identity struct {
	token string
	basic bool
	full  bool // Basic because the BMC had no session left
}

func (id identity) apply(req *http.Request, creds bmc.Credentials) {
	switch {
	case id.token != "":
		req.Header.Set("X-Auth-Token", id.token)
	case id.basic:
		req.SetBasicAuth(creds.Username, creds.Password)
	}
}

// authState is the login of an Endpoint. lock is held through a login, so that
// of many callers one logs in; a channel, so that waiting ends with the context.
type authState struct {
	lock chan struct{}

	mu      sync.Mutex
	current identity
	session string // URI of the session
	denied  error  // set: these credentials are not sent again
}

func (s *authState) load() (identity, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current, s.denied
}

// explain gives an error of a Basic request its cause, if the reason for Basic
// was that all sessions are taken.
func (s *authState) explain(err error, id identity) error {
	var e *bmc.Error
	if id.full && errors.As(err, &e) && e.Class == bmc.Busy {
		e.Code = bmc.CodeSessionsFull
	}
	return err
}

// SessionURI names the session that is open on the BMC, or is empty. It is no
// secret: an owner may keep it, to end the session after a crash.
func (e *Endpoint) SessionURI() string {
	e.auth.mu.Lock()
	defer e.auth.mu.Unlock()
	return e.auth.session
}

// Refused is the error with which the BMC refused the credentials, if it did;
// every further call returns it.
func (s *System) Refused() error {
	_, err := s.e.auth.load()
	return err
}

// authenticate returns an identity that is not stale: the one at hand, or one
// from a new login. Of the callers that come with the same stale identity, one
// logs in.
func (e *Endpoint) authenticate(ctx context.Context, stale identity) (identity, error) {
	id, denied := e.auth.load()
	if denied != nil || id != stale {
		return id, denied
	}
	if err := acquire(ctx, "log in", e.auth.lock); err != nil {
		return identity{}, err
	}
	defer func() { <-e.auth.lock }()
	if id, denied = e.auth.load(); denied != nil || id != stale {
		return id, denied
	}
	if stale.basic {
		// There is no session that could have ended: the password is refused.
		return identity{}, e.deny(ctx, authError("log in", "the BMC refused user name or password (401 to Basic authentication)"))
	}
	id, session, err := e.login(ctx)
	if bmc.ClassOf(err) == bmc.Auth {
		return identity{}, e.deny(ctx, err)
	}
	if err != nil {
		return identity{}, err
	}
	e.auth.mu.Lock()
	e.auth.current, e.auth.session = id, session
	e.auth.mu.Unlock()
	return id, nil
}

// deny remembers that these credentials were refused. Lockouts begin at four or
// five tries, so there is no second one.
func (e *Endpoint) deny(ctx context.Context, err error) error {
	e.auth.mu.Lock()
	defer e.auth.mu.Unlock()
	if e.auth.denied == nil {
		e.log.WarnContext(ctx, "credentials refused, not sent again", "op", "log in")
		e.auth.denied = err
	}
	return e.auth.denied
}

func authError(op, detail string) *bmc.Error {
	return &bmc.Error{Class: bmc.Auth, Code: bmc.CodeAuth, Op: op, Detail: detail}
}

// login opens a session (DSP0266 §13.3.4), or settles for Basic where the BMC
// has no sessions, or none left.
func (e *Endpoint) login(ctx context.Context) (identity, string, error) {
	const op = "log in"
	root, err := e.serviceRoot(ctx)
	if err != nil {
		return identity{}, "", err
	}
	uri := string(root.Links.Sessions)
	if uri == "" {
		if root.SessionService == "" {
			return identity{basic: true}, "", nil // sushy-tools has no sessions
		}
		uri = strings.TrimRight(string(root.SessionService), "/") + "/Sessions"
	}
	a, err := e.exchange(ctx, call{op: op, method: http.MethodPost, uri: uri, body: map[string]string{
		"UserName": e.creds.Username, "Password": e.creds.Password,
	}}, identity{})
	if err != nil {
		return identity{}, "", err
	}
	err = statusError(op, a)
	switch {
	case err == nil:
	case a.status == http.StatusUnauthorized:
		return identity{}, "", err
	case sessionsFull(a):
		e.log.WarnContext(ctx, "no session left on the BMC, using Basic authentication", "op", op)
		return identity{basic: true, full: true}, "", nil
	case a.status == http.StatusNotFound, a.status == http.StatusMethodNotAllowed, a.status == http.StatusNotImplemented:
		return identity{basic: true}, "", nil
	default:
		return identity{}, "", err
	}
	token := a.header.Get("X-Auth-Token")
	if token == "" {
		return identity{basic: true}, "", nil
	}
	var created struct {
		ID link `json:"@odata.id"`
	}
	session := a.header.Get("Location")
	if session == "" && decode(op, a.body, &created) == nil {
		session = string(created.ID)
	}
	if u, err := url.Parse(session); err == nil {
		session = u.EscapedPath()
	}
	return identity{token: token}, session, nil
}

// logout deletes the session, even after the caller's context has ended: a
// session that stays is one less for everybody until it times out.
func (e *Endpoint) logout(ctx context.Context) error {
	e.auth.mu.Lock()
	id, session := e.auth.current, e.auth.session
	e.auth.current, e.auth.session = identity{}, ""
	e.auth.mu.Unlock()
	if id.token == "" || session == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	const op = "log out"
	a, err := e.exchange(ctx, call{op: op, method: http.MethodDelete, uri: session}, id)
	if err != nil {
		return err
	}
	if a.status == http.StatusUnauthorized || a.status == http.StatusNotFound {
		return nil // it has ended by itself
	}
	return statusError(op, a)
}
