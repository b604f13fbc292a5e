package sushytools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// FeatureSet is SUSHY_EMULATOR_FEATURE_SET.
type FeatureSet string

// Feature sets (main, Application.configure).
const (
	Full    FeatureSet = "full"
	VMedia  FeatureSet = "vmedia"
	Minimum FeatureSet = "minimum"
)

// maxBody bounds what a client may send.
const maxBody = 1 << 20

// Options are what a sushy-emulator.conf may say. The zero value is the
// emulator's defaults: all features, no authentication.
type Options struct {
	FeatureSet FeatureSet // empty: Full
	// Username and Password are the one entry of SUSHY_EMULATOR_AUTH_FILE; empty:
	// nobody is asked.
	Username, Password string
	// MediaOnManager puts virtual media below Managers, as releases before
	// a654a033 do.
	MediaOnManager bool
	// DisablePowerOff is SUSHY_EMULATOR_DISABLE_POWER_OFF.
	DisablePowerOff bool
	// NoCDROM says that the domain was defined without a CD drive, so that it
	// boots from Cd with an image inserted alone.
	NoCDROM bool
	// Storage is SUSHY_EMULATOR_STORAGE, _DRIVES and _VOLUMES by the machine's
	// UUID; nil: there is none.
	Storage map[string][]Storage
	// Client fetches images; nil is one with a time limit.
	Client *http.Client
	// Now is the clock; nil is the wall clock.
	Now func() time.Time
}

// Server is the emulator in front of some machines. It is safe for concurrent
// use; requests are carried out one at a time.
type Server struct {
	o       Options
	systems []*system // in the order of libvirt's list
	routes  []route

	mu          sync.Mutex
	httpBootURI string // one for all machines (systems, set_http_boot_uri)
	dateTime    [2]string
	chassisLED  string
}

// New returns the emulator in front of bodies.
func New(o Options, bodies ...simbmc.Body) (*Server, error) {
	if o.FeatureSet == "" {
		o.FeatureSet = Full
	}
	switch o.FeatureSet {
	case Full, VMedia, Minimum:
	default:
		return nil, fmt.Errorf("invalid feature set %s", o.FeatureSet)
	}
	if o.Client == nil {
		o.Client = &http.Client{Timeout: time.Minute}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{o: o, chassisLED: "Lit"}
	for _, b := range bodies {
		s.systems = append(s.systems, newSystem(b, o))
	}
	s.routes = s.table()
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if rep := s.authenticate(r); rep != nil {
		rep.write(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		s.render(badRequest(werkzeugBadRequest)).write(w, r)
		return
	}
	s.mu.Lock()
	rep := s.answer(r, body)
	s.mu.Unlock()
	rep.write(w, r)
}

// obj is a JSON object.
type obj = map[string]any

// reply is what api_utils.returns_json makes of a view's answer: whatever it is,
// it goes out as application/json (utils, returns_json).
type reply struct {
	status int
	body   any    // marshalled, unless text is set
	text   string // as it is
	header map[string]string
}

func (p *reply) write(w http.ResponseWriter, r *http.Request) {
	for k, v := range p.header {
		w.Header().Set(k, v)
	}
	w.Header().Set("Content-Type", "application/json")
	text := []byte(p.text)
	if p.body != nil {
		var err error
		if text, err = json.MarshalIndent(p.body, "", "    "); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
	}
	if p.status == 0 {
		p.status = http.StatusOK
	}
	w.WriteHeader(p.status)
	if r.Method != http.MethodHead && p.status != http.StatusNoContent {
		_, _ = w.Write(text)
	}
}

func done() *reply { return &reply{status: http.StatusNoContent} }

// fishy is an exception of the emulator with its code (error).
type fishy struct {
	code  int
	msg   string
	alias string // AliasAccessError: the identity to use instead
}

func (f *fishy) Error() string { return f.msg }

func fail(format string, args ...any) error { // FishyError
	return &fishy{code: http.StatusInternalServerError, msg: fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) error {
	return &fishy{code: http.StatusNotFound, msg: fmt.Sprintf(format, args...)}
}

func badRequest(msg string) error { return &fishy{code: http.StatusBadRequest, msg: msg} }

func notSupported(msg string) error { return &fishy{code: http.StatusNotImplemented, msg: msg} }

func conflict(msg string) error { return &fishy{code: http.StatusConflict, msg: msg} }

// feature refuses what the feature set leaves out (error, FeatureNotAvailable).
func (s *Server) feature(name string, sets ...FeatureSet) error {
	for _, f := range sets {
		if s.o.FeatureSet == f {
			return nil
		}
	}
	return notFound("Feature %s not available", name)
}

// render is main, all_exception_handler with template error@a586c55a. The
// message is put in as it is: one with quotes makes a body that is no JSON.
func (s *Server) render(err error) *reply {
	code := http.StatusInternalServerError
	var f *fishy
	if errors.As(err, &f) {
		code = f.code
	}
	return &reply{status: code, text: `{
  "error": {
    "code": "Base.1.0.GeneralError",
    "message": "` + err.Error() + `",
    "@Message.ExtendedInfo": [
      {
        "@odata.type": "/redfish/v1/$metadata#Message.1.0.0.Message",
        "MessageId": "Base.1.0.GeneralError"
      }
    ]
  }
}`}
}

// NotReproduced is the error code of what this package does not answer as the
// emulator does, because its source was not read.
const NotReproduced = "Ingot.NotReproduced"

func notReproduced(*request) (*reply, error) {
	return &reply{status: http.StatusNotImplemented, body: obj{"error": obj{
		"code": NotReproduced, "message": "sushy-tools answers here, this contract server does not",
	}}}, nil
}

// request is one call of a view.
type request struct {
	ctx  context.Context
	http *http.Request
	vars map[string]string
	body []byte
}

// json is flask.request.json: an object in application/json, or 400 (flask,
// wrappers.py 126).
func (r *request) json() (obj, error) {
	kind, _, _ := strings.Cut(r.http.Header.Get("Content-Type"), ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	var v any
	if kind != "application/json" && !strings.HasSuffix(kind, "+json") || json.Unmarshal(r.body, &v) != nil {
		return nil, badRequest(werkzeugBadRequest)
	}
	o, ok := v.(obj)
	if !ok {
		return nil, fail("'%s' object has no attribute 'get'", pythonType(v))
	}
	return o, nil
}

// pythonType names what Python makes of a JSON value.
func pythonType(v any) string {
	switch n := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case string:
		return "str"
	case []any:
		return "list"
	case float64:
		if n == float64(int64(n)) {
			return "int"
		}
		return "float"
	}
	return "dict"
}

// truth is Python's.
func truth(v any) bool {
	switch n := v.(type) {
	case nil:
		return false
	case bool:
		return n
	case string:
		return n != ""
	case float64:
		return n != 0
	case []any:
		return len(n) > 0
	case obj:
		return len(n) > 0
	}
	return true
}

// Descriptions of werkzeug/exceptions.py, 182, 348 and 366.
const (
	werkzeugBadRequest = "400 Bad Request: The browser (or proxy) sent a request that this server could not understand."
	werkzeugNotFound   = "404 Not Found: The requested URL was not found on the server. If you entered the URL manually please check your spelling and try again."
	werkzeugMethod     = "405 Method Not Allowed: The method is not allowed for the requested URL."
)

const (
	copyright14 = "Copyright 2014-2016 Distributed Management Task Force, Inc. (DMTF). For the full DMTF copyright policy, see http://www.dmtf.org/about/policies/copyright."
	copyright17 = "Copyright 2014-2017 Distributed Management Task Force, Inc. (DMTF). For the full DMTF copyright policy, see http://www.dmtf.org/about/policies/copyright."
	copyright21 = "Copyright 2014-2021 DMTF. For the full DMTF copyright policy, see http://www.dmtf.org/about/policies/copyright."
)
