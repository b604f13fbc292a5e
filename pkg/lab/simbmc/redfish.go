package simbmc

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxBody bounds a request's body; the longest real one is an InsertMedia.
const maxBody = 64 << 10

// obj is a JSON object under construction.
type obj = map[string]any

// reply is what a resource answers: a body, or an error, or neither (204).
type reply struct {
	status   int // 0: 200 with a body, 204 without
	body     obj
	err      *redfishError
	location string
	token    string
	etag     bool // send an ETag of the body
}

// resource is what lives at one URI. A nil method is not allowed there.
type resource struct {
	get    func(ctx context.Context) reply
	post   func(ctx context.Context, body obj) reply
	patch  func(ctx context.Context, body obj) reply
	del    func(ctx context.Context) reply
	public bool // GET needs no credentials (DSP0266 §13.3.1)
	login  bool // POST needs no credentials
}

// Redfish returns the Redfish face.
func (b *BMC) Redfish() http.Handler { return http.HandlerFunc(b.serveRedfish) }

// ServeRedfish serves the Redfish face on ln until ctx ends or ln is closed; it
// then cuts what is open. A nil conf is plain HTTP.
func (b *BMC) ServeRedfish(ctx context.Context, ln net.Listener, conf *tls.Config) error {
	if conf != nil {
		conf = conf.Clone()
		conf.NextProtos = []string{"http/1.1"} // no BMC of note speaks HTTP/2
		ln = tls.NewListener(ln, conf)
	}
	srv := &http.Server{
		Handler:           b.Redfish(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(io.Discard, "", 0), // a client that hangs up is no news
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	err := srv.Serve(ln)
	_ = srv.Close()
	if ctx.Err() != nil || errors.Is(err, net.ErrClosed) || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve redfish of %s: %w", b.info.Name, err)
}

func (b *BMC) serveRedfish(w http.ResponseWriter, r *http.Request) {
	b.requests.Add(1)
	faults, changed := b.faults.wait()
	switch {
	case faults.Refuse:
		cut(w)
		return
	case faults.Hang:
		select {
		case <-r.Context().Done():
		case <-changed:
		}
		cut(w)
		return
	}
	if after, busy := b.faults.takeBusy(); busy {
		w.Header().Set("Retry-After", strconv.Itoa(int(after/time.Second)))
		b.write(w, r, reply{err: errBusy()})
		return
	}
	b.write(w, r, b.answer(r))
}

// cut drops the connection without an answer.
func cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	_ = conn.Close()
}

// answer finds the resource, checks who asks, and runs the method.
func (b *BMC) answer(r *http.Request) reply {
	path := strings.TrimSuffix(r.URL.Path, "/")
	res, found := b.resource(path)
	open := found && (res.public && isRead(r.Method) || res.login && r.Method == http.MethodPost)
	if !open {
		if err := b.authorize(r); err != nil {
			return reply{err: err}
		}
	}
	if !found {
		return reply{err: errNotFound(path)}
	}
	var body obj
	switch {
	case isRead(r.Method) && res.get != nil:
		return res.get(r.Context())
	case r.Method == http.MethodDelete && res.del != nil:
		return res.del(r.Context())
	case r.Method == http.MethodPost && res.post != nil, r.Method == http.MethodPatch && res.patch != nil:
		var err *redfishError
		if body, err = readBody(r); err != nil {
			return reply{err: err}
		}
	default:
		return reply{err: errMethod()}
	}
	if r.Method == http.MethodPost {
		return res.post(r.Context(), body)
	}
	if err := b.precondition(r, res); err != nil {
		return reply{err: err}
	}
	return res.patch(r.Context(), body)
}

func isRead(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// precondition honours If-Match (DSP0266 §7.5).
func (b *BMC) precondition(r *http.Request, res resource) *redfishError {
	match := r.Header.Get("If-Match")
	if match == "" || match == "*" || res.get == nil {
		return nil
	}
	now := res.get(r.Context())
	if now.err != nil {
		return now.err
	}
	text, err := json.Marshal(now.body)
	if err != nil {
		return errInternal(err)
	}
	if strings.TrimPrefix(match, "W/") != strings.TrimPrefix(etag(text), "W/") {
		return errPrecondition()
	}
	return nil
}

func readBody(r *http.Request) (obj, *redfishError) {
	text, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil || len(text) > maxBody {
		return nil, errMalformed()
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return obj{}, nil
	}
	var body obj
	if err := json.Unmarshal(text, &body); err != nil || body == nil {
		return nil, errMalformed()
	}
	return body, nil
}

func etag(text []byte) string {
	h := fnv.New64a()
	_, _ = h.Write(text)
	return fmt.Sprintf(`W/"%016x"`, h.Sum64())
}

func (b *BMC) write(w http.ResponseWriter, r *http.Request, rep reply) {
	head := w.Header()
	head.Set("OData-Version", "4.0") // DSP0266 §8.2: on every answer
	head.Set("Cache-Control", "no-cache")
	status, body := rep.status, rep.body
	if rep.err != nil {
		status, body = rep.err.status, rep.err.body()
		if status == http.StatusUnauthorized {
			head.Set("WWW-Authenticate", `Basic realm="redfish"`)
		}
	}
	if rep.location != "" {
		head.Set("Location", rep.location)
	}
	if rep.token != "" {
		head.Set("X-Auth-Token", rep.token)
	}
	if body == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	text, err := json.Marshal(body)
	if err != nil { // only strings, numbers, lists and maps are put in
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	if rep.etag {
		head.Set("ETag", etag(text))
	}
	if b.faults.get().Malformed {
		text = text[:len(text)/2]
	}
	head.Set("Content-Type", "application/json; charset=utf-8")
	head.Set("Content-Length", strconv.Itoa(len(text)))
	if status == 0 {
		status = http.StatusOK
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(text)
	}
}
