package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
)

func (d *door) raw(method, path string, body io.Reader) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(d.t.Context(), method, "http://10.0.0.1:6385"+path, body)
	r.Header.Set(versionHeader, d.at)
	w := httptest.NewRecorder()
	d.s.ServeHTTP(w, r)
	return w
}

// What is too large or too deep is refused in a form of its own
// (ironic/api/middleware/json_depth.py).
func TestBodyLimits(t *testing.T) {
	d := newDoor(t)
	path := d.enrol("fake-hardware", nil)
	nested := func(n int) string {
		return `{"driver": "fake-hardware", "extra": ` + strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) + "}"
	}
	for _, tt := range []struct {
		name, method, path string
		body               io.Reader
		code               int
		says               string // "": an error in the common form, or none
	}{
		{"at the depth", http.MethodPost, "/v1/nodes", strings.NewReader(nested(maxDepth - 1)), 201, ""},
		{"too deep", http.MethodPost, "/v1/nodes", strings.NewReader(nested(maxDepth)), 400, "Request body JSON is nested too deeply."},
		{"too deep, and no JSON", http.MethodPatch, path, strings.NewReader(strings.Repeat("[", 1000)), 400, "Request body JSON is nested too deeply."},
		{"brackets in text", http.MethodPost, "/v1/nodes", strings.NewReader(`{"driver": "fake-hardware", "description": "` + strings.Repeat(`\"[`, 100) + `"}`), 201, ""},
		{"too large", http.MethodPost, "/v1/nodes", io.LimitReader(spaces{}, maxBody+1), 413, "Request body is too large."},
		{"at the size", http.MethodPost, "/v1/nodes", io.MultiReader(strings.NewReader(`{"driver": "fake-hardware"}`), io.LimitReader(spaces{}, maxBody-27)), 201, ""},
		{"larger for states/provision", http.MethodPut, path + "/states/provision", io.MultiReader(strings.NewReader(`{"target": "foo"}`), io.LimitReader(spaces{}, maxBody)), 400, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := d.raw(tt.method, tt.path, tt.body)
			var out map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != tt.code {
				t.Fatalf("%d %s: %v", w.Code, w.Body, err)
			}
			text, _ := out["faultstring"].(string)
			if !strings.Contains(text, tt.says) || (tt.says != "") != (out["faultcode"] == "Client") {
				t.Errorf("%v", out)
			}
		})
	}
}

// spaces is white space without an end.
type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestMethodsAndPaths(t *testing.T) {
	d := newDoor(t)
	path := d.enrol("fake-hardware", nil)
	for _, tt := range []struct {
		method, path string
		code         int
		allow        string
	}{
		{http.MethodPut, "/v1/nodes", 405, "GET, POST"},
		{http.MethodPost, "/v1/nodes/detail", 405, "GET"},
		{http.MethodPost, path, 405, "DELETE, GET, PATCH"},
		{http.MethodOptions, path, 200, "DELETE, GET, PATCH"},
		{http.MethodHead, path, 200, ""},
		{http.MethodGet, path + "/", 200, ""},
		{http.MethodGet, strings.TrimPrefix(path, "/v1"), 200, ""},
		{http.MethodGet, "/v1/nodes/", 200, ""},
		{http.MethodGet, "/v1/nope", 404, ""},
		{http.MethodPost, "/nope", 404, ""},
		{http.MethodGet, "/v1/v1/nodes", 404, ""},
		{http.MethodGet, "/v1//nodes", 404, ""},
		{http.MethodGet, "/v1/nodes/%2e%2e", 404, ""},
		{http.MethodGet, "/v1/nodes/a%2Fstates", 404, ""},
	} {
		w := d.raw(tt.method, tt.path, http.NoBody)
		if w.Code != tt.code || w.Header().Get("Allow") != tt.allow {
			t.Errorf("%s %s: %d, Allow %q, want %d, %q", tt.method, tt.path, w.Code, w.Header().Get("Allow"), tt.code, tt.allow)
		}
		if id := w.Header().Get("Openstack-Request-Id"); !strings.HasPrefix(id, "req-") || id != w.Header().Get("X-Openstack-Request-Id") {
			t.Errorf("%s %s: request id %q", tt.method, tt.path, id)
		}
	}
}

// Every error has Ironic's form: JSON in a string in JSON.
func TestErrorForms(t *testing.T) {
	where := schema.GroupResource{Group: "metal3.io", Resource: "baremetalhosts"}
	for _, tt := range []struct {
		err  error
		want string
		code int
	}{
		{badRequest("no %s", "<good>"), `{"debuginfo":null,"faultcode":"Client","faultstring":"no <good>"}`, 400},
		{notAcceptable(""), `{"debuginfo":null,"faultcode":"Client","faultstring":"Request not acceptable."}`, 406},
		{sinceVersion(16), `{"debuginfo":null,"faultcode":"Client","faultstring":"Request not acceptable. The minimal required API version should be 1.16"}`, 406},
		{noRoute(), `{"code":404,"description":"The resource could not be found.","title":"Not Found"}`, 404},
		{node.ErrNotFound, "", 404},
		{node.ErrExists, "", 409},
		{node.ErrChanged, "", 409},
		{apierrors.NewConflict(where, "x", nil), "", 409},
		{apierrors.NewForbidden(where, "x", errors.New("the webhook says no")), "", 400},
		{apierrors.NewTooManyRequests("later", 1), "", 503},
		{apierrors.NewServerTimeout(where, "get", 1), "", 503},
		{errors.New("broken"), `{"debuginfo":null,"faultcode":"Server","faultstring":"broken"}`, 500},
	} {
		w := httptest.NewRecorder()
		faultOf(tt.err).write(w)
		var out struct {
			Inner string `json:"error_message"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != tt.code {
			t.Errorf("%v: %d %s", tt.err, w.Code, w.Body)
		}
		var inner, want any
		if err := json.Unmarshal([]byte(out.Inner), &inner); err != nil {
			t.Errorf("%v: %v in %s", tt.err, err, out.Inner)
		}
		if tt.want == "" {
			continue
		}
		if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, inner); diff != "" {
			t.Error(diff)
		}
	}
}

// FuzzBody reads whatever is sent: an answer, no panic, nothing that a parser of ours
// could not read again.
func FuzzBody(f *testing.F) {
	for _, s := range []string{"", "{}", "null", "[", `{"a": [1, {"b": "\\\""}]}`, "\xff", strings.Repeat("[", 100), `{"a": null, "b": "x"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c := func() *call {
			return &call{Request: &http.Request{Body: io.NopCloser(bytes.NewReader(text))}, version: ironic.MaxVersion}
		}
		var v any
		if err := c().read(&v); err != nil && faultOf(err).status != http.StatusBadRequest {
			t.Error(err)
		} else if again, merr := json.Marshal(v); err == nil && (merr != nil || !shallow(again)) {
			t.Errorf("read, and could not be written: %v", merr)
		}
		if _, err := c().arguments("a"); err != nil && faultOf(err).status != http.StatusBadRequest {
			t.Error(err)
		}
		if _, err := c().readProvisioning(); err != nil && faultOf(err).status != http.StatusBadRequest {
			t.Error(err)
		}
	})
}

// FuzzPatch makes whatever patch of a node: what comes out is a node, or a refusal.
func FuzzPatch(f *testing.F) {
	for _, s := range []string{
		`[{"op": "add", "path": "/extra/a", "value": 1}]`, `[{"op": "remove", "path": "/extra/l/0"}, {"op": "add", "path": "/extra/l/-", "value": {}}]`,
		`[{"op": "replace", "path": "/driver", "value": null}]`, `[{"op": "add", "path": "/extra/l/99999999999999999999", "value": 1}]`,
		`[{"op": "add", "path": "/extra/~0~1", "value": 1}]`, `[{"op": "replace", "path": "/maintenance", "value": "t"}]`, `[null]`, `{}`,
	} {
		f.Add([]byte(s))
	}
	was := ironic.Node{Driver: "fake-hardware", Extra: ironic.Object{"l": []any{1.0, map[string]any{"x": "y"}}}}
	wholeObjects(&was)
	before, err := json.Marshal(was)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c := &call{Request: &http.Request{Body: io.NopCloser(bytes.NewReader(text))}, version: ironic.MaxVersion}
		changes, err := c.readPatch(&nodes)
		if err == nil {
			var to ironic.Node
			if err = nodes.patched(was, changes, &to); err == nil {
				again, merr := json.Marshal(to)
				if merr != nil || !shallow(again) {
					t.Errorf("a node that cannot be kept: %v", merr)
				}
			}
		}
		if err != nil {
			if s := faultOf(err).status; s != http.StatusBadRequest && s != http.StatusNotAcceptable {
				t.Error(err)
			}
		}
		if after, _ := json.Marshal(was); !bytes.Equal(before, after) {
			t.Error("the node itself was changed")
		}
	})
}
