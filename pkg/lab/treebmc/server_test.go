package treebmc_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/ingot-metal/ingot/pkg/lab/treebmc"
)

func TestSessionsHaveALimit(t *testing.T) {
	const sessions = "/redfish/v1/SessionService/Sessions"
	c := small(t, treebmc.Options{Username: "admin", Password: "secret", MaxSessions: 1})
	good := obj{"UserName": "admin", "Password": "secret"}
	if a := c.do("GET", system, nil); a.status != http.StatusUnauthorized {
		t.Errorf("without a login: %d", a.status)
	}
	if a := c.do("GET", "/redfish/v1/", nil); a.status != http.StatusOK {
		t.Errorf("the service root: %d", a.status)
	}
	if a := c.do("POST", sessions, obj{"UserName": "admin", "Password": "wrong"}); a.status != http.StatusUnauthorized {
		t.Errorf("wrong password: %d", a.status)
	}
	first := c.do("POST", sessions, good)
	c.token = first.header.Get("X-Auth-Token")
	if first.status != http.StatusCreated || c.token == "" {
		t.Fatalf("login: %+v", first)
	}
	if a := c.do("POST", sessions, good); a.status != http.StatusServiceUnavailable || !strings.Contains(fmt.Sprint(a.body), "RAC0218") {
		t.Errorf("one too many: %+v", a)
	}
	if n := len(c.get(sessions)["Members"].([]any)); n != 1 {
		t.Errorf("%d sessions are listed", n)
	}
	if a := c.do("DELETE", first.header.Get("Location"), nil); a.status != http.StatusNoContent || c.bmc.Sessions() != 0 {
		t.Errorf("logout: %d, %d are left", a.status, c.bmc.Sessions())
	}
	if a := c.do("GET", system, nil); a.status != http.StatusUnauthorized {
		t.Errorf("with an ended session: %d", a.status)
	}
	c.token = ""
	if a := c.do("GET", system, nil, "Authorization", "Basic YWRtaW46c2VjcmV0"); a.status != http.StatusOK {
		t.Errorf("Basic: %d", a.status)
	}
	c.token = c.do("POST", sessions, good).header.Get("X-Auth-Token")
	c.bmc.ForgetSessions()
	if a := c.do("GET", system, nil); a.status != http.StatusUnauthorized {
		t.Errorf("after a restart of the BMC: %d", a.status)
	}
	for _, e := range c.bmc.Journal() {
		if strings.Contains(e.Body, "secret") {
			t.Errorf("a password is in the journal: %+v", e)
		}
	}
}

func TestETags(t *testing.T) {
	c := small(t, treebmc.Options{CheckETags: true})
	old := c.do("GET", system, nil).header.Get("ETag")
	if a := c.do("PATCH", system, obj{"AssetTag": "a"}, "If-Match", old); !ok(a) {
		t.Errorf("with the ETag: %d", a.status)
	}
	if a := c.do("PATCH", system, obj{"AssetTag": "b"}, "If-Match", old); a.status != http.StatusPreconditionFailed {
		t.Errorf("with the old one: %d", a.status)
	}
	if a := c.do("PATCH", system, obj{"AssetTag": "b"}, "If-Match", "*"); !ok(a) {
		t.Errorf("with any: %d", a.status)
	}
}

func TestQueries(t *testing.T) {
	c := small(t, treebmc.Options{})
	all := c.get("/redfish/v1/UpdateService/FirmwareInventory?$expand=.($levels=1)")["Members"].([]any)
	if len(all) != 2 || at(all[0].(obj), "Version") != "1.0.0" {
		t.Errorf("expanded: %v", all)
	}
	if one := c.get(system + "?$select=PowerState"); one["PowerState"] != "Off" || one["Model"] != nil || one["@odata.id"] == nil {
		t.Errorf("selected: %v", one)
	}
	if some := c.get("/redfish/v1/UpdateService/FirmwareInventory?$skip=1&$top=5")["Members"].([]any); len(some) != 1 {
		t.Errorf("skipped: %v", some)
	}
	for _, query := range []string{"$filter=x", "$expand=*"} {
		if a := c.do("GET", system+"?"+query, nil); a.status != http.StatusNotImplemented {
			t.Errorf("%s: %d", query, a.status)
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	c := small(t, treebmc.Options{})
	for _, tc := range []struct {
		method, path string
		body         any
		want         int
	}{
		{"GET", "/redfish/v1/nowhere", nil, 404},
		{"PATCH", "/redfish/v1/nowhere", obj{}, 404},
		{"DELETE", "/redfish/v1/nowhere", nil, 404},
		{"DELETE", system, nil, 405},
		{"PUT", system, obj{}, 405},
		{"POST", system, obj{}, 405},
		{"PATCH", system, `{"AssetTag"`, 400},
		{"PATCH", system, `[]`, 400},
		{"PATCH", system, nil, 400},
		{"PATCH", system, obj{"PowerState": "On"}, 400},
		{"PATCH", system, obj{"@odata.id": "/"}, 400},
		{"PATCH", system, obj{"Nonsense": 1}, 400},
		{"PATCH", system, obj{"Boot": obj{"Nonsense": 1}}, 400},
		{"PATCH", system, obj{"Boot": obj{"BootSourceOverrideTarget": "Floppy"}}, 400},
		{"PATCH", system + "/Bios", obj{"Attributes": obj{"NumLock": false}}, 400},
		{"PATCH", system + "/Bios/Settings", obj{"Attributes": obj{"Nonsense": 1}}, 400},
		{"PATCH", system + "/Bios/Settings", obj{"@Redfish.SettingsApplyTime": obj{"ApplyTime": "Immediate"}}, 400},
		{"PATCH", system + "/SecureBoot", obj{"SecureBootEnable": "yes"}, 400},
		{"PATCH", slot1, obj{"Image": iso}, 400},
		{"POST", resetURI, obj{"ResetType": "FullPowerCycle"}, 400},
		{"POST", resetURI, obj{"ResetType": "ForceRestart"}, 409},
		{"POST", system + "/Actions/ComputerSystem.Nonsense", obj{}, 404},
		{"POST", slot1 + "/Actions/VirtualMedia.InsertMedia", obj{}, 400},
		{"POST", simple, obj{}, 400},
		{"POST", simple, obj{"ImageURI": "x", "Targets": []string{"/nowhere"}}, 404},
		{"POST", updateTo, nil, 400},
		{"POST", accounts, obj{"UserName": "x", "Password": "short"}, 400},
		{"POST", accounts, obj{"UserName": "x", "Password": strings.Repeat("long", 20)}, 400},
		{"POST", accounts, obj{"UserName": "x"}, 400},
		{"POST", events, obj{}, 400},
		{"POST", system + "/Storage/RAID/Volumes", obj{}, 400},
		{"POST", system + "/Storage/RAID/Volumes", obj{"RAIDType": "RAID1", "Links": obj{"Drives": []obj{{"@odata.id": system}}}}, 400},
		{"POST", system + "/SecureBoot/Actions/SecureBoot.ResetKeys", obj{"ResetKeysType": "Nonsense"}, 400},
	} {
		if a := c.do(tc.method, tc.path, tc.body); a.status != tc.want {
			t.Errorf("%s %s %v: %d, want %d", tc.method, tc.path, tc.body, a.status, tc.want)
		}
	}
}

func TestSettingsWaitForAStart(t *testing.T) {
	const bios = system + "/Bios"
	c := small(t, treebmc.Options{})
	if !ok(c.do("PATCH", bios+"/Settings", obj{"Attributes": obj{"NumLock": false, "Threads": 4}})) ||
		!ok(c.do("PATCH", system+"/SecureBoot", obj{"SecureBootEnable": true})) ||
		!ok(c.do("POST", system+"/SecureBoot/Actions/SecureBoot.ResetKeys", obj{"ResetKeysType": "DeleteAllKeys"})) {
		t.Fatal("not taken")
	}
	before := c.get(system + "/SecureBoot")
	if at(c.get(bios), "Attributes", "Threads") != 8.0 || at(c.get(bios+"/Settings"), "Attributes", "Threads") != 4.0 ||
		before["SecureBootCurrentBoot"] != "Disabled" || before["SecureBootMode"] != "UserMode" {
		t.Error("it did not wait")
	}
	reset(c, "On")
	after := c.get(system + "/SecureBoot")
	if at(c.get(bios), "Attributes", "Threads") != 4.0 || at(c.get(bios+"/Settings"), "Attributes", "Threads") != nil ||
		after["SecureBootCurrentBoot"] != "Enabled" || after["SecureBootMode"] != "SetupMode" {
		t.Errorf("not applied: %v %v", c.get(bios), after)
	}
	if !ok(c.do("POST", bios+"/Actions/Bios.ResetBios", obj{})) || !reset(c, "ForceRestart") || at(c.get(bios), "Attributes", "Threads") != 8.0 {
		t.Error("the BIOS was not reset")
	}
}

func TestPowerAndTasksTakeReads(t *testing.T) {
	c := small(t, treebmc.Options{PowerReads: 2, TaskReads: 2})
	reset(c, "On")
	for i, want := range []string{"PoweringOn", "PoweringOn", "On"} {
		if got := c.get(system)["PowerState"]; got != want {
			t.Errorf("read %d: %v, want %s", i+1, got, want)
		}
	}
	made := c.do("POST", system+"/Storage/RAID/Volumes", obj{
		"Name": "os", "RAIDType": "RAID1", "Links": obj{"Drives": []obj{{"@odata.id": system + "/Storage/RAID/Drives/0"}}},
	})
	if made.status != http.StatusAccepted {
		t.Fatalf("made: %+v", made)
	}
	volumes := func() []any { return c.get(system + "/Storage/RAID/Volumes")["Members"].([]any) }
	for i, want := range []string{"Running", "Completed", "Completed"} {
		if got := c.get(made.header.Get("Location"))["TaskState"]; got != want {
			t.Errorf("read %d of the task: %v, want %s", i+1, got, want)
		}
		if n := len(volumes()); n != map[string]int{"Running": 0, "Completed": 1}[want] {
			t.Errorf("read %d: %d volumes", i+1, n)
		}
	}
	volume := volumes()[0].(obj)["@odata.id"].(string)
	gone := c.do("DELETE", volume, nil).header.Get("Location")
	c.get(gone)
	c.get(gone)
	if n := len(volumes()); n != 0 {
		t.Errorf("%d volumes after the delete", n)
	}
}

func TestAccountsEventsAndLogs(t *testing.T) {
	c := small(t, treebmc.Options{Username: "admin", Password: "secret"})
	const sessions = "/redfish/v1/SessionService/Sessions"
	c.token = c.do("POST", sessions, obj{"UserName": "admin", "Password": "secret"}).header.Get("X-Auth-Token")
	if c.get(accounts + "/2")["UserName"] != "admin" {
		t.Error("the administrator has no account")
	}
	made := c.do("POST", accounts, obj{"UserName": "new", "Password": "long enough", "RoleId": "Operator"})
	login := func(name, password string) int {
		return c.do("POST", sessions, obj{"UserName": name, "Password": password}).status
	}
	if made.status != 201 || made.body["Password"] != nil || login("new", "long enough") != 201 {
		t.Errorf("account: %+v", made)
	}
	uri := made.header.Get("Location")
	if !ok(c.do("PATCH", uri, obj{"Password": "even longer", "UserName": "newer"})) || login("newer", "even longer") != 201 || login("new", "long enough") != 401 {
		t.Error("the account was not changed")
	}
	if !ok(c.do("DELETE", uri, nil)) || login("newer", "even longer") != 401 {
		t.Error("the account was not deleted")
	}
	s := c.do("POST", events, obj{"Destination": "https://192.0.2.1/e", "HttpHeaders": []obj{{"Authorization": "Bearer token"}}})
	if s.status != 201 || strings.Contains(fmt.Sprint(s.body), "Bearer") || !ok(c.do("DELETE", s.header.Get("Location"), nil)) ||
		len(c.get(events)["Members"].([]any)) != 0 {
		t.Errorf("subscription: %+v", s)
	}
	entries := func() int { return len(c.get(system + "/LogServices/SEL/Entries")["Members"].([]any)) }
	if entries() != 1 || !ok(c.do("POST", system+"/LogServices/SEL/Actions/LogService.ClearLog", obj{})) || entries() != 0 {
		t.Error("the log was not cleared")
	}
}

func TestBusyAndLatency(t *testing.T) {
	c := small(t, treebmc.Options{Latency: time.Hour})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, c.base+system, nil)
	if resp, err := c.http.Do(req); err == nil {
		resp.Body.Close()
		t.Error("it answered at once")
	}
	c = small(t, treebmc.Options{})
	c.bmc.Busy(1, 7*time.Second)
	if a := c.do("GET", system, nil); a.status != 503 || a.header.Get("Retry-After") != "7" {
		t.Errorf("busy: %+v", a)
	}
	if a := c.do("GET", system, nil); a.status != 200 {
		t.Errorf("and not busy any more: %d", a.status)
	}
	if !c.bmc.Edit(system+"/", func(doc map[string]any) { doc["Model"] = "Edited" }) || c.get(system)["Model"] != "Edited" ||
		c.bmc.Resource(system)["Model"] != "Edited" || c.bmc.Edit("/nowhere", func(map[string]any) {}) {
		t.Error("edit")
	}
}

// TestManyAtATime is for the race detector.
func TestManyAtATime(t *testing.T) {
	c := small(t, treebmc.Options{})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 20 {
				c.do("GET", system+"/", nil)
				c.do("PATCH", system, obj{"AssetTag": fmt.Sprint(i)})
				c.do("POST", resetURI, obj{"ResetType": []string{"On", "ForceOff"}[i%2]})
				c.bmc.Resource(system)
				c.bmc.Journal()
			}
		})
	}
	all.Wait()
	if n := len(c.bmc.Journal()); n != 8*20*3 {
		t.Errorf("%d requests in the journal", n)
	}
}

func TestTreesThatAreNone(t *testing.T) {
	if _, err := treebmc.New(fstest.MapFS{"readme": {Data: []byte("x")}}, treebmc.Options{}); err == nil {
		t.Error("a folder without a service root is served")
	}
	// DMTF's short form; a root of nonsense; a broken resource.
	for name, tree := range map[string]fstest.MapFS{
		"short":   {"index.json": {Data: []byte(`{"RedfishVersion": "1.0.0"}`)}},
		"types":   {"redfish/v1/index.json": {Data: []byte(`{"Systems": 3, "Links": [], "UpdateService": {"@odata.id": 4}, "AccountService": null}`)}},
		"no json": {"redfish/v1/index.json": {Data: []byte(`<html>`)}},
	} {
		b, err := treebmc.New(tree, treebmc.Options{Username: "a", Password: "b"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if doc := b.Resource("/redfish/v1/"); (doc == nil) != (name == "no json") {
			t.Errorf("%s: %v", name, doc)
		}
	}
}
