package treebmc

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// FuzzMerge: what a PATCH names is afterwards as it says, nothing else changes,
// and nothing of the patch itself is kept.
func FuzzMerge(f *testing.F) {
	f.Add(`{"a": {"b": 1}, "c": [1, {"d": 2}]}`, `{"a": {"b": null, "e": {}}, "c": {"f": []}}`)
	f.Add(`{}`, `{"": {"": {"": {}}}}`)
	f.Add(`{"a": 1}`, strings.Repeat(`{"a":`, 100)+`1`+strings.Repeat(`}`, 100))
	f.Fuzz(func(t *testing.T, resource, patch string) {
		var doc, change, untouched obj
		if json.Unmarshal([]byte(resource), &doc) != nil || json.Unmarshal([]byte(patch), &change) != nil || doc == nil {
			return
		}
		untouched = clone(doc)
		merge(doc, change)
		once, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		for name := range untouched {
			if _, named := change[name]; !named && !same(doc[name], untouched[name]) {
				t.Errorf("%q changed and was not named", name)
			}
		}
		merge(doc, change)
		if again, _ := json.Marshal(doc); string(again) != string(once) {
			t.Errorf("twice is not once:\n%s\n%s", once, again)
		}
		spoil(change)
		if after, _ := json.Marshal(doc); string(after) != string(once) {
			t.Error("a part of the patch is kept in the resource")
		}
	})
}

func same(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

// spoil writes into every object and list below v.
func spoil(v any) {
	switch v := v.(type) {
	case obj:
		for _, e := range v {
			spoil(e)
		}
		if v != nil {
			v["spoilt"] = true
		}
	case []any:
		for i, e := range v {
			spoil(e)
			v[i] = "spoilt"
		}
	}
}

// FuzzRequests: whatever comes, with all switches on or off, is answered.
func FuzzRequests(f *testing.F) {
	f.Add("PATCH", "/redfish/v1/Systems/1", `{"Boot": {"BootSourceOverrideTarget": "Pxe"}}`, true)
	f.Add("PATCH", "/redfish/v1/Systems/1/Bios/Settings", `{"Attributes": {"NumLock": null}}`, false)
	f.Add("PATCH", "/redfish/v1/Systems", `{"Members": 1}`, false)
	f.Add("PATCH", "/redfish/v1/Systems/1", `{"Boot": null, "Bios": 1, "@Redfish.SettingsApplyTime": 3}`, false)
	f.Add("PATCH", "/redfish/v1/AccountService/Accounts/2", `{"UserName": null, "Password": 4}`, true)
	f.Add("POST", "/redfish/v1/Systems/1/Storage/RAID/Volumes", `{"RAIDType": "RAID1", "Links": {"Drives": [1, null, {}]}}`, false)
	f.Add("POST", "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset", `{"ResetType": 1}`, true)
	f.Add("POST", "//actions/", `{}`, false)
	f.Add("DELETE", "/redfish/v1/SessionService/Sessions", ``, false)
	f.Add("GET", "/redfish/v1/Systems?$expand=.&$top=-1&$skip=x&only", ``, true)
	all := quirk.Set{}
	for _, i := range quirk.All() {
		switch i.Name {
		case quirk.NoKeepAlive, quirk.TrailingSlash, quirk.OnePerSecond, quirk.ETagRequired: // would let nothing through
		default:
			all[i.Name] = true
		}
	}
	f.Fuzz(func(t *testing.T, method, target, body string, on bool) {
		if !strings.HasPrefix(target, "/") || strings.ContainsAny(target+method, " \x00\r\n\t#%") || method == "" || method == "CONNECT" {
			return
		}
		o := Options{}
		if on {
			o.Quirks = all
		}
		s, err := New(Small(), o)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct{ method, target, body string }{
			{method, target, body},
			{"POST", "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset", `{"ResetType": "On"}`},
			{method, target, body},
			{"GET", "/redfish/v1/Systems/1", ""},
		} {
			req := httptest.NewRequest(http.MethodGet, "/", strings.NewReader(step.body))
			u, err := req.URL.Parse(step.target)
			if err != nil {
				return
			}
			req.Method, req.URL = step.method, u
			req.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			s.ServeHTTP(w, req)
			if w.Code < 200 || w.Code > 599 {
				t.Fatalf("status %d", w.Code)
			}
			if w.Body.Len() > 0 && !json.Valid(w.Body.Bytes()) {
				t.Fatalf("no JSON: %q", w.Body)
			}
		}
	})
}
