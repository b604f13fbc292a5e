package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

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

	Elevated bool   // a service that the configuration trusts with all nodes
	Review   Review // decides instead of the roles; nil: they do
}

// Authenticate finds out who asks. An error that is an *http* answer of its own (401
// with a challenge) is written by it; it then returns false.
type Authenticate func(w http.ResponseWriter, r *http.Request) (Caller, bool)

// Options of a server. Those that may be left out say so.
type Options struct {
	Nodes        *node.Store
	Authenticate Authenticate // nil: everybody is the administrator
	Machines     Machines     // nil: nothing can be asked of a BMC
	Relay        Relay        // nil: all machines are spoken to from here
	Log          *slog.Logger
	Now          func() time.Time
	Conductors   func() []Conductor // the replicas; nil: this one alone
	History      History            // nil: the store, if it remembers any
}

// Server answers the REST door.
type Server struct {
	Options
	mux    *http.ServeMux
	routes map[string]map[string]route // by pattern and method
	docs   docCache
	marks  marks
	kept   kept

	openAPI openAPICache
}

// route is one method of one path.
type route struct {
	method string
	path   string         // under /v1, with {names}
	since  ironic.Version // below it there is no such endpoint; 0: always
	late   int            // status below since; 0: 404
	action string         // of the policy; empty: public
	limit  int64          // of the body; 0: maxBody
	query  []string       // parameters that it takes; nil: it looks at them itself
	do     func(*call) (*reply, error)
}

// call is one request on its way.
type call struct {
	*http.Request
	s       *Server
	version ironic.Version
	caller  Caller
	access  access
	route   *route
}

// reply is what is answered; a nil one is 204 without a body.
type reply struct {
	status   int
	body     any         // marshalled, unless raw is set
	raw      []byte      // JSON
	location string      // path under /v1
	header   http.Header // of another replica's answer
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
	s.mux.HandleFunc("/", s.nothing)
	return s
}

// table is every endpoint.
func (s *Server) table() []route {
	return slices.Concat(
		s.discoveryRoutes(),
		s.nodeRoutes(),
		s.portRoutes(), s.portgroupRoutes(), s.chassisRoutes(), s.volumeRoutes(), s.templateRoutes(), s.runbookRoutes(), s.ruleRoutes(),
		s.allocationRoutes(), s.conductorRoutes(), s.shardRoutes(), s.eventRoutes(), s.historyRoutes(), s.vifRoutes(), s.childRoutes(), s.ramdiskRoutes(),
		s.machineRoutes(),
		s.openAPIRoutes(),
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
	u := *r.URL
	u.Path, u.RawPath = path, ""
	r2 := new(http.Request)
	*r2 = *r
	r2.URL = &u
	if strings.Contains(path, "//") || strings.Contains(path, "/.") || r.Method == http.MethodConnect {
		s.nothing(w, r2) // the multiplexer would redirect
		return
	}
	s.mux.ServeHTTP(w, r2)
}

// nothing answers where there is nothing. A version that is not served is said first.
func (s *Server) nothing(w http.ResponseWriter, r *http.Request) {
	if !s.public(r.URL.Path) && !s.known(w, r) {
		return
	}
	err := (&call{Request: r, s: s}).negotiate(w)
	if err == nil {
		err = noRoute()
	}
	faultOf(err).write(w)
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
	maps.Copy(w.Header(), out.header)
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
	} else if s.Authenticate == nil {
		c.caller = Administrator("anybody")
	}
	// The root says which versions there are, whatever is asked for.
	if err := c.negotiate(w); err != nil && c.URL.Path != "/" {
		return nil, err
	}
	if !ok {
		allow := strings.Join(slices.Sorted(maps.Keys(methods)), ", ")
		if c.Method == http.MethodOptions {
			w.Header().Set("Allow", allow)
			return &reply{status: http.StatusOK}, nil
		}
		return nil, notAllowed(allow)
	}
	if c.version < route.since {
		return nil, tooNew(route, methods, c.version)
	}
	if err := c.parameters(route.query); err != nil {
		return nil, err
	}
	limit := route.limit
	if limit == 0 {
		limit = maxBody
	}
	c.Body = http.MaxBytesReader(w, c.Body, limit)
	return c.carryOut()
}

// tooNew is the answer to an endpoint that came after the version asked for.
func tooNew(r route, methods map[string]route, v ironic.Version) error {
	switch r.late {
	case 0:
		return noRoute()
	case http.StatusMethodNotAllowed:
		var allow []string
		for m, other := range methods {
			if v >= other.since {
				allow = append(allow, m)
			}
		}
		slices.Sort(allow)
		return notAllowed(strings.Join(allow, ", "))
	case http.StatusNotAcceptable:
		return notAcceptable("")
	}
	return refuse(r.late, "This came with the API version %s.", r.since)
}

// parameters refuses those of the query that nothing would look at.
func (c *call) parameters(known []string) error {
	if known == nil || c.URL.RawQuery == "" {
		return nil
	}
	var others []string
	for name := range c.URL.Query() {
		if !slices.Contains(known, name) {
			others = append(others, name)
		}
	}
	return unexpected(others)
}

// unexpected refuses arguments that nobody knows; none of them is no error.
func unexpected(names []string) error {
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return badRequest("Unexpected arguments: %s", strings.Join(names, ", "))
}

// Names of the headers of a microversion: Ironic's own, and that of all of OpenStack.
const (
	versionHeader  = "X-OpenStack-Ironic-API-Version"
	minimumHeader  = "X-OpenStack-Ironic-API-Minimum-Version"
	maximumHeader  = "X-OpenStack-Ironic-API-Maximum-Version"
	standardHeader = "OpenStack-API-Version"
)

// asked is the version that headers ask for, as text. The header of all services is
// a list of "service version", of which the last that is ours counts.
func asked(h http.Header) string {
	entries := strings.Split(strings.Join(h.Values(standardHeader), ","), ",")
	for _, entry := range slices.Backward(entries) {
		service, version, ok := strings.Cut(strings.TrimSpace(entry), " ")
		if ok && strings.EqualFold(service, "baremetal") {
			return strings.TrimSpace(version)
		}
	}
	return strings.TrimSpace(h.Get(versionHeader))
}

// readVersion reads MAJOR.MINOR. What it cannot read has no ok.
func readVersion(text string) (major, minor uint64, ok bool) {
	a, b, found := strings.Cut(text, ".")
	major, errA := strconv.ParseUint(a, 10, 31)
	minor, errB := strconv.ParseUint(b, 10, 31)
	return major, minor, found && errA == nil && errB == nil
}

// negotiate finds the version that is asked for. Without a header it is the lowest.
func (c *call) negotiate(w http.ResponseWriter) error {
	c.version = ironic.MinVersion
	text := asked(c.Header)
	switch {
	case text == "":
		text = ironic.MinVersion.String()
	case strings.EqualFold(text, "latest"):
		text = ironic.MaxVersion.String()
	}
	major, minor, ok := readVersion(text)
	if !ok {
		return &fault{status: http.StatusNotAcceptable, title: "Not Acceptable", text: "Invalid value for " + versionHeader + " header"}
	}
	w.Header().Set(minimumHeader, ironic.MinVersion.String())
	w.Header().Set(maximumHeader, ironic.MaxVersion.String())
	served := fmt.Sprintf("The supported version range is: [%s, %s].", ironic.MinVersion, ironic.MaxVersion)
	if major != 1 {
		return &fault{status: http.StatusNotAcceptable, title: "Not Acceptable", text: fmt.Sprintf("Mutually exclusive versions requested. Version %d.%d requested but not supported by this service. %s", major, minor, served)}
	}
	v := ironic.Version(min(minor, 1<<20))
	if v < ironic.MinVersion || v > ironic.MaxVersion {
		return &fault{status: http.StatusNotAcceptable, title: "Not Acceptable", text: fmt.Sprintf("Version 1.%d was requested but the minor version is not supported by this service. %s", minor, served)}
	}
	c.version = v
	w.Header().Set(versionHeader, v.String())
	return nil
}

// body reads what was sent and makes sure that it can be looked at: text, and not
// nested so deeply that a parser suffers.
func (c *call) body() ([]byte, error) {
	text, err := io.ReadAll(c.Body)
	if err != nil {
		return nil, err
	}
	if !shallow(text) {
		return nil, &fault{status: http.StatusBadRequest, bare: true, text: "Request body JSON is nested too deeply. Please contact the service administrator."}
	}
	if !utf8.Valid(text) {
		return nil, badRequest("The request body is not valid JSON: it is not UTF-8.")
	}
	return text, nil
}

// read decodes the body, which has to be one JSON value that is not too deep. None is
// an empty object, as in Ironic.
func (c *call) read(into any) error {
	text, err := c.body()
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(text)) == 0 {
		text = []byte("{}")
	}
	return decode(text, into)
}

func decode(text []byte, into any) error {
	err := json.Unmarshal(text, into)
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind) && kind.Field == "":
		return badRequest("Schema error for the request body: a JSON %s is not what is expected here.", kind.Value)
	case errors.As(err, &kind):
		return badRequest("Invalid input for field/attribute %s. Value: a JSON %s.", kind.Field, kind.Value)
	case err != nil:
		return badRequest("The request body is not valid JSON: %v", err)
	}
	return nil
}

// arguments reads a body whose members are arguments; others than the known ones are
// refused.
func (c *call) arguments(known ...string) (map[string]json.RawMessage, error) {
	var args map[string]json.RawMessage
	if err := c.read(&args); err != nil {
		return nil, err
	}
	var others []string
	for name, value := range args {
		if !slices.Contains(known, name) {
			others = append(others, name)
		} else if string(value) == "null" {
			delete(args, name)
		}
	}
	return args, unexpected(others)
}

// textArgument is an argument that has to be a string; a missing one is "".
func textArgument(args map[string]json.RawMessage, name string) (string, error) {
	var text string
	if value, ok := args[name]; ok && json.Unmarshal(value, &text) != nil {
		return "", badRequest("Expected string for %s: %s", name, clip(value))
	}
	return text, nil
}

// clip is as much of a client's value as an error repeats.
func clip(value []byte) []byte { return value[:min(len(value), 100)] }

// shallow reports whether nothing is nested deeper than maxDepth.
func shallow(text []byte) bool {
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
				return false
			}
		case ch == '}' || ch == ']':
			depth--
		}
	}
	return true
}

// base is where the client reached us: http://HOST:PORT.
func base(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
