package redfish

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
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

// authState is the login of an Endpoint.
type authState struct {
	mu      sync.Mutex
	current identity
	session string  // URI of the session
	denied  error   // set: these credentials are not sent again
	flight  *flight // the login under way
	renewed []time.Time
}

// flight is one login. It belongs to all who wait for it, not to the first of
// them: if that one gives up, the session that the BMC is making would be lost to
// everybody, and most BMCs have but a handful.
type flight struct {
	done   chan struct{} // closed once the rest is set
	cancel context.CancelFunc
	id     identity
	err    error
}

const (
	// A session that has to be renewed maxRenewals times within renewalWindow is
	// one that the BMC does not keep, or that another client of the same account
	// ends. Basic costs no sessions.
	maxRenewals   = 3
	renewalWindow = time.Minute
)

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
	e.auth.mu.Lock()
	if e.auth.denied != nil || e.auth.current != stale {
		defer e.auth.mu.Unlock()
		return e.auth.current, e.auth.denied
	}
	if e.auth.flight == nil {
		if bmc.PriorityOf(ctx) == bmc.Background {
			if err := e.breaker.refuse("log in", e.now(), false); err != nil {
				e.auth.mu.Unlock()
				return identity{}, err
			}
		}
		e.auth.flight = e.take(ctx, stale)
	}
	f := e.auth.flight
	e.auth.mu.Unlock()
	select {
	case <-f.done:
		return f.id, f.err
	case <-ctx.Done():
		return identity{}, gaveUp(ctx, "log in")
	}
}

// take starts a login. e.auth.mu is held.
func (e *Endpoint) take(ctx context.Context, stale identity) *flight {
	f := &flight{done: make(chan struct{})}
	// A poll may be the first to need it, but others wait as well.
	ctx = bmc.WithPriority(context.WithoutCancel(ctx), bmc.Interactive)
	ctx, f.cancel = context.WithTimeout(ctx, 2*e.timeout)
	basic := stale.basic || stale.token != "" && e.auth.churns(e.now())
	go func() {
		defer f.cancel()
		id, session, err := identity{basic: true}, "", error(nil)
		switch {
		case stale.basic:
			// There is no session that could have ended: the password is refused.
			err = authError("log in", "the BMC refused user name or password (401 to Basic authentication)")
		case basic:
			e.log.WarnContext(ctx, "sessions do not last, using Basic authentication", "op", "log in")
		default:
			id, session, err = e.login(ctx)
		}
		if err != nil && bmc.ClassOf(err) == bmc.Auth {
			err = e.deny(ctx, err)
		}
		e.auth.mu.Lock()
		if err == nil {
			e.auth.current, e.auth.session = id, session
			f.id = id
		}
		f.err, e.auth.flight = err, nil
		e.auth.mu.Unlock()
		close(f.done)
	}()
	return f
}

// churns counts a renewal, and reports whether there are too many. s.mu is held.
func (s *authState) churns(now time.Time) bool {
	s.renewed = slices.DeleteFunc(s.renewed, func(t time.Time) bool { return now.Sub(t) >= renewalWindow })
	s.renewed = append(s.renewed, now)
	return len(s.renewed) > maxRenewals
}

// settle waits for a login that is under way, so that its session can be ended;
// when ctx ends, the login does.
func (e *Endpoint) settle(ctx context.Context) {
	e.auth.mu.Lock()
	f := e.auth.flight
	e.auth.mu.Unlock()
	if f == nil {
		return
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		f.cancel()
		<-f.done
	}
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
	if e.has(quirk.NoSessions) {
		return identity{basic: true}, "", nil
	}
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
	err = e.judge(op, a)
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
	id := identity{token: a.header.Get("X-Auth-Token")}
	if id.token == "" {
		return identity{}, "", &bmc.Error{
			Class: bmc.Protocol, Op: op,
			Detail: "the BMC made a session and gave no token for it (the quirk " + string(quirk.NoSessions) + " makes do without)",
		}
	}
	session, err := sessionURI(a)
	return id, session, err
}

// sessionURI finds the session in the answer to a login. BMCs give absolute
// Locations with whatever they take for their own address; only the path counts,
// and only if it is a session's: what is to be deleted later must be nothing else.
// Without any, the session cannot be ended, but used.
func sessionURI(a *answer) (string, error) {
	var created struct {
		ID link `json:"@odata.id"`
	}
	_ = decode("", a.body, &created) // most send none
	given := []string{a.header.Get("Location"), string(created.ID)}
	for _, uri := range given {
		if p, ok := sessionPath(uri); ok {
			return p, nil
		}
	}
	if given[0] != "" {
		return "", &bmc.Error{Class: bmc.Protocol, Op: "log in", Detail: "the BMC calls its new session " + clip(given[0]) + ", which is no session's URI"}
	}
	return "", nil
}

// sessionPath returns the path of a session: a member of a collection that is
// called Sessions (DSP0266 §13.3.4.2).
func sessionPath(uri string) (string, bool) {
	u, err := url.Parse(uri)
	if err != nil {
		return "", false
	}
	p := u.EscapedPath()
	bare := strings.TrimSuffix(p, "/")
	ok := strings.HasPrefix(p, "/") && path.Clean(bare) == bare && strings.EqualFold(path.Base(path.Dir(bare)), "Sessions")
	return p, ok
}

// EndSession ends a session that an earlier life of this process left open: one
// that SessionURI named. It is no error if the session has ended by itself.
func (e *Endpoint) EndSession(ctx context.Context, uri string) error {
	const op = "end session"
	p, ok := sessionPath(uri)
	if !ok {
		return &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: "no session's URI: " + clip(uri)}
	}
	if p == e.SessionURI() {
		return nil // the BMC began to count anew: it is ours
	}
	var session struct {
		User text `json:"UserName"`
	}
	if _, err := e.get(ctx, op, p, &session); err == nil && session.User != "" && string(session.User) != e.creds.Username {
		return nil // it began to count anew, and this one is somebody else's
	}
	a, err := e.do(ctx, call{op: op, method: http.MethodDelete, uri: p})
	if a != nil && (a.status == http.StatusNotFound || a.status == http.StatusGone) {
		return nil
	}
	return err
}

// logoutGrace is what a caller who has gone waits for a session to be ended.
const logoutGrace = 500 * time.Millisecond

// grace returns a context that outlives the caller's by a moment: a session that
// stays is one less for everybody until it times out.
func grace(ctx context.Context) (context.Context, context.CancelFunc) {
	out, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(logoutGrace, cancel)
		context.AfterFunc(out, func() { timer.Stop() })
	})
	return out, func() { stop(); cancel() }
}

// logout deletes the session.
func (e *Endpoint) logout(ctx context.Context) error {
	e.auth.mu.Lock()
	id, session := e.auth.current, e.auth.session
	e.auth.current, e.auth.session = identity{}, ""
	e.auth.mu.Unlock()
	if id.token == "" || session == "" {
		return nil
	}
	const op = "log out"
	a, err := e.exchange(ctx, call{op: op, method: http.MethodDelete, uri: session}, id)
	if err != nil {
		return err
	}
	if a.status == http.StatusUnauthorized || a.status == http.StatusNotFound {
		return nil // it has ended by itself
	}
	return e.judge(op, a)
}
