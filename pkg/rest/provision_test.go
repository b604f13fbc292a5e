package rest

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
)

var allVerbs = []ironic.Verb{
	ironic.VerbActive, ironic.VerbRebuild, ironic.VerbDeleted, ironic.VerbManage, ironic.VerbProvide, ironic.VerbInspect, ironic.VerbAbort,
	ironic.VerbClean, ironic.VerbAdopt, ironic.VerbRescue, ironic.VerbUnrescue, ironic.VerbUnhold, ironic.VerbService,
}

// ready is a node that a verb could be asked of, and the verb with what it needs.
func ready(st ironic.State, verb ironic.Verb) (ironic.Node, provisioning) {
	n := ironic.Node{UUID: "u", Driver: "fake-hardware", ProvisionState: &st}
	if err := fillInterfaces(&n); err != nil {
		panic(err)
	}
	p := provisioning{Target: verb, Steps: map[string]json.RawMessage{}}
	step := json.RawMessage(`[{"interface": "deploy", "step": "erase_devices_metadata"}]`)
	switch verb {
	case ironic.VerbClean:
		p.Steps["clean_steps"] = step
	case ironic.VerbService:
		p.Steps["service_steps"] = step
	case ironic.VerbRescue:
		password := "pw"
		p.RescuePassword = &password
	}
	return n, p
}

// Every verb in every state: what the table does not allow is 400, and all is 409 while
// an operation is under way.
func TestVerbsInStates(t *testing.T) {
	if len(node.Rows()) != 30 {
		t.Errorf("%d states, Ironic has 30", len(node.Rows()))
	}
	held := "ingot"
	for _, row := range node.Rows() {
		st := row.State
		for _, verb := range allVerbs {
			n, p := ready(st, verb)
			want := http.StatusBadRequest
			if node.Allowed(st, verb) {
				want = 0
			}
			asked, err := p.check(&n, ironic.MaxVersion)
			if got := statusOf(err); got != want {
				t.Errorf("%s, %s: %v, want %d", st, verb, err, want)
			}
			if err == nil && asked.Verb != verb {
				t.Errorf("%s, %s: asked for %s", st, verb, asked.Verb)
			}
			n.Reservation = &held
			if _, err := p.check(&n, ironic.MaxVersion); statusOf(err) != http.StatusConflict {
				t.Errorf("%s, %s, reserved: %v, want %d", st, verb, err, http.StatusConflict)
			}
		}
	}
	for st, version := range abortSince {
		n, p := ready(st, ironic.VerbAbort)
		if _, err := p.check(&n, version-1); statusOf(err) != http.StatusNotAcceptable {
			t.Errorf("abort from %s before %s: %v", st, version, err)
		}
		if _, err := p.check(&n, version); err != nil {
			t.Errorf("abort from %s at %s: %v", st, version, err)
		}
	}
}

func TestRulesOfVerbs(t *testing.T) {
	for _, tt := range []struct {
		name   string
		state  ironic.State
		verb   ironic.Verb
		change func(*ironic.Node)
		code   int
	}{
		{"deploy in maintenance", ironic.Available, ironic.VerbActive, func(n *ironic.Node) { n.Maintenance = true }, 400},
		{"rebuild in maintenance", ironic.Active, ironic.VerbRebuild, func(n *ironic.Node) { n.Maintenance = true }, 400},
		{"undeploy in maintenance", ironic.Active, ironic.VerbDeleted, func(n *ironic.Node) { n.Maintenance = true }, 0},
		{"clean in maintenance", ironic.Manageable, ironic.VerbClean, func(n *ironic.Node) { n.Maintenance = true }, 400},
		{"manage in maintenance", ironic.Enroll, ironic.VerbManage, func(n *ironic.Node) { n.Maintenance = true }, 0},
		{"undeploy a protected one", ironic.Active, ironic.VerbDeleted, func(n *ironic.Node) { n.Protected = true }, 403},
		{"rebuild a protected one", ironic.Active, ironic.VerbRebuild, func(n *ironic.Node) { n.Protected = true }, 403},
		{"provide a retired one", ironic.Manageable, ironic.VerbProvide, func(n *ironic.Node) { n.Retired = true }, 400},
		{"deploy without an image", ironic.Available, ironic.VerbActive, func(n *ironic.Node) { n.DeployInterface = "direct" }, 400},
		{"deploy with an image", ironic.Available, ironic.VerbActive, func(n *ironic.Node) {
			n.DeployInterface, n.InstanceInfo = "direct", ironic.Object{"image_source": "http://x"}
		}, 0},
		{"deploy with an ISO", ironic.Available, ironic.VerbActive, func(n *ironic.Node) {
			n.DeployInterface, n.InstanceInfo = "ramdisk", ironic.Object{"boot_iso": "http://x"}
		}, 0},
		{"deploy with a method of one's own", ironic.Available, ironic.VerbActive, func(n *ironic.Node) { n.DeployInterface = "custom-agent" }, 0},
		{"deploy without a BMC", ironic.Available, ironic.VerbActive, func(n *ironic.Node) { n.Driver, n.PowerInterface = "redfish", "redfish" }, 400},
		{"inspect without an interface", ironic.Manageable, ironic.VerbInspect, func(n *ironic.Node) { n.InspectInterface = "no-inspect" }, 400},
		{"rescue without an interface", ironic.Active, ironic.VerbRescue, func(n *ironic.Node) { n.RescueInterface = "no-rescue" }, 400},
		{"clean without a BMC", ironic.Manageable, ironic.VerbClean, func(n *ironic.Node) { n.Driver, n.PowerInterface = "ipmi", "ipmitool" }, 400},
	} {
		n, p := ready(tt.state, tt.verb)
		tt.change(&n)
		if _, err := p.check(&n, ironic.MaxVersion); statusOf(err) != tt.code {
			t.Errorf("%s: %v, want %d", tt.name, err, tt.code)
		}
	}
}

// What goes with a verb, through HTTP; texts are the reference's.
func TestProvisionBodies(t *testing.T) {
	d := newDoor(t)
	path := d.enrol("fake-hardware", nil)
	steps := func(list string) []any { var v []any; _ = json.Unmarshal([]byte(list), &v); return v }
	one := steps(`[{"interface": "raid", "step": "x"}]`)
	deploy := steps(`[{"interface": "raid", "step": "x", "args": {}, "priority": "90"}]`)
	for _, tt := range []struct {
		name  string
		state ironic.State
		at    string
		body  any
		code  int
		says  string
	}{
		{name: "nothing", state: ironic.Enroll, body: op{}, code: 400, says: "Missing mandatory parameter: target"},
		{name: "null", state: ironic.Enroll, body: op{"target": nil}, code: 400, says: "Missing mandatory parameter: target"},
		{name: "number", state: ironic.Enroll, body: op{"target": 1}, code: 400, says: "Expected string for target: 1"},
		{name: "unknown verb", state: ironic.Enroll, body: op{"target": "foo"}, code: 400, says: `The requested action "foo" can not be performed on node "` + strings.TrimPrefix(path, "/v1/nodes/") + `" while it is in state "enroll".`},
		{name: "unknown argument", state: ironic.Enroll, body: op{"target": "manage", "foo": 1}, code: 400, says: "Unexpected arguments: foo"},
		{name: "steps of another verb", state: ironic.Enroll, body: op{"target": "manage", "clean_steps": one}, code: 400, says: `"clean_steps" is only valid when setting target provision state to clean`},
		{name: "service steps of another verb", state: ironic.Enroll, body: op{"target": "manage", "service_steps": one}, code: 400, says: `"service_steps" is only valid`},
		{name: "deploy steps of another verb", state: ironic.Enroll, body: op{"target": "manage", "deploy_steps": deploy}, code: 400, says: `"deploy_steps" is only valid when setting target provision state to active or rebuild`},
		{name: "deploy steps below 1.69", state: ironic.Available, at: "1.68", body: op{"target": "active", "deploy_steps": deploy}, code: 406, says: "should be 1.69"},
		{name: "deploy steps", state: ironic.Available, at: "1.69", body: op{"target": "active", "deploy_steps": deploy}, code: 202},
		{name: "deploy step without priority", state: ironic.Available, body: op{"target": "active", "deploy_steps": steps(`[{"interface": "raid", "step": "x", "args": {}}]`)}, code: 400, says: "'priority' is a required property"},
		{name: "deploy step without args", state: ironic.Available, body: op{"target": "active", "deploy_steps": steps(`[{"interface": "raid", "step": "x", "priority": 1}]`)}, code: 400, says: "'args' is a required property"},
		{name: "deploy step of negative priority", state: ironic.Available, body: op{"target": "active", "deploy_steps": steps(`[{"interface": "raid", "step": "x", "args": {}, "priority": -1}]`)}, code: 400, says: "less than the minimum of 0"},
		{name: "password of another verb", state: ironic.Enroll, body: op{"target": "manage", "rescue_password": "geheim"}, code: 400, says: `"rescue_password" is only valid`},
		{name: "password number", state: ironic.Active, body: op{"target": "rescue", "rescue_password": 1}, code: 400, says: "Expected string for rescue_password"},
		{name: "password blank", state: ironic.Active, body: op{"target": "rescue", "rescue_password": " "}, code: 400, says: `A non-empty "rescue_password" is required`},
		{name: "no password", state: ironic.Active, body: op{"target": "rescue"}, code: 400, says: `A non-empty "rescue_password" is required`},
		{name: "rescue", state: ironic.Active, body: op{"target": "rescue", "rescue_password": "geheim"}, code: 202},
		{name: "drive number", state: ironic.Available, body: op{"target": "active", "configdrive": 5}, code: 400, says: "configdrive"},
		{name: "no ramdisk below 1.70", state: ironic.Manageable, at: "1.69", body: op{"target": "clean", "clean_steps": one, "disable_ramdisk": true}, code: 406, says: "not acceptable"},
		{name: "no ramdisk", state: ironic.Manageable, at: "1.70", body: op{"target": "clean", "clean_steps": one, "disable_ramdisk": "yes"}, code: 202},
		{name: "no ramdisk of another verb", state: ironic.Manageable, body: op{"target": "provide", "disable_ramdisk": true}, code: 400, says: "disable_ramdisk is supported only with"},
		{name: "no ramdisk of service below 1.108", state: ironic.Active, at: "1.107", body: op{"target": "service", "service_steps": one, "disable_ramdisk": true}, code: 400, says: "disable_ramdisk is supported only with"},
		{name: "no ramdisk of service", state: ironic.Active, at: "1.108", body: op{"target": "service", "service_steps": one, "disable_ramdisk": true}, code: 202},
		{name: "ramdisk maybe", state: ironic.Manageable, body: op{"target": "clean", "clean_steps": one, "disable_ramdisk": "maybe"}, code: 400, says: "Invalid disable_ramdisk"},
		{name: "clean without steps", state: ironic.Manageable, body: op{"target": "clean"}, code: 400, says: `"clean_steps" is required when setting target provision state to clean`},
		{name: "clean with none", state: ironic.Manageable, body: op{"target": "clean", "clean_steps": []any{}}, code: 400, says: `"clean_steps" is required`},
		{name: "service without steps", state: ironic.Active, body: op{"target": "service"}, code: 400, says: `"service_steps" is required`},
		{name: "steps text", state: ironic.Manageable, body: op{"target": "clean", "clean_steps": "x"}, code: 400, says: "for clean_steps: \"x\""},
		{name: "step empty", state: ironic.Manageable, body: op{"target": "clean", "clean_steps": []any{op{}}}, code: 400, says: "Invalid clean_steps: "},
		{name: "step null", state: ironic.Manageable, body: op{"target": "clean", "clean_steps": []any{nil}}, code: 400, says: "Invalid clean_steps: "},
		{name: "step of no interface", state: ironic.Manageable, body: op{"target": "clean", "clean_steps": []any{op{"interface": "foo", "step": "x"}}}, code: 400, says: "'foo' is not one of ['power', "},
		{name: "step of unknown parts", state: ironic.Manageable, body: op{"target": "clean", "clean_steps": []any{op{"interface": "raid", "step": "x", "foo": 1}}}, code: 400, says: "'foo' was unexpected"},
		{name: "step with text for args", state: ironic.Manageable, body: op{"target": "clean", "clean_steps": []any{op{"interface": "raid", "step": "x", "args": "y"}}}, code: 400, says: "'args'"},
		{name: "step for children", state: ironic.Manageable, body: op{"target": "clean", "clean_steps": []any{op{"interface": "raid", "step": "x", "execute_on_child_nodes": true}}}, code: 400, says: "not supported"},
		{name: "hold needs no interface", state: ironic.Manageable, body: op{"target": "clean", "clean_steps": []any{op{"step": "hold"}}}, code: 202},
		{name: "network step in service alone", state: ironic.Manageable, body: op{"target": "clean", "clean_steps": []any{op{"interface": "network", "step": "x"}}}, code: 400, says: "'network' is not one of"},
		{name: "network step", state: ironic.Active, body: op{"target": "service", "service_steps": []any{op{"interface": "network", "step": "x"}}}, code: 202},
		{name: "runbook below 1.92", state: ironic.Manageable, at: "1.91", body: op{"target": "clean", "runbook": "CUSTOM_R"}, code: 406, says: "1.92"},
		{name: "runbook of another verb", state: ironic.Manageable, body: op{"target": "provide", "runbook": "CUSTOM_R"}, code: 400, says: "A runbook is only valid"},
		{name: "runbook and steps", state: ironic.Manageable, body: op{"target": "clean", "runbook": "CUSTOM_R", "clean_steps": one}, code: 400, says: "but not both"},
		{name: "runbook unknown", state: ironic.Manageable, body: op{"target": "clean", "runbook": "CUSTOM_R"}, code: 404, says: "Runbook CUSTOM_R could not be found."},
		{name: "alias", state: ironic.Available, body: op{"target": "deploy"}, code: 202},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := *d
			d.t = t
			d.rest(path, tt.state)
			if tt.at != "" {
				d.at = tt.at
			}
			code, out, header := d.do(http.MethodPut, path+"/states/provision", tt.body)
			if code != tt.code {
				t.Fatalf("%d %v, want %d", code, out, tt.code)
			}
			if code == http.StatusAccepted && header.Get("Location") != "http://10.0.0.1:6385"+path+"/states" {
				t.Errorf("Location %q", header.Get("Location"))
			}
			d.says(out, tt.says)
			if text, _ := json.Marshal(out); strings.Contains(string(text), "geheim") {
				t.Errorf("the password is repeated: %s", text)
			}
		})
	}
	d.want(http.StatusNotFound, http.MethodPut, "/v1/nodes/nobody/states/provision", op{"target": "manage"})
	d.want(http.StatusMethodNotAllowed, http.MethodGet, path+"/states/provision", nil)
}

// Config drives by their form; what is in a whole one is for the store to see.
func TestConfigDrives(t *testing.T) {
	for _, tt := range []struct {
		name  string
		state ironic.State
		at    string
		body  op
		code  int
		says  string
	}{
		{name: "drive of another verb", state: ironic.Enroll, body: op{"target": "manage", "configdrive": "x"}, code: 400, says: "Adding a config drive is only supported when setting provision state to active, rebuild"},
		{name: "drive with rebuild below 1.35", state: ironic.Active, at: "1.34", body: op{"target": "rebuild", "configdrive": "eA=="}, code: 400, says: "provision state to active"},
		{name: "drive with rebuild", state: ironic.Active, at: "1.35", body: op{"target": "rebuild", "configdrive": "eA=="}, code: 0},
		{name: "drive of no form", state: ironic.Available, body: op{"target": "active", "configdrive": "{x}"}, code: 400, says: "Invalid configdrive format: it is neither a JSON, nor a URL, nor a base64 string"},
		{name: "drive URL", state: ironic.Available, body: op{"target": "active", "configdrive": "https://x/y"}, code: 0},
		{name: "drive base64", state: ironic.Available, body: op{"target": "active", "configdrive": "eHh4\neA=="}, code: 0},
		{name: "drive empty", state: ironic.Available, at: "1.1", body: op{"target": "active", "configdrive": ""}, code: 0},
		{name: "drive null", state: ironic.Available, at: "1.1", body: op{"target": "active", "configdrive": nil}, code: 0},
		{name: "drive object below 1.56", state: ironic.Available, at: "1.55", body: op{"target": "active", "configdrive": op{"meta_data": op{}}}, code: 400, says: "only supported starting with API version 1.56"},
		{name: "drive object", state: ironic.Available, at: "1.56", body: op{"target": "active", "configdrive": op{"meta_data": op{}, "network_data": op{}, "user_data": "x"}}, code: 0},
		{name: "vendor data below 1.59", state: ironic.Available, at: "1.58", body: op{"target": "active", "configdrive": op{"vendor_data": op{}}}, code: 400, says: "1.59"},
		{name: "vendor data", state: ironic.Available, at: "1.59", body: op{"target": "active", "configdrive": op{"vendor_data": op{}}}, code: 0},
		{name: "drive of unknown parts", state: ironic.Available, body: op{"target": "active", "configdrive": op{"foo": 1}}, code: 400, says: "'foo' was unexpected"},
		{name: "drive of wrong parts", state: ironic.Available, body: op{"target": "active", "configdrive": op{"meta_data": "x"}}, code: 400, says: "meta_data is not of type 'object'"},
		{name: "user data number", state: ironic.Available, body: op{"target": "active", "configdrive": op{"user_data": 1}}, code: 400, says: "user_data is not of type"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text, err := json.Marshal(tt.body)
			if err != nil {
				t.Fatal(err)
			}
			c := &call{Request: &http.Request{Body: io.NopCloser(bytes.NewReader(text))}, version: ironic.MaxVersion}
			if tt.at != "" {
				_, minor, _ := readVersion(tt.at)
				c.version = ironic.Version(minor)
			}
			p, err := c.readProvisioning()
			if err == nil {
				n, _ := ready(tt.state, "")
				_, err = p.check(&n, c.version)
			}
			if statusOf(err) != tt.code || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, want %d %s", err, tt.code, tt.says)
			}
		})
	}
}

func TestRunbookIsForNodesOfItsTrait(t *testing.T) {
	d := newDoor(t)
	path := d.enrol("fake-hardware", nil)
	d.rest(path, ironic.Manageable)
	body := `{"steps": [{"interface": "raid", "step": "second", "order": 2}, {"interface": "bios", "step": "first", "order": 1}], "traits": ["CUSTOM_T"]}`
	if _, err := d.nodes.CreateObject(t.Context(), node.Object{Kind: node.KindRunbook, Name: "CUSTOM_R", Body: json.RawMessage(body)}); err != nil {
		t.Fatal(err)
	}
	ask := op{"target": "clean", "runbook": "CUSTOM_R"}
	d.says(d.want(http.StatusBadRequest, http.MethodPut, path+"/states/provision", ask), "has not been approved")
	n, _ := d.nodes.Get(strings.TrimPrefix(path, "/v1/nodes/"))
	for _, trait := range []string{"CUSTOM_R", "CUSTOM_T"} {
		c := &call{s: d.s, caller: Administrator("test")}
		of := *n
		of.Traits = []string{trait}
		book, err := c.runbook(&of, "CUSTOM_R")
		if err != nil || len(book.Steps) != 2 || book.Steps[0].Step != "first" {
			t.Errorf("%s: %v %v", trait, book.Steps, err)
		}
	}
	d.want(http.StatusNoContent, http.MethodPut, path+"/traits/CUSTOM_T", nil)
	d.rest(path, ironic.Manageable)
	d.want(http.StatusAccepted, http.MethodPut, path+"/states/provision", ask)
}

// disable_ramdisk rules out what the agent would be booted for, whoever says it.
func TestNoRamdisk(t *testing.T) {
	d := newDoor(t)
	path := d.enrol("redfish", body{"driver_info": body{"redfish_address": "https://10.0.0.9"}})
	erase := body{"interface": "deploy", "step": "erase_devices_metadata", "args": body{}}
	settings := body{"interface": "bios", "step": "apply_configuration", "args": body{"settings": []body{{"name": "Boot", "value": "Uefi"}}}}
	for name, step := range map[string]body{"CUSTOM_ERASE": erase, "CUSTOM_BIOS": settings} {
		ordered := body{"order": 1}
		maps.Copy(ordered, step)
		d.want(http.StatusCreated, http.MethodPost, "/v1/runbooks", body{"name": name, "disable_ramdisk": true, "steps": []body{ordered}})
		d.want(http.StatusNoContent, http.MethodPut, path+"/traits/"+name, nil)
	}
	for _, tt := range []struct {
		name string
		from ironic.State
		body op
		code int
	}{
		{name: "a cleaning that needs the agent", from: ironic.Manageable, body: op{"target": "clean", "clean_steps": []body{erase}, "disable_ramdisk": true}, code: 400},
		{name: "the same with it", from: ironic.Manageable, body: op{"target": "clean", "clean_steps": []body{erase}, "disable_ramdisk": false}, code: 202},
		{name: "a cleaning that needs none", from: ironic.Manageable, body: op{"target": "clean", "clean_steps": []body{settings}, "disable_ramdisk": true}, code: 202},
		{name: "a service", from: ironic.Active, body: op{"target": "service", "service_steps": []body{settings}, "disable_ramdisk": true}, code: 202},
		{name: "a runbook that needs the agent", from: ironic.Manageable, body: op{"target": "clean", "runbook": "CUSTOM_ERASE"}, code: 400},
		{name: "a runbook that needs none", from: ironic.Manageable, body: op{"target": "clean", "runbook": "CUSTOM_BIOS"}, code: 202},
	} {
		d.rest(path, tt.from)
		code, out, _ := d.do(http.MethodPut, path+"/states/provision", tt.body)
		if code != tt.code || code == 400 && !strings.Contains(toText(out), "clean step deploy.erase_devices_metadata requires booting a ramdisk") {
			t.Errorf("%s: %d %v, want %d", tt.name, code, out, tt.code)
		}
	}
}

func TestPower(t *testing.T) {
	d := newDoor(t)
	path := d.enrol("fake-hardware", nil)
	for _, tt := range []struct {
		name string
		at   string
		body any
		code int
		says string
	}{
		{name: "nothing", body: op{}, code: 400, says: "Missing mandatory parameter: target"},
		{name: "unknown", body: op{"target": "foo"}, code: 400, says: `The requested action "foo" can not be performed on node`},
		{name: "soft below 1.27", at: "1.26", body: op{"target": "soft power off"}, code: 406, says: "Request not acceptable."},
		{name: "timeout below 1.27", at: "1.26", body: op{"target": "power on", "timeout": 3}, code: 406, says: "Request not acceptable."},
		{name: "timeout zero", body: op{"target": "power on", "timeout": 0}, code: 400, says: "timeout has to be positive integer"},
		{name: "timeout word", body: op{"target": "power on", "timeout": "x"}, code: 400, says: "Expected an integer for timeout"},
		{name: "unknown argument", body: op{"target": "power on", "x": "x"}, code: 400, says: "Unexpected arguments: x"},
		{name: "on", body: op{"target": "power on", "timeout": "5"}, code: 202},
		{name: "soft", at: "1.27", body: op{"target": "soft rebooting", "timeout": 5}, code: 202},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := *d
			d.t = t
			d.rest(path, ironic.Enroll)
			if tt.at != "" {
				d.at = tt.at
			}
			code, out, header := d.do(http.MethodPut, path+"/states/power", tt.body)
			if code != tt.code {
				t.Fatalf("%d %v, want %d", code, out, tt.code)
			}
			d.says(out, tt.says)
			if code == http.StatusAccepted && header.Get("Location") != "http://10.0.0.1:6385"+path+"/states" {
				t.Errorf("Location %q", header.Get("Location"))
			}
		})
	}
	if n, _ := d.nodes.Get(strings.TrimPrefix(path, "/v1/nodes/")); n.Record.Spec.Ask == nil || n.Record.Spec.Ask.Verb != "soft rebooting" || n.Record.Spec.Ask.N != 2 {
		t.Errorf("asked for %+v", n.Record.Spec.Ask)
	}
}

// A verb waits for the one before it to be taken up, as Ironic's does for its lock:
// it neither takes that one's place nor waits for ever.
func TestAnAskWaitsForTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t)
		path := d.enrol("fake-hardware", nil)
		d.rest(path, ironic.Available)
		d.want(http.StatusAccepted, http.MethodPut, path+"/states/provision", op{"target": "manage"})
		for _, door := range []string{"provision", "power"} {
			target := map[string]string{"provision": "provide", "power": "power on"}[door]
			before := time.Now()
			out := d.want(http.StatusConflict, http.MethodPut, path+"/states/"+door, op{"target": target})
			d.says(out, "is locked by host")
			if waited := time.Since(before); waited < lockWait || waited > 2*lockWait {
				t.Errorf("%s: %s", door, waited)
			}
		}
		time.AfterFunc(time.Second, func() { d.rest(path, ironic.Manageable) })
		before := time.Now()
		d.want(http.StatusAccepted, http.MethodPut, path+"/states/provision", op{"target": "provide"})
		if waited := time.Since(before); waited < time.Second || waited > lockWait {
			t.Errorf("%s", waited)
		}
		// What takes longer is not waited for: in these states nothing can be asked.
		before = time.Now()
		d.want(http.StatusConflict, http.MethodPut, path+"/states/provision", op{"target": "manage"})
		if waited := time.Since(before); waited != 0 {
			t.Errorf("%s in cleaning", waited)
		}
	})
}

func TestPowerInStates(t *testing.T) {
	for _, row := range node.Rows() {
		st, verbs := row.State, row.Verbs
		n, _ := ready(st, "")
		want := 0
		switch {
		case st == ironic.Cleaning || st == ironic.CleanWait:
			want = http.StatusBadRequest
		case len(verbs) == 0:
			want = http.StatusConflict
		}
		if err := checkPower(&n, ironic.PowerOn, nil, ironic.MaxVersion); statusOf(err) != want {
			t.Errorf("%s: %v, want %d", st, err, want)
		}
	}
	n, _ := ready(ironic.Active, "")
	n.DisablePowerOff = true
	for target, want := range map[ironic.Power]int{ironic.PowerOff: 409, ironic.SoftPowerOff: 409, ironic.PowerOn: 0, ironic.Reboot: 0} {
		if err := checkPower(&n, target, nil, ironic.MaxVersion); statusOf(err) != want {
			t.Errorf("%s where it is disabled: %v, want %d", target, err, want)
		}
	}
	n.Driver, n.PowerInterface = "redfish", "redfish"
	if err := checkPower(&n, ironic.PowerOn, nil, ironic.MaxVersion); statusOf(err) != http.StatusBadRequest {
		t.Errorf("without an address: %v", err)
	}
}

func TestStates(t *testing.T) {
	d := newDoor(t)
	path := d.enrol("fake-hardware", nil)
	always := []string{"console_enabled", "last_error", "power_state", "provision_state", "provision_updated_at", "target_power_state", "target_provision_state"}
	for version, more := range map[string][]string{"1.1": nil, "1.11": nil, "1.12": {"raid_config", "target_raid_config"}, "1.74": {"raid_config", "target_raid_config"}, "1.75": {"boot_mode", "raid_config", "secure_boot", "target_raid_config"}} {
		var got []string
		for name := range d.version(version).want(http.StatusOK, http.MethodGet, path+"/states", nil) {
			got = append(got, name)
		}
		slices.Sort(got)
		if diff := cmp.Diff(slices.Sorted(slices.Values(slices.Concat(always, more))), got); diff != "" {
			t.Errorf("%s: %s", version, diff)
		}
	}
}

func TestMaintenance(t *testing.T) {
	d := newDoor(t)
	path := d.enrol("fake-hardware", nil)
	check := func(on bool, reason any) {
		t.Helper()
		if got := d.want(http.StatusOK, http.MethodGet, path, nil); got["maintenance"] != on || got["maintenance_reason"] != reason {
			t.Errorf("maintenance %v, reason %v", got["maintenance"], got["maintenance_reason"])
		}
	}
	d.want(http.StatusAccepted, http.MethodPut, path+"/maintenance", op{"reason": "disk"})
	check(true, "disk")
	d.want(http.StatusAccepted, http.MethodPut, path+"/maintenance", nil)
	check(true, nil)
	d.want(http.StatusAccepted, http.MethodPut, path+"/maintenance", op{"reason": "again"})
	d.want(http.StatusAccepted, http.MethodDelete, path+"/maintenance", nil)
	check(false, nil)
	d.says(d.want(http.StatusBadRequest, http.MethodPut, path+"/maintenance", op{"foo": 1}), "Unexpected arguments: foo")
	d.says(d.want(http.StatusBadRequest, http.MethodPut, path+"/maintenance", op{"reason": 1}), "Expected string for reason")
	_, _, header := d.do(http.MethodGet, path+"/maintenance", nil)
	if header.Get("Allow") != "DELETE, PUT" {
		t.Errorf("Allow %q", header.Get("Allow"))
	}
}

func TestTraits(t *testing.T) {
	d := newDoor(t)
	path := d.enrol("fake-hardware", nil) + "/traits"
	check := func(want ...any) {
		t.Helper()
		if diff := cmp.Diff(append([]any{}, want...), d.want(http.StatusOK, http.MethodGet, path, nil)["traits"]); diff != "" {
			t.Error(diff)
		}
	}
	check()
	d.want(http.StatusNoContent, http.MethodPut, path, op{"traits": []string{"HW_CPU_X86_VMX", "CUSTOM_A", "CUSTOM_A"}})
	check("CUSTOM_A", "HW_CPU_X86_VMX")
	code, _, header := d.do(http.MethodPut, path+"/CUSTOM_B", nil)
	if code != http.StatusNoContent || header.Get("Location") != "http://10.0.0.1:6385"+path+"/CUSTOM_B" {
		t.Errorf("%d %v", code, header)
	}
	check("CUSTOM_A", "CUSTOM_B", "HW_CPU_X86_VMX")
	d.want(http.StatusNoContent, http.MethodDelete, path+"/CUSTOM_A", nil)
	check("CUSTOM_B", "HW_CPU_X86_VMX")
	d.says(d.want(http.StatusNotFound, http.MethodDelete, path+"/CUSTOM_A", nil), "doesn't have a trait 'CUSTOM_A'")
	many := make([]string, maxTraits+1)
	for i := range many {
		many[i] = "CUSTOM_" + strings.Repeat("X", i+1)
	}
	for _, tt := range []struct {
		path string
		body any
		says string
	}{
		{path, op{"traits": []string{"foo"}}, "Schema error for body: 'foo' is not valid under any of the given schemas."},
		{path, op{"traits": []string{"CUSTOM_" + strings.Repeat("X", 255)}}, "Schema error for body"},
		{path, op{}, "A single node trait may be added via PUT"},
		{path, op{"traits": nil}, "is not of type 'array'"},
		{path, op{"traits": "x"}, "is not of type 'array'"},
		{path, op{"traits": []string{}, "x": 1}, "'x' was unexpected"},
		{path, op{"traits": many}, "it would exceed the maximum number of traits per node (51 vs. 50)"},
		{path + "/foo", nil, "Schema error for trait: 'foo'"},
		{path + "/CUSTOM_X", op{"traits": []string{}}, "No body should be provided"},
	} {
		d.says(d.want(http.StatusBadRequest, http.MethodPut, tt.path, tt.body), tt.says)
	}
	check("CUSTOM_B", "HW_CPU_X86_VMX")
	d.want(http.StatusNoContent, http.MethodDelete, path, nil)
	check()
	old := d.version("1.36")
	old.want(http.StatusNotAcceptable, http.MethodGet, path, nil)
	old.want(http.StatusMethodNotAllowed, http.MethodPut, path, op{"traits": []string{}})
	old.want(http.StatusMethodNotAllowed, http.MethodPut, path+"/CUSTOM_X", nil)
	old.want(http.StatusNotFound, http.MethodDelete, path, nil)
	d.want(http.StatusMethodNotAllowed, http.MethodGet, path+"/CUSTOM_X", nil)
}

func TestValidation(t *testing.T) {
	d := newDoor(t)
	fake := strings.TrimPrefix(d.enrol("fake-hardware", map[string]any{"name": "n"}), "/v1/nodes/")
	for _, path := range []string{"/v1/nodes/n/validate", "/v1/nodes/validate?node=n", "/v1/nodes/validate?node=" + fake, "/v1/nodes/validate?node_uuid=" + fake} {
		out := d.want(http.StatusOK, http.MethodGet, path, nil)
		if len(out) != 12 {
			t.Errorf("%s: %v", path, out)
		}
		for name, v := range out {
			if diff := cmp.Diff(map[string]any{"result": true}, v); diff != "" {
				t.Errorf("%s: %s: %s", path, name, diff)
			}
		}
	}
	d.says(d.want(http.StatusBadRequest, http.MethodGet, "/v1/nodes/validate", nil), "Expected a logical name or UUID but received None.")
	d.says(d.want(http.StatusNotFound, http.MethodGet, "/v1/nodes/validate?node=foo", nil), "Node foo could not be found.")
	d.says(d.want(http.StatusBadRequest, http.MethodGet, "/v1/nodes/validate?node_uuid=foo", nil), "Expected UUID for node_uuid: foo")
	d.version("1.4").want(http.StatusNotAcceptable, http.MethodGet, "/v1/nodes/validate?node=n", nil)

	real := d.enrol("redfish", nil)
	out := d.want(http.StatusOK, http.MethodGet, real+"/validate", nil)
	for name, says := range map[string]string{"power": "redfish_address", "management": "redfish_address", "deploy": "image_source", "rescue": "Driver redfish does not support rescue (disabled or not implemented).", "boot": "", "storage": "", "network": ""} {
		v, _ := out[name].(map[string]any)
		reason, _ := v["reason"].(string)
		if v["result"] != (says == "") || !strings.Contains(reason, says) {
			t.Errorf("%s: %v", name, v)
		}
	}
}

func TestDrivers(t *testing.T) {
	d := newDoor(t)
	list := d.want(http.StatusOK, http.MethodGet, "/v1/drivers", nil)["drivers"].([]any)
	var got []string
	for _, one := range list {
		m := one.(map[string]any)
		got = append(got, m["name"].(string))
		if m["default_boot_interface"] != nil || m["type"] != "dynamic" || m["hosts"].([]any)[0] != "ingot" {
			t.Errorf("%v", m)
		}
	}
	if diff := cmp.Diff([]string{"fake-hardware", "idrac", "ipmi", "redfish"}, got); diff != "" {
		t.Error(diff)
	}
	detail := d.want(http.StatusOK, http.MethodGet, "/v1/drivers?detail=true", nil)["drivers"].([]any)[0].(map[string]any)
	one := d.want(http.StatusOK, http.MethodGet, "/v1/drivers/fake-hardware", nil)
	if diff := cmp.Diff(one, detail); diff != "" || one["default_storage_interface"] != "noop" || one["default_boot_interface"] != "fake" {
		t.Errorf("%v %s", one, diff)
	}
	for _, tt := range []struct {
		path, at string
		code     int
		says     string
	}{
		{"/v1/drivers/foo", "1.82", 404, "Could not find the following driver(s) or hardware type(s): foo."},
		{"/v1/drivers/foo/properties", "1.82", 404, "foo"},
		{"/v1/drivers?type=foo", "1.82", 400, `"type" filter must be one of "classic" or "dynamic", if specified.`},
		{"/v1/drivers?type=dynamic", "1.29", 406, "The minimal required API version should be 1.30"},
		{"/v1/drivers?fields=name", "1.76", 406, "Request not acceptable."},
		{"/v1/drivers/ipmi?fields=name", "1.76", 406, "Request not acceptable."},
		{"/v1/drivers/ipmi?fields=name,foo", "1.77", 400, `Field(s) "foo" are not valid`},
		{"/v1/drivers?fields=name&detail=true", "1.82", 400, "Can not specify ?detail=True and fields in the same request."},
		{"/v1/drivers/ipmi/raid/logical_disk_properties", "1.11", 406, "Request not acceptable."},
		{"/v1/drivers/ipmi?x=1", "1.82", 400, "Unexpected arguments: x"},
	} {
		d.says(d.version(tt.at).want(tt.code, http.MethodGet, tt.path, nil), tt.says)
	}
	if got := d.want(http.StatusOK, http.MethodGet, "/v1/drivers?type=classic", nil)["drivers"]; len(got.([]any)) != 0 {
		t.Errorf("classic drivers %v", got)
	}
	if got := d.want(http.StatusOK, http.MethodGet, "/v1/drivers/ipmi?fields=name", nil); len(got) != 2 || got["name"] != "ipmi" {
		t.Errorf("%v", got)
	}
	if got := d.version("1.13").want(http.StatusOK, http.MethodGet, "/v1/drivers/ipmi", nil); got["properties"] != nil || got["type"] != nil {
		t.Errorf("%v", got)
	}
	for _, name := range got {
		d.want(http.StatusOK, http.MethodGet, "/v1/drivers/"+name+"/properties", nil)
		if got := d.want(http.StatusOK, http.MethodGet, "/v1/drivers/"+name+"/raid/logical_disk_properties", nil); got["raid_level"] == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
	for _, h := range hardwareTypes {
		for _, kind := range interfaceTypes {
			if len(h.interfaces[kind.name]) == 0 {
				t.Errorf("%s has no %s interface", h.name, kind.name)
			}
		}
	}
}

// A deploy template is found by the instance's traits. What its steps ask for is done,
// or the deployment is refused; it is never passed over.
func TestDeployTemplateIsNotPassedOver(t *testing.T) {
	for driver, want := range map[string]int{"redfish": http.StatusBadRequest, "fake-hardware": http.StatusAccepted} {
		d := newDoor(t)
		path := d.enrol(driver, body{"driver_info": body{"redfish_address": "https://10.0.0.9"}})
		d.want(http.StatusCreated, http.MethodPost, "/v1/deploy_templates", body{"name": "CUSTOM_HT", "steps": []body{{"interface": "bios", "step": "apply_configuration", "args": body{}, "priority": 150}}})
		d.rest(path, ironic.Available)
		d.want(http.StatusOK, http.MethodPatch, path, []op{
			{"op": "add", "path": "/instance_info/image_source", "value": "http://192.0.2.1/i.raw"},
			{"op": "add", "path": "/instance_info/image_checksum", "value": strings.Repeat("a", 64)},
			{"op": "add", "path": "/instance_info/traits", "value": []string{"CUSTOM_HT"}},
		})
		code, out, _ := d.do(http.MethodPut, path+"/states/provision", op{"target": "active"})
		if code != want || want == http.StatusBadRequest && !strings.Contains(toText(out), "bios.apply_configuration") {
			t.Errorf("%s: %d %v", driver, code, out)
		}
	}
}
