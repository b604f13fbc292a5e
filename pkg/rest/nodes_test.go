package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/node"
)

// enrol makes a node of a driver and returns its path.
func (d *door) enrol(driver string, more map[string]any) string {
	d.t.Helper()
	body := map[string]any{"driver": driver}
	for k, v := range more {
		body[k] = v
	}
	made := d.want(http.StatusCreated, http.MethodPost, "/v1/nodes", body)
	return "/v1/nodes/" + made["uuid"].(string)
}

// rest has a node rest in a state, with all that was asked of it taken up.
func (d *door) rest(path string, st ironic.State) {
	d.t.Helper()
	n, found := d.nodes.Get(strings.TrimPrefix(path, "/v1/nodes/"))
	if !found {
		d.t.Fatalf("%s is not there", path)
	}
	hr := &v1alpha1.HostRecord{}
	if err := d.nodes.Client.Get(context.Background(), n.Key, hr); err != nil {
		d.t.Fatal(err)
	}
	hr.Status.Node = &v1alpha1.NodeStatus{Hold: string(st)}
	if hr.Spec.Ask != nil {
		hr.Status.Node.Asked = hr.Spec.Ask.N
	}
	if err := d.nodes.Client.Status().Update(context.Background(), hr); err != nil {
		d.t.Fatal(err)
	}
	d.nodes.Observe(hr)
}

type op map[string]any

func (d *door) patch(status int, path string, ops ...op) map[string]any {
	d.t.Helper()
	return d.want(status, http.MethodPatch, path, ops)
}

// says fails unless an error says this.
func (d *door) says(out map[string]any, part string) {
	d.t.Helper()
	text, _ := out["faultstring"].(string)
	description, _ := out["description"].(string)
	if !strings.Contains(text+description, part) {
		d.t.Errorf("%v does not say %q", out, part)
	}
}

func TestNodeIsMadeShownPatchedAndDeleted(t *testing.T) {
	d := newDoor(t)
	made := d.want(http.StatusCreated, http.MethodPost, "/v1/nodes", map[string]any{"driver": "fake-hardware", "name": "n1", "extra": map[string]any{"rack": "r4"}})
	id, _ := made["uuid"].(string)
	for _, path := range []string{"/v1/nodes/" + id, "/v1/nodes/n1", "/nodes/n1/"} {
		if got := d.want(http.StatusOK, http.MethodGet, path, nil); got["name"] != "n1" || got["provision_state"] != "enroll" {
			t.Errorf("%s: %v", path, got)
		}
	}
	got := d.patch(http.StatusOK, "/v1/nodes/n1", op{"op": "add", "path": "/extra/unit", "value": 7}, op{"op": "remove", "path": "/extra/rack"})
	if extra, _ := got["extra"].(map[string]any); extra["unit"] != 7.0 || extra["rack"] != nil {
		t.Errorf("extra %v", extra)
	}
	list := d.want(http.StatusOK, http.MethodGet, "/v1/nodes", nil)
	if nodes, _ := list["nodes"].([]any); len(nodes) != 1 {
		t.Errorf("list %v", list)
	}
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/nodes/n1", nil)
}

// Texts and statuses as the reference Ironic (21.4.4) has them.
func TestNodeCreationIsRefused(t *testing.T) {
	d := newDoor(t)
	taken := strings.TrimPrefix(d.enrol("fake-hardware", map[string]any{"name": "taken"}), "/v1/nodes/")
	with := func(kv ...any) map[string]any {
		body := map[string]any{"driver": "fake-hardware"}
		for i := 0; i < len(kv); i += 2 {
			body[kv[i].(string)] = kv[i+1]
		}
		return body
	}
	for _, tt := range []struct {
		name string
		body any
		at   string
		code int
		says string
	}{
		{name: "no JSON", body: "{bad", code: 400, says: "JSON"},
		{name: "list", body: []any{}, code: 400, says: "Schema error"},
		{name: "text", body: `"x"`, code: 400, says: "Schema error"},
		{name: "empty", body: "", code: 400, says: "'driver' is a required property"},
		{name: "no driver", body: map[string]any{}, code: 400, says: "'driver' is a required property"},
		{name: "driver null", body: with("driver", nil), code: 400, says: "'driver' is a required property"},
		{name: "driver number", body: with("driver", 1), code: 400, says: "driver"},
		{name: "driver unknown", body: with("driver", "foo"), code: 400, says: `No valid host was found. Reason: No conductor service registered which supports driver foo for conductor group "".`},
		{name: "field unknown", body: with("foo", 1), code: 400, says: "Additional properties are not allowed ('foo' was unexpected)"},
		{name: "traits", body: with("traits", []string{}), code: 400, says: "'traits' was unexpected"},
		{name: "protected", body: with("protected", true), code: 400, says: "'protected' was unexpected"},
		{name: "state", body: with("provision_state", "active"), code: 400, says: "'provision_state' was unexpected"},
		{name: "uuid", body: with("uuid", "x"), code: 400, says: "Expected UUID for "},
		{name: "uuid taken", body: with("uuid", taken), code: 409, says: "A node with UUID " + taken + " already exists."},
		{name: "name", body: with("name", "a b"), code: 400, says: "Cannot create node with invalid name 'a b'"},
		{name: "name empty", body: with("name", ""), code: 400, says: "invalid name"},
		{name: "name long", body: with("name", strings.Repeat("x", 256)), code: 400, says: "invalid name"},
		{name: "name UUID", body: with("name", taken), code: 400, says: "invalid name"},
		{name: "name reserved", body: with("name", "detail"), code: 400, says: `The word "detail" is reserved`},
		{name: "name of a part", body: with("name", "vmedia"), code: 400, says: "reserved"},
		{name: "name taken", body: with("name", "taken"), code: 409, says: "A node with name taken already exists."},
		{name: "name below 1.5", body: with("name", "x"), at: "1.4", code: 406, says: "Request not acceptable."},
		{name: "name below 1.10", body: with("name", "a~b"), at: "1.9", code: 400, says: "invalid name"},
		{name: "interface unknown", body: with("boot_interface", "foo"), code: 400, says: "Could not find the following interface in the 'ironic.hardware.interfaces.boot' entrypoint: foo. Valid interfaces are ['fake', "},
		{name: "interface of others", body: with("driver", "ipmi", "boot_interface", "redfish-virtual-media"), code: 400, says: "boot interface implementation 'redfish-virtual-media' is not supported by hardware type ipmi."},
		{name: "resource class long", body: with("resource_class", strings.Repeat("x", 81)), code: 400, says: "resource_class"},
		{name: "description long", body: with("description", strings.Repeat("x", 4097)), code: 400, says: "description"},
		{name: "extra", body: with("extra", "x"), code: 400, says: "Schema error for extra: 'x' is not of type 'object', 'null'"},
		{name: "fields unknown", body: with("foo", 1, "bar", 2), code: 400, says: "('bar', 'foo' were unexpected)"},
		{name: "cpus word", body: with("properties", map[string]any{"cpus": "many", "memory_mb": "4096"}), code: 400, says: "should be non-negative integers, but provided values are: cpus=many"},
		{name: "memory negative", body: with("properties", map[string]any{"memory_mb": -1}), code: 400, says: "memory_mb=-1"},
		{name: "bool", body: with("maintenance", "foo"), code: 400, says: "acceptable values are: '0', '1', 'f'"},
		{name: "chassis", body: with("chassis_uuid", taken), code: 400, says: "Chassis " + taken + " could not be found."},
		{name: "parent", body: with("parent_node", "nobody"), code: 400, says: "Node nobody could not be found."},
		{name: "network data", body: with("network_data", map[string]any{"a": 1}), code: 400, says: "Invalid network_data: 'links' is a required property"},
		{name: "group", body: with("conductor_group", "a b"), code: 400, says: "conductor group"},
		{name: "deep", body: strings.Repeat(`{"extra":`, 26) + "1" + strings.Repeat("}", 26), code: 400, says: "nested too deeply"},
		{name: "not UTF-8", body: "{\"driver\": \"\xff\"}", code: 400, says: "UTF-8"},
		{name: "parameter", body: with(), code: 400, says: "Unexpected arguments: x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := *d
			d.t = t
			if tt.at != "" {
				d.at = tt.at
			}
			path := "/v1/nodes"
			if tt.name == "parameter" {
				path += "?x=1"
			}
			d.says(d.want(tt.code, http.MethodPost, path, tt.body), tt.says)
		})
	}
	if all := d.nodes.List(); len(all) != 1 {
		t.Errorf("%d nodes were made", len(all)-1)
	}
}

func TestNodeIsMadeAsAsked(t *testing.T) {
	d := newDoor(t)
	const id = "AAAAAAAA-0000-4000-8000-00000000000B"
	body := map[string]any{
		"uuid": id, "driver": "ipmi", "name": "ns~n_1.x", "automated_clean": "true", "maintenance": "no", "conductor_group": "Rack-1", "extra": nil,
		"boot_interface": "ipxe", "raid_interface": "agent", "bios_interface": nil, "resource_class": "baremetal", "owner": "p1",
		"driver_info": map[string]any{"ipmi_address": "10.0.0.1"}, "instance_info": map[string]any{"display_name": "web"},
	}
	code, got, header := d.do(http.MethodPost, "/v1/nodes", body)
	if code != http.StatusCreated || header.Get("Location") != "http://10.0.0.1:6385/v1/nodes/"+strings.ToLower(id) {
		t.Fatalf("%d %v %v", code, got, header)
	}
	for name, want := range map[string]any{
		"uuid": strings.ToLower(id), "name": "ns~n_1.x", "automated_clean": true, "maintenance": false, "conductor_group": "rack-1", "extra": map[string]any{},
		"boot_interface": "ipxe", "raid_interface": "agent", "bios_interface": "no-bios", "firmware_interface": "no-firmware", "network_interface": "noop",
		"power_interface": "ipmitool", "resource_class": "baremetal", "owner": "p1", "instance_name": "web", "provision_state": "enroll",
		"traits": []any{}, "protected": false, "instance_uuid": nil,
	} {
		if diff := cmp.Diff(want, got[name]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	// What belongs to a node has links in its whole document.
	for version, want := range map[string][]string{"1.13": {"links", "ports"}, "1.14": {"links", "ports", "states"}, "1.24": {"links", "ports", "portgroups", "states"}, "1.32": {"links", "ports", "portgroups", "states", "volume"}} {
		doc := d.version(version).want(http.StatusOK, http.MethodGet, "/v1/nodes/"+id, nil)
		for _, name := range []string{"links", "ports", "portgroups", "states", "volume"} {
			_, shown := doc[name]
			if wanted := strings.Contains(strings.Join(want, " ")+" ", name+" "); shown != wanted {
				t.Errorf("%s: %s is shown: %v", version, name, shown)
			}
		}
	}
}

// Clients before 1.11 know of no state before available: the store is asked for a
// node that is born so.
func TestNodeIsBornAvailableForOldClients(t *testing.T) {
	for version, want := range map[string]ironic.State{"1.1": ironic.Available, "1.10": ironic.Available, "1.11": ironic.Enroll, "1.115": ironic.Enroll} {
		d := newDoor(t).version(version)
		id, _ := d.want(http.StatusCreated, http.MethodPost, "/v1/nodes", map[string]any{"driver": "fake-hardware"})["uuid"].(string)
		if n, _ := d.nodes.Get(id); n.Record.Spec.Hold != string(want) {
			t.Errorf("%s: %s, want %s", version, n.Record.Spec.Hold, want)
		}
	}
}

func TestNodeIsFoundByItsNamesOfTheVersion(t *testing.T) {
	d := newDoor(t)
	d.enrol("fake-hardware", map[string]any{"name": "rack~n1"})
	d.enrol("fake-hardware", map[string]any{"name": "plain"})
	for _, tt := range []struct {
		path, at string
		code     int
	}{
		{"rack~n1", "1.10", 200},
		{"rack~n1", "1.9", 400},
		{"plain", "1.5", 200},
		{"plain", "1.4", 404},
		{"nobody", "1.5", 404},
		{"plain.json", "1.90", 200},
		{"plain.json", "1.91", 404},
		{"a%20b", "1.50", 400},
		{"ports", "1.50", 404},
		{"..", "1.50", 404},
	} {
		if code, out, _ := d.version(tt.at).do(http.MethodGet, "/v1/nodes/"+tt.path, nil); code != tt.code {
			t.Errorf("%s at %s: %d %v, want %d", tt.path, tt.at, code, out, tt.code)
		}
	}
}

func TestStatesOfOlderVersions(t *testing.T) {
	for _, tt := range []struct {
		state ironic.State
		at    ironic.Version
		want  any
	}{
		{ironic.Available, 1, nil},
		{ironic.Available, 2, "available"},
		{ironic.InspectWait, 38, "inspecting"},
		{ironic.InspectWait, 39, "inspect wait"},
		{ironic.Manageable, 1, "manageable"},
	} {
		s := &Server{}
		c := &call{s: s, version: tt.at}
		d, err := c.nodeDoc(&node.Node{Node: ironic.Node{UUID: "u", ProvisionState: &tt.state}})
		if err != nil {
			t.Fatal(err)
		}
		var got any
		if err := json.Unmarshal(d[provisionStateField], &got); err != nil || got != tt.want {
			t.Errorf("%s at %s: %v, want %v (%v)", tt.state, tt.at, got, tt.want, err)
		}
	}
}

func TestPatchIsRefused(t *testing.T) {
	d := newDoor(t)
	other := d.enrol("fake-hardware", map[string]any{"name": "other", "instance_uuid": "00000000-0000-4000-8000-0000000000aa"})
	path := d.enrol("fake-hardware", map[string]any{"name": "n"})
	for _, tt := range []struct {
		name  string
		ops   any
		query string
		at    string
		code  int
		says  string
	}{
		{name: "object", ops: map[string]any{"a": 1}, code: 400, says: "is not of type 'array'"},
		{name: "no JSON", ops: "[", code: 400, says: "JSON"},
		{name: "null in it", ops: "[null]", code: 400, says: "required"},
		{name: "no path", ops: []op{{"op": "add"}}, code: 400, says: "'path' is a required property"},
		{name: "copy", ops: []op{{"op": "copy", "path": "/extra/x", "from": "/name"}}, code: 400, says: "'from' was unexpected"},
		{name: "move", ops: []op{{"op": "move", "path": "/extra/x"}}, code: 400, says: "'move' is not one of"},
		{name: "no slash", ops: []op{{"op": "add", "path": "extra", "value": 1}}, code: 400, says: "does not match"},
		{name: "end slash", ops: []op{{"op": "add", "path": "/extra/", "value": 1}}, code: 400, says: "does not match"},
		{name: "dot", ops: []op{{"op": "add", "path": "/extra/a.b", "value": 1}}, code: 400, says: "does not match"},
		{name: "tilde below 1.98", ops: []op{{"op": "add", "path": "/extra/a~1b", "value": 1}}, at: "1.97", code: 400, says: "does not match"},
		{name: "bare tilde", ops: []op{{"op": "add", "path": "/extra/a~2b", "value": 1}}, code: 400, says: "does not match"},
		{name: "no value", ops: []op{{"op": "add", "path": "/extra/x"}}, code: 400, says: "does not contain a 'value' member"},
		{name: "unknown", ops: []op{{"op": "add", "path": "/foo", "value": 1}}, code: 400, says: "Cannot patch /foo. Only the following can be updated: automated_clean, "},
		{name: "read only", ops: []op{{"op": "replace", "path": "/uuid", "value": "x"}}, code: 400, says: "Cannot patch /uuid."},
		{name: "state", ops: []op{{"op": "replace", "path": "/provision_state", "value": "active"}}, code: 400, says: "Cannot patch /provision_state."},
		{name: "traits", ops: []op{{"op": "add", "path": "/traits", "value": []string{}}}, code: 400, says: "Cannot patch /traits."},
		{name: "replace nothing", ops: []op{{"op": "replace", "path": "/extra/x", "value": 1}}, code: 400, says: "Couldn't apply patch"},
		{name: "remove nothing", ops: []op{{"op": "remove", "path": "/extra/x"}}, code: 400, says: "Couldn't apply patch"},
		{name: "into nothing", ops: []op{{"op": "add", "path": "/extra/a/b", "value": 1}}, code: 400, says: "Couldn't apply patch"},
		{name: "driver removed", ops: []op{{"op": "remove", "path": "/driver"}}, code: 400, says: "'driver' is a required property"},
		{name: "driver unknown", ops: []op{{"op": "replace", "path": "/driver", "value": "foo"}}, code: 400, says: "No valid host was found."},
		{name: "driver with interfaces of another", ops: []op{{"op": "replace", "path": "/driver", "value": "ipmi"}}, code: 400, says: "not supported by hardware type ipmi."},
		{name: "interface", ops: []op{{"op": "replace", "path": "/boot_interface", "value": "foo"}}, code: 400, says: "entrypoint: foo"},
		{name: "name", ops: []op{{"op": "replace", "path": "/name", "value": "a b"}}, code: 400, says: "Cannot change name to invalid name 'a b'"},
		{name: "name reserved", ops: []op{{"op": "replace", "path": "/name", "value": "validate"}}, code: 400, says: "reserved"},
		{name: "name taken", ops: []op{{"op": "replace", "path": "/name", "value": "other"}}, code: 409, says: "A node with name other already exists."},
		{name: "bool", ops: []op{{"op": "replace", "path": "/maintenance", "value": "foo"}}, code: 400, says: "value 'foo', acceptable values are"},
		{name: "object for text", ops: []op{{"op": "replace", "path": "/owner", "value": op{}}}, code: 400, says: "owner"},
		{name: "text for object", ops: []op{{"op": "replace", "path": "/extra", "value": "x"}}, code: 400, says: "extra"},
		{name: "instance", ops: []op{{"op": "add", "path": "/instance_uuid", "value": "x"}}, code: 400, says: "Expected UUID for "},
		{name: "instance of another", ops: []op{{"op": "add", "path": "/instance_uuid", "value": "00000000-0000-4000-8000-0000000000AA"}}, code: 409, says: "Instance 00000000-0000-4000-8000-0000000000aa is already associated with a node"},
		{name: "protected", ops: []op{{"op": "replace", "path": "/protected", "value": true}}, code: 409, says: "can only be made protected in provision states 'active' or 'rescue', the current state is 'enroll'"},
		{name: "protected reason", ops: []op{{"op": "replace", "path": "/protected_reason", "value": "x"}}, code: 400, says: "The protected_reason field can only be set when protected is True"},
		{name: "retired reason", ops: []op{{"op": "replace", "path": "/retired_reason", "value": "x"}}, code: 400, says: "The retired_reason field can only be set when retired is True"},
		{name: "chassis", ops: []op{{"op": "replace", "path": "/chassis_uuid", "value": "00000000-0000-4000-8000-0000000000bb"}}, code: 400, says: "Chassis 00000000-0000-4000-8000-0000000000bb could not be found."},
		{name: "own parent", ops: []op{{"op": "replace", "path": "/parent_node", "value": "n"}}, code: 400, says: "could not be found"},
		{name: "network data", ops: []op{{"op": "replace", "path": "/network_data", "value": op{"a": 1}}}, code: 400, says: "Invalid network_data: 'links' is a required property"},
		{name: "reset below 1.45", ops: []op{{"op": "add", "path": "/driver", "value": "ipmi"}}, query: "?reset_interfaces=true", at: "1.44", code: 406, says: "Request not acceptable."},
		{name: "reset without driver", ops: []op{{"op": "add", "path": "/extra/x", "value": 1}}, query: "?reset_interfaces=true", code: 400, says: "The reset_interfaces parameter can only be used when changing the node's driver."},
		{name: "parameter", ops: []op{}, query: "?foo=1", code: 400, says: "Unexpected arguments: foo"},
		{name: "too many", ops: make([]op, maxChanges+1), code: 400, says: "at most"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := *d
			d.t = t
			if tt.at != "" {
				d.at = tt.at
			}
			before := d.want(http.StatusOK, http.MethodGet, path, nil)
			d.says(d.want(tt.code, http.MethodPatch, path+tt.query, tt.ops), tt.says)
			if diff := cmp.Diff(before, d.want(http.StatusOK, http.MethodGet, path, nil)); diff != "" {
				t.Errorf("something was changed: %s", diff)
			}
		})
	}
	d.says(d.patch(http.StatusConflict, other, op{"op": "replace", "path": "/instance_uuid", "value": "00000000-0000-4000-8000-0000000000cc"}), "is associated with instance 00000000-0000-4000-8000-0000000000aa.")
}

func TestPatchIsApplied(t *testing.T) {
	d := newDoor(t)
	path := d.enrol("fake-hardware", map[string]any{"extra": map[string]any{"a": map[string]any{"b": 1}, "l": []int{1, 2}}, "description": "x"})
	for _, tt := range []struct {
		name  string
		ops   []op
		query string
		field string
		want  any
	}{
		{name: "add", ops: []op{{"op": "add", "path": "/extra/a/c", "value": "d"}}, field: "extra", want: map[string]any{"a": map[string]any{"b": 1.0, "c": "d"}, "l": []any{1.0, 2.0}}},
		{name: "list", ops: []op{{"op": "add", "path": "/extra/l/-", "value": 3}, {"op": "remove", "path": "/extra/l/0"}, {"op": "remove", "path": "/extra/a"}}, field: "extra", want: map[string]any{"l": []any{2.0, 3.0}}},
		{name: "tilde", ops: []op{{"op": "add", "path": "/extra/a~1b~0c", "value": 1}, {"op": "remove", "path": "/extra/l"}}, field: "extra", want: map[string]any{"a/b~c": 1.0}},
		{name: "whole", ops: []op{{"op": "replace", "path": "/extra", "value": op{"z": nil}}}, field: "extra", want: map[string]any{"z": nil}},
		{name: "null for an object", ops: []op{{"op": "replace", "path": "/extra", "value": nil}}, field: "extra", want: map[string]any{}},
		{name: "removed object", ops: []op{{"op": "add", "path": "/properties/cpus", "value": 4}, {"op": "remove", "path": "/properties"}}, field: "properties", want: map[string]any{}},
		{name: "removed text", ops: []op{{"op": "remove", "path": "/description"}}, field: "description", want: nil},
		{name: "null text", ops: []op{{"op": "add", "path": "/owner", "value": "p"}, {"op": "replace", "path": "/owner", "value": nil}}, field: "owner", want: nil},
		{name: "truth", ops: []op{{"op": "replace", "path": "/automated_clean", "value": "off"}}, field: "automated_clean", want: false},
		{name: "maintenance", ops: []op{{"op": "replace", "path": "/maintenance", "value": "true"}}, field: "maintenance", want: true},
		{name: "maintenance removed", ops: []op{{"op": "remove", "path": "/maintenance"}}, field: "maintenance", want: false},
		{name: "interface", ops: []op{{"op": "replace", "path": "/deploy_interface", "value": "direct"}}, field: "deploy_interface", want: "direct"},
		{name: "interface removed", ops: []op{{"op": "remove", "path": "/deploy_interface"}}, field: "deploy_interface", want: "fake"},
		{name: "driver", ops: []op{{"op": "replace", "path": "/driver", "value": "ipmi"}, {"op": "add", "path": "/raid_interface", "value": "no-raid"}}, query: "?reset_interfaces=True", field: "power_interface", want: "ipmitool"},
		{name: "what was named stays", field: "raid_interface", want: "no-raid"},
		{name: "instance name", ops: []op{{"op": "add", "path": "/instance_name", "value": "web"}}, field: "instance_info", want: map[string]any{"display_name": "web"}},
		{name: "display name", ops: []op{{"op": "replace", "path": "/instance_info/display_name", "value": "db"}}, field: "instance_name", want: "db"},
		{name: "display name gone", ops: []op{{"op": "remove", "path": "/instance_info"}}, field: "instance_name", want: nil},
		{name: "nothing", field: "driver", want: "ipmi"},
	} {
		if got := d.want(http.StatusOK, http.MethodPatch, path+tt.query, append([]op{}, tt.ops...)); cmp.Diff(tt.want, got[tt.field]) != "" {
			t.Errorf("%s: %v, want %v", tt.name, got[tt.field], tt.want)
		}
	}
}

func TestPatchOfStatesOnTheWay(t *testing.T) {
	inMaintenance := []change{{Op: "remove", Path: "/instance_uuid"}}
	target := ironic.Active
	for _, row := range node.Rows() {
		st := row.State
		n := ironic.Node{ProvisionState: &st, TargetProvisionState: &target}
		want := 0
		for _, open := range updateStates {
			if st == open {
				want = http.StatusOK
			}
		}
		got := http.StatusOK
		if err := updatable(&n, nil, 38); err != nil {
			got = faultOf(err).status
		}
		if want == 0 {
			want = http.StatusConflict
		}
		if got != want {
			t.Errorf("%s: %d, want %d", st, got, want)
		}
		n.Maintenance = true
		if err := updatable(&n, inMaintenance, 115); err != nil {
			t.Errorf("%s: an instance cannot be taken from a node in maintenance: %v", st, err)
		}
	}
	st := ironic.Inspecting
	if err := updatable(&ironic.Node{ProvisionState: &st}, nil, 39); err == nil {
		t.Error("a node is patched while inspecting, at 1.39")
	}
}

func TestRulesOfChanges(t *testing.T) {
	class, reason := "x", "because"
	settle := func(st ironic.State, change func(was, is *ironic.Node)) error {
		was := ironic.Node{UUID: "u", Driver: "fake-hardware", ProvisionState: &st}
		if err := fillInterfaces(&was); err != nil {
			return err
		}
		is := was.Clone()
		change(&was, &is)
		return acceptChange(&was, &is, nil, false)
	}
	for _, tt := range []struct {
		name   string
		state  ironic.State
		change func(was, is *ironic.Node)
		code   int
	}{
		{"protect an active one", ironic.Active, func(_, is *ironic.Node) { is.Protected = true }, 0},
		{"protect a rescued one", ironic.Rescue, func(_, is *ironic.Node) { is.Protected = true }, 0},
		{"protect another", ironic.Available, func(_, is *ironic.Node) { is.Protected = true }, 409},
		{"retire an available one", ironic.Available, func(_, is *ironic.Node) { is.Retired = true }, 409},
		{"retire another", ironic.Active, func(_, is *ironic.Node) { is.Retired = true }, 0},
		{"class of an active one", ironic.Active, func(was, is *ironic.Node) { was.ResourceClass, is.ResourceClass = &class, nil }, 409},
		{"first class of an active one", ironic.Active, func(_, is *ironic.Node) { is.ResourceClass = &class }, 0},
		{"class of a manageable one", ironic.Manageable, func(was, is *ironic.Node) { was.ResourceClass, is.ResourceClass = &class, nil }, 0},
		{"interface of an active one", ironic.Active, func(_, is *ironic.Node) { is.DeployInterface = "direct" }, 409},
		{"the same in maintenance", ironic.Active, func(_, is *ironic.Node) { is.DeployInterface, is.Maintenance = "direct", true }, 0},
		{"driver with a console", ironic.Enroll, func(was, is *ironic.Node) { was.ConsoleEnabled, is.Driver = true, "ipmi" }, 409},
		{"instance of an allocation", ironic.Active, func(was, _ *ironic.Node) { was.AllocationUUID, was.InstanceUUID = &class, &class }, 409},
	} {
		err := settle(tt.state, tt.change)
		if got := statusOf(err); got != tt.code {
			t.Errorf("%s: %v, want %d", tt.name, err, tt.code)
		}
	}
	st := ironic.Active
	was := ironic.Node{ProvisionState: &st, Protected: true, ProtectedReason: &reason, Maintenance: true, MaintenanceReason: &reason, Fault: &reason, Retired: true, RetiredReason: &reason}
	is := was.Clone()
	is.Protected, is.Maintenance, is.Retired = false, false, false
	if err := acceptChange(&was, &is, nil, false); err != nil || is.ProtectedReason != nil || is.MaintenanceReason != nil || is.Fault != nil || is.RetiredReason != nil {
		t.Errorf("reasons outlive what they are of: %+v, %v", is, err)
	}
}

// statusOf is what a client would be answered; 0: no error.
func statusOf(err error) int {
	if err == nil {
		return 0
	}
	return faultOf(err).status
}

func TestDeletion(t *testing.T) {
	instance := "i"
	for _, row := range node.Rows() {
		st := row.State
		n := ironic.Node{ProvisionState: &st}
		want := http.StatusConflict
		switch st {
		case ironic.Manageable, ironic.Enroll, ironic.AdoptFail, ironic.Available:
			want = 0
		}
		if got := statusOf(deletable(&n)); got != want {
			t.Errorf("%s: %d, want %d", st, got, want)
		}
		n.InstanceUUID = &instance
		if got := statusOf(deletable(&n)); got != http.StatusConflict {
			t.Errorf("%s with an instance: %d", st, got)
		}
		n.Maintenance = true
		if got := statusOf(deletable(&n)); got != 0 {
			t.Errorf("%s in maintenance: %d", st, got)
		}
		n.Protected = true
		if got := statusOf(deletable(&n)); got != http.StatusForbidden {
			t.Errorf("%s protected: %d", st, got)
		}
	}
	d := newDoor(t)
	path := d.enrol("fake-hardware", map[string]any{"instance_uuid": "00000000-0000-4000-8000-0000000000aa"})
	d.says(d.want(http.StatusConflict, http.MethodDelete, path, nil), "is associated with instance 00000000-0000-4000-8000-0000000000aa.")
	d.want(http.StatusNotFound, http.MethodDelete, "/v1/nodes/nobody", nil)
}

func TestSecretsAreMasked(t *testing.T) {
	in := ironic.Node{
		DriverInfo:   ironic.Object{"redfish_address": "a", "ipmi_password": "pw", "x": map[string]any{"a_Token": 1, "plain": true}, "ipmi_hex_kg_key": "k"},
		InstanceInfo: ironic.Object{"configdrive": map[string]any{"meta_data": 1}, "image_url": "u", "image_pull_secret": "s", "image_source": "http://x"},
		Extra:        ironic.Object{"password": "shown, as Ironic does"},
	}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	got := withoutSecrets(in)
	want := ironic.Node{
		DriverInfo:   ironic.Object{"redfish_address": "a", "ipmi_password": ironic.Masked, "x": map[string]any{"a_Token": ironic.Masked, "plain": true}, "ipmi_hex_kg_key": ironic.Masked},
		InstanceInfo: ironic.Object{"configdrive": ironic.Masked, "image_url": ironic.Masked, "image_pull_secret": ironic.Masked, "image_source": "http://x"},
		Extra:        in.Extra,
	}
	wholeObjects(&want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if after, _ := json.Marshal(in); string(after) != string(text) {
		t.Error("the node itself was changed")
	}
}

func TestNodeFilters(t *testing.T) {
	d := newDoor(t)
	instance := "00000000-0000-4000-8000-0000000000aa"
	a := d.enrol("fake-hardware", map[string]any{"name": "a", "instance_uuid": instance, "maintenance": true, "owner": "p1", "shard": "S1", "resource_class": "big", "description": "in rack Four"})
	d.enrol("ipmi", map[string]any{"name": "b", "lessee": "p1", "retired": true, "conductor_group": "g"})
	d.enrol("fake-hardware", map[string]any{"name": "c", "parent_node": "a", "instance_info": op{"display_name": "web"}})
	for query, want := range map[string]string{
		"": "a b", "include_children=true": "a b c", "parent_node=" + strings.TrimPrefix(a, "/v1/nodes/"): "c",
		"associated=true": "a", "associated=false": "b", "maintenance=yes": "a", "maintenance=0": "b", "retired=true": "b",
		"instance_uuid=" + instance: "a", "instance_uuid=" + instance + "&limit=1": "a", "driver=ipmi": "b", "owner=p1": "a", "lessee=p1": "b", "project=p1": "a b",
		"shard=s1,s2": "a", "shard=s2": "", "sharded=true": "a", "sharded=false": "b", "resource_class=big": "a", "conductor_group=G": "b", "conductor=ingot": "a b",
		"description_contains=rack%20f": "a", "provision_state=enroll": "a b", "provision_state=active": "", "fault=power%20failure": "",
		"include_children=true&instance_name=web": "c", "owner=p1&driver=ipmi": "",
	} {
		out := d.want(http.StatusOK, http.MethodGet, "/v1/nodes?"+query, nil)
		var names []string
		for _, n := range out["nodes"].([]any) {
			names = append(names, n.(map[string]any)["name"].(string))
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
		if out["next"] != nil {
			t.Errorf("%s has a next page: %v", query, out["next"])
		}
	}
	for query, says := range map[string]string{
		"foo=bar": "Unexpected arguments: foo", "b=1&a=1": "Unexpected arguments: a, b", "maintenance=foo": "Invalid maintenance: ",
		"instance_uuid=foo": "Expected UUID for instance_uuid: foo", "provision_state=foo": `Provision state "foo" is not valid`, "fault=foo": `fault "foo" is specified, allowed faults are`,
		"limit=-1": "Limit must be positive", "limit=0": "Limit must be positive", "limit=x": "Expected an integer for limit: x",
		"marker=x": "Expected UUID for marker: x", "sort_key=foo": "is an invalid field for sorting", "sort_key=extra": "is an invalid field for sorting",
		"sort_dir=up": "Invalid sort direction: up. Acceptable values are 'asc' or 'desc'", "fields=foo,uuid,bar": `Field(s) "foo, bar" are not valid`,
		"fields=uuid&detail=true": "Can not specify ?detail=True and fields in the same request.", "detail=foo": "Invalid detail",
	} {
		d.says(d.want(http.StatusBadRequest, http.MethodGet, "/v1/nodes?"+query, nil), says)
	}
	d.says(d.want(http.StatusBadRequest, http.MethodGet, "/v1/nodes/detail?fields=uuid", nil), "Unexpected arguments: fields")
	d.says(d.version("1.42").want(http.StatusBadRequest, http.MethodGet, "/v1/nodes?detail=true", nil), "Invalid query parameter ?detail=true received.")
	d.version("1.7").want(http.StatusNotAcceptable, http.MethodGet, "/v1/nodes?fields=uuid", nil)
	d.version("1.20").want(http.StatusNotAcceptable, http.MethodGet, "/v1/nodes?sort_key=resource_class", nil)
	d.says(d.want(http.StatusNotFound, http.MethodGet, "/v1/nodes?marker="+instance, nil), "Node "+instance+" could not be found.")
	d.says(d.want(http.StatusNotFound, http.MethodGet, "/v1/nodes?chassis_uuid="+instance, nil), "Chassis "+instance+" could not be found.")
	for path, want := range map[string]int{"/v1/nodes": 7, "/v1/nodes?detail=true": 69, "/v1/nodes/detail": 69, "/v1/nodes?fields=UUID,%20name": 3} {
		first := d.want(http.StatusOK, http.MethodGet, path, nil)["nodes"].([]any)[0].(map[string]any)
		if len(first) != want {
			t.Errorf("%s shows %d fields, want %d", path, len(first), want)
		}
	}
}

func names(t *testing.T, out map[string]any) []string {
	t.Helper()
	var all []string
	for _, n := range out["nodes"].([]any) {
		all = append(all, n.(map[string]any)["name"].(string))
	}
	return all
}

// follow reads all pages, and has change called after each.
func (d *door) follow(t *testing.T, path string, change func(page int)) []string {
	t.Helper()
	var all []string
	for page := 1; path != ""; page++ {
		if page > 20 {
			t.Fatal("the pages have no end")
		}
		out := d.want(http.StatusOK, http.MethodGet, path, nil)
		all = append(all, names(t, out)...)
		path = ""
		if next, ok := out["next"].(string); ok {
			u, err := url.Parse(next)
			if err != nil || u.Host != "10.0.0.1:6385" {
				t.Fatalf("next is %q: %v", next, err)
			}
			path = u.RequestURI()
		}
		change(page)
	}
	return all
}

func TestPagingUnderChange(t *testing.T) {
	for _, query := range []string{"limit=2", "limit=2&sort_key=name", "limit=2&sort_dir=desc", "limit=2&maintenance=false&sort_key=name&sort_dir=desc", "limit=2&detail=true"} {
		t.Run(query, func(t *testing.T) {
			d := newDoor(t)
			paths := map[string]string{}
			for _, name := range []string{"b", "d", "f", "h", "j", "l"} {
				paths[name] = d.enrol("fake-hardware", map[string]any{"name": name})
			}
			want := []string{"b", "d", "f", "h", "j", "l"}
			if strings.Contains(query, "desc") {
				want = []string{"l", "j", "h", "f", "d", "b"}
			}
			got := d.follow(t, "/v1/nodes?"+query, func(page int) {
				switch page {
				case 1: // what the page ended with is deleted, or leaves the filter
					if n, _ := d.nodes.Get(want[1]); strings.Contains(query, "maintenance") {
						d.want(http.StatusAccepted, http.MethodPut, paths[want[1]]+"/maintenance", nil)
					} else {
						d.nodes.Forget(n.Host)
						d.nodes.Forget(n.Record)
						d.nodes.Forget(n.Attrs)
					}
				case 2: // one comes into being before those that were shown
					if strings.HasSuffix(query, "sort_key=name") {
						d.enrol("fake-hardware", map[string]any{"name": "a"})
					}
				}
			})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNextHasTheClientsParameters(t *testing.T) {
	d := newDoor(t)
	for range 3 {
		d.enrol("fake-hardware", nil)
	}
	out := d.want(http.StatusOK, http.MethodGet, "/nodes?limit=2&driver=fake-hardware&fields=uuid", nil)
	next, _ := out["next"].(string)
	u, err := url.Parse(next)
	if err != nil || u.Path != "/v1/nodes" || u.Query().Get("driver") != "fake-hardware" || u.Query().Get("fields") != "uuid" || u.Query().Get("limit") != "2" || u.Query().Get("marker") == "" {
		t.Errorf("next is %q: %v", next, err)
	}
}

// updateStates are those on the way to another in which a node may be patched
// nevertheless (ironic/common/states.py UPDATE_ALLOWED_STATES).
var updateStates = []ironic.State{
	ironic.DeployFail, ironic.Inspecting, ironic.InspectFail, ironic.InspectWait, ironic.CleanFail, ironic.Error, ironic.Verifying,
	ironic.AdoptFail, ironic.RescueFail, ironic.UnrescueFail, ironic.ServiceFail, ironic.ServiceHold,
}
