package simbmc

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestEvents subscribes as a client would, over TLS that no BMC can verify.
func TestEvents(t *testing.T) {
	got := make(chan obj, 16)
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		var e obj
		if err := json.Unmarshal(raw, &e); err != nil {
			t.Error(err)
		}
		got <- e
		w.WriteHeader(http.StatusNoContent)
	}))
	defer srv.Close()
	s := newBench(t, func(c *Config) { c.Events = true })
	base := s.serveRedfish(t)
	root := s.do(t, base, call{method: "GET", path: "/redfish/v1/", anonymous: true})
	if d := cmp.Diff(obj{"@odata.id": eventsPath}, root.body["EventService"]); d != "" {
		t.Fatalf("the root (-want +got):\n%s", d)
	}
	for _, tc := range []struct {
		body string
		want int
	}{
		{`{"Protocol": "Redfish"}`, http.StatusBadRequest},
		{`{"Destination": "ftp://x", "Protocol": "Redfish"}`, http.StatusBadRequest},
		{`{"Destination": "` + srv.URL + `", "Protocol": "SNMPv2c"}`, http.StatusBadRequest},
		{`{"Destination": "` + srv.URL + `/in", "Protocol": "Redfish", "Context": "c1"}`, http.StatusCreated},
	} {
		if a := s.do(t, base, call{method: "POST", path: subscriptionsPath, body: tc.body}); a.status != tc.want {
			t.Errorf("%s: %d, want %d", tc.body, a.status, tc.want)
		}
	}
	if err := s.Panel(testContext(t), PowerOn); err != nil {
		t.Fatal(err)
	}
	e := <-got
	if text, _ := json.Marshal(e); e["Context"] != "c1" || !strings.Contains(string(text), "changed to On") {
		t.Errorf("pushed %s", text)
	}
	if a := s.do(t, base, call{method: "POST", path: s.SystemPath() + "/Actions/ComputerSystem.Reset", body: `{"ResetType": "ForceOff"}`}); a.status >= 300 {
		t.Fatal(a.raw)
	}
	<-got
	// The BMC notes an event once its subscriber has answered, which is after it got it.
	for deadline := time.Now().Add(time.Minute); len(s.details(KindEvent)) < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("journal %v, lost %v", s.details(KindEvent), s.details(KindEventLost))
		}
	}
	list := s.do(t, base, call{method: "GET", path: subscriptionsPath})
	uri := idsIn(list.body["Members"])
	if len(uri) != 1 || s.do(t, base, call{method: "DELETE", path: uri[0]}).status != http.StatusNoContent {
		t.Fatalf("members %v", uri)
	}
	if a := s.do(t, base, call{method: "GET", path: uri[0]}); a.status != http.StatusNotFound {
		t.Errorf("deleted, and %d", a.status)
	}
	if err := s.Panel(testContext(t), PowerOn); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if d := cmp.Diff([]string{"power On", "power Off"}, s.details(KindEvent)); d != "" {
		t.Errorf("journal (-want +got):\n%s", d)
	}
}

// A BMC without an event service shows none.
func TestNoEvents(t *testing.T) {
	s := newBench(t, nil)
	if a := s.do(t, s.serveRedfish(t), call{method: "GET", path: eventsPath}); a.status != http.StatusNotFound {
		t.Errorf("status %d", a.status)
	}
}
