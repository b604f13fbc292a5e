package redfish

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// route answers one request of a fake.
type route func(w http.ResponseWriter, body map[string]any)

// routed is a fake whose requests other than logins go to routes first, by
// method and path; the rest are answered from its documents. It keeps what was
// written to it.
type routed struct {
	*fake
	routes map[string]route

	mu     sync.Mutex
	writes []string // "POST /path {body}"
}

func newRouted(t *testing.T) *routed {
	r := &routed{fake: newFake(t), routes: map[string]route{}}
	r.fault = func(w http.ResponseWriter, req *http.Request) bool {
		if strings.Contains(req.URL.Path, "/SessionService/") {
			return false
		}
		if req.URL.Path != "/redfish/v1/" && !r.in(req) {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		at := req.Method + " " + strings.TrimRight(req.URL.Path, "/")
		var body map[string]any
		if req.Method != http.MethodGet {
			data, _ := io.ReadAll(req.Body)
			_ = json.Unmarshal(data, &body)
			r.mu.Lock()
			r.writes = append(r.writes, strings.TrimSpace(at+" "+string(data)))
			r.mu.Unlock()
		}
		handle := r.routes[at]
		if handle == nil {
			if req.Method != http.MethodGet {
				w.WriteHeader(http.StatusMethodNotAllowed)
			}
			return req.Method != http.MethodGet
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		handle(w, body)
		return true
	}
	return r
}

func (r *routed) in(req *http.Request) bool {
	r.fake.mu.Lock()
	defer r.fake.mu.Unlock()
	return r.allowed(req)
}

func (r *routed) written() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.writes...)
}

// set changes a property of a document.
func (r *routed) set(path, key string, value any) {
	r.fake.mu.Lock()
	defer r.fake.mu.Unlock()
	r.docs[path][key] = value
}

func (r *routed) value(path, key string) any {
	r.fake.mu.Lock()
	defer r.fake.mu.Unlock()
	return r.docs[path][key]
}

// with opens the fake with these quirks and no others.
func (r *routed) with(quirks ...quirk.Name) *System {
	r.t.Helper()
	set := quirk.Set{"none": false}
	for _, q := range quirks {
		set[q] = true
	}
	s, err := dial(r.t, serve(r.t, r.fake), admin, Options{Quirks: set})
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// refusal answers an error as DSP0266 §9.6.8 wants it.
func refusal(code int, id, message string) route {
	return func(w http.ResponseWriter, _ map[string]any) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{
			"code": "Base.1.8.GeneralError", "message": "A general error has occurred.",
			"@Message.ExtendedInfo": []any{map[string]any{"MessageId": id, "Message": message}},
		}})
	}
}

func noContent(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }

// expanding serves a tree as a BMC that keeps to what its root says of $expand.
type expanding struct {
	*tree
	nth int
}

func (x *expanding) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x.mu.Lock()
	x.nth++
	var doc map[string]any
	if r.Method == http.MethodGet && strings.Contains(r.URL.RawQuery, "$expand") {
		doc = x.expand(strings.ToLower(strings.TrimRight(r.URL.EscapedPath(), "/")))
	}
	if r.Method != http.MethodGet {
		doc = x.write(r)
	}
	x.mu.Unlock()
	if doc != nil {
		_ = json.NewEncoder(w).Encode(doc)
		return
	}
	x.tree.ServeHTTP(w, r)
}

// write obeys an insertion, an ejection, a clearing of a log, and a PATCH of what
// is no boot override. It returns nil for what the tree itself obeys.
func (x *expanding) write(r *http.Request) map[string]any {
	p := strings.ToLower(strings.TrimRight(r.URL.EscapedPath(), "/"))
	thing, action, isAction := strings.Cut(p, "/actions/")
	doc := x.doc(thing)
	data, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(data))
	var body map[string]any
	_ = json.Unmarshal(data, &body)
	switch {
	case doc == nil || body["Boot"] != nil:
		return nil
	case action == "virtualmedia.insertmedia", !isAction && body["Image"] != nil:
		doc["Image"], doc["Inserted"], doc["ConnectedVia"] = body["Image"], true, "URI"
	case action == "virtualmedia.ejectmedia", !isAction && strings.Contains(p, "/virtualmedia/"):
		doc["Image"], doc["Inserted"], doc["ConnectedVia"] = nil, false, "NotConnected"
	case action == "logservice.clearlog":
		entries := x.doc(thing + "/entries")
		entries["Members"], entries["Members@odata.count"] = []any{}, 0
	case r.Method == http.MethodPatch:
		for k, v := range body {
			doc[k] = v
		}
	default:
		return nil
	}
	return map[string]any{}
}

func (x *expanding) expand(p string) map[string]any {
	features, _ := x.doc("/redfish/v1")["ProtocolFeaturesSupported"].(map[string]any)
	query, _ := features["ExpandQuery"].(map[string]any)
	doc := x.doc(p)
	if query["NoLinks"] != true || doc == nil {
		return nil
	}
	out := map[string]any{}
	for k, v := range doc {
		out[k] = v
	}
	members, _ := doc["Members"].([]any)
	full := []any{}
	for _, m := range members {
		l, _ := m.(map[string]any)
		uri, _ := l["@odata.id"].(string)
		if got := x.doc(strings.ToLower(strings.TrimRight(uri, "/"))); got != nil {
			m = got
		}
		full = append(full, m)
	}
	out["Members"] = full
	return out
}

func TestGather(t *testing.T) {
	const at = "/redfish/v1/things"
	for _, tc := range []struct {
		name       string
		collection string
		expand     bool
		most, one  int
		want, left int
		class      bmc.Class
	}{
		{name: "links", collection: `{"Members": [{"@odata.id": "/redfish/v1/things/1"}, {"@odata.id": "/redfish/v1/things/2"}]}`, most: 9, one: 9, want: 2},
		{name: "bare strings", collection: `{"Members": ["/redfish/v1/things/1"]}`, most: 9, one: 9, want: 1},
		{name: "one missing", collection: `{"Members": [{"@odata.id": "/redfish/v1/things/1"}, {"@odata.id": "/redfish/v1/things/9"}]}`, most: 9, one: 9, want: 1, left: 1},
		{name: "inline", collection: `{"Members": [{"@odata.id": "/redfish/v1/things/1", "Id": "1"}]}`, most: 9, want: 1},
		{name: "no singles", collection: `{"Members": [{"@odata.id": "/redfish/v1/things/1"}]}`, most: 9, left: 1},
		{name: "bounded", collection: `{"Members": [{"Id": "1"}, {"Id": "2"}, {"Id": "3"}]}`, most: 2, want: 2, left: 1},
		{name: "second page", collection: `{"Members": [{"Id": "1"}], "Members@odata.nextLink": "/redfish/v1/things/next"}`, most: 9, one: 9, want: 2},
		{name: "endless pages", collection: `{"Members": [{"Id": "1"}], "Members@odata.nextLink": "/redfish/v1/things"}`, most: 99, want: maxPages, left: 1},
		{name: "expand broken", collection: `{"Members": [{"@odata.id": "/redfish/v1/things/1"}]}`, expand: true, most: 9, one: 9, want: 1},
		{name: "wrong types", collection: `{"Members": {"Id": 7}, "Members@odata.nextLink": {"a": 1}}`, most: 9, one: 9, want: 1},
		{name: "absent", class: bmc.Unsupported},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newRouted(t)
			if tc.collection != "" {
				f.put(at, tc.collection)
			}
			f.put(at+"/1", `{"Id": "1"}`)
			f.put(at+"/2", `{"Id": "2"}`)
			f.put(at+"/next", `{"Members": [{"@odata.id": "/redfish/v1/things/2"}]}`)
			if tc.expand {
				f.docs["/redfish/v1"]["ProtocolFeaturesSupported"] = map[string]any{"ExpandQuery": map[string]any{"NoLinks": true}}
				inner := f.fault
				f.fault = func(w http.ResponseWriter, r *http.Request) bool {
					if r.URL.RawQuery != "" {
						w.WriteHeader(http.StatusInternalServerError)
						return true
					}
					return inner(w, r)
				}
			}
			got, err := f.with().e.gather(context.Background(), "gather", at, tc.most, tc.one)
			if tc.class != "" {
				wantError(t, err, tc.class, "", "")
				return
			}
			if err != nil || len(got.members) != tc.want || got.left != tc.left {
				t.Errorf("%d members, %d left, %v; want %d and %d", len(got.members), got.left, err, tc.want, tc.left)
			}
		})
	}
}
