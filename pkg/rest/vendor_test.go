package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/bmc"
)

// machineRaw sends a request and returns what is answered as it is.
func (d *door) machineRaw(method, path, body string) (int, string) {
	d.t.Helper()
	r := httptest.NewRequestWithContext(d.t.Context(), method, "http://10.0.0.1:6385"+path, bytes.NewReader([]byte(body)))
	r.Header.Set("X-OpenStack-Ironic-API-Version", d.at)
	w := httptest.NewRecorder()
	d.s.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// machineList is what an endpoint answers that answers a list.
func (d *door) machineList(path string) (int, []map[string]any) {
	d.t.Helper()
	code, text := d.machineRaw(http.MethodGet, path, "")
	var list []map[string]any
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		d.t.Fatalf("%s: %v in %s", path, err, text)
	}
	return code, list
}

func TestVirtualMedia(t *testing.T) {
	d, m, b := machineDoor(t, "redfish")
	const path = "/v1/nodes/n1/vmedia"
	d.want(http.StatusNoContent, http.MethodPost, path, map[string]any{"device_type": "cdrom", "image_url": "https://u:p@192.0.2.1/a.iso?x=1", "image_download_source": "http"})
	if want := (bmc.MediaRequest{URL: "https://192.0.2.1/a.iso?x=1", Username: "u", Password: "p"}); b.inserted != want {
		t.Errorf("inserted %+v", b.inserted)
	}
	b.drives = []bmc.Slot{{ID: "/1", Types: []string{"CD", "DVD"}, Image: "https://192.0.2.1/a.iso", Inserted: true}, {ID: "/2"}}
	_, list := d.machineList(path)
	want := []map[string]any{
		{"image": "https://192.0.2.1/a.iso", "inserted": true, "media_types": []any{"CD", "DVD"}},
		{"image": nil, "inserted": false, "media_types": []any{}},
	}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Error(diff)
	}
	d.want(http.StatusNoContent, http.MethodDelete, path+"?device_types=disk,floppy", nil)
	if b.inserted.URL == "" {
		t.Error("another drive's was taken out")
	}
	d.want(http.StatusNoContent, http.MethodDelete, path+"?device_types=cdrom", nil)
	if b.inserted.URL != "" {
		t.Error("not taken out")
	}
	was := m.changes
	for _, body := range []string{
		``, `{}`, `{"device_type": "cdrom"}`, `{"device_type": "tape", "image_url": "http://192.0.2.1/a"}`, `{"device_type": 7, "image_url": "http://192.0.2.1/a"}`,
		`{"device_type": "cdrom", "image_url": "file:///etc/passwd"}`, `{"device_type": "cdrom", "image_url": "http:///x"}`, `{"device_type": "cdrom", "image_url": 1}`,
		`{"device_type": "cdrom", "image_url": "nfs://192.0.2.1/a.iso"}`, `{"device_type": "cdrom", "image_url": "http://192.0.2.1/a", "more": 1}`,
		`{"device_type": "cdrom", "image_url": "http://192.0.2.1/a", "image_download_source": "ftp"}`, `{"device_type": "cdrom", "image_url": "http://192.0.2.1/` + strings.Repeat("a", 5000) + `"}`,
	} {
		d.want(http.StatusBadRequest, http.MethodPost, path, body)
	}
	d.want(http.StatusBadRequest, http.MethodDelete, path+"?device_types=tape", nil)
	if m.changes != was {
		t.Error("what was refused changed something")
	}
	d.want(http.StatusNoContent, http.MethodPost, path, map[string]any{"device_type": "floppy", "image_url": "http://192.0.2.1/a.img"})
	if got := d.lastError(); !strings.Contains(got, "no floppy") {
		t.Errorf("last_error %q", got)
	}

	// What ingot put there stays, and its path is nobody's to know.
	d.recorded(func(r *v1alpha1.HostRecord) {
		r.Status.Media = &v1alpha1.Media{URL: "https://10.0.0.1:6183/iso/0123", Use: "ramdisk", Inserted: true}
	})
	b.drives = []bmc.Slot{{Image: "https://10.0.0.1:6183/iso/0123", Inserted: true}}
	if _, list := d.machineList(path); list[0]["image"] != "******" {
		t.Errorf("%v", list)
	}
	was = m.changes
	d.want(http.StatusConflict, http.MethodPost, path, map[string]any{"device_type": "cdrom", "image_url": "http://192.0.2.1/a.iso"})
	d.want(http.StatusConflict, http.MethodDelete, path, nil)
	d.want(http.StatusConflict, http.MethodPost, "/v1/nodes/n1/vendor_passthru/eject_vmedia", nil)
	if m.changes != was {
		t.Error("what was refused changed something")
	}
}

// gophercloud attaches and detaches at a node of ipmi, and looks at the status alone.
func TestVirtualMediaOfIPMI(t *testing.T) {
	d, m, _ := machineDoor(t, "ipmi")
	m.refusal = errors.New("the BMC does not answer")
	d.version("1.89").want(http.StatusNoContent, http.MethodPost, "/v1/nodes/n1/vmedia", map[string]any{"device_type": "cdrom", "image_url": "http://127.0.0.1:17"})
	if got, want := d.lastError(), "Failed to attach a virtual media device: Driver ipmi does not support attach_virtual_media (disabled or not implemented)."; got != want {
		t.Errorf("last_error %q", got)
	}
	d.version("1.89").want(http.StatusNoContent, http.MethodDelete, "/v1/nodes/n1/vmedia?device_types=cdrom", nil)
}

func TestVendorMethodsOfFakes(t *testing.T) {
	d, _, _ := machineDoor(t, "fake-hardware")
	const path = "/v1/nodes/n1/vendor_passthru"
	got := d.want(http.StatusOK, http.MethodGet, path+"/methods", nil)
	want := map[string]any{
		"second_method":             map[string]any{"http_methods": []any{"POST"}, "async": true, "description": "Test if the value of bar is kazoo", "attach": false, "require_exclusive_lock": true},
		"third_method_sync":         map[string]any{"http_methods": []any{"POST"}, "async": false, "description": "Test if the value of bar is meow", "attach": false, "require_exclusive_lock": true},
		"fourth_method_shared_lock": map[string]any{"http_methods": []any{"POST"}, "async": true, "description": "Test if the value of bar is woof", "attach": false, "require_exclusive_lock": false},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, tc := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"POST", "/second_method", `{"bar": "kazoo"}`, 202, ""},
		{"POST", "?method=second_method", `{"bar": "kazoo"}`, 202, ""},
		{"POST", "/third_method_sync", `{"bar": "meow"}`, 200, "true"},
		{"POST", "?method=third_method_sync", `{"bar": "x"}`, 200, "false"},
		{"POST", "/third_method_sync", `{}`, 400, "Parameter 'bar' not passed to method 'third_method_sync'."},
		{"POST", "/third_method_sync", ``, 400, "Parameter 'bar' not passed to method 'third_method_sync'."},
		{"POST", "/third_method_sync", `[1]`, 400, "has to be a JSON object"},
		{"GET", "/third_method_sync", ``, 400, "The method third_method_sync does not support HTTP GET"},
		{"GET", "/nope", ``, 400, "No handler for method nope"},
		{"GET", "?method=nope", ``, 400, "No handler for method nope"},
		{"PUT", "", ``, 400, "Missing mandatory parameter: method"},
	} {
		code, text := d.machineRaw(tc.method, path+tc.path, tc.body)
		if code != tc.code || !strings.Contains(text, tc.want) || tc.code < 300 && text != tc.want {
			t.Errorf("%s %s %s: %d %s", tc.method, tc.path, tc.body, code, text)
		}
	}
	d.want(http.StatusBadRequest, http.MethodGet, "/v1/drivers/fake-hardware/vendor_passthru?method=x", nil)
	if code, text := d.machineRaw(http.MethodGet, "/v1/drivers/fake-hardware/vendor_passthru/methods", ""); code != http.StatusOK || text != "{}" {
		t.Errorf("%d %s", code, text)
	}
	d.want(http.StatusNotFound, http.MethodGet, "/v1/drivers/nope/vendor_passthru/methods", nil)
	d.want(http.StatusBadRequest, http.MethodPost, "/v1/drivers/redfish/vendor_passthru/x", nil)
	d.want(http.StatusBadRequest, http.MethodGet, "/v1/drivers/redfish/vendor_passthru", nil)
	if got := d.want(http.StatusNotFound, http.MethodGet, "/v1/drivers/nope/vendor_passthru?method=x", nil); got["faultstring"] != "The driver 'nope' is unknown." {
		t.Errorf("%v", got)
	}
}

func TestVendorMethodsOfIPMI(t *testing.T) {
	d, m, _ := machineDoor(t, "ipmi")
	if got := d.want(http.StatusOK, http.MethodGet, "/v1/nodes/n1/vendor_passthru/methods", nil); got["send_raw"] == nil || len(got) != 1 {
		t.Errorf("%v", got)
	}
	d.want(http.StatusBadRequest, http.MethodPost, "/v1/nodes/n1/vendor_passthru/send_raw", map[string]any{"raw_bytes": "0x00 0x01"})
	d.want(http.StatusBadRequest, http.MethodPost, "/v1/nodes/n1/vendor_passthru/bmc_reset", map[string]any{"warm": true})
	if m.changes != 0 {
		t.Error("a BMC was written to")
	}
}

// Subscriptions as BMO makes and ends them.
func TestSubscriptions(t *testing.T) {
	d, _, b := machineDoor(t, "redfish")
	const path = "/v1/nodes/n1/vendor_passthru"
	b.subs = []bmc.Subscription{{ID: "/redfish/v1/EventService/Subscriptions/1", Destination: "https://ingot/bmc/v1/events", Context: "ours"}}
	made := d.want(http.StatusOK, http.MethodPost, path+"?method=create_subscription", map[string]any{
		"Destination": "https://192.0.2.9/events", "Context": "mine", "Protocol": "Redfish", "EventTypes": []string{"Alert"},
		"HttpHeaders": []map[string]string{{"Authorization": "Basic c2VjcmV0"}},
	})
	want := map[string]any{"Id": "7", "Destination": "https://192.0.2.9/events", "Context": "mine", "Protocol": "Redfish", "EventTypes": []any{"Alert"}}
	if diff := cmp.Diff(want, made); diff != "" {
		t.Error(diff)
	}
	if got := b.subs[1].Headers["Authorization"]; got != "Basic c2VjcmV0" {
		t.Errorf("header %q", got)
	}
	all := d.want(http.StatusOK, http.MethodGet, path+"/get_all_subscriptions", nil)
	if diff := cmp.Diff([]any{map[string]any{"@odata.id": "/redfish/v1/EventService/Subscriptions/7"}}, all["Members"]); diff != "" {
		t.Error(diff)
	}
	if got := d.want(http.StatusOK, http.MethodGet, path+"/get_subscription?id=7", nil); got["Id"] != "7" {
		t.Errorf("%v", got)
	}
	d.want(http.StatusNotFound, http.MethodGet, path+"/get_subscription?id=1", nil) // ours
	d.want(http.StatusNotFound, http.MethodDelete, path+"/delete_subscription", map[string]any{"id": "1"})
	d.want(http.StatusBadRequest, http.MethodDelete, path+"/delete_subscription", map[string]any{})
	if code, text := d.machineRaw(http.MethodDelete, path+"?method=delete_subscription", `{"id": "7"}`); code != http.StatusOK {
		t.Errorf("%d %s", code, text)
	}
	if len(b.subs) != 1 {
		t.Errorf("%v", b.subs)
	}
	for _, body := range []string{
		`{}`, `{"Destination": "nowhere"}`, `{"Destination": "ftp://x/"}`, `{"Destination": "http://x/", "Context": 1}`, `{"Destination": "http://x/", "Protocol": "SNMP"}`,
		`{"Destination": "http://x/", "EventTypes": "Alert"}`, `{"Destination": "http://x/", "EventTypes": [1]}`, `{"Destination": "http://x/", "HttpHeaders": {}}`,
		`{"Destination": "http://x/", "HttpHeaders": [{"a b": "c"}]}`, `{"Destination": "http://x/", "HttpHeaders": [{"a": "b\r\nc"}]}`, `{"Destination": "http://x/", "Foo": 1}`,
	} {
		d.want(http.StatusBadRequest, http.MethodPost, path+"/create_subscription", body)
	}
	if len(b.subs) != 1 {
		t.Errorf("%v", b.subs)
	}
}
