package simbmc

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// call makes one request; auth is a token, or empty for Basic.
type call struct {
	method, path, token, body string
	header                    map[string]string
	anonymous                 bool
	password                  string
}

type answer struct {
	status int
	header http.Header
	body   obj
	raw    string
}

func (s *bench) do(t *testing.T, base string, c call) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(testContext(t), c.method, base+c.path, strings.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case c.anonymous:
	case c.token != "":
		req.Header.Set("X-Auth-Token", c.token)
	case c.password != "":
		req.SetBasicAuth(testUser, c.password)
	default:
		req.SetBasicAuth(testUser, testPassword)
	}
	for name, value := range c.header {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", c.method, c.path, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, raw: string(text)}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &a.body); err != nil && !s.Faults().Malformed {
			t.Fatalf("%s %s: %v in %q", c.method, c.path, err, text)
		}
	}
	return a
}

func messageID(a answer) string {
	failure, _ := a.body["error"].(obj)
	list, _ := failure["@Message.ExtendedInfo"].([]any)
	if len(list) == 0 {
		return ""
	}
	id, _ := list[0].(obj)["MessageId"].(string)
	return strings.TrimPrefix(id, base)
}

// TestTreeIsLinked walks every @odata.id from the root and finds a resource with
// that very id.
func TestTreeIsLinked(t *testing.T) {
	s := newBench(t, func(c *Config) { c.Events = true })
	base := s.serveRedfish(t)
	seen := map[string]bool{}
	queue := []string{"/redfish/v1/"}
	for len(queue) > 0 {
		path := queue[0]
		queue = queue[1:]
		if seen[path] {
			continue
		}
		seen[path] = true
		a := s.do(t, base, call{method: "GET", path: path})
		if a.status != http.StatusOK {
			t.Errorf("GET %s: %d", path, a.status)
			continue
		}
		if got := a.body["@odata.id"]; got != path {
			t.Errorf("GET %s: @odata.id %v", path, got)
		}
		for _, want := range []string{"@odata.type", "Name"} {
			if _, ok := a.body[want]; !ok {
				t.Errorf("GET %s: no %s", path, want)
			}
		}
		queue = append(queue, idsIn(a.body)...)
	}
	if len(seen) < 28 {
		t.Errorf("only %d resources are linked: %v", len(seen), seen)
	}
}

// TestPartsThatAreNotTold finds empty collections where a body tells nothing, and
// nothing beside what it has.
func TestPartsThatAreNotTold(t *testing.T) {
	s := newBench(t, nil)
	s.info = Info{Name: "m1"}
	url := s.serveRedfish(t)
	a := s.do(t, url, call{method: "GET", path: s.SystemPath()})
	if summary, _ := a.body["ProcessorSummary"].(obj); summary["Count"] != 0.0 || summary["CoreCount"] != 0.0 {
		t.Errorf("processors: %v", summary)
	}
	for _, name := range []string{"EthernetInterfaces", "Processors", "Storage", "SimpleStorage"} {
		path := s.SystemPath() + "/" + name
		if a := s.do(t, url, call{method: "GET", path: path}); a.status != http.StatusOK || a.body["Members@odata.count"] != 0.0 {
			t.Errorf("GET %s: %d %s", path, a.status, a.raw)
		}
		if a := s.do(t, url, call{method: "GET", path: path + "/1"}); a.status != http.StatusNotFound {
			t.Errorf("GET %s/1: %d", path, a.status)
		}
	}
	s = newBench(t, nil)
	url = s.serveRedfish(t)
	for _, name := range []string{"Processors/0", "Processors/3", "Processors/01", "Processors/+1", "Processors/1/x", "Storage/2", "Storage/1/Drives", "Storage/1/Drives/3", "Bios"} {
		if a := s.do(t, url, call{method: "GET", path: s.SystemPath() + "/" + name}); a.status != http.StatusNotFound {
			t.Errorf("GET %s: %d", name, a.status)
		}
	}
}

func idsIn(v any) []string {
	var ids []string
	switch v := v.(type) {
	case obj:
		for name, member := range v {
			if id, ok := member.(string); ok && name == "@odata.id" {
				ids = append(ids, id)
			}
			ids = append(ids, idsIn(member)...)
		}
	case []any:
		for _, member := range v {
			ids = append(ids, idsIn(member)...)
		}
	}
	return ids
}

func TestRedfishAuth(t *testing.T) {
	s := newBench(t, nil)
	base := s.serveRedfish(t)
	for _, tc := range []struct {
		name string
		call call
		want int
	}{
		{"root is public", call{method: "GET", path: "/redfish/v1", anonymous: true}, 200},
		{"version is public", call{method: "GET", path: "/redfish", anonymous: true}, 200},
		{"system is not", call{method: "GET", path: "/redfish/v1/Systems/m1", anonymous: true}, 401},
		{"unknown is not told apart", call{method: "GET", path: "/redfish/v1/Nope", anonymous: true}, 401},
		{"basic", call{method: "GET", path: "/redfish/v1/Systems/m1"}, 200},
		{"basic, wrong", call{method: "GET", path: "/redfish/v1/Systems/m1", password: "x"}, 401},
		{"token, wrong", call{method: "GET", path: "/redfish/v1/Systems/m1", token: "x"}, 401},
		{"login, wrong", call{method: "POST", path: sessionsPath, anonymous: true, body: `{"UserName":"root","Password":"x"}`}, 401},
		{"login, no password", call{method: "POST", path: sessionsPath, anonymous: true, body: `{"UserName":"root"}`}, 400},
		{"login, no JSON", call{method: "POST", path: sessionsPath, anonymous: true, body: `{`}, 400},
		{"login, null", call{method: "POST", path: sessionsPath, anonymous: true, body: `null`}, 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := s.do(t, base, tc.call)
			if a.status != tc.want {
				t.Errorf("got %d, want %d: %s", a.status, tc.want, a.raw)
			}
			if a.status >= 400 && messageID(a) == "" {
				t.Errorf("no extended info in %s", a.raw)
			}
		})
	}
	if diff := cmp.Diff([]string{"basic", "token", "session"}, s.details(KindAuth)); diff != "" {
		t.Errorf("journal (-want +got):\n%s", diff)
	}
}

func TestSessions(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := newBench(t, func(c *Config) {
		c.SessionLimit = 2
		c.Now = func() time.Time { return now }
	})
	base := s.serveRedfish(t)
	login := call{method: "POST", path: sessionsPath, anonymous: true, body: `{"UserName":"root","Password":"` + testPassword + `"}`}
	first := s.do(t, base, login)
	if first.status != http.StatusCreated || first.header.Get("X-Auth-Token") == "" {
		t.Fatalf("login: %d %s", first.status, first.raw)
	}
	if strings.Contains(first.raw, testPassword) {
		t.Error("the password is in the answer")
	}
	token, where := first.header.Get("X-Auth-Token"), first.header.Get("Location")
	if a := s.do(t, base, call{method: "GET", path: where, token: token}); a.body["@odata.id"] != where {
		t.Errorf("GET %s: %d %s", where, a.status, a.raw)
	}
	s.do(t, base, login)
	if a := s.do(t, base, login); a.status != 503 || messageID(a) != "SessionLimitExceeded" {
		t.Errorf("third login: %d %s", a.status, a.raw)
	}
	if a := s.do(t, base, call{method: "DELETE", path: where, token: token}); a.status != http.StatusNoContent {
		t.Errorf("logout: %d %s", a.status, a.raw)
	}
	if a := s.do(t, base, call{method: "GET", path: s.SystemPath(), token: token}); a.status != 401 {
		t.Errorf("after logout: %d", a.status)
	}
	now = now.Add(sessionIdle + time.Second)
	if a := s.do(t, base, call{method: "GET", path: sessionsPath}); a.body["Members@odata.count"] != 0.0 {
		t.Errorf("idle sessions stay: %s", a.raw)
	}
}

func TestRedfishPower(t *testing.T) {
	s := newBench(t, nil)
	base := s.serveRedfish(t)
	reset := s.SystemPath() + "/Actions/ComputerSystem.Reset"
	for _, tc := range []struct {
		name, body string
		want       int
		message    string
		on         bool
	}{
		{name: "cycle while off", body: `{"ResetType":"PowerCycle"}`, want: 409, message: "ResourceInStateConflict"},
		{name: "on", body: `{"ResetType":"On"}`, want: 204, on: true},
		{name: "on again", body: `{"ResetType":"On"}`, want: 204, on: true},
		{name: "restart", body: `{"ResetType":"ForceRestart"}`, want: 204, on: true},
		{name: "no type", body: `{}`, want: 400, message: "ActionParameterMissing", on: true},
		{name: "bad type", body: `{"ResetType":"Explode"}`, want: 400, message: "PropertyValueNotInList", on: true},
		{name: "number", body: `{"ResetType":7}`, want: 400, message: "PropertyValueNotInList", on: true},
		{name: "list", body: `[1]`, want: 400, message: "MalformedJSON", on: true},
		{name: "too long", body: `{"ResetType":"` + strings.Repeat("x", maxBody) + `"}`, want: 400, message: "MalformedJSON", on: true},
		{name: "off", body: `{"ResetType":"ForceOff"}`, want: 204},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := s.do(t, base, call{method: "POST", path: reset, body: tc.body})
			if a.status != tc.want || messageID(a) != tc.message {
				t.Errorf("got %d %s, want %d %s", a.status, messageID(a), tc.want, tc.message)
			}
			if on, _ := s.body.Power(testContext(t)); on != tc.on {
				t.Errorf("on: %v", on)
			}
		})
	}
	if diff := cmp.Diff([]string{"On", "ForceRestart", "ForceOff"}, s.details(KindPower)); diff != "" {
		t.Errorf("journal (-want +got):\n%s", diff)
	}
}

// TestPowerLatency finds that actions are answered at once and done one after
// the other, each judged by the state that it will find.
func TestPowerLatency(t *testing.T) {
	s := newBench(t, func(c *Config) { c.Latency = 20 * time.Millisecond })
	base := s.serveRedfish(t)
	for _, action := range []string{"On", "PowerCycle", "ForceOff", "ForceOff", "On"} {
		a := s.do(t, base, call{method: "POST", path: s.SystemPath() + "/Actions/ComputerSystem.Reset", body: `{"ResetType":"` + action + `"}`})
		if a.status != 204 {
			t.Errorf("%s: %d %s", action, a.status, a.raw)
		}
	}
	for range 3 {
		select {
		case <-s.starts:
		case <-testContext(t).Done():
			t.Fatal("not started")
		}
	}
	if diff := cmp.Diff([]string{"On", "PowerCycle", "ForceOff", "On"}, s.details(KindPower)); diff != "" {
		t.Errorf("journal (-want +got):\n%s", diff)
	}
}

func TestRedfishBoot(t *testing.T) {
	s := newBench(t, nil)
	base := s.serveRedfish(t)
	initial := BootOverride{Target: BootNone, Enabled: BootDisabled, Mode: ModeUEFI}
	once := BootOverride{Target: BootPXE, Enabled: BootOnce, Mode: ModeUEFI}
	for _, tc := range []struct {
		name, body string
		header     map[string]string
		want       int
		boot       BootOverride
	}{
		{name: "unknown property", body: `{"AssetTag":"x"}`, want: 400, boot: initial},
		{name: "boot is no object", body: `{"Boot":3}`, want: 400, boot: initial},
		{name: "unknown target", body: `{"Boot":{"BootSourceOverrideTarget":"Floppy","BootSourceOverrideEnabled":"Once"}}`, want: 400, boot: initial},
		{name: "stale etag", header: map[string]string{"If-Match": `W/"0"`}, body: `{"Boot":{"BootSourceOverrideEnabled":"Disabled"}}`, want: 412, boot: initial},
		{name: "pxe once", body: `{"Boot":{"BootSourceOverrideTarget":"Pxe","BootSourceOverrideEnabled":"Once","BootSourceOverrideMode":"UEFI"}}`, want: 204, boot: once},
		{name: "mode alone", body: `{"Boot":{"BootSourceOverrideMode":"Legacy"}}`, want: 204, boot: BootOverride{BootPXE, BootOnce, ModeLegacy, ""}},
		{name: "bad uri", body: `{"Boot":{"HttpBootUri":"file:///etc/passwd"}}`, want: 400, boot: BootOverride{BootPXE, BootOnce, ModeLegacy, ""}},
		{name: "http", body: `{"Boot":{"BootSourceOverrideTarget":"UefiHttp","BootSourceOverrideMode":"UEFI","HttpBootUri":"http://192.0.2.1/x.efi"}}`, want: 204, boot: BootOverride{BootUEFIHTTP, BootOnce, ModeUEFI, "http://192.0.2.1/x.efi"}},
		{name: "disabled", body: `{"Boot":{"BootSourceOverrideEnabled":"Disabled","HttpBootUri":""}}`, want: 204, boot: initial},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := s.do(t, base, call{method: "PATCH", path: s.SystemPath(), body: tc.body, header: tc.header})
			if a.status != tc.want {
				t.Errorf("got %d, want %d: %s", a.status, tc.want, a.raw)
			}
			got, _ := s.body.Boot(testContext(t))
			if diff := cmp.Diff(tc.boot, got); diff != "" {
				t.Errorf("boot (-want +got):\n%s", diff)
			}
		})
	}
	etagNow := s.do(t, base, call{method: "GET", path: s.SystemPath()}).header.Get("ETag")
	a := s.do(t, base, call{method: "PATCH", path: s.SystemPath(), header: map[string]string{"If-Match": etagNow}, body: `{"Boot":{"BootSourceOverrideTarget":"Pxe","BootSourceOverrideEnabled":"Once"}}`})
	if a.status != 204 {
		t.Fatalf("matching etag: %d %s", a.status, a.raw)
	}
	// The override holds for one start.
	for _, want := range []BootOverride{once, initial} {
		if err := s.power(testContext(t), PowerOn); err != nil {
			t.Fatal(err)
		}
		if got := <-s.starts; got != want {
			t.Errorf("started with %+v, want %+v", got, want)
		}
		if err := s.power(testContext(t), ForceOff); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVirtualMedia(t *testing.T) {
	s := newBench(t, nil)
	base := s.serveRedfish(t)
	insert := mediaPath + "/Actions/VirtualMedia.InsertMedia"
	if a := s.do(t, base, call{method: "POST", path: insert, body: `{"Image":"ftp://x/y.iso"}`}); a.status != 400 {
		t.Errorf("ftp: %d", a.status)
	}
	if a := s.do(t, base, call{method: "POST", path: insert, body: `{"Image":"http://192.0.2.1/a/boot.iso","Inserted":true}`}); a.status != 204 {
		t.Errorf("insert: %d %s", a.status, a.raw)
	}
	a := s.do(t, base, call{method: "GET", path: mediaPath})
	if a.body["Inserted"] != true || a.body["ImageName"] != "boot.iso" {
		t.Errorf("after insert: %s", a.raw)
	}
	if a := s.do(t, base, call{method: "POST", path: mediaPath + "/Actions/VirtualMedia.EjectMedia", body: `{}`}); a.status != 204 {
		t.Errorf("eject: %d", a.status)
	}
	if a := s.do(t, base, call{method: "GET", path: mediaPath}); a.body["Inserted"] != false || a.body["Image"] != nil {
		t.Errorf("after eject: %s", a.raw)
	}
	if diff := cmp.Diff([]string{"insert http://192.0.2.1/a/boot.iso", "eject"}, s.details(KindMedia)); diff != "" {
		t.Errorf("journal (-want +got):\n%s", diff)
	}
}

func TestMethods(t *testing.T) {
	s := newBench(t, nil)
	base := s.serveRedfish(t)
	for _, c := range []call{
		{method: "PUT", path: s.SystemPath()},
		{method: "DELETE", path: s.SystemPath()},
		{method: "POST", path: s.SystemPath()},
		{method: "PATCH", path: managerPath},
		{method: "GET", path: s.SystemPath() + "/Actions/ComputerSystem.Reset"},
	} {
		if a := s.do(t, base, c); a.status != http.StatusMethodNotAllowed {
			t.Errorf("%s %s: %d", c.method, c.path, a.status)
		}
	}
	if a := s.do(t, base, call{method: "HEAD", path: s.SystemPath()}); a.status != 200 || a.raw != "" {
		t.Errorf("HEAD: %d %q", a.status, a.raw)
	}
	for _, path := range []string{"/redfish/v1/Systems/m2", s.SystemPath() + "/EthernetInterfaces/3", s.SystemPath() + "/EthernetInterfaces/01", sessionsPath + "/9"} {
		if a := s.do(t, base, call{method: "GET", path: path}); a.status != 404 {
			t.Errorf("GET %s: %d", path, a.status)
		}
	}
}

func TestRedfishFaults(t *testing.T) {
	s := newBench(t, nil)
	base := s.serveRedfish(t)
	system := call{method: "GET", path: s.SystemPath()}
	reset := call{method: "POST", path: s.SystemPath() + "/Actions/ComputerSystem.Reset", body: `{"ResetType":"On"}`}
	pxe := call{method: "PATCH", path: s.SystemPath(), body: `{"Boot":{"BootSourceOverrideTarget":"Pxe","BootSourceOverrideEnabled":"Once"}}`}

	s.SetFaults(Faults{Busy: 2, RetryAfter: 3 * time.Second})
	for i, want := range []int{503, 503, 200} {
		a := s.do(t, base, system)
		if a.status != want || want == 503 && a.header.Get("Retry-After") != "3" {
			t.Errorf("busy, request %d: %d, Retry-After %q", i, a.status, a.header.Get("Retry-After"))
		}
	}
	s.SetFaults(Faults{WrongPassword: true})
	if a := s.do(t, base, system); a.status != 401 {
		t.Errorf("wrong password: %d", a.status)
	}
	s.SetFaults(Faults{Malformed: true})
	if a := s.do(t, base, system); a.status != 200 || a.body != nil {
		t.Errorf("malformed: %d %s", a.status, a.raw)
	}
	s.SetFaults(Faults{SessionsFull: true})
	if a := s.do(t, base, call{method: "POST", path: sessionsPath, anonymous: true, body: `{"UserName":"root","Password":"` + testPassword + `"}`}); a.status != 503 {
		t.Errorf("sessions full: %d", a.status)
	}
	s.SetFaults(Faults{PowerIgnored: true, BootIgnored: true})
	if a := s.do(t, base, reset); a.status != 204 {
		t.Errorf("power ignored: %d", a.status)
	}
	if a := s.do(t, base, pxe); a.status != 204 {
		t.Errorf("boot ignored: %d", a.status)
	}
	a := s.do(t, base, system)
	if boot := a.body["Boot"].(obj); a.body["PowerState"] != "Off" || boot["BootSourceOverrideTarget"] != "None" {
		t.Errorf("not ignored: %s", a.raw)
	}
	if diff := cmp.Diff([]string{"power On", "boot Pxe Once UEFI"}, s.details(KindIgnored)); diff != "" {
		t.Errorf("journal (-want +got):\n%s", diff)
	}

	s.SetFaults(Faults{Refuse: true})
	if _, err := http.Get(base + "/redfish/v1/"); err == nil {
		t.Error("refuse: answered")
	}
	s.SetFaults(Faults{Hang: true})
	ctx, cancel := context.WithTimeout(testContext(t), 50*time.Millisecond)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, base+"/redfish/v1/", nil)
	if _, err := http.DefaultClient.Do(req); err == nil || ctx.Err() == nil {
		t.Errorf("hang: %v", err)
	}
	s.SetFaults(Faults{})
	if a := s.do(t, base, system); a.status != 200 {
		t.Errorf("healed: %d", a.status)
	}
}

func TestJournal(t *testing.T) {
	var file bytes.Buffer
	j := NewJournal(&file, func() time.Time { return time.Unix(0, 0).UTC() })
	found := make(chan Entry, 1)
	go func() {
		e, _ := j.Wait(testContext(t), func(e Entry) bool { return e.Kind == KindBoot })
		found <- e
	}()
	j.Add("a", KindPower, "On")
	j.Add("b", KindBoot, "Pxe Once UEFI")
	if e := <-found; e.Machine != "b" {
		t.Errorf("waited for %+v", e)
	}
	if got := len(j.Entries("a")); got != 1 {
		t.Errorf("a has %d entries", got)
	}
	want := `{"time":"1970-01-01T00:00:00Z","machine":"a","kind":"power","detail":"On"}
{"time":"1970-01-01T00:00:00Z","machine":"b","kind":"boot","detail":"Pxe Once UEFI"}
`
	if diff := cmp.Diff(want, file.String()); diff != "" {
		t.Errorf("file (-want +got):\n%s", diff)
	}
	if err := j.Err(); err != nil {
		t.Error(err)
	}
}

func FuzzMergeBoot(f *testing.F) {
	f.Add(`{"BootSourceOverrideTarget":"Pxe","BootSourceOverrideEnabled":"Once"}`)
	f.Add(`{"BootSourceOverrideMode":null,"HttpBootUri":"http://[::1"}`)
	f.Add(`{"BootSourceOverrideEnabled":["Once"]}`)
	f.Fuzz(func(t *testing.T, text string) {
		var change obj
		if json.Unmarshal([]byte(text), &change) != nil {
			t.Skip()
		}
		o := BootOverride{Target: BootNone, Enabled: BootDisabled, Mode: ModeUEFI}
		if mergeBoot(&o, change) == nil && (o.Enabled == BootDisabled) != (o.Target == BootNone) {
			t.Errorf("%s: %+v", text, o)
		}
	})
}
