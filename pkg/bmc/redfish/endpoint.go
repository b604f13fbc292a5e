package redfish

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

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
	// TrustOnFirstUse, without PinSPKI, believes the first key that the BMC shows,
	// and no other after it. Record what Endpoint.SPKI says, and pin it next time.
	TrustOnFirstUse bool
	// Legacy admits TLS 1.0, RSA key exchange and certificates with nothing but a
	// common name, for BMCs that know no better. Only ever by a person's choice.
	Legacy bool
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
	legacy  bool
	sleep   func(context.Context, time.Duration) error // tests do not wait
	now     func() time.Time

	gate    gate
	breaker breaker
	pace    *rate.Limiter
	keys    *keyring
	auth    authState

	again    func(bmc.Credentials) *Endpoint // the same BMC with other credentials
	spelling atomic.Int32                    // of ETags: the one that this BMC takes

	mu   sync.Mutex
	refs int          // Systems open on it
	root *serviceRoot // read once

	console ConsoleOptions // HostKey is guarded by mu
}

// has reports whether the BMC has a quirk.
func (e *Endpoint) has(n quirk.Name) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.quirks.Has(n)
}

// NewEndpoint prepares the way to the BMC at addr. Nothing is sent yet.
func NewEndpoint(addr bmc.Address, creds bmc.Credentials, o Options) *Endpoint {
	e := &Endpoint{
		base: addr.BaseURL(), creds: creds, log: o.Log, timeout: o.Timeout, quirks: newDetection(o), legacy: o.Legacy,
		sleep: sleep, now: time.Now, pace: rate.NewLimiter(1, paceBurst), keys: newKeyring(o), console: o.Console,
	}
	e.client = newClient(tlsConfig(addr.Host, o, e.keys, func() time.Time { return e.now() }))
	e.again = func(c bmc.Credentials) *Endpoint {
		if pin := e.SPKI(); o.TrustOnFirstUse && len(o.PinSPKI) == 0 {
			o.PinSPKI = pin // seen already
		}
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
	ctx, cancel := grace(ctx)
	defer cancel()
	e.settle(ctx)
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
	gzip   bool   // ask for a compressed answer

	timeout time.Duration // replaces the endpoint's, if longer: the BMC may think for all of it
	upload  *upload       // a body that is streamed
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
		return a, e.judge(c.op, a)
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
		return a, e.auth.explain(e.judge(c.op, a), id)
	}
	if id, err = e.authenticate(ctx, id); err != nil {
		return nil, err
	}
	if a, err = e.exchange(ctx, c, id); err != nil {
		return nil, err
	}
	if a.status == http.StatusUnauthorized {
		return nil, e.deny(ctx, e.judge(c.op, a))
	}
	return a, e.judge(c.op, a)
}

// exchange makes one call. A read that the BMC puts off for a moment waits, and
// one that it wants compressed is asked for again.
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
	for waited := time.Duration(0); ; {
		a, err := e.send(ctx, c, target, body, id)
		if err != nil {
			return nil, err
		}
		pause := retryAfter(a.header)
		switch {
		case c.method != http.MethodGet:
			return a, nil
		case a.status == http.StatusNotAcceptable && !c.gzip && e.has(quirk.GzipRegistry):
			c.gzip = true
		case putOff(a.status) && pause > 0 && waited+pause <= maxPutOff && spare(ctx, pause):
			waited += pause
			if e.sleep(ctx, pause) != nil {
				return nil, gaveUp(ctx, c.op)
			}
		default:
			return a, nil
		}
	}
}

// maxPutOff is how long a read waits, in all, for a BMC that named a time.
const maxPutOff = 10 * time.Second

func putOff(status int) bool {
	return status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests
}

// spare reports whether the caller has the time to wait. A poll has not: it comes
// again by itself.
func spare(ctx context.Context, d time.Duration) bool {
	deadline, limited := ctx.Deadline()
	return bmc.PriorityOf(ctx) != bmc.Background && (!limited || time.Until(deadline) > d)
}

// paceBurst requests may come at once where one per second is the rule: as many
// as it takes to register a machine.
const paceBurst = 4

// send makes one call under the limits; a GET whose connection breaks is tried
// again.
func (e *Endpoint) send(ctx context.Context, c call, target string, body []byte, id identity) (*answer, error) {
	poll := bmc.PriorityOf(ctx) == bmc.Background
	if poll {
		if err := e.breaker.refuse(c.op, e.now(), false); err != nil {
			return nil, err
		}
	}
	slow, most := e.has(quirk.OnePerSecond), maxInFlight
	if slow {
		most = 1
	}
	leave, err := e.gate.enter(ctx, c.op, c.method != http.MethodGet, most)
	if err != nil {
		return nil, err
	}
	defer leave()
	if poll { // those before it may have found nobody
		if err := e.breaker.refuse(c.op, e.now(), true); err != nil {
			return nil, err
		}
	}
	if slow {
		if err := e.keepPace(ctx, c.op); err != nil {
			return nil, err
		}
	}
	inner, cancel := context.WithTimeout(ctx, max(e.timeout, c.timeout))
	defer cancel()
	for try := 1; ; try++ {
		a, err := e.roundTrip(inner, c, target, body, id)
		if err != nil && c.method == http.MethodGet && try < readTries && broken(err) && e.sleep(inner, time.Duration(try)*retryPause) == nil {
			continue
		}
		if err != nil {
			err = e.classify(ctx, c.op, err)
		}
		e.breaker.record(e.now(), err)
		return a, err
	}
}

// keepPace waits until the BMC bears the next request.
func (e *Endpoint) keepPace(ctx context.Context, op string) error {
	now := e.now()
	r := e.pace.ReserveN(now, 1)
	if d := r.DelayFrom(now); d > 0 && e.sleep(ctx, d) != nil {
		r.CancelAt(now)
		return gaveUp(ctx, op)
	}
	return nil
}

func (e *Endpoint) roundTrip(ctx context.Context, c call, target string, body []byte, id identity) (*answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
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
	if c.gzip {
		req.Header.Set("Accept-Encoding", "gzip")
	}
	req.Close = e.has(quirk.NoKeepAlive)
	id.apply(req, e.creds)
	if c.upload != nil {
		if err := c.upload.fill(req, c.op, id); err != nil {
			return nil, err
		}
	}
	think := headerTimeout // not the transport's ResponseHeaderTimeout: some calls have more patience
	if c.timeout > e.timeout {
		think = c.timeout
	}
	silent := time.AfterFunc(think, func() { cancel(errSilent) })
	resp, err := e.client.Do(req)
	silent.Stop()
	var data []byte
	if err == nil {
		defer resp.Body.Close()
		data, err = readBody(resp)
	}
	if err != nil && errors.Is(context.Cause(ctx), errSilent) {
		err = errSilent
	}
	if err != nil {
		return nil, err
	}
	return &answer{status: resp.StatusCode, header: resp.Header, body: data}, nil
}

// readBody reads an answer to its end, within bounds, so that its connection can
// be used again. What is compressed, asked for or not, is unpacked.
func readBody(resp *http.Response) ([]byte, error) {
	body := io.LimitReader(resp.Body, maxBody+1)
	zipped := strings.EqualFold(strings.TrimSpace(resp.Header.Get("Content-Encoding")), "gzip")
	if zipped {
		z, err := gzip.NewReader(body)
		if errors.Is(err, io.EOF) {
			return nil, nil // no body at all
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errEncoding, err)
		}
		body = io.LimitReader(z, maxBody+1)
	}
	data, err := io.ReadAll(body)
	if zipped && (errors.Is(err, gzip.ErrChecksum) || errors.Is(err, gzip.ErrHeader)) {
		return nil, fmt.Errorf("%w: %w", errEncoding, err)
	}
	if err != nil {
		return nil, err
	}
	if len(data) > maxBody {
		return nil, errTooLong
	}
	return data, nil
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
	if e.has(quirk.TrailingSlash) && strings.HasPrefix(u.Path, "/redfish/") && !strings.HasSuffix(target, "/") {
		target += "/"
	}
	if u.RawQuery != "" {
		target += "?" + u.RawQuery
	}
	return target, nil
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

var (
	errTooLong  = errors.New("the answer is longer than 16 MiB")
	errSilent   = errors.New("no first byte in time")
	errEncoding = errors.New("the answer does not unpack")
)
