package redfish

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

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
	a, err := e.attempt(ctx, c)
	if e.observe != nil {
		e.observe(err)
	}
	return a, err
}

func (e *Endpoint) attempt(ctx context.Context, c call) (*answer, error) {
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
