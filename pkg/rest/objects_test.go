package rest

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
)

func TestChassis(t *testing.T) {
	d := newDoor(t)
	made := d.want(http.StatusCreated, http.MethodPost, "/v1/chassis", body{"description": "rack 4", "extra": body{"row": 2}})
	id := made["uuid"].(string)
	links, _ := made["nodes"].([]any)
	if made["description"] != "rack 4" || len(links) != 1 || len(links[0].([]any)) != 2 {
		t.Errorf("made %v", made)
	}
	n := d.newNode("n1", body{"chassis_uuid": id})
	if got := d.ids("/v1/chassis/"+id+"/nodes", "nodes"); !slices.Equal(got, []string{n}) {
		t.Errorf("nodes %v", got)
	}
	d.refused(http.StatusNotFound, "could not be found", http.MethodGet, "/v1/chassis/"+n+"/nodes", nil)
	d.refused(http.StatusBadRequest, "Expected UUID for chassis_uuid: rack", http.MethodGet, "/v1/chassis/rack", nil)
	d.refused(http.StatusBadRequest, "because chassis "+id+" contains nodes.", http.MethodDelete, "/v1/chassis/"+id, nil)
	got := d.want(http.StatusOK, http.MethodPatch, "/v1/chassis/"+id, patchOf("remove", "/description", nil))
	if got["description"] != nil {
		t.Errorf("patched %v", got)
	}
	if list := d.want(http.StatusOK, http.MethodGet, "/v1/chassis", nil)["chassis"].([]any); len(list) != 1 || len(list[0].(map[string]any)) != 3 {
		t.Errorf("list %v", list)
	}
	if list := d.want(http.StatusOK, http.MethodGet, "/v1/chassis/detail", nil)["chassis"].([]any); len(list[0].(map[string]any)) != 7 {
		t.Errorf("detail %v", list)
	}
	d.has(n, func(n *ironic.Node) { n.ChassisUUID = nil })
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/chassis/"+id, nil)
	d.refused(http.StatusNotFound, "Chassis "+id+" could not be found.", http.MethodGet, "/v1/chassis/"+id, nil)
}

func TestVolumes(t *testing.T) {
	d := newDoor(t)
	n := d.newNode("n1", nil)
	d.rests(n, ironic.Available)
	index := d.want(http.StatusOK, http.MethodGet, "/v1/nodes/n1/volume", nil)
	if href := index["targets"].([]any)[0].(map[string]any)["href"]; href != "http://10.0.0.1:6385/v1/nodes/"+n+"/volume/targets" {
		t.Errorf("index %v", href)
	}
	made := d.want(http.StatusCreated, http.MethodPost, "/v1/volume/connectors", body{"node_uuid": n, "type": "iqn", "connector_id": "iqn.2026-11.dev.ingot:n1"})
	connector := made["uuid"].(string)
	d.refused(http.StatusConflict, "A volume connector with type iqn and connector ID iqn.2026-11.dev.ingot:n1 already exists.", http.MethodPost, "/v1/volume/connectors", body{"node_uuid": n, "type": "iqn", "connector_id": "iqn.2026-11.dev.ingot:n1"})
	d.refused(http.StatusBadRequest, "'connector_id' is a required property", http.MethodPost, "/v1/volume/connectors", body{"node_uuid": n, "type": "iqn"})
	target := body{"node_uuid": n, "volume_type": "iscsi", "volume_id": "v1", "boot_index": 0, "properties": body{"target_iqn": "iqn.x", "auth_method": "CHAP", "auth_password": "hunter2", "auth_username": "u"}}
	made = d.want(http.StatusCreated, http.MethodPost, "/v1/volume/targets", target)
	id := made["uuid"].(string)
	if p := made["properties"].(map[string]any); p["auth_password"] != ironic.Masked || p["target_iqn"] != "iqn.x" || made["boot_index"] != 0.0 {
		t.Errorf("made %v", made)
	}
	if o, _ := d.nodes.Object(node.KindVolumeTarget, id); strings.Contains(string(o.Body), "hunter2") {
		t.Errorf("a secret is stored: %s", o.Body)
	}
	d.refused(http.StatusConflict, "A volume target with boot index '0' for the same node already exists.", http.MethodPost, "/v1/volume/targets", target)
	d.refused(http.StatusBadRequest, "is not of type 'integer'", http.MethodPost, "/v1/volume/targets", body{"node_uuid": n, "volume_type": "iscsi", "volume_id": "v1", "boot_index": "first"})
	for _, tc := range []struct{ path, key, want string }{
		{"/v1/volume/connectors", "connectors", connector},
		{"/v1/volume/connectors?node=n1&detail=True", "connectors", connector},
		{"/v1/nodes/n1/volume/connectors", "connectors", connector},
		{"/v1/volume/targets?node=" + n, "targets", id},
		{"/v1/nodes/n1/volume/targets", "targets", id},
	} {
		if got := d.ids(tc.path, tc.key); !slices.Equal(got, []string{tc.want}) {
			t.Errorf("%s: %v", tc.path, got)
		}
	}
	got := d.want(http.StatusOK, http.MethodPatch, "/v1/volume/targets/"+id, patchOf("replace", "/properties/auth_password", "other"))
	if got["properties"].(map[string]any)["auth_password"] != ironic.Masked {
		t.Errorf("patched %v", got)
	}
	d.rests(n, ironic.Active)
	on := func(p ironic.Power) {
		host, _ := d.nodes.Get(n)
		hr := host.Record.DeepCopy()
		hr.Status.Node.Power = string(p)
		d.nodes.Observe(hr)
		d.has(n, func(n *ironic.Node) { n.PowerState = &p })
	}
	on(ironic.PowerOn)
	d.refused(http.StatusBadRequest, `The requested action "volume target update" can not be performed on node "`+n+`" while it is in state "power on".`, http.MethodPatch, "/v1/volume/targets/"+id, patchOf("replace", "/boot_index", 1))
	d.refused(http.StatusBadRequest, `"volume connector deletion"`, http.MethodDelete, "/v1/volume/connectors/"+connector, nil)
	on(ironic.PowerOff)
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/volume/connectors/"+connector, nil)
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/volume/targets/"+id, nil)
	d.refused(http.StatusNotFound, "Volume target "+id+" could not be found.", http.MethodGet, "/v1/volume/targets/"+id, nil)
}

func TestDeployTemplates(t *testing.T) {
	d := newDoor(t)
	step := body{"interface": "bios", "step": "apply_configuration", "args": body{"settings": []any{}, "password": "x"}, "priority": 150}
	made := d.want(http.StatusCreated, http.MethodPost, "/v1/deploy_templates", body{"name": "CUSTOM_HYPERTHREADING_ON", "steps": []body{step}})
	got := made["steps"].([]any)[0].(map[string]any)
	if got["priority"] != 150.0 || got["args"].(map[string]any)["password"] != ironic.Masked {
		t.Errorf("made %v", made)
	}
	d.refused(http.StatusConflict, "A deploy template with name CUSTOM_HYPERTHREADING_ON already exists.", http.MethodPost, "/v1/deploy_templates", body{"name": "CUSTOM_HYPERTHREADING_ON", "steps": []body{step}})
	for _, tc := range []struct {
		name string
		sent body
		says string
	}{
		{"no trait", body{"name": "hyper", "steps": []body{step}}, "CUSTOM_"},
		{"no steps", body{"name": "CUSTOM_B", "steps": []body{}}, "too short"},
		{"without steps", body{"name": "CUSTOM_B"}, "'steps' is a required property"},
		{"a step twice", body{"name": "CUSTOM_B", "steps": []body{step, step}}, "Duplicates: interface: bios, step: apply_configuration"},
		{"a strange interface", body{"name": "CUSTOM_B", "steps": []body{{"interface": "sound", "step": "x", "args": body{}, "priority": 1}}}, "is not one of"},
		{"an order", body{"name": "CUSTOM_B", "steps": []body{{"interface": "bios", "step": "x", "args": body{}, "order": 1}}}, "'priority' is a required property"},
	} {
		t.Run(tc.name, func(*testing.T) {
			d.refused(http.StatusBadRequest, tc.says, http.MethodPost, "/v1/deploy_templates", tc.sent)
		})
	}
	got = d.want(http.StatusOK, http.MethodPatch, "/v1/deploy_templates/CUSTOM_HYPERTHREADING_ON", patchOf("replace", "/steps/0/priority", 10))
	if got["steps"].([]any)[0].(map[string]any)["priority"] != 10.0 {
		t.Errorf("patched %v", got)
	}
	d.refused(http.StatusBadRequest, "not valid under any", http.MethodPatch, "/v1/deploy_templates/CUSTOM_HYPERTHREADING_ON", patchOf("replace", "/steps/0/priority", -10))
	if list := d.want(http.StatusOK, http.MethodGet, "/v1/deploy_templates", nil)["deploy_templates"].([]any); len(list[0].(map[string]any)) != 3 {
		t.Errorf("list %v", list)
	}
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/deploy_templates/CUSTOM_HYPERTHREADING_ON", nil)
	d.refused(http.StatusNotFound, "Deploy template CUSTOM_HYPERTHREADING_ON could not be found.", http.MethodGet, "/v1/deploy_templates/CUSTOM_HYPERTHREADING_ON", nil)
}

func TestRunbooks(t *testing.T) {
	d := newDoor(t)
	steps := []body{{"interface": "raid", "step": "delete_configuration", "args": body{}, "order": 1}}
	d.version("1.111").refused(http.StatusBadRequest, "CUSTOM_", http.MethodPost, "/v1/runbooks", body{"name": "wipe-raid", "steps": steps})
	made := d.want(http.StatusCreated, http.MethodPost, "/v1/runbooks", body{"name": "wipe-raid", "steps": steps, "description": "all of it"})
	if made["public"] != false || made["disable_ramdisk"] != false || made["description"] != "all of it" || len(made["traits"].([]any)) != 0 {
		t.Errorf("made %v", made)
	}
	old := d.version("1.111").want(http.StatusOK, http.MethodGet, "/v1/runbooks/wipe-raid", nil)
	if _, shown := old["traits"]; shown {
		t.Errorf("traits before 1.112: %v", old)
	}
	d.want(http.StatusNoContent, http.MethodPut, "/v1/runbooks/wipe-raid/traits", body{"traits": []string{"CUSTOM_A", "CUSTOM_B"}})
	d.want(http.StatusNoContent, http.MethodPut, "/v1/runbooks/wipe-raid/traits/CUSTOM_C", nil)
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/runbooks/wipe-raid/traits/CUSTOM_A", nil)
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/runbooks/wipe-raid/traits/CUSTOM_A", nil)
	d.refused(http.StatusBadRequest, "traits", http.MethodPut, "/v1/runbooks/wipe-raid/traits", body{})
	d.refused(http.StatusBadRequest, "not valid under any", http.MethodPut, "/v1/runbooks/wipe-raid/traits/nope", nil)
	got := d.want(http.StatusOK, http.MethodGet, "/v1/runbooks/wipe-raid/traits", nil)
	if traits := texts(got["traits"]); !slices.Equal(traits, []string{"CUSTOM_B", "CUSTOM_C"}) {
		t.Errorf("traits %v", traits)
	}
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/runbooks/wipe-raid/traits", nil)
	d.refused(http.StatusBadRequest, "", http.MethodPatch, "/v1/runbooks/wipe-raid", patchOf("replace", "/disable_ramdisk", true))
	d.want(http.StatusOK, http.MethodPatch, "/v1/runbooks/wipe-raid", patchOf("replace", "/owner", "p1"))
	if got := d.want(http.StatusOK, http.MethodPatch, "/v1/runbooks/wipe-raid", patchOf("replace", "/public", true)); got["owner"] != nil || got["public"] != true {
		t.Errorf("made public %v", got)
	}
	d.refused(http.StatusBadRequest, "There cannot be an owner for a public runbook", http.MethodPatch, "/v1/runbooks/wipe-raid", patchOf("replace", "/owner", "p1"))
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/runbooks/wipe-raid", nil)
	d.refused(http.StatusNotFound, "Runbook wipe-raid could not be found.", http.MethodDelete, "/v1/runbooks/wipe-raid", nil)
}

func TestConductors(t *testing.T) {
	d := newDoor(t)
	d.s.Conductors = func() []Conductor {
		return []Conductor{{Hostname: "a.example", Alive: true, Drivers: []string{"redfish"}}, {Hostname: "b.example", Group: "g"}}
	}
	list := d.want(http.StatusOK, http.MethodGet, "/v1/conductors", nil)["conductors"].([]any)
	if first := list[0].(map[string]any); len(list) != 2 || first["alive"] != true || len(first) != 4 {
		t.Errorf("list %v", list)
	}
	got := d.want(http.StatusOK, http.MethodGet, "/v1/conductors/b.example", nil)
	if got["alive"] != false || got["conductor_group"] != "g" || len(got["drivers"].([]any)) != 0 {
		t.Errorf("one %v", got)
	}
	if next := d.want(http.StatusOK, http.MethodGet, "/v1/conductors?limit=1&marker=a.example", nil)["conductors"].([]any); next[0].(map[string]any)["hostname"] != "b.example" {
		t.Errorf("page %v", next)
	}
	d.refused(http.StatusNotFound, "Conductor c could not be found.", http.MethodGet, "/v1/conductors/c", nil)
	d.s.Conductors = nil
	if list := d.want(http.StatusOK, http.MethodGet, "/v1/conductors?detail=True", nil)["conductors"].([]any); len(list) != 1 {
		t.Errorf("by itself %v", list)
	}
}

func TestShardsAndChildren(t *testing.T) {
	d := newDoor(t)
	a := d.newNode("n1", body{"shard": "s1"})
	b := d.newNode("n2", body{"shard": "s1", "parent_node": a})
	d.newNode("n3", nil)
	list := d.want(http.StatusOK, http.MethodGet, "/v1/shards", nil)["shards"].([]any)
	if len(list) != 2 || list[0].(map[string]any)["name"] != "s1" || list[0].(map[string]any)["count"] != 2.0 || list[1].(map[string]any)["name"] != "None" {
		t.Errorf("shards %v", list)
	}
	if got := texts(d.want(http.StatusOK, http.MethodGet, "/v1/nodes/n1/children", nil)["children"]); !slices.Equal(got, []string{b}) {
		t.Errorf("children %v", got)
	}
	port := d.newPort(b, "52:54:00:ab:00:01", nil)["uuid"].(string)
	d.newPort(d.newNode("n4", nil), "52:54:00:ab:00:02", nil)
	if got := d.ids("/v1/ports?shard=s1,s2", "ports"); !slices.Equal(got, []string{port}) {
		t.Errorf("ports of the shard %v", got)
	}
}

func TestEvents(t *testing.T) {
	d := newDoor(t)
	event := body{"event": "network.unbind_port", "port_id": "00000000-0000-4000-8000-000000000001", "mac_address": "52:54:00:ab:00:01", "status": "DOWN", "binding:vnic_type": "baremetal", "device_id": nil}
	d.want(http.StatusNoContent, http.MethodPost, "/v1/events", body{"events": []body{event}})
	event["mac_address"] = "x"
	d.refused(http.StatusBadRequest, "Expected valid MAC address for mac_address: x", http.MethodPost, "/v1/events", body{"events": []body{event}})
	d.refused(http.StatusBadRequest, "'events' is a required property", http.MethodPost, "/v1/events", body{})
	d.refused(http.StatusBadRequest, "is too short", http.MethodPost, "/v1/events", body{"events": []body{}})
	d.refused(http.StatusBadRequest, "is not one of", http.MethodPost, "/v1/events", body{"events": []body{{"event": "network.explode"}}})
}

type past []ironic.HistoryEntry

func (p past) History(context.Context, *node.Node) ([]ironic.HistoryEntry, error) { return p, nil }

func TestHistory(t *testing.T) {
	d := newDoor(t)
	d.newNode("n1", nil)
	if list := d.want(http.StatusOK, http.MethodGet, "/v1/nodes/n1/history", nil)["history"].([]any); len(list) != 0 {
		t.Errorf("of nothing %v", list)
	}
	d.s.History = past{
		{UUID: "e1", CreatedAt: "2026-11-21T09:00:00Z", Severity: "ERROR", EventType: "provisioning", Event: strings.Repeat("ä", 300), Conductor: "a"},
		{UUID: "e2", CreatedAt: "2026-11-21T10:00:00Z", Severity: "INFO", Event: "done"},
	}
	list := d.want(http.StatusOK, http.MethodGet, "/v1/nodes/n1/history", nil)["history"].([]any)
	first := list[0].(map[string]any)
	if len(list) != 2 || len(first) != 5 || len([]rune(first["event"].(string))) > shortEvent || len(first["links"].([]any)) != 1 {
		t.Errorf("list %v", list)
	}
	whole := d.version("1.114").want(http.StatusOK, http.MethodGet, "/v1/nodes/n1/history/e1", nil)
	if len([]rune(whole["event"].(string))) != 300 || whole["conductor"] != "a" {
		t.Errorf("one %v", whole)
	}
	if _, shown := whole["duration"]; shown {
		t.Error("duration is shown before 1.115")
	}
	d.refused(http.StatusNotFound, "Node history record e9 could not be found.", http.MethodGet, "/v1/nodes/n1/history/e9", nil)
}

func TestVIFs(t *testing.T) {
	d := newDoor(t)
	n := d.newNode("n1", nil)
	attach := func(status int, says string, b body) {
		t.Helper()
		if status == http.StatusNoContent {
			d.want(status, http.MethodPost, "/v1/nodes/n1/vifs", b)
		} else {
			d.refused(status, says, http.MethodPost, "/v1/nodes/n1/vifs", b)
		}
	}
	attach(http.StatusNoContent, "", body{"id": "vif-1"})
	if list := d.want(http.StatusOK, http.MethodGet, "/v1/nodes/n1/vifs", nil)["vifs"].([]any); len(list) != 0 {
		t.Errorf("a network that does nothing keeps %v", list)
	}
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/nodes/n1/vifs/vif-1", nil)
	attach(http.StatusBadRequest, "'id' is a required property", body{"port_uuid": n})
	attach(http.StatusBadRequest, "Expected UUID or name for id: a b", body{"id": "a b"})
	attach(http.StatusBadRequest, "Cannot specify both port_uuid and portgroup_uuid", body{"id": "v", "port_uuid": n, "portgroup_uuid": n})

	d.has(n, func(n *ironic.Node) { n.NetworkInterface = "flat" })
	attach(http.StatusBadRequest, "Unable to attach VIF vif-1, not enough free physical ports.", body{"id": "vif-1"})
	plain := d.newPort(n, "52:54:00:ab:00:01", body{"pxe_enabled": false})["uuid"].(string)
	boot := d.newPort(n, "52:54:00:ab:00:02", nil)["uuid"].(string)
	attach(http.StatusNoContent, "", body{"id": "vif-1"})
	attach(http.StatusConflict, "Unable to attach VIF because VIF vif-1 is already attached to Ironic Port "+boot, body{"id": "vif-1"})
	attach(http.StatusNoContent, "", body{"id": "vif-2", "port_uuid": plain})
	attach(http.StatusBadRequest, "not enough free physical ports", body{"id": "vif-3"})
	if list := d.want(http.StatusOK, http.MethodGet, "/v1/nodes/n1/vifs", nil)["vifs"].([]any); len(list) != 2 {
		t.Errorf("attached %v", list)
	}
	d.refused(http.StatusConflict, "Cannot delete the port "+boot+" as it is bound to VIF vif-1 for tenant use.", http.MethodDelete, "/v1/ports/"+boot, nil)
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/nodes/n1/vifs/vif-1", nil)
	d.refused(http.StatusBadRequest, "Unable to detach VIF vif-1 from node "+n+" because it is not attached to it.", http.MethodDelete, "/v1/nodes/n1/vifs/vif-1", nil)
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/ports/"+boot, nil)
}

func TestRamdiskCallsFindNothing(t *testing.T) {
	d := newDoor(t)
	n := d.newNode("n1", nil)
	d.newPort(n, "52:54:00:ab:00:01", nil)
	d.refused(http.StatusNotFound, "Resource could not be found.", http.MethodGet, "/v1/lookup?addresses=52:54:00:ab:00:01", nil)
	d.refused(http.StatusNotFound, "Resource could not be found.", http.MethodGet, "/v1/lookup?node_uuid="+n, nil)
	d.refused(http.StatusBadRequest, "At least one of 'addresses' and 'node_uuid' parameters is required", http.MethodGet, "/v1/lookup?addresses=x", nil)
	beat := func(more body) body {
		b := body{"callback_url": "https://10.0.0.9:9999"}
		for k, v := range more {
			b[k] = v
		}
		return b
	}
	for _, tc := range []struct {
		version, ident string
		sent           body
		status         int
		says           string
	}{
		{"latest", "n1", beat(body{"agent_token": "guess"}), http.StatusBadRequest, "Invalid or missing agent token received."},
		{"latest", "n1", beat(nil), http.StatusBadRequest, "Agent token is required"},
		{"latest", "n9", beat(nil), http.StatusNotFound, "Node n9 could not be found."},
		{"latest", "n1", body{}, http.StatusBadRequest, "Missing mandatory parameter: callback_url"},
		{"1.35", "n1", beat(body{"agent_version": "3.3"}), http.StatusBadRequest, `Field "agent_version" not recognised`},
		{"1.36", "n1", beat(body{"agent_version": "3.3"}), http.StatusBadRequest, "Agent token is required"},
		{"1.67", "n1", beat(body{"agent_verify_ca": "x"}), http.StatusBadRequest, `Field "agent_verify_ca" not recognised in this version`},
		{"1.68", "n1", beat(body{"agent_verify_ca": "x"}), http.StatusBadRequest, "Agent token is required"},
		{"1.71", "n1", beat(body{"agent_status": "end"}), http.StatusBadRequest, `Fields "agent_status" and "agent_status_message" not recognised.`},
		{"1.72", "n1", beat(body{"agent_status": "end"}), http.StatusBadRequest, "Agent token is required"},
		{"1.21", "n1", beat(nil), http.StatusNotFound, ""},
	} {
		d.version(tc.version).refused(tc.status, tc.says, http.MethodPost, "/v1/heartbeat/"+tc.ident, tc.sent)
	}
	inventory := body{"inventory": body{"interfaces": []body{{"mac_address": "52:54:00:ab:00:01"}}}}
	for _, tc := range []struct {
		version, query string
		sent           body
		status         int
		says           string
	}{
		{"", "", inventory, http.StatusNotFound, "Resource could not be found."},
		{"1.84", "?node_uuid=" + n, inventory, http.StatusNotFound, "Resource could not be found."},
		{"1.83", "", inventory, http.StatusNotFound, "API version 1.84 or newer is required"},
		{"", "?node_uuid=" + n, inventory, http.StatusNotFound, "API version 1.84 or newer is required"},
		{"", "", body{}, http.StatusBadRequest, "'inventory' is a required property"},
		{"", "", body{"inventory": body{"interfaces": []body{{}}}}, http.StatusBadRequest, "'mac_address' is a required property"},
	} {
		d.version(tc.version).refused(tc.status, tc.says, http.MethodPost, "/v1/continue_inspection"+tc.query, tc.sent)
	}
}

func TestObjectsPageAndSort(t *testing.T) {
	d := newDoor(t)
	for _, name := range []string{"c", "a", "b"} {
		d.want(http.StatusCreated, http.MethodPost, "/v1/allocations", body{"name": name, "resource_class": "none"})
	}
	var names []string
	for path := "/v1/allocations?limit=2&sort_key=name"; path != ""; {
		page := d.want(http.StatusOK, http.MethodGet, path, nil)
		for _, e := range page["allocations"].([]any) {
			names = append(names, e.(map[string]any)["name"].(string))
		}
		path = ""
		if next, more := page["next"].(string); more {
			_, query, _ := strings.Cut(next, "?")
			path = "/v1/allocations?" + query
		}
	}
	if !slices.Equal(names, []string{"a", "b", "c"}) {
		t.Errorf("names %v", names)
	}
	d.refused(http.StatusBadRequest, "extra", http.MethodGet, "/v1/allocations?sort_key=extra", nil)
}
