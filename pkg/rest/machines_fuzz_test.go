package rest

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

// Whatever is sent to an endpoint about a machine, it is answered: taken, or refused
// as the client's fault. What is refused changes nothing.
func FuzzMachineBodies(f *testing.F) {
	for _, body := range []string{
		``, `{}`, `[]`, `null`, `{"boot_device": "pxe", "persistent": "yes"}`, `{"target": "uefi"}`, `{"target": true}`, `{"target": {}}`, `{"enabled": 1}`, `{"state": "on"}`,
		`{"device_type": "cdrom", "image_url": "https://u:p@192.0.2.1/a.iso"}`, `{"device_type": [], "image_url": "http://[::1"}`,
		`{"Destination": "https://192.0.2.9/", "Context": "c", "EventTypes": ["Alert"], "HttpHeaders": [{"A": "b"}]}`, `{"id": "7"}`, `{"id": {}}`, `{"boot_device": {}}`,
		`{"logical_disks": [{"raid_level": "1", "size_gb": "MAX", "controller": "c", "physical_disks": ["a", {}]}]}`, `{"logical_disks": [{"raid_level": {}, "size_gb": 1e300}]}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		d, m, b := machineDoor(t, "redfish")
		for _, e := range [][2]string{
			{"PUT", "management/boot_device"},
			{"PUT", "management/indicators/led@system"},
			{"PUT", "states/boot_mode"},
			{"PUT", "states/secure_boot"},
			{"PUT", "states/console"},
			{"PUT", "states/raid"},
			{"POST", "vmedia"},
			{"POST", "vendor_passthru/create_subscription"},
			{"DELETE", "vendor_passthru/delete_subscription"},
			{"POST", "vendor_passthru/eject_vmedia"},
			{"GET", "vendor_passthru/get_subscription"},
		} {
			before := m.changes
			r := httptest.NewRequestWithContext(t.Context(), e[0], "http://10.0.0.1:6385/v1/nodes/n1/"+e[1], bytes.NewReader([]byte(body)))
			r.Header.Set("X-OpenStack-Ironic-API-Version", "latest")
			w := httptest.NewRecorder()
			d.s.ServeHTTP(w, r)
			switch {
			case w.Code >= http.StatusInternalServerError:
				t.Errorf("%s %s: %d %s", e[0], e[1], w.Code, w.Body)
			case w.Code == http.StatusBadRequest && m.changes != before:
				t.Errorf("%s %s was refused, and changed something", e[0], e[1])
			}
		}
		if u, err := url.Parse(b.inserted.URL); err != nil || u.User != nil || b.inserted.URL != "" && u.Scheme != "http" && u.Scheme != "https" {
			t.Errorf("the BMC was told to fetch %q", b.inserted.URL)
		}
	})
}
