package serve

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/auth"
	"github.com/ingot-metal/ingot/pkg/rest"
)

// relayRig is two replicas, each with the same host and a BMC of its own, to see who
// speaks to it: the host is the owner's. A client asks the other.
type relayRig struct {
	t     *testing.T
	ca    *auth.CA
	other *restRig
	owner *restRig
	at    string // URL of the other's REST door
	door  string // of the owner, over HTTPS
	back  string // of the other
	whole chan struct{}
}

func newRelayRig(t *testing.T) *relayRig {
	t.Helper()
	r := &relayRig{t: t, ca: newCA(t), other: newRestRig(t, "redfish"), owner: newRestRig(t, "redfish"), whole: make(chan struct{})}
	close(r.whole)
	r.other.share.epoch.Store(0)
	r.door = r.replica(r.owner)
	r.back = r.replica(r.other)
	r.leads(r.door)
	asked := httptest.NewServer(rest.Guard{}.Wrap(r.other.door))
	t.Cleanup(asked.Close)
	r.at = asked.URL
	return r
}

// replica has a door take part, and returns where.
func (r *relayRig) replica(of *restRig) string {
	p := newPeers(r.ca, slog.New(slog.DiscardHandler))
	r.t.Cleanup(p.relays.CloseIdleConnections)
	of.machine.peers, of.door.Relay = p, of.machine.relay
	mux := http.NewServeMux()
	mux.Handle(relayPath+"/", relayed{token: p.token, door: of.door, whole: r.whole})
	return replicaAt(r.t, r.ca, mux)
}

// leads has the host be that of the replica at a door.
func (r *relayRig) leads(door string) {
	r.other.machine.owner = func(types.NamespacedName) string { return door }
}

// ask asks the replica that does not have the host.
func (r *relayRig) ask(status int, method, path, body string, headers ...string) (string, http.Header) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.at+"/v1/nodes/"+machineID+"/"+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("X-OpenStack-Ironic-API-Version", "1.95")
	for kv := range slices.Chunk(headers, 2) {
		req.Header.Set(kv[0], kv[1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		r.t.Fatalf("%s %s: %d %s, %v, want %d", method, path, resp.StatusCode, text, err, status)
	}
	return string(text), resp.Header
}

// An owner that does not know its nodes yet says nothing of them.
func TestRelayToOwnerThatHasJustStarted(t *testing.T) {
	r := newRelayRig(t)
	r.whole = make(chan struct{})
	r.leads(r.replica(r.owner))
	if got, _ := r.ask(http.StatusServiceUnavailable, http.MethodGet, "management/boot_device", ""); !strings.Contains(got, "its REST door is not there: 503") {
		t.Error(got)
	}
}

// A client of the wrong replica gets the right one's answer, as if that had been asked.
func TestRelayToOwner(t *testing.T) {
	r := newRelayRig(t)
	before := r.other.board.Stats().Requests
	r.ask(http.StatusNoContent, http.MethodPut, "management/boot_device", `{"boot_device": "pxe"}`)
	got, header := r.ask(http.StatusOK, http.MethodGet, "management/boot_device", "")
	if got != `{"boot_device":"pxe","persistent":false}` || header.Get("Content-Type") != "application/json" {
		t.Errorf("%s, %v", got, header)
	}
	if v := header.Values("X-OpenStack-Ironic-API-Version"); !slices.Equal(v, []string{"1.95"}) || len(header.Values(requestID)) != 1 {
		t.Errorf("%v", header)
	}
	_, header = r.ask(http.StatusAccepted, http.MethodPut, "states/boot_mode", `{"target": "bios"}`)
	if got, want := header.Get("Location"), r.at+"/v1/nodes/"+machineID+"/states"; got != want {
		t.Errorf("location %s, want %s", got, want)
	}
	r.ask(http.StatusNoContent, http.MethodPost, "vmedia", `{"device_type": "cdrom", "image_url": "http://192.0.2.1/a.iso"}`)
	if got, _ := r.ask(http.StatusOK, http.MethodGet, "vmedia", ""); !strings.Contains(got, "http://192.0.2.1/a.iso") {
		t.Error(got)
	}
	r.ask(http.StatusNoContent, http.MethodDelete, "vmedia?device_types=cdrom", "")
	if got, _ := r.ask(http.StatusBadRequest, http.MethodPut, "management/boot_device", `{"boot_device": "tape"}`); !strings.Contains(got, "Invalid boot device tape specified.") {
		t.Error(got)
	}
	// It lies on the owner's disk.
	d, _, err := r.owner.machine.blobs.Put(t.Context(), strings.NewReader(`{"memory": {"physical": 2147483648}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []*restRig{r.owner, r.other} {
		of.record(func(h *v1alpha1.HostRecord) {
			h.Status.Inventory = &v1alpha1.InventoryRef{Digest: "sha256:" + string(d)}
		})
	}
	if got, _ := r.ask(http.StatusOK, http.MethodGet, "inventory", ""); !strings.Contains(got, `"physical_mb":2048`) {
		t.Error(got)
	}
	r.owner.wants("boot Pxe Once UEFI", "boot Pxe Once Legacy", "media insert http://192.0.2.1/a.iso", "media eject")
	if got := r.other.board.Stats().Requests; got != before {
		t.Errorf("the other replica asked the BMC %d times", got-before)
	}

	secure := httptest.NewTLSServer(r.other.door)
	defer secure.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, secure.URL+"/v1/nodes/"+machineID+"/states/boot_mode", strings.NewReader(`{"target": "bios"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-OpenStack-Ironic-API-Version", "latest")
	resp, err := secure.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got, want := resp.Header.Get("Location"), secure.URL+"/v1/nodes/"+machineID+"/states"; got != want {
		t.Errorf("location %s, want %s", got, want)
	}
}

// A replica's word lets nobody in: the owner asks who its client is.
func TestRelayIsNoLogin(t *testing.T) {
	r := newRelayRig(t)
	r.owner.door.Authenticate = func(w http.ResponseWriter, req *http.Request) (rest.Caller, bool) {
		if req.Header.Get("X-Auth-Token") == "right" {
			return rest.Administrator("somebody"), true
		}
		w.Header().Set("WWW-Authenticate", "Keystone uri=x")
		w.WriteHeader(http.StatusUnauthorized)
		return rest.Caller{}, false
	}
	_, header := r.ask(http.StatusUnauthorized, http.MethodPut, "management/boot_device", `{"boot_device": "pxe"}`, "X-Auth-Token", "wrong")
	if header.Get("WWW-Authenticate") != "Keystone uri=x" {
		t.Errorf("%v", header)
	}
	r.owner.wants()
	r.ask(http.StatusNoContent, http.MethodPut, "management/boot_device", `{"boot_device": "pxe"}`, "X-Auth-Token", "right")
	r.owner.wants("boot Pxe Once UEFI")

	// The first door refuses as ever, before anybody is asked.
	r.leads("https://127.0.0.1:1")
	r.ask(http.StatusForbidden, http.MethodPut, "management/boot_device", `{"boot_device": "pxe"}`, "Origin", "https://evil.example")
	r.other.door.Authenticate = func(http.ResponseWriter, *http.Request) (rest.Caller, bool) {
		return rest.Caller{User: "reader", System: true, Roles: []string{"reader"}}, true
	}
	r.ask(http.StatusForbidden, http.MethodPut, "management/boot_device", `{"boot_device": "pxe"}`)
}

// What is there for replicas is there for nobody else, whatever they say.
func TestRelayPathIsForReplicas(t *testing.T) {
	r := newRelayRig(t)
	roots := x509.NewCertPool()
	roots.AddCert(r.ca.Certificate())
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "ingot"}, DisableKeepAlives: true}}
	for name, token := range map[string]string{"no token": "", "another token": r.ca.Token("something else")} {
		for _, path := range []string{"/nodes/" + machineID + "/management/boot_device", "/", "/v1"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, r.door+relayPath+path, strings.NewReader(`{"boot_device": "pxe"}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set(replicaHeader, token)
			req.Header.Set(forwarded, "http")
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s: %s: %s", name, path, resp.Status)
			}
		}
	}
	r.owner.wants()
}

// A host that changes hands meanwhile is not sought in circles.
func TestRelayGoesOneHop(t *testing.T) {
	r := newRelayRig(t)
	r.owner.share.epoch.Store(0)
	r.owner.machine.owner = func(types.NamespacedName) string { return r.back }
	got, _ := r.ask(http.StatusServiceUnavailable, http.MethodPut, "management/boot_device", `{"boot_device": "pxe"}`)
	if !strings.Contains(got, "is spoken to by another replica of ingot, that of the door "+r.back+": ask there, or retry.") {
		t.Error(got)
	}
	r.leads("") // nobody's
	if got, _ := r.ask(http.StatusServiceUnavailable, http.MethodPut, "management/boot_device", `{"boot_device": "pxe"}`); !strings.Contains(got, "No replica of ingot has node") {
		t.Error(got)
	}
	r.owner.wants()
}

// An owner that does not answer is named, with the reason; what it may have done is not
// to be repeated by itself.
func TestRelayToNobody(t *testing.T) {
	r := newRelayRig(t)
	never := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a stranger is asked") })
	breaks := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	endless := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(requestID, "x")
		_, _ = w.Write(make([]byte, maxAnswer+1))
	})
	plain := httptest.NewServer(never)
	defer plain.Close()
	for _, tc := range []struct {
		name string
		door string
		text string
		put  int // status; 0: 503
	}{
		{name: "dead", door: "https://127.0.0.1:1", text: "connection refused"},
		{name: "of another authority", door: replicaAt(t, newCA(t), never), text: "certificate"},
		{name: "without TLS", door: plain.URL, text: "its Lease names no HTTPS door"},
		{name: "of an earlier release", door: replicaAt(t, r.ca, http.NewServeMux()), text: "its REST door is not there: 404 Not Found"},
		{name: "breaks off", door: replicaAt(t, r.ca, breaks), text: "EOF", put: http.StatusGatewayTimeout},
		{name: "says too much", door: replicaAt(t, r.ca, endless), text: "longer than", put: http.StatusGatewayTimeout},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r.t = t
			r.leads(tc.door)
			if got, _ := r.ask(http.StatusServiceUnavailable, http.MethodGet, "management/boot_device?secret=1", ""); !strings.Contains(got, tc.text) || !strings.Contains(got, tc.door) || strings.Contains(got, "secret") {
				t.Error(got)
			}
			status := tc.put
			if status == 0 {
				status = http.StatusServiceUnavailable
			}
			if got, _ := r.ask(status, http.MethodPut, "management/boot_device", `{"boot_device": "pxe"}`); !strings.Contains(got, tc.text) {
				t.Error(got)
			}
		})
	}
	r.t = t
	r.ask(http.StatusRequestEntityTooLarge, http.MethodPut, "management/boot_device", strings.Repeat(" ", 1<<20+1))
	r.other.wants()
	r.owner.wants()
}
