package journey_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/lab/fleet"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// TestImportFromIronic: nodes in use are adopted without a write to their BMCs, an
// available one goes on until it is available here, and the nodes are the same.
func TestImportFromIronic(t *testing.T) {
	r := newRack(t, 3, fleet.RedfishHTTP, fleet.RedfishTLS)
	on, off, free := r.machine(0), r.machine(1), r.machine(2)
	if err := on.BMC().Panel(r.ctx, simbmc.PowerOn); err != nil {
		t.Fatal(err)
	}
	machines := []*machine{on, off, free}
	ironic := ironicOf(t, machines, "active", "active", "available")
	credentials := "name,username,password\n"
	for _, m := range machines {
		credentials += fmt.Sprintf("%s,%s,%s\n", m.Name, m.Username, m.Password)
	}
	file := filepath.Join(t.TempDir(), "bmc.csv")
	if err := os.WriteFile(file, []byte(credentials), 0o600); err != nil {
		t.Fatal(err)
	}
	text, code := r.cli("import", "ironic", ironic, "--credentials", file, "--yes")
	if code != 0 || strings.Contains(text, on.Password) {
		t.Fatalf("exit code %d\n%s", code, text)
	}
	for i, m := range machines[:2] {
		b := m.awaitState(metal3.StateExternallyProvisioned)
		if b.Status.PoweredOn != (i == 0) || b.Spec.Online != (i == 0) {
			t.Errorf("%s: on %v, online %v", m.host, b.Status.PoweredOn, b.Spec.Online)
		}
	}
	free.awaitState(metal3.StateAvailable) // time enough for what should not happen to the others
	for _, m := range machines {
		var record v1alpha1.HostRecord
		if err := shared.Get(r.ctx, m.key(), &record); err != nil {
			t.Fatal(err)
		}
		if record.Spec.ID != nodeID(m) || record.Spec.IronicName != m.Name || record.Spec.Hold != "" {
			t.Errorf("%s: the record is of node %s %q, hold %q", m.host, record.Spec.ID, record.Spec.IronicName, record.Spec.Hold)
		}
		var attributes v1alpha1.NodeAttributes
		if err := shared.Get(r.ctx, m.key(), &attributes); err != nil || len(attributes.OwnerReferences) != 1 {
			t.Errorf("%s: its attributes: %v, owners %v", m.host, err, attributes.OwnerReferences)
		}
	}
	for _, m := range machines[:2] {
		if got := m.log(simbmc.KindPower, simbmc.KindBoot, simbmc.KindMedia); len(got) > 0 {
			t.Errorf("%s is in use, and its BMC was told: %v", m.host, got)
		}
		m.unchanged(nil)
	}
	if text, code = r.cli("import", "ironic", ironic, "--credentials", file, "--yes"); code != 0 || !strings.HasPrefix(text, "0 to create, 0 to change") {
		t.Errorf("the same again: exit code %d\n%s", code, text)
	}
	// What goes with a node goes with its host.
	port := client.ObjectKey{Namespace: r.ns, Name: portID(on)}
	if err := shared.Get(r.ctx, port, &v1alpha1.NodeResource{}); err != nil {
		t.Error(err)
	}
}

// nodeID and portID are the UUIDs that Ironic has for a machine and its port.
func nodeID(m *machine) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("node of "+m.MAC)).String()
}

func portID(m *machine) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("port of "+m.MAC)).String()
}

// ironicOf is an Ironic that has the machines, each in a state, with a port.
func ironicOf(t *testing.T, machines []*machine, states ...string) string {
	t.Helper()
	var nodes, ports []any
	for i, m := range machines {
		u, err := url.Parse(m.Address)
		if err != nil {
			t.Fatal(err)
		}
		scheme := "https"
		if strings.HasSuffix(u.Scheme, "+http") {
			scheme = "http"
		}
		power := "power off"
		if m.On() {
			power = "power on"
		}
		nodes = append(nodes, map[string]any{
			"uuid": nodeID(m), "name": m.Name, "driver": "redfish", "provision_state": states[i], "power_state": power,
			"driver_info": map[string]any{
				"redfish_address": scheme + "://" + u.Host, "redfish_system_id": u.Path, "redfish_username": m.Username,
				"redfish_password": "******", "redfish_verify_ca": !m.Insecure,
			},
			"extra": map[string]any{"rack": "r1"},
		})
		ports = append(ports, map[string]any{
			"uuid": portID(m), "node_uuid": nodeID(m), "address": m.MAC, "pxe_enabled": true,
		})
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-OpenStack-Ironic-API-Maximum-Version", "1.95")
		plural := strings.Split(strings.TrimPrefix(r.URL.Path, "/v1/"), "/")[0]
		answer := map[string]any{plural: []any{}}
		switch plural {
		case "nodes":
			answer[plural] = nodes
		case "ports":
			answer[plural] = ports
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}
