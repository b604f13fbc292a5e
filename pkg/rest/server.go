package rest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
)

// Limits of a body (ironic/conf/api.py).
const (
	maxBody      = 1 << 20
	maxProvision = 64 << 20 // states/provision carries config drives
	maxDepth     = 25
)

// Caller is who asks, as the authentication found out.
type Caller struct {
	User    string
	Project string   // empty: of no project
	Roles   []string // as Keystone has them: admin, service, manager, member, reader
	System  bool     // system-scoped, or a door without projects: sees all
}

// Authenticate finds out who asks. An error that is an *http* answer of its own (401
// with a challenge) is written by it; it then returns false.
type Authenticate func(w http.ResponseWriter, r *http.Request) (Caller, bool)

// Options of a server. Those that may be left out say so.
type Options struct {
	Nodes        *node.Store
	Authenticate Authenticate // nil: everybody is the administrator
	Machines     Machines     // nil: nothing can be asked of a BMC
	Log          *slog.Logger
	Now          func() time.Time
}

// Server answers the REST door.
type Server struct {
	Options
	mux    *http.ServeMux
	routes map[string]map[string]route // by pattern and method
	docs   docCache
}

// route is one method of one path.
type route struct {
	method string
	path   string         // under /v1, with {names}
	since  ironic.Version // below it there is no such endpoint; 0: always
	late   int            // status below since; 0: 404
	action string         // of the policy; empty: public
	limit  int64          // of the body; 0: maxBody
	do     func(*call) (*reply, error)
}

// call is one request on its way.
type call struct {
	*http.Request
	s       *Server
	version ironic.Version
	caller  Caller
	route   *route
}

// reply is what is answered; a nil one is 204 without a body.
type reply struct {
	status   int
	body     any    // marshalled, unless raw is set
	raw      []byte // JSON
	location string // path under /v1
}

func ok(body any) (*reply, error) { return &reply{status: http.StatusOK, body: body}, nil }

func accepted() (*reply, error) { return &reply{status: http.StatusAccepted}, nil }

// New returns the door's handler.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{Options: o, mux: http.NewServeMux(), routes: map[string]map[string]route{}}
	for _, r := range s.table() {
		if s.routes[r.path] == nil {
			s.routes[r.path] = map[string]route{}
			s.mux.HandleFunc(r.path, func(w http.ResponseWriter, req *http.Request) { s.serve(w, req, s.routes[r.path]) })
		}
		s.routes[r.path][r.method] = r
	}
	return s
}

// table is every endpoint.
func (s *Server) table() []route {
	return slices.Concat(
		s.discoveryRoutes(),
		s.nodeRoutes(),
	)
}

// ServeHTTP implements http.Handler. Trailing slashes and paths without /v1 (the
// bookmark links) reach the same.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := "req-" + uuid.NewString()
	w.Header().Set("Openstack-Request-Id", id)
	w.Header().Set("X-Openstack-Request-Id", id)
	path := strings.TrimRight(r.URL.Path, "/")
	if path == "" {
		path = "/"
	} else if path != "/v1" {
		path = strings.TrimPrefix(path, "/v1")
	}
	if strings.Contains(path, "//") || strings.Contains(path, "/.") {
		noRoute().(*fault).write(w)
		return
	}
	u := *r.URL
	u.Path, u.RawPath = path, ""
	r2 := new(http.Request)
	*r2 = *r
	r2.URL = &u
	if _, pattern := s.mux.Handler(r2); pattern == "" {
		if s.public(path) || s.known(w, r) {
			noRoute().(*fault).write(w)
		}
		return
	}
	s.mux.ServeHTTP(w, r2)
}

// known reports whether somebody may learn that there is nothing.
func (s *Server) known(w http.ResponseWriter, r *http.Request) bool {
	if s.Authenticate == nil {
		return true
	}
	_, ok := s.Authenticate(w, r)
	return ok
}

func (s *Server) public(path string) bool { return path == "/" || path == "/v1" }

func (s *Server) serve(w http.ResponseWriter, r *http.Request, methods map[string]route) {
	c := &call{Request: r, s: s}
	out, err := s.dispatch(w, c, methods)
	if errors.Is(err, errAnswered) {
		return
	}
	if err != nil {
		f := faultOf(err)
		if f.status >= http.StatusInternalServerError {
			s.Log.Warn("REST request failed", "method", r.Method, "path", r.URL.Path, "err", err)
		}
		f.write(w)
		return
	}
	if out == nil {
		out = &reply{status: http.StatusNoContent}
	}
	if out.location != "" {
		w.Header().Set("Location", base(r)+"/v1"+out.location)
	}
	switch {
	case out.raw != nil:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(out.raw)))
		w.WriteHeader(out.status)
		_, _ = w.Write(out.raw)
	case out.body != nil:
		answer(w, out.status, out.body)
	default:
		w.WriteHeader(out.status)
	}
}

// errAnswered says that the answer was written.
var errAnswered = errors.New("answered")

func (s *Server) dispatch(w http.ResponseWriter, c *call, methods map[string]route) (*reply, error) {
	route, ok := methods[c.Method]
	if !ok && c.Method == http.MethodHead {
		route, ok = methods[http.MethodGet]
	}
	if ok {
		c.route = &route
	}
	if (!ok || route.action != "") && s.Authenticate != nil {
		caller, let := s.Authenticate(w, c.Request)
		if !let {
			return nil, errAnswered
		}
		c.caller = caller
	} else {
		c.caller = Caller{User: "admin", Roles: []string{"admin"}, System: true}
	}
	if err := c.negotiate(w); err != nil {
		return nil, err
	}
	if !ok {
		allow := make([]string, 0, len(methods))
		for m := range methods {
			allow = append(allow, m)
		}
		slices.Sort(allow)
		return nil, &fault{status: http.StatusMethodNotAllowed, title: "Method Not Allowed", text: "The method " + c.Method + " is not allowed for this resource.", allow: strings.Join(allow, ", ")}
	}
	if c.version < route.since {
		if route.late != 0 {
			return nil, refuse(route.late, "The API version 1.%d does not have this: it came with 1.%d.", c.version, route.since)
		}
		return nil, noRoute()
	}
	limit := route.limit
	if limit == 0 {
		limit = maxBody
	}
	c.Body = http.MaxBytesReader(w, c.Body, limit)
	return route.do(c)
}

// negotiate finds the version that is asked for. Without a header it is the lowest.
func (c *call) negotiate(w http.ResponseWriter) error {
	const header = "X-OpenStack-Ironic-API-"
	c.version = ironic.MinVersion
	text := c.Header.Get(header + "Version")
	if other, ok := strings.CutPrefix(c.Header.Get("OpenStack-API-Version"), "baremetal "); text == "" && ok {
		text = strings.TrimSpace(other)
	}
	if text == "latest" {
		text = ironic.MaxVersion.String()
	}
	if text != "" {
		major, minor, ok := strings.Cut(text, ".")
		n, err := strconv.ParseUint(minor, 10, 31)
		if !ok || major == "" || err != nil {
			return &fault{status: http.StatusNotAcceptable, title: "Not Acceptable", text: "Invalid value for " + header + "Version header: it has to be 1.N or latest."}
		}
		w.Header().Set(header+"Minimum-Version", ironic.MinVersion.String())
		w.Header().Set(header+"Maximum-Version", ironic.MaxVersion.String())
		v := ironic.Version(min(n, 1<<20))
		if major != "1" || v < ironic.MinVersion || v > ironic.MaxVersion {
			return &fault{status: http.StatusNotAcceptable, title: "Not Acceptable", text: "Version " + text + " was requested but is not supported by this API. The supported version range is: [" + ironic.MinVersion.String() + ", " + ironic.MaxVersion.String() + "]."}
		}
		c.version = v
	}
	w.Header().Set(header+"Minimum-Version", ironic.MinVersion.String())
	w.Header().Set(header+"Maximum-Version", ironic.MaxVersion.String())
	w.Header().Set(header+"Version", c.version.String())
	return nil
}

// read decodes the body, which has to be one JSON value that is not too deep.
func (c *call) read(into any) error {
	text, err := io.ReadAll(c.Body)
	if err != nil {
		return err
	}
	if err := shallow(text); err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			return badRequest("Invalid input for field/attribute %s. Value: a JSON %s. Expected: %s.", kind.Field, kind.Value, kind.Type)
		}
		return badRequest("The request body is not valid JSON: %v", err)
	}
	return nil
}

// shallow refuses what is nested too deeply, before anything recurses into it.
func shallow(text []byte) error {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch ch := text[i]; {
		case quoted && ch == '\\':
			i++
		case ch == '"':
			quoted = !quoted
		case quoted:
		case ch == '{' || ch == '[':
			if depth++; depth > maxDepth {
				return badRequest("The request body is nested deeper than %d levels.", maxDepth)
			}
		case ch == '}' || ch == ']':
			depth--
		}
	}
	return nil
}

// base is where the client reached us: http://HOST:PORT.
func base(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// Machines is what a client may ask of a node's machine at once, without its life
// cycle.
type Machines interface {
	InjectNMI(ctx context.Context, n *node.Node) error
}
