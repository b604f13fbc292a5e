package rest

import (
	"errors"
	"net/http"
	"testing"

	"github.com/ingot-metal/ingot/pkg/node"
)

// What is asked of a BMC is its owner's to answer, and nothing is done here; all else
// is answered here.
func TestRelay(t *testing.T) {
	d, m, b := machineDoor(t, "redfish")
	asked := ""
	d.s.Relay = func(r *http.Request, _ *node.Node) (*Answer, error) {
		asked = r.Method + " " + r.URL.Path
		return &Answer{Status: http.StatusTeapot, Header: http.Header{"Retry-After": {"7"}}, Body: []byte(`{"a":1}`)}, nil
	}
	for _, tc := range []struct {
		method, path string
		body         any
		here         int // status; 0: the owner's
	}{
		{method: http.MethodGet, path: "management/boot_device"},
		{method: http.MethodPut, path: "management/boot_device", body: map[string]any{"boot_device": "pxe"}},
		{method: http.MethodPut, path: "management/inject_nmi"},
		{method: http.MethodGet, path: "management/indicators/led@system"},
		{method: http.MethodPut, path: "management/indicators/led@system", body: map[string]any{"state": "on"}},
		{method: http.MethodPut, path: "states/boot_mode", body: map[string]any{"target": "bios"}},
		{method: http.MethodPut, path: "states/secure_boot", body: map[string]any{"target": true}},
		{method: http.MethodGet, path: "vmedia"},
		{method: http.MethodPost, path: "vmedia", body: map[string]any{"device_type": "cdrom", "image_url": "http://192.0.2.1/a.iso"}},
		{method: http.MethodDelete, path: "vmedia"},
		{method: http.MethodGet, path: "vendor_passthru?method=get_all_subscriptions"},
		{method: http.MethodPost, path: "vendor_passthru/eject_vmedia"},
		{method: http.MethodGet, path: "inventory"},

		{method: http.MethodGet, path: "", here: http.StatusOK},
		{method: http.MethodGet, path: "states", here: http.StatusOK},
		{method: http.MethodGet, path: "validate", here: http.StatusOK},
		{method: http.MethodGet, path: "management/boot_device/supported", here: http.StatusOK},
		{method: http.MethodGet, path: "vendor_passthru/methods", here: http.StatusOK},
		{method: http.MethodGet, path: "states/console", here: http.StatusOK},
		{method: http.MethodGet, path: "bios", here: http.StatusOK},
	} {
		asked = ""
		want := tc.here
		if want == 0 {
			want = http.StatusTeapot
		}
		code, got, header := d.do(tc.method, "/v1/nodes/n1/"+tc.path, tc.body)
		if code != want || (asked == "") != (tc.here != 0) {
			t.Errorf("%s %s: %d %v, asked %q", tc.method, tc.path, code, got, asked)
		}
		if tc.here == 0 && (header.Get("Retry-After") != "7" || got["a"] != 1. || header.Get("Content-Type") != "application/json") {
			t.Errorf("%s %s: %v %v", tc.method, tc.path, header, got)
		}
	}
	if m.changes > 0 || len(b.ordered) > 0 {
		t.Errorf("%d changes were made here, %v", m.changes, b.ordered)
	}

	for name, tc := range map[string]struct {
		err    error
		status int
		text   string
	}{
		"refused": {&Refusal{Status: http.StatusServiceUnavailable, Text: "it is dead"}, http.StatusServiceUnavailable, "it is dead"},
		"failed":  {errors.New("oops"), http.StatusInternalServerError, "oops"},
		"ours":    {nil, http.StatusNoContent, ""},
	} {
		d.s.Relay = func(*http.Request, *node.Node) (*Answer, error) { return nil, tc.err }
		code, got, header := d.do(http.MethodPut, "/v1/nodes/n1/management/inject_nmi", nil)
		if text, _ := got["faultstring"].(string); code != tc.status || text != tc.text {
			t.Errorf("%s: %d %v", name, code, got)
		}
		if again := header.Get("Retry-After"); (again != "") != (code == http.StatusServiceUnavailable) {
			t.Errorf("%s: %d, to be tried again after %q", name, code, again)
		}
	}
	if m.changes != 1 {
		t.Errorf("%d changes were made here, want the last", m.changes)
	}
}

// Who may not is not passed on, nor is what has no machine.
func TestRelayOfNobody(t *testing.T) {
	d, _, _ := machineDoor(t, "redfish")
	d.want(http.StatusCreated, http.MethodPost, "/v1/nodes", map[string]any{"driver": fakeHardware, "name": "fake"})
	d.s.Relay = func(r *http.Request, _ *node.Node) (*Answer, error) {
		t.Errorf("%s is passed on", r.URL.Path)
		return nil, nil //nolint:nilnil // as the type says
	}
	d.want(http.StatusOK, http.MethodGet, "/v1/nodes/fake/management/boot_device", nil)
	d.want(http.StatusNotFound, http.MethodGet, "/v1/nodes/none/management/boot_device", nil)
	d.s.Authenticate = func(http.ResponseWriter, *http.Request) (Caller, bool) {
		return Caller{User: "r", System: true, Roles: []string{"reader"}}, true
	}
	d.want(http.StatusForbidden, http.MethodPut, "/v1/nodes/n1/management/boot_device", map[string]any{"boot_device": "pxe"})
}
