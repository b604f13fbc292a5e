package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ingot-metal/ingot/e2e/rig"
)

const (
	// lifeClients are how many clients lead machines at the same time.
	lifeClients = 8
	// pollEvery is how often the list is asked who has arrived. It is sparse, since
	// the CPU of its answers counts.
	pollEvery = 500 * time.Millisecond
	// maxHosts is what one page of the list holds.
	maxHosts = 1000
)

// status is what a list says of a node; the zero value is one that is not there.
type status struct {
	UUID                 string
	ProvisionState       string `json:"provision_state"`
	TargetProvisionState string `json:"target_provision_state"`
	PowerState           string `json:"power_state"`
	TargetPowerState     string `json:"target_power_state"`
	LastError            string `json:"last_error"`
}

const statusFields = "uuid,provision_state,target_provision_state,power_state,target_power_state,last_error"

// phase is a part of a machine's life, asked for by one request.
type phase struct {
	what  string
	ask   func(h *host) (method, path, body string)
	learn func(h *host, uuid string)
	done  func(status) bool // nil: the answer is the end
}

// part is what a phase cost for all hosts.
type part struct {
	what  string
	took  time.Duration
	cpu   time.Duration
	asked int64 // of the BMCs
}

// phases are the life, in order.
func (s *side) phases() []phase {
	set := func(what, kind, target string, done func(status) bool) phase {
		return phase{what: what, done: done, ask: func(h *host) (string, string, string) {
			return http.MethodPut, "/v1/nodes/" + h.uuid + "/states/" + kind, fmt.Sprintf(`{"target": %q}`, target)
		}}
	}
	provision := func(what, verb, state string) phase {
		return set(what, "provision", verb, func(n status) bool { return n.ProvisionState == state && n.TargetProvisionState == "" })
	}
	power := func(target string) phase {
		return set(target, "power", target, func(n status) bool { return n.PowerState == target && n.TargetPowerState == "" })
	}
	return []phase{
		{what: "create a node", ask: s.node, learn: func(h *host, uuid string) { h.uuid = uuid }},
		{what: "create its port", ask: func(h *host) (string, string, string) {
			return http.MethodPost, "/v1/ports", fmt.Sprintf(`{"node_uuid": %q, "address": %q}`, h.uuid, h.MAC)
		}},
		provision("verify BMC access (manage)", "manage", "manageable"),
		provision("inspect out of band", "inspect", "manageable"),
		provision("provide, cleaning off", "provide", "available"),
		power("power on"),
		power("power off"),
		{what: "name the image", ask: func(h *host) (string, string, string) {
			text, _ := json.Marshal([]object{{"op": "add", "path": "/instance_info", "value": object{
				"image_source": s.image.srv.URL + "/bench.raw", "image_os_hash_algo": "sha256", "image_os_hash_value": s.image.digest,
				"image_disk_format": "raw",
			}}}) // texts cannot fail
			return http.MethodPatch, "/v1/nodes/" + h.uuid, string(text)
		}},
		provision("deploy", "active", "active"),
		provision("undeploy", "deleted", "available"),
		{
			what: "delete", done: func(n status) bool { return n.UUID == "" },
			ask: func(h *host) (string, string, string) { return http.MethodDelete, "/v1/nodes/" + h.uuid, "" },
		},
	}
}

// enrolled are the phases, from the first, that make a machine available.
const enrolled = 5

func (s *side) node(h *host) (method, path, body string) {
	text, _ := json.Marshal(object{ // texts and truth values cannot fail
		"driver": "redfish", "name": h.Name, "resource_class": "baremetal", "automated_clean": false, "inspect_interface": "redfish",
		"driver_info": object{
			"redfish_address": h.url, "redfish_system_id": h.BMC().SystemPath(),
			"redfish_username": h.Username, "redfish_password": h.Password,
			"deploy_kernel": s.image.srv.URL + "/kernel", "deploy_ramdisk": s.image.srv.URL + "/ramdisk",
		},
	})
	return http.MethodPost, "/v1/nodes", string(text)
}

// live leads machines from enrolment to deletion, all of them through one phase
// before the next begins.
func (s *side) live(ctx context.Context, count int) error {
	r, err := newRack(count, s.boot, s.url)
	if err != nil {
		return err
	}
	defer r.Close()
	hc := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	defer hc.CloseIdleConnections()
	for _, p := range s.phases() {
		if err := s.lead(ctx, hc, r, p); err != nil {
			return fmt.Errorf("%s: %w", p.what, err)
		}
	}
	return nil
}

func (s *side) lead(ctx context.Context, hc *http.Client, r *rack, p phase) error {
	before, err := cpu(s.pids)
	if err != nil {
		return err
	}
	began, asked := time.Now(), r.asked.Load()
	var g errgroup.Group
	g.SetLimit(lifeClients)
	for _, h := range r.hosts {
		g.Go(func() error {
			method, path, body := p.ask(h)
			text, err := ask(ctx, hc, method, s.url+path, body)
			if err != nil || p.learn == nil {
				return err
			}
			var n status
			err = json.Unmarshal(text, &n)
			p.learn(h, n.UUID)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if p.done != nil {
		if err := s.await(ctx, hc, r.hosts, p.done); err != nil {
			return err
		}
	}
	took := time.Since(began)
	after, err := cpu(s.pids)
	s.parts = append(s.parts, part{what: p.what, took: took, cpu: after - before, asked: r.asked.Load() - asked})
	return err
}

// await asks until all have arrived. The first that fails ends it.
func (s *side) await(ctx context.Context, hc *http.Client, hosts []*host, done func(status) bool) error {
	for left := len(hosts); left > 0; {
		if err := rig.Pause(ctx, pollEvery); err != nil {
			return fmt.Errorf("%d of %d hosts have not arrived: %w", left, len(hosts), err)
		}
		text, err := ask(ctx, hc, http.MethodGet, s.url+"/v1/nodes?fields="+statusFields, "")
		if err != nil {
			return err
		}
		var list struct{ Nodes []status }
		if err := json.Unmarshal(text, &list); err != nil {
			return err
		}
		now := map[string]status{}
		for _, n := range list.Nodes {
			now[n.UUID] = n
		}
		left = 0
		for _, h := range hosts {
			n := now[h.uuid]
			if n.LastError != "" {
				return fmt.Errorf("%s, which is %s: %s", h.Name, n.ProvisionState, n.LastError)
			}
			if !done(n) {
				left++
			}
		}
	}
	return nil
}
