package redfish

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
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
	if c.method != http.MethodGet {
		if err := bmc.Fenced(ctx); err != nil {
			return nil, err
		}
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

var (
	errTooLong  = errors.New("the answer is longer than 16 MiB")
	errSilent   = errors.New("no first byte in time")
	errEncoding = errors.New("the answer does not unpack")
)
