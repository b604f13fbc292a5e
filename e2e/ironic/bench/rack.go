package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"

	"github.com/ingot-metal/ingot/pkg/lab/fleet"
)

// rack is pretended machines whose BMCs count what they are asked.
type rack struct {
	fleet *fleet.Fleet
	boot  *httptest.Server // nil: the server that is measured boots them
	bmcs  []*httptest.Server
	hosts []*host
	asked atomic.Int64

	ramdisks *ramdisks // nil: the machines run ingot's own
}

// host is one of them.
type host struct {
	*fleet.Machine
	url  string // of its BMC
	uuid string // of its node
}

// newRack starts machines that boot from a door of ingot's; without one, what answers
// sends them to their disks, which are empty, and a ramdisk of Ironic's is pretended.
func newRack(count int, bootURL, ironic string) (*rack, error) {
	r := &rack{}
	if bootURL == "" {
		r.ramdisks = newRamdisks(ironic)
		r.boot = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "#!ipxe\nexit\n")
		}))
		bootURL = r.boot.URL
	}
	var err error
	if r.fleet, err = fleet.New(fleet.Config{Count: count, Seed: 1, Prefix: "life", BootURL: bootURL}); err != nil {
		r.Close()
		return nil, err
	}
	for _, m := range r.fleet.Machines() {
		h := &host{Machine: m}
		srv := httptest.NewServer(r.count(r.watch(h, m.BMC().Redfish())))
		h.url = srv.URL
		r.bmcs = append(r.bmcs, srv)
		r.hosts = append(r.hosts, h)
	}
	return r, nil
}

// Close cuts the power of all, their BMCs' too.
func (r *rack) Close() {
	for _, srv := range r.bmcs {
		srv.CloseClientConnections() // what a client keeps open is not waited for
		srv.Close()
	}
	if r.ramdisks != nil {
		r.ramdisks.Close() // after the BMCs, which start them
	}
	if r.fleet != nil {
		r.fleet.Close()
	}
	if r.boot != nil {
		r.boot.Close()
	}
}

func (r *rack) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.asked.Add(1)
		next.ServeHTTP(w, req)
	})
}

// watch starts and ends ramdisks as power comes and goes.
func (r *rack) watch(h *host, next http.Handler) http.Handler {
	if r.ramdisks == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !strings.HasSuffix(req.URL.Path, resetAction) {
			next.ServeHTTP(w, req)
			return
		}
		network := h.bootsFromNetwork(req.Context()) // asked before the boot, which uses it up
		next.ServeHTTP(w, req)
		switch {
		case !h.On():
			r.ramdisks.end(h)
		case network:
			r.ramdisks.start(h)
		}
	})
}

const resetAction = "/Actions/ComputerSystem.Reset"

// inside asks the machine's BMC uncounted.
func (h *host) inside(ctx context.Context, method, path, body string) *httptest.ResponseRecorder {
	req := httptest.NewRequestWithContext(ctx, method, h.BMC().SystemPath()+path, strings.NewReader(body))
	req.SetBasicAuth(h.Username, h.Password)
	rec := httptest.NewRecorder()
	h.BMC().Redfish().ServeHTTP(rec, req)
	return rec
}

func (h *host) bootsFromNetwork(ctx context.Context) bool {
	var system struct {
		Boot struct {
			Target string `json:"BootSourceOverrideTarget"`
		}
	}
	err := json.Unmarshal(h.inside(ctx, http.MethodGet, "", "").Body.Bytes(), &system)
	return err == nil && system.Boot.Target == "Pxe"
}

// off is the machine's own doing.
func (h *host) off(ctx context.Context) error {
	if rec := h.inside(ctx, http.MethodPost, resetAction, `{"ResetType": "ForceOff"}`); rec.Code >= http.StatusBadRequest {
		return fmt.Errorf("power off: %d", rec.Code)
	}
	return nil
}

type object = map[string]any
