//go:build e2e

package kill

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync/atomic"
	"time"
)

// restVersion is what a client of today asks for.
const restVersion = "1.82"

// restDoor is the REST door as Ironic's clients use it: what is answered 409 or 503, or
// not at all, is tried again.
type restDoor struct {
	url  string
	http *http.Client
	k    *restKiller
}

func newRESTDoor(url string, k *restKiller) *restDoor {
	// A connection that is kept would be one to a server that is dead.
	return &restDoor{url: url, k: k, http: &http.Client{
		Timeout: 40 * time.Second, Transport: &http.Transport{DisableKeepAlives: true},
	}}
}

// refused is an answer that nobody asks again after.
type refused struct {
	status int
	text   string
}

func (r *refused) Error() string { return fmt.Sprintf("%d %s", r.status, r.text) }

// is reports whether err is an answer with one of these statuses.
func is(err error, status ...int) bool {
	r, ok := errors.AsType[*refused](err)
	return ok && slices.Contains(status, r.status)
}

// once asks one time. An error that is not a *refused says that there was no answer.
// sent, which may be nil, is called when the request has been written.
func (d *restDoor) once(ctx context.Context, method, path string, body, into any, sent func()) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	if sent != nil {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(i httptrace.WroteRequestInfo) {
			if i.Err == nil {
				sent()
			}
		}})
	}
	req, err := http.NewRequestWithContext(ctx, method, d.url+"/v1"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("X-OpenStack-Ironic-API-Version", restVersion)
	req.Header.Set("Content-Type", "application/json")
	res, err := d.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return err
	case res.StatusCode >= 300:
		return &refused{res.StatusCode, string(answer)}
	case into != nil:
		return json.Unmarshal(answer, into)
	}
	return nil
}

// get reads, however often the server dies meanwhile.
func (d *restDoor) get(ctx context.Context, path string, into any) error {
	for {
		err := d.once(ctx, http.MethodGet, path, nil, into, nil)
		if _, answered := errors.AsType[*refused](err); err == nil || ctx.Err() != nil || answered && !is(err, http.StatusServiceUnavailable) {
			return err
		}
		pause(ctx, 30*time.Millisecond)
	}
}

// restChange is one change that a client wants made.
type restChange struct {
	phase, method, path string
	body                any
	// made looks whether a change whose answer was lost was made or begun. nil: it may
	// be made twice.
	made func(context.Context) (bool, error)
	gone bool // 404 says that it was made, if an answer was lost
}

// change makes a change until it is acknowledged or seen to be made.
func (d *restDoor) change(ctx context.Context, c restChange) error {
	ctx, cancel := context.WithTimeout(ctx, restPatience)
	defer cancel()
	unsure := false // an answer was lost
	for {
		var inFlight atomic.Bool
		err := d.once(ctx, c.method, c.path, c.body, nil, func() { inFlight.Store(true); d.k.sent(c.phase) })
		_, answered := errors.AsType[*refused](err)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%s %s: %w", c.method, c.path, err)
		case !answered && inFlight.Load():
			d.k.lost(c.phase)
			unsure = true
		case c.gone && unsure && is(err, http.StatusNotFound):
			return nil
		case answered && !is(err, http.StatusConflict, http.StatusServiceUnavailable) && !(unsure && c.made != nil):
			return fmt.Errorf("%s %s %v: %w", c.method, c.path, c.body, err)
		}
		pause(ctx, 40*time.Millisecond)
		if c.made == nil || !unsure && c.method != http.MethodPost {
			continue
		}
		made, lookErr := c.made(ctx)
		switch {
		case lookErr != nil:
			return lookErr
		case made:
			return nil
		case answered && !is(err, http.StatusConflict, http.StatusServiceUnavailable):
			return fmt.Errorf("%s %s %v, which was not made: %w", c.method, c.path, c.body, err)
		}
	}
}
