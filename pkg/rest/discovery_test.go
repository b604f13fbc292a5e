package rest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
)

func get(t *testing.T, method, path string, header http.Header) (*httptest.ResponseRecorder, map[string]any) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://10.0.0.1:6385"+path, http.NoBody)
	r.Header = header.Clone()
	w := httptest.NewRecorder()
	newDoor(t).s.ServeHTTP(w, r)
	var body map[string]any
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, w.Body)
		}
	}
	if ct := w.Header().Get("Content-Type"); ct != "application/json" {
		t.Errorf("%s is %q", path, ct)
	}
	return w, body
}

// The root is what clients find the version by: gophercloud and the agent of
// Ironic read default_version, the SDK reads versions.
func TestRoot(t *testing.T) {
	w, body := get(t, http.MethodGet, "/", http.Header{})
	if w.Code != http.StatusOK || body["name"] != "OpenStack Ironic API" {
		t.Fatalf("%d %v", w.Code, body)
	}
	list, ok := body["versions"].([]any)
	if !ok || len(list) != 1 {
		t.Fatalf("versions %v", body["versions"])
	}
	for _, v := range []any{body["default_version"], list[0]} {
		m, ok := v.(map[string]any)
		if !ok || m["id"] != "v1" || m["status"] != "CURRENT" || m["min_version"] != "1.1" || m["version"] != "1.115" {
			t.Fatalf("version %v", v)
		}
		link := m["links"].([]any)[0].(map[string]any)
		if link["href"] != "http://10.0.0.1:6385/v1/" || link["rel"] != "self" {
			t.Errorf("link %v", link)
		}
	}
}

// With and without the slash, and without a login, whatever version is asked for.
func TestV1(t *testing.T) {
	for _, path := range []string{"/v1", "/v1/"} {
		for _, asked := range []string{"", "1.1", "1.99", "latest"} {
			h := http.Header{}
			if asked != "" {
				h.Set("X-OpenStack-Ironic-API-Version", asked)
			}
			w, body := get(t, http.MethodGet, path, h)
			if w.Code != http.StatusOK || body["id"] != "v1" || body["version"] == nil || body["links"] == nil {
				t.Errorf("%s at %q: %d %v", path, asked, w.Code, body)
			}
			for name, want := range map[string]string{"Minimum-Version": "1.1", "Maximum-Version": "1.115", "Version": map[string]string{"": "1.1", "latest": "1.115"}[asked] + map[string]string{"1.1": "1.1", "1.99": "1.99"}[asked]} {
				if got := w.Header().Get("X-OpenStack-Ironic-API-" + name); got != want {
					t.Errorf("%s: %s is %q, want %q", path, name, got, want)
				}
			}
		}
	}
}

// Ironic's errors are JSON in a string in JSON; its clients decode them twice.
func TestNotFound(t *testing.T) {
	for _, path := range []string{"/v2", "/v1/nodes/x"} {
		w, body := get(t, http.MethodGet, path, http.Header{})
		inner, ok := body["error_message"].(string)
		if w.Code != http.StatusNotFound || !ok {
			t.Errorf("%s: %d %v", path, w.Code, body)
			continue
		}
		var fault struct{ Faultstring, Description string }
		if err := json.Unmarshal([]byte(inner), &fault); err != nil || fault.Faultstring+fault.Description == "" {
			t.Errorf("%s: %q, %v", path, inner, err)
		}
	}
}
