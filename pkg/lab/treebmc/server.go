package treebmc

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// Options of a Server. The zero value lets everybody in, does everything at once
// and keeps to the standard.
type Options struct {
	// Username and Password of the administrator. Without a name nobody is asked.
	Username, Password string
	// MaxSessions at a time; zero is 8, as on iDRAC.
	MaxSessions int
	// CheckETags refuses an If-Match that is not the resource's ETag (412).
	CheckETags bool
	// TaskReads is how often a task is read until it is over. Zero: what can be
	// done at once is, and only firmware updates have a task, read once.
	TaskReads int
	// PowerReads is how often a machine is read until a power change shows.
	PowerReads int
	// PostReads is how often a machine is read until it is out of POST.
	PostReads int
	// Latency of every answer.
	Latency time.Duration
	// Quirks are on.
	Quirks quirk.Set
	// Now is the clock, for quirk.OnePerSecond alone; nil is the wall's.
	Now func() time.Time
}

// Entry is one request in the journal.
type Entry struct {
	Method  string
	Path    string // as it came, with its query
	IfMatch string
	Body    string // with secrets taken out, cut to 4 KiB
	Status  int
}

const (
	maxBody    = 64 << 20 // bytes of a request, for firmware
	maxJSON    = 1 << 20
	maxJournal = 10_000 // requests
)

// Server is the BMC. It is safe for concurrent use.
type Server struct {
	tree  fs.FS
	files map[string]string // key of a URI → file

	mu       sync.Mutex
	o        Options
	docs     map[string]obj // key → resource, as it is now
	revision map[string]int // key → how often it was changed
	pending  map[string]obj // key of a resource → what its settings object was sent
	settings map[string]string
	machines map[string]*machine
	sessions map[string]string // token → key
	users    map[string]string // name → password
	peers    map[string]bool   // connections seen
	served   time.Time
	tasks    map[string]*task
	serial   int
	busy     int
	retry    time.Duration
	journal  []Entry
	boots    []string
}

// New makes a Server of the tree, whose resources lie at redfish/v1/…, or, as in
// DMTF's short mockups, at its top.
func New(tree fs.FS, o Options) (*Server, error) {
	if o.MaxSessions == 0 {
		o.MaxSessions = 8
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{
		tree: tree, o: o, docs: map[string]obj{}, revision: map[string]int{}, pending: map[string]obj{},
		settings: map[string]string{}, machines: map[string]*machine{}, sessions: map[string]string{},
		users: map[string]string{}, peers: map[string]bool{}, tasks: map[string]*task{},
	}
	var err error
	if s.files, err = index(tree); err != nil {
		return nil, err
	}
	s.settle()
	return s, nil
}

// Busy answers the next n requests with 503 and Retry-After.
func (s *Server) Busy(n int, retryAfter time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy, s.retry = n, retryAfter
}

// ForgetSessions ends all sessions, as a BMC's restart does.
func (s *Server) ForgetSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.sessions)
}

// Sessions counts those that are open.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// Journal lists the requests, the oldest first.
func (s *Server) Journal() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.journal)
}

// Boots lists where machines started from, the oldest first: a boot source of
// DSP0268 or, without an override, "order".
func (s *Server) Boots() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.boots)
}

// Resource is a copy of what is at uri now, or nil.
func (s *Server) Resource(uri string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return clone(s.doc(key(uri)))
}

// Edit changes what is at uri; false if nothing is.
func (s *Server) Edit(uri string, edit func(resource map[string]any)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key(uri)
	doc := s.doc(k)
	if doc == nil {
		return false
	}
	edit(doc)
	s.touch(k)
	return true
}

// request is what came in.
type request struct {
	method string
	key    string // of the URI
	path   string // as it was written
	query  map[string][]string
	header http.Header
	raw    []byte
	body   obj // nil: none, or no object
	length int64
	peer   string
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.cut(w, r) {
		return
	}
	if !wait(r.Context(), s.o.Latency) {
		return
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return
	}
	in := &request{
		method: r.Method, key: key(r.URL.EscapedPath()), path: r.URL.EscapedPath(), query: r.URL.Query(),
		header: r.Header, raw: raw, length: r.ContentLength, peer: r.RemoteAddr,
	}
	var bad *answer
	if len(raw) > 0 && len(raw) <= maxJSON && !strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		if json.Unmarshal(raw, &in.body) != nil && strings.Contains(r.Header.Get("Content-Type"), "json") {
			bad = refuse(http.StatusBadRequest, "Base.1.8.MalformedJSON", "The request body submitted was malformed JSON and could not be parsed by the receiving service.")
		}
	}
	s.mu.Lock()
	out := bad
	if out == nil {
		out = s.answer(in)
	}
	s.note(r, in, out.status)
	data := out.encode() // under the lock: resources are encoded as they are
	s.mu.Unlock()
	out.write(w, r.Method, data)
}

// answer passes a request through what stands before the resources.
func (s *Server) answer(r *request) *answer {
	for _, gate := range []func(*request) *answer{s.overloaded, s.slash, s.admit, s.uncompressed} {
		if refused := gate(r); refused != nil {
			return refused
		}
	}
	switch r.method {
	case http.MethodGet, http.MethodHead:
		return s.get(r)
	case http.MethodPost:
		return s.post(r)
	case http.MethodPatch:
		return s.patch(r)
	case http.MethodDelete:
		return s.remove(r)
	}
	return notAllowed()
}

func (s *Server) overloaded(*request) *answer {
	if s.busy > 0 {
		s.busy--
		return busy(s.retry)
	}
	// quirk.OnePerSecond. Unverified: no capture of an AST2400 under load at hand.
	if now := s.o.Now(); s.o.Quirks.Has(quirk.OnePerSecond) {
		early := !s.served.IsZero() && now.Sub(s.served) < time.Second
		s.served = now
		if early {
			return busy(time.Second)
		}
	}
	return nil
}

// secrets are properties that never get into the journal.
var secrets = []string{"Password", "Token", "HttpHeaders"}

func (s *Server) note(r *http.Request, in *request, status int) {
	body := ""
	if in.body != nil {
		shown := clone(in.body)
		for _, name := range secrets {
			if _, ok := shown[name]; ok {
				shown[name] = "…"
			}
		}
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(shown)
		body = strings.TrimSpace(b.String())
		body = body[:min(len(body), 4<<10)]
	}
	if len(s.journal) == maxJournal {
		s.journal = s.journal[1:]
	}
	s.journal = append(s.journal, Entry{
		Method: in.method, Path: r.URL.RequestURI(), IfMatch: r.Header.Get("If-Match"), Body: body, Status: status,
	})
}

// cut ends a connection that is used again, without an answer.
//
// quirk.NoKeepAlive: "Connection aborted. … RemoteDisconnected('Remote end closed
// connection without response')" to the second request of an iLO 5
// (DMTF/Redfish-Event-Listener #24).
func (s *Server) cut(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	again := s.o.Quirks.Has(quirk.NoKeepAlive) && s.peers[r.RemoteAddr]
	s.peers[r.RemoteAddr] = true
	s.mu.Unlock()
	if !again {
		return false
	}
	h, ok := w.(http.Hijacker)
	if !ok {
		return false
	}
	conn, _, err := h.Hijack()
	if err == nil {
		_ = conn.Close()
	}
	return true
}

// wait for d, unless the client goes away first.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
