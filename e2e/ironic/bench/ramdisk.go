package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/ingot-metal/ingot/e2e/rig"
)

const (
	// lookupEvery is how often a ramdisk that started asks which node it is.
	lookupEvery = time.Second
	// beatEvery is how often it calls although it was told nothing. After a step it
	// calls soon, as ironic-python-agent does.
	beatEvery = 10 * time.Second
	// beatAfter is how long the conductor has its hands on a node that it has told
	// something; what calls meanwhile is not heard.
	beatAfter = time.Second
)

// ramdisks pretend to be ironic-python-agent on machines that boot from the network:
// each looks up its node, calls (heartbeat), and says of each command that it is done
// (ironic/drivers/modules/agent_client.py).
type ramdisks struct {
	door string // of Ironic
	srv  *httptest.Server
	hc   *http.Client
	ctx  context.Context
	stop context.CancelFunc
	all  sync.WaitGroup

	mu   sync.Mutex
	runs map[string]*ramdisk // by MAC
}

// ramdisk is one that runs.
type ramdisk struct {
	host   *host
	done   []object // commands, in order
	asked  chan struct{}
	cancel context.CancelFunc
}

func newRamdisks(door string) *ramdisks {
	r := &ramdisks{door: door, hc: &http.Client{}, runs: map[string]*ramdisk{}}
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.srv = httptest.NewServer(http.HandlerFunc(r.serve))
	return r
}

func (r *ramdisks) Close() {
	r.stop()
	r.all.Wait()
	r.srv.CloseClientConnections()
	r.srv.Close()
}

// start is a machine's network boot, end its loss of power.
func (r *ramdisks) start(h *host) {
	r.end(h)
	ctx, cancel := context.WithCancel(r.ctx)
	d := &ramdisk{host: h, asked: make(chan struct{}, 1), cancel: cancel}
	r.mu.Lock()
	r.runs[h.MAC] = d
	r.mu.Unlock()
	r.all.Go(func() { r.run(ctx, d) })
}

func (r *ramdisks) end(h *host) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d := r.runs[h.MAC]; d != nil {
		d.cancel()
		delete(r.runs, h.MAC)
	}
}

func (r *ramdisks) run(ctx context.Context, d *ramdisk) {
	var found struct {
		Node   struct{ UUID string }
		Config struct {
			Token string `json:"agent_token"`
		}
	}
	for {
		text, err := ask(ctx, r.hc, http.MethodGet, r.door+"/v1/lookup?addresses="+d.host.MAC, "")
		if err == nil && json.Unmarshal(text, &found) == nil {
			break
		}
		if rig.Pause(ctx, lookupEvery) != nil {
			return
		}
	}
	beat := fmt.Sprintf(`{"callback_url": "%s/%s", "agent_version": "9.4.0", "agent_token": %q}`, r.srv.URL, d.host.MAC, found.Config.Token)
	for {
		_, _ = ask(ctx, r.hc, http.MethodPost, r.door+"/v1/heartbeat/"+found.Node.UUID, beat) // the next one may be heard
		select {
		case <-ctx.Done():
			return
		case <-d.asked:
		case <-time.After(beatEvery):
		}
		if rig.Pause(ctx, beatAfter) != nil {
			return
		}
	}
}

// serve is /MAC/v1/commands/ of all ramdisks.
func (r *ramdisks) serve(w http.ResponseWriter, req *http.Request) {
	mac, _, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/")
	r.mu.Lock()
	d := r.runs[mac]
	r.mu.Unlock()
	if d == nil {
		http.NotFound(w, req)
		return
	}
	answer, err := d.answer(r, req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

func (d *ramdisk) answer(r *ramdisks, req *http.Request) (object, error) {
	if req.Method == http.MethodGet {
		r.mu.Lock()
		defer r.mu.Unlock()
		return object{"commands": append([]object{}, d.done...)}, nil
	}
	var c struct {
		Name   string
		Params struct{ Step object }
	}
	if err := json.NewDecoder(req.Body).Decode(&c); err != nil {
		return nil, err
	}
	_, name, ok := strings.Cut(c.Name, ".")
	if !ok {
		return nil, errors.New("a command without its extension")
	}
	result := object{}
	switch name {
	case "get_deploy_steps":
		result = object{
			"deploy_steps":             object{"Pretended": []object{{"interface": "deploy", "step": "write_image", "priority": 0}}},
			"hardware_manager_version": object{"Pretended": "1"},
		}
	case "execute_deploy_step":
		result = object{"deploy_result": "written", "deploy_step": c.Params.Step}
	}
	done := object{
		"id": c.Name, "command_name": name, "command_params": object{}, "command_status": "SUCCEEDED", "command_error": nil, "command_result": result,
	}
	r.mu.Lock()
	d.done = append(d.done, done)
	r.mu.Unlock()
	switch name {
	case "execute_deploy_step":
		select {
		case d.asked <- struct{}{}:
		default:
		}
	case "power_off":
		r.end(d.host)
		return done, d.host.off(req.Context())
	}
	return done, nil
}
