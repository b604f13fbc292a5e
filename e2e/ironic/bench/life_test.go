package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// door is a service whose nodes are at once where they are asked to be.
type door struct {
	mu    sync.Mutex
	nodes map[string]object
	fails string // the verb that does
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var body struct{ Target string }
	if r.Method == http.MethodPost || r.Method == http.MethodPut {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	parts := strings.Split(r.URL.Path, "/") // /v1/nodes/UUID/states/KIND
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/v1/nodes":
		id := fmt.Sprint("node-", len(d.nodes))
		d.nodes[id] = object{"uuid": id, "provision_state": "enroll", "last_error": nil}
		_ = json.NewEncoder(w).Encode(d.nodes[id])
	case r.Method == http.MethodPost, r.Method == http.MethodPatch:
		_, _ = w.Write([]byte("{}"))
	case r.Method == http.MethodGet:
		list := []object{}
		for _, n := range d.nodes {
			list = append(list, n)
		}
		_ = json.NewEncoder(w).Encode(object{"nodes": list})
	case r.Method == http.MethodDelete:
		delete(d.nodes, parts[3])
	case d.nodes[parts[3]] == nil:
		http.NotFound(w, r)
	case body.Target == d.fails:
		d.nodes[parts[3]]["last_error"] = "the BMC is on fire"
	case parts[5] == "power":
		d.nodes[parts[3]]["power_state"] = body.Target
	default:
		d.nodes[parts[3]]["provision_state"] = map[string]string{"manage": "manageable", "inspect": "manageable", "provide": "available", "active": "active", "deleted": "available"}[body.Target]
	}
}

func TestLive(t *testing.T) {
	d := &door{nodes: map[string]object{}}
	srv := httptest.NewServer(d)
	defer srv.Close()
	img := serveImage()
	defer img.Close()
	s := side{name: "ingot", url: srv.URL, image: img, pids: []int{os.Getpid()}}
	if err := s.live(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if len(s.parts) != len(s.phases()) || len(d.nodes) != 0 {
		t.Errorf("%d parts, %d nodes are left", len(s.parts), len(d.nodes))
	}
	var b strings.Builder
	reportLives(&b, 3, []side{s, s})
	for _, p := range s.parts {
		if !strings.Contains(b.String(), "| "+p.what+" |") {
			t.Errorf("no row %q in\n%s", p.what, b.String())
		}
	}
}

func TestLiveFails(t *testing.T) {
	srv := httptest.NewServer(&door{nodes: map[string]object{}, fails: "provide"})
	defer srv.Close()
	img := serveImage()
	defer img.Close()
	s := side{url: srv.URL, image: img, pids: []int{os.Getpid()}}
	err := s.live(t.Context(), 2)
	if err == nil || !strings.Contains(err.Error(), "provide, cleaning off: life-0000, which is manageable: the BMC is on fire") {
		t.Errorf("got %v", err)
	}
}

// TestRack counts what BMCs are asked, and not what a ramdisk does to its machine.
func TestRack(t *testing.T) {
	r, err := newRack(1, "", "http://127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	h := r.hosts[0]
	for _, c := range []struct{ method, path, body string }{
		{http.MethodGet, "", ""},
		{http.MethodPost, resetAction, `{"ResetType": "On"}`},
	} {
		h.send(t, c.method, c.path, c.body)
	}
	if !h.On() {
		t.Error("the machine is not on")
	}
	if err := h.off(t.Context()); err != nil || h.On() {
		t.Errorf("it is still on: %v", err)
	}
	if n := r.asked.Load(); n != 2 {
		t.Errorf("%d requests were counted, want 2", n)
	}
}

// send asks the machine's BMC, as a client does.
func (h *host) send(t *testing.T, method, path, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, h.url+h.BMC().SystemPath()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(h.Username, h.Password)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode >= http.StatusMultipleChoices {
		t.Fatalf("%s %s: %s", method, path, res.Status)
	}
}

// TestRamdisk boots one from the network, and has it do what Ironic asks of it.
func TestRamdisk(t *testing.T) {
	beats := make(chan string, 1)
	ironic := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/lookup":
			_, _ = io.WriteString(w, `{"node": {"uuid": "`+r.FormValue("addresses")+`"}, "config": {"agent_token": "t"}}`)
		default:
			var b struct {
				URL   string `json:"callback_url"`
				Token string `json:"agent_token"`
			}
			if err := json.NewDecoder(r.Body).Decode(&b); err != nil || b.Token != "t" {
				t.Errorf("heartbeat %+v: %v", b, err)
			}
			select {
			case beats <- b.URL:
			default:
			}
		}
	}))
	defer ironic.Close()
	r, err := newRack(1, "", ironic.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	h := r.hosts[0]
	for _, c := range []struct{ method, path, body string }{
		{http.MethodPatch, "", `{"Boot": {"BootSourceOverrideTarget": "Pxe", "BootSourceOverrideEnabled": "Once"}}`},
		{http.MethodPost, resetAction, `{"ResetType": "On"}`},
	} {
		h.send(t, c.method, c.path, c.body)
	}
	var at string
	select {
	case at = <-beats:
	case <-time.After(10 * time.Second):
		t.Fatal("no heartbeat")
	}
	for _, c := range []struct{ body, want string }{
		{`{"name": "deploy.get_deploy_steps", "params": {}}`, `"hardware_manager_version"`},
		{`{"name": "deploy.execute_deploy_step", "params": {"step": {"step": "write_image"}}}`, `"deploy_step":{"step":"write_image"}`},
		{`{"name": "standby.power_off", "params": {}}`, `"SUCCEEDED"`},
	} {
		text, err := ask(t.Context(), http.DefaultClient, http.MethodPost, at+"/v1/commands/?wait=true", c.body)
		if err != nil || !strings.Contains(string(text), c.want) {
			t.Errorf("%s: %s, %v", c.body, text, err)
		}
	}
	if h.On() {
		t.Error("the machine is still on")
	}
}
