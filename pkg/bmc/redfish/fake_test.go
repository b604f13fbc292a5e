package redfish

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// fake is a small BMC with one system, sessions and faults.
type fake struct {
	t *testing.T

	mu       sync.Mutex
	docs     map[string]map[string]any // by path
	tokens   map[string]bool
	logins   int
	loginsNo int // of them refused
	log      []string
	maxLive  int
	live     int
	writes   int // writes under way
	maxWrite int

	password  string
	noSession bool
	loginBody string // with loginCode: what a refused login answers
	loginCode int
	etag      string                                                   // wanted in If-Match
	refuse    func(body map[string]any) (int, string)                  // a PATCH of the system
	ignore    bool                                                     // take a PATCH and do nothing
	settings  bool                                                     // ignore at the system, obey at its settings object
	fault     func(w http.ResponseWriter, r *http.Request) (done bool) // before all else
}

const (
	sysPath  = "/redfish/v1/Systems/1"
	resetURI = sysPath + "/Actions/ComputerSystem.Reset"
)

func newFake(t *testing.T) *fake {
	f := &fake{t: t, password: "secret", tokens: map[string]bool{}, docs: map[string]map[string]any{}}
	f.put("/redfish/v1", `{"RedfishVersion": "1.15.0", "Systems": {"@odata.id": "/redfish/v1/Systems"},
		"Links": {"Sessions": {"@odata.id": "/redfish/v1/SessionService/Sessions"}}}`)
	f.put("/redfish/v1/Systems", `{"Members": [{"@odata.id": "/redfish/v1/Systems/1"}]}`)
	f.put(sysPath, `{"@odata.id": "/redfish/v1/Systems/1", "Manufacturer": "ingot", "Model": "fake", "SerialNumber": "S1",
		"UUID": "38947555-7742-3448-3784-823347823834", "PowerState": "Off",
		"Boot": {"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None", "BootSourceOverrideMode": "UEFI",
			"BootSourceOverrideTarget@Redfish.AllowableValues": ["None", "Pxe", "Hdd", "UefiHttp"]},
		"Actions": {"#ComputerSystem.Reset": {"target": "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset",
			"ResetType@Redfish.AllowableValues": ["On", "ForceOff", "GracefulShutdown", "ForceRestart"]}}}`)
	return f
}

func (f *fake) put(path, doc string) {
	f.t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(doc), &m); err != nil {
		f.t.Fatal(err)
	}
	f.docs[path] = m
}

// change edits the system.
func (f *fake) change(edit func(system map[string]any)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	edit(f.docs[sysPath])
}

func (f *fake) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.log...)
}

func (f *fake) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = nil
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.log = append(f.log, r.Method+" "+r.URL.RequestURI())
	f.live++
	f.maxLive = max(f.maxLive, f.live)
	if r.Method != http.MethodGet {
		f.writes++
		f.maxWrite = max(f.maxWrite, f.writes)
	}
	fault := f.fault
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.live--
		if r.Method != http.MethodGet {
			f.writes--
		}
		f.mu.Unlock()
	}()
	if fault != nil && fault(w, r) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.serve(w, r)
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimRight(r.URL.Path, "/")
	var body map[string]any
	if data, _ := io.ReadAll(r.Body); len(data) > 0 {
		if err := json.Unmarshal(data, &body); err != nil {
			http.Error(w, "bad body", http.StatusBadRequest)
			return
		}
	}
	if path == "/redfish/v1/SessionService/Sessions" && r.Method == http.MethodPost {
		f.login(w, body)
		return
	}
	if path != "/redfish/v1" && !f.allowed(r) {
		http.Error(w, `{"error": {"code": "Base.1.5.NoValidSession", "message": "log in first"}}`, http.StatusUnauthorized)
		return
	}
	switch {
	case r.Method == http.MethodDelete && strings.HasPrefix(path, "/redfish/v1/SessionService/Sessions/"):
		delete(f.tokens, path[strings.LastIndex(path, "/")+1:])
		w.WriteHeader(http.StatusNoContent)
	case path == resetURI:
		f.reset(w, body)
	case r.Method == http.MethodPatch:
		f.patch(w, r, path, body)
	case f.docs[path] == nil:
		http.Error(w, `{"error": {"message": "no such resource"}}`, http.StatusNotFound)
	default:
		if f.etag != "" {
			w.Header().Set("ETag", f.etag)
		}
		_ = json.NewEncoder(w).Encode(f.docs[path])
	}
}

func (f *fake) allowed(r *http.Request) bool {
	if user, password, ok := r.BasicAuth(); ok {
		return user == "admin" && password == f.password
	}
	return f.tokens[r.Header.Get("X-Auth-Token")]
}

func (f *fake) login(w http.ResponseWriter, body map[string]any) {
	f.logins++
	switch {
	case f.noSession:
		http.NotFound(w, nil)
	case f.loginCode != 0:
		http.Error(w, f.loginBody, f.loginCode)
	case body["Password"] != f.password:
		f.loginsNo++
		http.Error(w, `{"error": {"message": "wrong password"}}`, http.StatusUnauthorized)
	default:
		token := fmt.Sprintf("t%d", f.logins)
		f.tokens[token] = true
		w.Header().Set("X-Auth-Token", token)
		w.Header().Set("Location", "http://10.0.0.9/redfish/v1/SessionService/Sessions/"+token)
		w.WriteHeader(http.StatusCreated)
	}
}

func (f *fake) reset(w http.ResponseWriter, body map[string]any) {
	system := f.docs[sysPath]
	switch body["ResetType"] {
	case "On", "ForceRestart", "PowerCycle", "ForceOn":
		system["PowerState"] = "On"
	case "ForceOff", "GracefulShutdown", "PushPowerButton":
		system["PowerState"] = "Off"
	}
	f.log = append(f.log, fmt.Sprint("reset ", body["ResetType"]))
	w.WriteHeader(http.StatusNoContent)
}

func (f *fake) patch(w http.ResponseWriter, r *http.Request, path string, body map[string]any) {
	f.log = append(f.log, fmt.Sprintf("patch %v match %q", body, r.Header.Get("If-Match")))
	if f.etag != "" && r.Header.Get("If-Match") != f.etag {
		w.WriteHeader(http.StatusPreconditionFailed)
		return
	}
	if f.refuse != nil {
		if code, text := f.refuse(body); code != 0 {
			http.Error(w, text, code)
			return
		}
	}
	if !f.ignore && (!f.settings || path != sysPath) {
		for k, v := range body["Boot"].(map[string]any) {
			f.docs[sysPath]["Boot"].(map[string]any)[k] = v
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// serve starts the fake and returns its address.
func serve(t *testing.T, h http.Handler) bmc.Address {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	addr, err := bmc.ParseAddress("redfish+" + srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

var admin = bmc.Credentials{Username: "admin", Password: "secret"}

// dial opens the system at addr with waits cut out.
func dial(t *testing.T, addr bmc.Address, creds bmc.Credentials, o Options) (*System, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	if o.Quirks == nil {
		o.Quirks = quirk.Set{} // a test names the quirks it wants
	}
	e := NewEndpoint(addr, creds, o)
	e.sleep = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	s, err := e.System(ctx, addr.System)
	if err == nil {
		t.Cleanup(func() { _ = s.Close(context.WithoutCancel(ctx)) })
	}
	return s, err
}

func mustDial(t *testing.T, f *fake) *System {
	t.Helper()
	s, err := dial(t, serve(t, f), admin, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
