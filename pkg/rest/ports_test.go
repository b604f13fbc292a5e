package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/node"
)

// body is a request's.
type body = map[string]any

// newNode makes a node and returns its UUID.
func (d *door) newNode(name string, more body) string {
	d.t.Helper()
	b := body{"driver": "fake-hardware", "name": name}
	for k, v := range more {
		b[k] = v
	}
	return d.want(http.StatusCreated, http.MethodPost, "/v1/nodes", b)["uuid"].(string)
}

// rests has a node of fake-hardware rest in a state with its power off.
func (d *door) rests(id string, st ironic.State) {
	d.t.Helper()
	n, ok := d.nodes.Get(id)
	if !ok {
		d.t.Fatalf("no node %s", id)
	}
	hr := n.Record.DeepCopy()
	hr.Status.Node = &v1alpha1.NodeStatus{Hold: string(st), Power: string(ironic.PowerOff)}
	if err := d.nodes.Client.Status().Update(d.t.Context(), hr); err != nil {
		d.t.Fatal(err)
	}
	d.nodes.Observe(hr)
	if n, _ = d.nodes.Get(id); n.PowerState != nil {
		return
	}
	to, off := n.Clone(), ironic.PowerOff
	to.PowerState = &off
	if _, err := d.nodes.Update(d.t.Context(), n, to); err != nil {
		d.t.Fatal(err)
	}
}

// has changes a node as a client would.
func (d *door) has(id string, change func(*ironic.Node)) {
	d.t.Helper()
	n, _ := d.nodes.Get(id)
	to := n.Clone()
	change(&to)
	if _, err := d.nodes.Update(d.t.Context(), n, to); err != nil {
		d.t.Fatal(err)
	}
}

// refused is a request that has to be answered with a status and a text that has
// this in it.
func (d *door) refused(status int, part, method, path string, b any) {
	d.t.Helper()
	code, out, _ := d.do(method, path, b)
	text, _ := out["faultstring"].(string)
	if text == "" {
		text, _ = out["description"].(string)
	}
	if code != status || !strings.Contains(text, part) {
		d.t.Errorf("%s %s: %d %q, want %d with %q", method, path, code, text, status, part)
	}
}

// ids are the UUIDs of a list.
func (d *door) ids(path, key string) []string {
	d.t.Helper()
	list := []string{}
	for _, e := range d.want(http.StatusOK, http.MethodGet, path, nil)[key].([]any) {
		list = append(list, e.(map[string]any)["uuid"].(string))
	}
	return list
}

func (d *door) newPort(id, mac string, more body) map[string]any {
	d.t.Helper()
	b := body{"node_uuid": id, "address": mac}
	for k, v := range more {
		b[k] = v
	}
	return d.want(http.StatusCreated, http.MethodPost, "/v1/ports", b)
}

func patchOf(op, path string, value any) []body {
	if op == "remove" {
		return []body{{"op": op, "path": path}}
	}
	return []body{{"op": op, "path": path, "value": value}}
}

func TestPort(t *testing.T) {
	d := newDoor(t)
	n := d.newNode("n1", nil)
	other := d.newNode("n2", nil)
	made := d.newPort(n, "52:54:00:AB:00:01", body{"extra": body{"big": json.RawMessage("9007199254740993")}, "local_link_connection": body{"switch_id": "0A:1B:2C:3D:4E:5F", "port_id": "Gi1"}})
	id := made["uuid"].(string)
	if made["address"] != "52:54:00:ab:00:01" || made["pxe_enabled"] != true || made["is_smartnic"] != false || made["node_uuid"] != n ||
		made["local_link_connection"].(map[string]any)["switch_id"] != "0a:1b:2c:3d:4e:5f" || made["portgroup_uuid"] != nil || made["updated_at"] != nil {
		t.Errorf("made %v", made)
	}
	if o, _ := d.nodes.Object(node.KindPort, id); !strings.Contains(string(o.Body), "9007199254740993") {
		t.Errorf("a great number was rounded: %s", o.Body)
	}
	if host, _ := d.nodes.Get(n); host.Host.Spec.BootMACAddress != "52:54:00:ab:00:01" {
		t.Errorf("boot MAC %q", host.Host.Spec.BootMACAddress)
	}
	d.refused(http.StatusConflict, "A port with MAC address 52:54:00:ab:00:01 already exists.", http.MethodPost, "/v1/ports", body{"node_uuid": other, "address": "52:54:00:ab:00:01"})
	d.refused(http.StatusConflict, "A port with UUID "+id+" already exists.", http.MethodPost, "/v1/ports", body{"node_uuid": n, "address": "52:54:00:ab:00:02", "uuid": id})
	for _, tc := range []struct {
		sent body
		says string
	}{
		{body{"node_uuid": n}, "Schema error for port: 'address' is a required property"},
		{body{"address": "52:54:00:ab:00:09"}, "'node_uuid' is a required property"},
		{body{"node_uuid": n, "address": "zz"}, "Expected valid MAC address for address: zz"},
		{body{"node_uuid": n, "address": 5}, "is not of type 'string'"},
		{body{"node_uuid": "n1", "address": "52:54:00:ab:00:09"}, "Expected UUID for node_uuid: n1"},
		{body{"node_uuid": id, "address": "52:54:00:ab:00:09"}, "Node " + id + " could not be found."},
		{body{"node_uuid": n, "address": "52:54:00:ab:00:09", "shape": 1}, "Additional properties are not allowed ('shape' was unexpected)"},
		{body{"node_uuid": n, "address": "52:54:00:ab:00:09", "internal_info": body{}}, "'internal_info' was unexpected"},
		{body{"node_uuid": n, "address": "52:54:00:ab:00:09", "physical_network": ""}, "A non-empty value is required when setting physical_network"},
		{body{"node_uuid": n, "address": "52:54:00:ab:00:09", "physical_network": strings.Repeat("x", 65)}, "is too long"},
		{body{"node_uuid": n, "address": "52:54:00:ab:00:09", "pxe_enabled": "perhaps"}, "pxe_enabled"},
		{body{"node_uuid": n, "address": "52:54:00:ab:00:09", "local_link_connection": body{"switch_id": "sw1", "port_id": "1"}}, "OpenFlow datapath ID but received sw1"},
		{body{"node_uuid": n, "address": "52:54:00:ab:00:09", "local_link_connection": body{"switch_info": "x"}}, "'switch_id' is a required property"},
		{body{"node_uuid": n, "address": "52:54:00:ab:00:09", "local_link_connection": body{"port_id": "p", "vtep-logical-switch": "a", "vtep-physical-switch": "b"}}, "vtep-logical-switch"},
		{body{"node_uuid": n, "address": "52:54:00:ab:00:09", "is_smartnic": true}, "Smart NIC port must have port_id and hostname"},
		{body{"node_uuid": n, "address": "52:54:00:ab:00:09", "name": "a b"}, "Cannot create port with invalid name 'a b'"},
		{body{"node_uuid": n, "address": "52:54:00:ab:00:09", "portgroup_uuid": n}, "Portgroup " + n + " could not be found."},
	} {
		d.refused(http.StatusBadRequest, tc.says, http.MethodPost, "/v1/ports", tc.sent)
	}

	second := d.newPort(n, "52:54:00:ab:00:02", body{"name": "eth1", "pxe_enabled": "false"})["uuid"].(string)
	if host, _ := d.nodes.Get(n); host.Host.Spec.BootMACAddress != "52:54:00:ab:00:01" {
		t.Errorf("boot MAC after another port %q", host.Host.Spec.BootMACAddress)
	}
	third := d.newPort(other, "52:54:00:ab:00:03", nil)["uuid"].(string)
	for _, tc := range []struct {
		path string
		want []string
	}{
		{"/v1/ports", []string{id, second, third}},
		{"/v1/ports?node=n1", []string{id, second}},
		{"/v1/ports?node_uuid=" + other, []string{third}},
		{"/v1/ports?address=52:54:00:AB:00:02", []string{second}},
		{"/v1/ports?address=52:54:00:ab:ff:02", []string{}},
		{"/v1/ports/detail?node=n2", []string{third}},
		{"/v1/nodes/n1/ports", []string{id, second}},
		{"/v1/nodes/" + other + "/ports/detail", []string{third}},
		{"/v1/ports?limit=1&marker=" + id, []string{second}},
		{"/v1/ports?sort_key=address&sort_dir=desc", []string{third, second, id}},
	} {
		if got := d.ids(tc.path, "ports"); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.path, got, tc.want)
		}
	}
	first := d.want(http.StatusOK, http.MethodGet, "/v1/ports?address=52:54:00:ab:00:01&fields=node_uuid,uuid,address", nil)["ports"].([]any)[0].(map[string]any)
	if first["node_uuid"] != n || first["uuid"] != id || first["address"] != "52:54:00:ab:00:01" || len(first) != 4 {
		t.Errorf("what BMO asks for: %v", first)
	}
	d.refused(http.StatusForbidden, "Operation not permitted.", http.MethodGet, "/v1/ports?node=n1&shard=a", nil)
	d.refused(http.StatusForbidden, "Operation not permitted.", http.MethodGet, "/v1/nodes/n1/ports/"+id, nil)
	d.refused(http.StatusNotFound, "Node nope could not be found.", http.MethodGet, "/v1/ports?node=nope", nil)
	d.refused(http.StatusBadRequest, "Expected valid MAC address for address: x", http.MethodGet, "/v1/ports?address=x", nil)
	d.refused(http.StatusBadRequest, "Unexpected arguments: shape", http.MethodGet, "/v1/ports?shape=red", nil)
	d.refused(http.StatusBadRequest, "Can not specify ?detail=True and fields in the same request.", http.MethodGet, "/v1/ports?detail=True&fields=uuid", nil)

	if got := d.want(http.StatusOK, http.MethodGet, "/v1/ports/eth1", nil); got["uuid"] != second {
		t.Errorf("by name: %v", got)
	}
	d.refused(http.StatusNotFound, "Port 00000000-0000-4000-8000-00000000ffff could not be found.", http.MethodGet, "/v1/ports/00000000-0000-4000-8000-00000000ffff", nil)
	d.refused(http.StatusConflict, "A port with name eth1 already exists.", http.MethodPatch, "/v1/ports/"+id, patchOf("replace", "/name", "eth1"))
	got := d.want(http.StatusOK, http.MethodPatch, "/v1/ports/"+id, append(patchOf("add", "/extra/rack", "r4"), patchOf("replace", "/address", "52:54:00:AB:00:11")...))
	if got["address"] != "52:54:00:ab:00:11" || got["extra"].(map[string]any)["rack"] != "r4" || got["updated_at"] == nil {
		t.Errorf("patched %v", got)
	}
	if host, _ := d.nodes.Get(n); host.Host.Spec.BootMACAddress != "52:54:00:ab:00:11" {
		t.Errorf("boot MAC after the port's was replaced %q", host.Host.Spec.BootMACAddress)
	}
	if got := d.ids("/v1/nodes/n1/ports", "ports"); !slices.Equal(got, []string{id, second}) {
		t.Errorf("the old address is a port: %v", got)
	}
	got = d.want(http.StatusOK, http.MethodPatch, "/v1/ports/"+id, patchOf("remove", "/local_link_connection", nil))
	if len(got["local_link_connection"].(map[string]any)) != 0 {
		t.Errorf("removed %v", got)
	}
	d.refused(http.StatusBadRequest, "'address' is a required property", http.MethodPatch, "/v1/ports/"+id, patchOf("remove", "/address", nil))
	d.refused(http.StatusBadRequest, "", http.MethodPatch, "/v1/ports/"+id, patchOf("replace", "/uuid", n))
	d.refused(http.StatusBadRequest, "stays with its node", http.MethodPatch, "/v1/ports/"+id, patchOf("replace", "/node_uuid", other))
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/ports/"+second, nil)
	d.refused(http.StatusNotFound, "could not be found", http.MethodDelete, "/v1/ports/"+second, nil)
	// Who boots from a port that is deleted boots from another one.
	last := d.newPort(n, "52:54:00:ab:00:12", nil)["uuid"].(string)
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/ports/"+id, nil)
	if host, _ := d.nodes.Get(n); host.Host.Spec.BootMACAddress != "52:54:00:ab:00:12" {
		t.Errorf("boot MAC after its port was deleted %q", host.Host.Spec.BootMACAddress)
	}
	id = last
	gone, _ := d.nodes.Get(other)
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/nodes/n2", nil)
	d.nodes.Forget(gone.Host) // as the watch would
	if got := d.ids("/v1/ports", "ports"); !slices.Equal(got, []string{id}) {
		t.Errorf("after the node of the other was deleted: %v", got)
	}
}

func TestPortsFollowTheirNodesState(t *testing.T) {
	d := newDoor(t)
	n := d.newNode("n1", nil)
	id := d.newPort(n, "52:54:00:ab:00:01", nil)["uuid"].(string)
	mac, wire := patchOf("replace", "/address", "52:54:00:ab:00:02"), patchOf("replace", "/pxe_enabled", false)
	d.rests(n, ironic.Active)
	d.refused(http.StatusConflict, "Cannot update hardware address for port "+id, http.MethodPatch, "/v1/ports/"+id, mac)
	d.refused(http.StatusConflict, "The current state is active.", http.MethodPatch, "/v1/ports/"+id, wire)
	d.want(http.StatusOK, http.MethodPatch, "/v1/ports/"+id, patchOf("add", "/extra/a", 1))
	d.rests(n, ironic.Available)
	d.refused(http.StatusConflict, "connectivity attributes", http.MethodPatch, "/v1/ports/"+id, wire)
	d.rests(n, ironic.Inspecting)
	d.refused(http.StatusConflict, `while it is in state "inspecting"`, http.MethodPatch, "/v1/ports/"+id, wire)
	d.version("1.38").want(http.StatusOK, http.MethodPatch, "/v1/ports/"+id, patchOf("replace", "/pxe_enabled", false))
	d.rests(n, ironic.Active)
	d.has(n, func(n *ironic.Node) { n.Maintenance = true })
	d.want(http.StatusOK, http.MethodPatch, "/v1/ports/"+id, append(mac, patchOf("replace", "/pxe_enabled", true)...))
}

// versioned says for a resource's fields that one appears with its version, and is
// refused below it.
func versioned(t *testing.T, d *door, k *kind, path string, values body) {
	t.Helper()
	for _, f := range k.fields {
		if f.since < 2 {
			continue
		}
		at, before := d.version(f.since.String()), d.version((f.since - 1).String())
		if code, got, _ := at.do(http.MethodGet, path, nil); code == http.StatusOK {
			if _, shown := got[f.name]; !shown {
				t.Errorf("%s is not shown at %v", f.name, f.since)
			}
		}
		code, got, _ := before.do(http.MethodGet, path, nil)
		if code == http.StatusNotFound {
			continue // the whole endpoint came later
		}
		if _, shown := got[f.name]; shown {
			t.Errorf("%s is shown before %v", f.name, f.since)
		}
		if code, _, _ := before.do(http.MethodGet, path+"?fields="+f.name, nil); code != http.StatusNotAcceptable && f.since > 8 {
			t.Errorf("fields=%s before %v: %d", f.name, f.since, code)
		}
		if f.since > 8 {
			at.want(http.StatusOK, http.MethodGet, path+"?fields="+f.name, nil)
		}
		value, given := values[f.name]
		if !given {
			continue
		}
		if code, _, _ := before.do(http.MethodPatch, path, patchOf("replace", "/"+f.name, value)); code != http.StatusNotAcceptable {
			t.Errorf("patch of %s before %v: %d", f.name, f.since, code)
		}
		at.want(http.StatusOK, http.MethodPatch, path, patchOf("replace", "/"+f.name, value))
	}
}

func TestVersionsOfPorts(t *testing.T) {
	d := newDoor(t)
	n := d.newNode("n1", nil)
	group := d.want(http.StatusCreated, http.MethodPost, "/v1/portgroups", body{"node_uuid": n, "name": "bond0"})["uuid"].(string)
	id := d.newPort(n, "52:54:00:ab:00:01", nil)["uuid"].(string)
	values := body{
		"available_for_dynamic_portgroup": false, "category": "blue", "description": "left", "is_smartnic": false, "name": "eth0",
		"local_link_connection": body{"switch_id": "0a:1b:2c:3d:4e:5f", "port_id": "1"}, "physical_network": "p1", "portgroup_uuid": group, "pxe_enabled": true, "vendor": "acme",
	}
	versioned(t, d, &portKind, "/v1/ports/"+id, values)
	for name, value := range values {
		f, mac := portKind.field(name), "52:54:00:ab:01:01"
		before := d.version((f.since - 1).String())
		if code, _, _ := before.do(http.MethodPost, "/v1/ports", body{"node_uuid": n, "address": mac, name: value}); code != http.StatusNotAcceptable {
			t.Errorf("post with %s before %v: %d", name, f.since, code)
		}
	}
	versioned(t, d, &portgroupKind, "/v1/portgroups/"+group, body{"category": "blue", "physical_network": "p1"})

	for _, change := range [][]body{patchOf("replace", "/mode", "802.3ad"), patchOf("replace", "/properties", body{"miimon": 100})} {
		d.version("1.25").refused(http.StatusNotAcceptable, "", http.MethodPatch, "/v1/portgroups/"+group, change)
		d.version("1.26").want(http.StatusOK, http.MethodPatch, "/v1/portgroups/"+group, change)
	}
	for _, tc := range []struct {
		since        ironic.Version
		method, path string
		sent         any
		before       int
		at           int
	}{
		{23, http.MethodGet, "/v1/portgroups", nil, 404, 200},
		{23, http.MethodGet, "/v1/portgroups/detail", nil, 404, 200},
		{23, http.MethodGet, "/v1/portgroups/bond0", nil, 404, 200},
		{24, http.MethodGet, "/v1/nodes/n1/portgroups", nil, 404, 200},
		{24, http.MethodGet, "/v1/portgroups/bond0/ports", nil, 404, 200},
		{24, http.MethodGet, "/v1/ports?portgroup=bond0", nil, 406, 200},
		{8, http.MethodGet, "/v1/ports?fields=uuid", nil, 406, 200},
		{43, http.MethodGet, "/v1/ports?detail=True", nil, 400, 200},
		{43, http.MethodGet, "/v1/portgroups?detail=True", nil, 400, 200},
		{43, http.MethodGet, "/v1/chassis?detail=True", nil, 400, 200},
		{5, http.MethodGet, "/v1/ports?node=n1", nil, 406, 200},
		{64, http.MethodPatch, "/v1/ports/" + id, patchOf("replace", "/local_link_connection", body{"network_type": "unmanaged"}), 406, 200},
		{82, http.MethodGet, "/v1/ports?shard=a", nil, 406, 200},
		{88, http.MethodGet, "/v1/ports/eth0", nil, 400, 200},
		{90, http.MethodPatch, "/v1/ports/" + id, patchOf("replace", "/local_link_connection", body{"port_id": "p", "vtep-logical-switch": "a", "vtep-physical-switch": "b"}), 406, 200},
		{99, http.MethodGet, "/v1/ports?conductor_groups=a", nil, 406, 200},
		{99, http.MethodGet, "/v1/portgroups?conductor_groups=a", nil, 406, 200},
		{106, http.MethodGet, "/v1/portgroups?shard=a", nil, 406, 200},
		{32, http.MethodGet, "/v1/volume", nil, 404, 200},
		{32, http.MethodGet, "/v1/volume/connectors", nil, 404, 200},
		{32, http.MethodGet, "/v1/nodes/n1/volume/targets", nil, 404, 200},
		{28, http.MethodGet, "/v1/nodes/n1/vifs", nil, 404, 200},
		{49, http.MethodGet, "/v1/conductors", nil, 404, 200},
		{52, http.MethodGet, "/v1/allocations", nil, 404, 200},
		{52, http.MethodPost, "/v1/allocations", body{"resource_class": "x"}, 405, 201},
		{52, http.MethodGet, "/v1/nodes/n1/allocation", nil, 404, 404},
		{54, http.MethodPost, "/v1/events", body{"events": []body{{"event": "network.bind_port", "port_id": id, "mac_address": "52:54:00:ab:00:01", "status": "ACTIVE"}}}, 404, 204},
		{55, http.MethodGet, "/v1/deploy_templates", nil, 404, 200},
		{55, http.MethodPost, "/v1/deploy_templates", body{"name": "CUSTOM_A", "steps": []body{{"interface": "bios", "step": "x", "args": body{}, "priority": 1}}}, 405, 201},
		{78, http.MethodGet, "/v1/nodes/n1/history", nil, 404, 200},
		{82, http.MethodGet, "/v1/shards", nil, 404, 200},
		{83, http.MethodGet, "/v1/nodes/n1/children", nil, 404, 200},
		{92, http.MethodGet, "/v1/runbooks", nil, 404, 200},
		{92, http.MethodPost, "/v1/runbooks", body{"name": "CUSTOM_A", "steps": []body{{"interface": "bios", "step": "x", "args": body{}, "order": 1}}}, 405, 201},
		{112, http.MethodGet, "/v1/runbooks/CUSTOM_A/traits", nil, 404, 200},
		{96, http.MethodGet, "/v1/inspection_rules", nil, 404, 404}, // as if they had never come
		{96, http.MethodPost, "/v1/inspection_rules", body{"actions": []body{{"op": "fail", "args": []any{"no"}}}}, 405, 405},
		{22, http.MethodGet, "/v1/lookup?addresses=52:54:00:ab:00:01", nil, 404, 404},
	} {
		if code, out, _ := d.version((tc.since - 1).String()).do(tc.method, tc.path, tc.sent); code != tc.before {
			t.Errorf("%s %s before %v: %d %v, want %d", tc.method, tc.path, tc.since, code, out, tc.before)
		}
		if code, out, _ := d.version(tc.since.String()).do(tc.method, tc.path, tc.sent); code != tc.at {
			t.Errorf("%s %s at %v: %d %v, want %d", tc.method, tc.path, tc.since, code, out, tc.at)
		}
	}
	d.version("1.104").want(http.StatusOK, http.MethodPatch, "/v1/ports/"+id, patchOf("replace", "/local_link_connection", body{"port_id": "q", "vtep-logical-switch": "a", "vtep-physical-switch": "b"}))
	d.version("1.105").refused(http.StatusBadRequest, "vtep", http.MethodPatch, "/v1/ports/"+id, patchOf("replace", "/local_link_connection", body{"port_id": "r", "vtep-logical-switch": "a", "vtep-physical-switch": "b"}))
}

// A host that was made with kubectl shows its NICs as ports. Who changes or deletes
// one makes it.
func TestNICsArePorts(t *testing.T) {
	d := newDoor(t)
	n := d.newNode("n1", nil)
	host, _ := d.nodes.Get(n)
	b := host.Host.DeepCopy()
	b.Spec.BootMACAddress = "52:54:00:AB:00:01"
	b.Status.HardwareDetails = &metal3.HardwareDetails{NIC: []metal3.NIC{
		{Name: "eth0", MAC: "52:54:00:ab:00:01", IP: "10.0.0.5"},
		{Name: "eth0", MAC: "52:54:00:ab:00:01", IP: "fd00::5"},
		{Name: "eth1", MAC: "52:54:00:AB:00:02", LLDP: &metal3.LLDP{SwitchID: "0A:1B:2C:3D:4E:5F", PortID: "Gi1"}},
		{Name: "lo"},
	}}
	d.nodes.Observe(b)
	list := d.want(http.StatusOK, http.MethodGet, "/v1/nodes/n1/ports/detail", nil)["ports"].([]any)
	if len(list) != 2 {
		t.Fatalf("ports %v", list)
	}
	first, second := list[0].(map[string]any), list[1].(map[string]any)
	if first["address"] == "52:54:00:ab:00:02" {
		first, second = second, first
	}
	if first["address"] != "52:54:00:ab:00:01" || first["pxe_enabled"] != true || first["node_uuid"] != n || first["extra"] == nil {
		t.Errorf("first %v", first)
	}
	if second["pxe_enabled"] != false || second["local_link_connection"].(map[string]any)["port_id"] != "Gi1" {
		t.Errorf("second %v", second)
	}
	id, other := first["uuid"].(string), second["uuid"].(string)
	if got := d.want(http.StatusOK, http.MethodGet, "/v1/ports/"+id, nil); got["address"] != "52:54:00:ab:00:01" {
		t.Errorf("shown %v", got)
	}
	d.refused(http.StatusConflict, "A port with MAC address 52:54:00:ab:00:02 already exists.", http.MethodPost, "/v1/ports", body{"node_uuid": n, "address": "52:54:00:ab:00:02"})
	if got := d.nodes.Objects(node.KindPort); len(got) != 0 {
		t.Fatalf("looking at ports stored %v", got)
	}
	got := d.want(http.StatusOK, http.MethodPatch, "/v1/ports/"+id, patchOf("add", "/extra/rack", "r4"))
	if got["uuid"] != id || got["extra"].(map[string]any)["rack"] != "r4" || got["pxe_enabled"] != true {
		t.Errorf("patched %v", got)
	}
	for _, gone := range []string{other, id} {
		d.want(http.StatusNoContent, http.MethodDelete, "/v1/ports/"+gone, nil)
		d.refused(http.StatusNotFound, "could not be found", http.MethodGet, "/v1/ports/"+gone, nil)
	}
	if got := d.ids("/v1/ports", "ports"); len(got) != 0 {
		t.Errorf("after both were deleted %v", got)
	}
	// The same UUID and address can be used again.
	d.newPort(n, "52:54:00:ab:00:02", body{"uuid": other})
	if got := d.ids("/v1/ports", "ports"); !slices.Equal(got, []string{other}) {
		t.Errorf("made again: %v", got)
	}
}

func TestPortgroup(t *testing.T) {
	d := newDoor(t)
	n, other := d.newNode("n1", nil), d.newNode("n2", nil)
	made := d.want(http.StatusCreated, http.MethodPost, "/v1/portgroups", body{"node_uuid": n, "name": "bond0", "address": "52:54:00:AB:00:10", "standalone_ports_supported": false})
	id := made["uuid"].(string)
	links, _ := made["ports"].([]any)
	if made["mode"] != "active-backup" || made["address"] != "52:54:00:ab:00:10" || made["standalone_ports_supported"] != false || len(links) != 2 || len(made["links"].([]any)) != 2 {
		t.Errorf("made %v", made)
	}
	if href := links[0].(map[string]any)["href"]; href != "http://10.0.0.1:6385/v1/portgroups/"+id+"/ports" {
		t.Errorf("link %v", href)
	}
	summary := d.want(http.StatusOK, http.MethodGet, "/v1/portgroups", nil)["portgroups"].([]any)[0].(map[string]any)
	if len(summary) != 4 || summary["name"] != "bond0" {
		t.Errorf("summary %v", summary)
	}
	d.refused(http.StatusConflict, "A portgroup with name bond0 already exists.", http.MethodPost, "/v1/portgroups", body{"node_uuid": n, "name": "bond0"})
	d.refused(http.StatusConflict, "A portgroup with MAC address 52:54:00:ab:00:10 already exists.", http.MethodPost, "/v1/portgroups", body{"node_uuid": n, "address": "52:54:00:ab:00:10"})
	d.refused(http.StatusNotFound, "Portgroup bond9 could not be found.", http.MethodGet, "/v1/portgroups/bond9", nil)
	d.refused(http.StatusConflict, "doesn't support standalone ports", http.MethodPost, "/v1/ports", body{"node_uuid": n, "address": "52:54:00:ab:00:01", "portgroup_uuid": id})
	d.refused(http.StatusBadRequest, "Port can not be added to a portgroup belonging to a different node.", http.MethodPost, "/v1/ports", body{"node_uuid": other, "address": "52:54:00:ab:00:01", "portgroup_uuid": id})
	port := d.newPort(n, "52:54:00:ab:00:01", body{"portgroup_uuid": id, "pxe_enabled": false, "physical_network": "p1"})["uuid"].(string)
	d.refused(http.StatusConflict, "Port with physical network p2 cannot become a member of port group "+id+" which has ports in physical network p1.", http.MethodPost, "/v1/ports",
		body{"node_uuid": n, "address": "52:54:00:ab:00:02", "portgroup_uuid": id, "pxe_enabled": false, "physical_network": "p2"})
	for _, path := range []string{"/v1/portgroups/bond0/ports", "/v1/portgroups/" + id + "/ports/detail", "/v1/ports?portgroup=bond0"} {
		if got := d.ids(path, "ports"); !slices.Equal(got, []string{port}) {
			t.Errorf("%s: %v", path, got)
		}
	}
	if got := d.ids("/v1/nodes/n1/portgroups", "portgroups"); !slices.Equal(got, []string{id}) {
		t.Errorf("of the node: %v", got)
	}
	d.refused(http.StatusBadRequest, "because portgroup "+id+" contains ports.", http.MethodDelete, "/v1/portgroups/bond0", nil)
	d.refused(http.StatusBadRequest, "because there are ports associated", http.MethodPatch, "/v1/portgroups/bond0", patchOf("replace", "/node_uuid", other))
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/ports/"+port, nil)
	got := d.want(http.StatusOK, http.MethodPatch, "/v1/portgroups/bond0", append(patchOf("replace", "/node_uuid", other), patchOf("add", "/properties/miimon", 100)...))
	if got["node_uuid"] != other || got["properties"].(map[string]any)["miimon"] != 100.0 {
		t.Errorf("patched %v", got)
	}
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/portgroups/bond0", nil)
}

func TestPortIndexIsKept(t *testing.T) {
	d := newDoor(t)
	n := d.newNode("n1", nil)
	for i := range 20 {
		d.newPort(n, fmt.Sprintf("52:54:00:ab:02:%02x", i), nil)
	}
	a, b := d.s.kept.allPorts(d.s), d.s.kept.allPorts(d.s)
	if &a.list[0] != &b.list[0] {
		t.Error("the index was made anew though nothing changed")
	}
}

// fixed is an API whose hosts keep their boot MAC addresses, as Metal3's rules have it.
type fixed struct{ client.Client }

func (f fixed) Patch(ctx context.Context, o client.Object, p client.Patch, opts ...client.PatchOption) error {
	var was metal3.BareMetalHost
	if is, ok := o.(*metal3.BareMetalHost); ok && f.Get(ctx, client.ObjectKeyFromObject(o), &was) == nil && was.Spec.BootMACAddress != "" && was.Spec.BootMACAddress != is.Spec.BootMACAddress {
		return errors.New("bootMACAddress can not be changed once it is set")
	}
	return f.Client.Patch(ctx, o, p, opts...)
}

func TestBootMACStays(t *testing.T) {
	d := newDoor(t)
	d.nodes.Client = fixed{d.nodes.Client}
	n := d.newNode("n1", nil)
	id := d.newPort(n, "52:54:00:ab:00:01", nil)["uuid"].(string)
	d.want(http.StatusOK, http.MethodPatch, "/v1/ports/"+id, patchOf("replace", "/address", "52:54:00:ab:00:02"))
	if got := d.ids("/v1/ports", "ports"); !slices.Equal(got, []string{id}) {
		t.Errorf("after a patch: %v", got)
	}
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/ports/"+id, nil)
	if got := d.ids("/v1/ports", "ports"); len(got) != 0 {
		t.Errorf("after the deletion: %v", got)
	}
}
