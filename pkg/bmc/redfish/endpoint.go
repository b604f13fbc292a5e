package redfish

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

const (
	// maxBody bounds an answer. The largest on record, a message registry, has 6 MiB.
	maxBody = 16 << 20
	// maxInFlight requests are sent at once; BMCs answer one after the other anyway.
	maxInFlight = 2
	// readTries counts the first try of a GET whose connection breaks.
	readTries = 3
	// retryPause grows with each try.
	retryPause = 200 * time.Millisecond
)

// Options of an Endpoint. The zero value verifies TLS against the system's
// certificate authorities.
type Options struct {
	// Insecure accepts any certificate. BareMetalHost's
	// disableCertificateVerification asks for it.
	Insecure bool
	// RootCAs replaces the system's certificate authorities.
	RootCAs *x509.CertPool
	// PinSPKI, if set, is the SHA-256 of the public key (SubjectPublicKeyInfo)
	// that the BMC must have; names, dates and authorities are then not looked at.
	PinSPKI []byte
	// Timeout bounds one request with its answer. Zero means 90 s, of which the
	// BMC may think for 60 s before its first byte.
	Timeout time.Duration
	// Quirks, if not nil, replaces what would be detected.
	Quirks quirk.Set
	// QuirkOverride is an operator's word on the quirks.
	QuirkOverride quirk.Override
	// Console is for the serial console over SSH.
	Console ConsoleOptions
	// Log may be nil.
	Log *slog.Logger
}

// Endpoint is one BMC. It is safe for concurrent use.
type Endpoint struct {
	bios registryCache

	base    string
	creds   bmc.Credentials
	client  *http.Client
	log     *slog.Logger
	timeout time.Duration
	quirks  *detection
	sleep   func(context.Context, time.Duration) error // tests do not wait

	slots  chan struct{} // one token per request under way
	writes chan struct{} // one token per write under way
	auth   authState
	again  func(bmc.Credentials) *Endpoint // the same BMC with other credentials

	mu   sync.Mutex
	refs int          // Systems open on it
	root *serviceRoot // read once

	console ConsoleOptions // HostKey is guarded by mu
}

// NewEndpoint prepares the way to the BMC at addr. Nothing is sent yet.
func NewEndpoint(addr bmc.Address, creds bmc.Credentials, o Options) *Endpoint {
	e := &Endpoint{
		base: addr.BaseURL(), creds: creds, log: o.Log, timeout: o.Timeout, quirks: newDetection(o), sleep: sleep, console: o.Console,
		client: newClient(addr.Host, o),
		slots:  make(chan struct{}, maxInFlight), writes: make(chan struct{}, 1),
	}
	e.auth.lock = make(chan struct{}, 1)
	e.again = func(c bmc.Credentials) *Endpoint {
		other := NewEndpoint(addr, c, o)
		other.sleep = e.sleep
		return other
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	e.log = e.log.With("bmc", addr.HostPort())
	if e.timeout == 0 {
		e.timeout = 90 * time.Second
	}
	return e
}

// close ends the session and the connections.
func (e *Endpoint) close(ctx context.Context) error {
	err := e.logout(ctx)
	e.client.CloseIdleConnections()
	return err
}

// call is a request to be made.
type call struct {
	op     string // for errors: "read power state"
	method string
	uri    string // as the BMC gave it
	body   any    // nil, or what becomes JSON
	match  string // If-Match
	anon   bool   // send no credentials
}

// answer is what came back, read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// etag of the resource, from the header or else from the body (DSP0266 §6.5).
func (a *answer) etag(inBody text) string {
	if tag := a.header.Get("ETag"); tag != "" {
		return tag
	}
	return string(inBody)
}

// get reads uri into out.
func (e *Endpoint) get(ctx context.Context, op, uri string, out any) (*answer, error) {
	a, err := e.do(ctx, call{op: op, method: http.MethodGet, uri: uri})
	if err != nil {
		return nil, err
	}
	return a, decode(op, a.body, out)
}

// do makes a call with credentials. A 401 in a session that was good before is
// answered with one new login (sessions end on the BMC's side); a second 401
// means that these credentials are no longer good, and no more are sent.
func (e *Endpoint) do(ctx context.Context, c call) (*answer, error) {
	if c.anon || e.creds.Username == "" {
		a, err := e.exchange(ctx, c, identity{})
		if err != nil {
			return nil, err
		}
		return a, statusError(c.op, a)
	}
	id, err := e.authenticate(ctx, identity{})
	if err != nil {
		return nil, err
	}
	a, err := e.exchange(ctx, c, id)
	if err != nil {
		return nil, err
	}
	if a.status != http.StatusUnauthorized {
		return a, e.auth.explain(statusError(c.op, a), id)
	}
	if id, err = e.authenticate(ctx, id); err != nil {
		return nil, err
	}
	if a, err = e.exchange(ctx, c, id); err != nil {
		return nil, err
	}
	if a.status == http.StatusUnauthorized {
		return nil, e.deny(ctx, statusError(c.op, a))
	}
	return a, statusError(c.op, a)
}

// exchange makes one call under the limits; a GET whose connection breaks is
// tried again.
func (e *Endpoint) exchange(ctx context.Context, c call, id identity) (*answer, error) {
	target, err := e.resolve(c.op, c.uri)
	if err != nil {
		return nil, err
	}
	var body []byte
	if c.body != nil {
		if body, err = json.Marshal(c.body); err != nil {
			return nil, &bmc.Error{Class: bmc.BadRequest, Op: c.op, Detail: "the request cannot be written as JSON", Err: err}
		}
	}
	if c.method != http.MethodGet {
		if err := acquire(ctx, c.op, e.writes); err != nil {
			return nil, err
		}
		defer func() { <-e.writes }()
	}
	if err := acquire(ctx, c.op, e.slots); err != nil {
		return nil, err
	}
	defer func() { <-e.slots }()
	for try := 1; ; try++ {
		a, err := e.roundTrip(ctx, c, target, body, id)
		if err == nil {
			return a, nil
		}
		if c.method != http.MethodGet || try == readTries || !broken(err) {
			return nil, e.classify(ctx, c.op, err)
		}
		if err := e.sleep(ctx, time.Duration(try)*retryPause); err != nil {
			return nil, e.classify(ctx, c.op, err)
		}
	}
}

func (e *Endpoint) roundTrip(ctx context.Context, c call, target string, body []byte, id identity) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body) // lets net/http send a Content-Length, which iDRAC wants
	}
	req, err := http.NewRequestWithContext(ctx, c.method, target, reader)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("OData-Version", "4.0")
	req.Header.Set("User-Agent", "ingot")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.match != "" {
		req.Header.Set("If-Match", c.match)
	}
	id.apply(req, e.creds)
	resp, err := e.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxBody {
		return nil, errTooLong
	}
	return &answer{status: resp.StatusCode, header: resp.Header, body: data}, nil
}

// resolve makes a URL of a link that the BMC gave. Only its path and query
// count: BMCs give absolute links with addresses of their own inside, and none
// may lead credentials elsewhere.
func (e *Endpoint) resolve(op, uri string) (string, error) {
	u, err := url.Parse(uri)
	if err != nil || !strings.HasPrefix(u.EscapedPath(), "/") {
		return "", &bmc.Error{Class: bmc.Protocol, Op: op, Detail: "link does not parse: " + clip(uri)}
	}
	target := e.base + u.EscapedPath()
	if u.RawQuery != "" {
		target += "?" + u.RawQuery
	}
	return target, nil
}

func acquire(ctx context.Context, op string, tokens chan struct{}) error {
	select {
	case tokens <- struct{}{}:
		return nil
	case <-ctx.Done():
		return &bmc.Error{
			Class: bmc.Busy, Code: bmc.CodeSlow, Op: op,
			Detail: "the BMC was busy with earlier requests", Err: ctx.Err(),
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errTooLong = errors.New("the answer is longer than 16 MiB")
