package redfish

import (
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// nowhere is an endpoint that nothing is sent to, at http://bmc:80.
func nowhere(names ...quirk.Name) *Endpoint {
	set := quirk.Set{}
	for _, n := range names {
		set[n] = true
	}
	return NewEndpoint(bmc.Address{Host: "bmc", Port: 80}, admin, Options{Quirks: set})
}

func nothing(*x509.Certificate) {}

// bomb is 32 MiB of spaces, compressed.
func bomb() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(bytes.Repeat([]byte(" "), 2*maxBody))
	_ = z.Close()
	return b.Bytes()
}

func FuzzServiceRoot(f *testing.F) {
	for _, s := range []string{
		`{"RedfishVersion": "1.15.0", "Systems": {"@odata.id": "/redfish/v1/Systems"}, "Links": {"Sessions": {"@odata.id": "/redfish/v1/SessionService/Sessions"}}}`,
		`{"Systems": "/redfish/v1/Systems", "Links": [], "ProtocolFeaturesSupported": {"ExpandQuery": {"NoLinks": "yes"}}}`,
		`{"Links": {"Sessions": {"@odata.id": "https://evil.example/Sessions/../x"}}}`, `[]`, `null`, `{`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var root serviceRoot
		if err := decode("fuzz", body, &root); err != nil {
			if bmc.ClassOf(err) != bmc.Protocol {
				t.Errorf("class of %v", err)
			}
			return
		}
		e := nowhere()
		for _, l := range []link{root.Systems, root.Tasks, root.SessionService, root.Links.Sessions} {
			if u, err := e.resolve("fuzz", string(l)); err == nil && !strings.HasPrefix(u, "http://bmc:80/") {
				t.Errorf("%q leads to %q", l, u)
			}
		}
	})
}

func FuzzTask(f *testing.F) {
	for _, s := range []string{
		`{"@odata.type": "#Task.v1_7_0.Task", "@odata.id": "/redfish/v1/TaskService/Tasks/545", "TaskState": "Completed", "TaskStatus": "OK", "PercentComplete": 100}`,
		`{"TaskState": "Exception", "Messages": [{"MessageId": "Base.1.0.GeneralError", "Message": "x"}]}`,
		`{"JobState": "Running", "Message": "Job in progress.", "PercentComplete": "34"}`,
		`{"Accepted": {"@Message.ExtendedInfo": {"MessageArgs": "/redfish/v1/TaskService/Tasks/1"}}}`,
		`{"TaskMonitor": "http://h/redfish/v1/TaskService/TaskMonitors/1?a=b"}`, `{"PercentComplete": 1e308}`, `[[]]`, ``,
	} {
		f.Add([]byte(s), 202)
	}
	s := &System{e: nowhere(quirk.TaskInBody)}
	f.Fuzz(func(t *testing.T, body []byte, status int) {
		var v task
		_ = decode("fuzz", body, &v)
		p, err := v.progress("fuzz", status)
		if p.Percent < -1 || p.Percent > 100 || len(p.State)+len(p.Message) > 4000 || err != nil && (p.Done || bmc.ClassOf(err) != bmc.BadRequest) {
			t.Errorf("progress %+v, %v", p, err)
		}
		if uri := s.taskOf(&answer{status: status, header: http.Header{"Location": {string(body)}}, body: body}); uri != "" && !strings.HasPrefix(uri, "/") {
			t.Errorf("task %q", uri)
		}
	})
}

func FuzzErrorBody(f *testing.F) {
	for _, s := range []string{
		`{"error": {"code": "Base.1.0.GeneralError", "message": "m", "@Message.ExtendedInfo": [{"MessageId": "IDRAC.2.8.SYS518", "Message": "x"}]}}`,
		`{"error": {"@Message.ExtendedInfo": {"MessageId": "iLO.2.15.InvalidOperationForSystemState"}}}`,
		`{"error": "text"}`, `{"error": {"message": ["a"], "@Message.ExtendedInfo": [1, null, "x"]}}`, `<html>`, "\xff\x00",
	} {
		f.Add([]byte(s), 400, "5")
	}
	e := nowhere(quirk.PostBusy)
	f.Fuzz(func(t *testing.T, body []byte, status int, after string) {
		a := &answer{status: status, header: http.Header{"Retry-After": {after}}, body: body}
		err := e.judge("fuzz", a)
		if ok := status >= 200 && status < 300; ok != (err == nil) {
			t.Fatalf("status %d: %v", status, err)
		}
		sessionsFull(a)
		var be *bmc.Error
		if err == nil {
			return
		}
		if !errors.As(err, &be) || be.Class == "" || len(be.Error()) > 2000 || !utf8.ValidString(be.Error()) {
			t.Errorf("error %q", err)
		}
		if be.RetryAfter < 0 || be.RetryAfter.Hours() > 1 {
			t.Errorf("retry after %v", be.RetryAfter)
		}
	})
}

func FuzzETag(f *testing.F) {
	for _, s := range []string{`"17"`, `W/"17"`, `w/"a-gzip"`, `""`, `W/""`, `17`, `*`, ` `, "\"\r\nX: y\"", `"""`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, tag string) {
		for w := asSent; w <= without; w++ {
			got := w.of(tag)
			if w != asSent && len(got) > len(tag)+2 {
				t.Errorf("%d of %q is %q", w, tag, got)
			}
			if w == strong && got != "" && (got[0] != '"' || got[len(got)-1] != '"' || len(got) < 3) {
				t.Errorf("%q is no strong ETag", got)
			}
		}
		if without.of(tag) != "" || anything.of(tag) != "*" {
			t.Errorf("the last rungs of %q", tag)
		}
	})
}

func FuzzSessionURI(f *testing.F) {
	for _, s := range []string{
		"/redfish/v1/SessionService/Sessions/1", "https://10.0.0.9/redfish/v1/Sessions/x/", "/redfish/v1/Sessions/../Systems/1",
		"/redfish/v1/Sessions/%2e%2e/1", "//h/Sessions/1", "Sessions/1", "/Sessions//", "http://[",
	} {
		f.Add(s)
	}
	e := nowhere()
	f.Fuzz(func(t *testing.T, uri string) {
		p, ok := sessionPath(uri)
		if !ok {
			return
		}
		parts := strings.Split(strings.TrimSuffix(p, "/"), "/")
		if n := len(parts); n < 3 || parts[0] != "" || parts[n-1] == "" || parts[n-1] == ".." || !strings.EqualFold(parts[n-2], "sessions") {
			t.Errorf("%q is taken for a session", p)
		}
		if u, err := e.resolve("fuzz", p); err != nil || !strings.HasPrefix(u, "http://bmc:80/") {
			t.Errorf("%q leads to %q, %v", p, u, err)
		}
	})
}
