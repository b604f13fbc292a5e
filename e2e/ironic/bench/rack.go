package main

import (
	"bytes"
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
		srv := httptest.NewServer(r.count(r.watch(h, face(m.BMC().Redfish(), m.BMC().SystemPath()))))
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

// face adds to a simulated BMC what Ironic's inspection wants of one: a processor
// and a disk, each a resource of its own. Without Processors sushy, its Redfish
// library, ends the inspection (MissingAttributeError).
func face(bmc http.Handler, system string) http.Handler {
	link := func(path string) object { return object{"@odata.id": system + path} }
	list := func(path, kind, member string) object {
		return object{
			"@odata.id": system + path, "@odata.type": "#" + kind + "." + kind, "Name": kind,
			"Members@odata.count": 1, "Members": []object{link(member)},
		}
	}
	fine := object{"State": "Enabled", "Health": "OK"}
	// Like what is static in a real BMC's tree. Nobody logs in for it here: both
	// sides send their credentials with it all the same.
	more := map[string]object{
		"/Processors": list("/Processors", "ProcessorCollection", "/Processors/1"),
		"/Processors/1": {
			"@odata.id": system + "/Processors/1", "@odata.type": "#Processor.v1_19_0.Processor", "Id": "1", "Name": "Processor",
			"ProcessorType": "CPU", "ProcessorArchitecture": "x86", "InstructionSet": "x86-64", "Model": "Pretend Processor 16C",
			"MaxSpeedMHz": 3000, "TotalCores": 16, "TotalThreads": 32, "Status": fine,
		},
		"/Storage": list("/Storage", "StorageCollection", "/Storage/1"),
		"/Storage/1": {
			"@odata.id": system + "/Storage/1", "@odata.type": "#Storage.v1_15_1.Storage", "Id": "1", "Name": "Storage", "Status": fine,
			"Drives": []object{link("/Storage/1/Drives/1")}, "Drives@odata.count": 1,
		},
		"/Storage/1/Drives/1": {
			"@odata.id": system + "/Storage/1/Drives/1", "@odata.type": "#Drive.v1_18_0.Drive", "Id": "1", "Name": "Disk",
			"MediaType": "SSD", "Protocol": "NVMe", "CapacityBytes": 960_000_000_000, "SerialNumber": "PRETEND-1", "Status": fine,
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		path, ours := strings.CutPrefix(strings.TrimSuffix(req.URL.Path, "/"), system)
		body := more[path]
		switch {
		case !ours || req.Method != http.MethodGet || path != "" && body == nil:
			bmc.ServeHTTP(w, req)
			return
		case path == "":
			rec := httptest.NewRecorder()
			bmc.ServeHTTP(rec, req)
			if rec.Code != http.StatusOK || json.Unmarshal(rec.Body.Bytes(), &body) != nil {
				bmc.ServeHTTP(w, req)
				return
			}
			// The ETag stays that of the simulated BMC, which compares it.
			w.Header().Set("ETag", rec.Header().Get("ETag"))
			body["Processors"], body["Storage"] = link("/Processors"), link("/Storage")
		}
		var text bytes.Buffer
		if err := json.NewEncoder(&text).Encode(body); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("OData-Version", "4.0")
		_, _ = w.Write(text.Bytes())
	})
}
