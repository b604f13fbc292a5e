package sushytools

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// FuzzPatch: no body brings the server down, and none becomes an answer that no
// view gives.
func FuzzPatch(f *testing.F) {
	f.Add("/Systems/"+uuid1, `{"Boot": {"BootSourceOverrideTarget": "Cd", "BootSourceOverrideMode": "UEFI"}}`)
	f.Add("/Systems/"+uuid1+"/BIOS/Settings", `{"Attributes": {"a": [1, {}, null]}}`)
	f.Add("/Systems/"+uuid1+"/VirtualMedia/Cd", `{"VerifyCertificate": 1}`)
	f.Add("/Managers/"+uuid1, `{"DateTime": []}`)
	f.Fuzz(func(t *testing.T, path, body string) {
		s, err := New(Options{}, simbmc.NewMemory(simbmc.Info{UUID: uuid1, Name: "m1"}, simbmc.ModeUEFI, nil, nil))
		if err != nil {
			t.Fatal(err)
		}
		req := httptest.NewRequest(http.MethodPatch, "/redfish/v1", strings.NewReader(body))
		req.URL.Path = "/redfish/v1" + path
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, req)
		switch w.Code {
		case 204, 307, 400, 404, 405, 500, 501:
		default:
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
