package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
)

// Projects of the tests.
const (
	ownerProject  = "70e5e25a-2ca2-4cb1-8ae8-7d8739cee205"
	lesseeProject = "f11853c7-fa9c-4db3-a477-c9d8e0dbbf13"
	thirdProject  = "ae64129e-b188-4662-b014-4127f4366ee6"
)

// persona is a caller as Keystone describes it: a role implies those below it.
func persona(name string) Caller {
	scope, roleName, _ := strings.Cut(name, "-")
	all := []string{"admin", "manager", "member", "reader"}
	c := Caller{User: name}
	if i := slices.Index(all, roleName); i >= 0 {
		c.Roles = all[i:]
	} else if roleName != "" {
		c.Roles = []string{roleName}
	}
	switch scope {
	case "system":
		c.System = true
	case "owner":
		c.Project = ownerProject
	case "lessee":
		c.Project = lesseeProject
	case "third":
		c.Project = thirdProject
	case "nova":
		c.Project, c.Elevated = thirdProject, true
	}
	return c
}

var personas = []string{
	"system-admin", "system-member", "system-reader", "system-service", "nova-service",
	"owner-admin", "owner-manager", "owner-member", "owner-reader", "owner-service",
	"lessee-admin", "lessee-manager", "lessee-member", "lessee-reader", "lessee-service",
	"third-admin", "third-service", "nobody-admin", "owner-",
}

func ptr[T any](v T) *T { return &v }

// as is the door as a persona sees it.
func (d *door) as(c Caller) *door {
	o := d.s.Options
	o.Authenticate = func(http.ResponseWriter, *http.Request) (Caller, bool) { return c, true }
	s := New(o)
	for path, methods := range d.s.routes {
		if s.routes[path] == nil {
			s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, methods) })
		}
		s.routes[path] = methods
	}
	out := *d
	out.s = s
	return &out
}

// The matrix, as Ironic's documentation of roles has it ("Secure RBAC", the tables of
// who may do what to a node, and ironic/common/policy.py). For each action: who may,
// on a node that is owned by one project and leased to another.
func TestPolicyMatrix(t *testing.T) {
	const (
		sysAll      = "system-admin system-member system-reader system-service nova-service"
		sysWrite    = "system-admin system-member system-service nova-service"
		ownersUp    = "owner-admin owner-manager owner-member owner-service"
		ownerAdmins = "owner-admin owner-manager owner-service"
		owners      = ownersUp + " owner-reader"
		lessees     = "lessee-admin lessee-manager lessee-member lessee-reader"
		lesseesUp   = "lessee-admin lessee-manager lessee-member"
		lesseeHigh  = "lessee-admin lessee-manager"
		members     = "owner-admin owner-manager owner-member"
		readers     = owners + " " + lessees + " lessee-service third-admin third-service nobody-admin"
	)
	want := map[string]string{
		"baremetal:node:get":                      sysAll + " " + owners + " " + lessees,
		"baremetal:node:list":                     sysAll + " " + readers,
		"baremetal:node:list_all":                 sysAll,
		"baremetal:node:create":                   "system-admin system-service owner-admin owner-service lessee-admin lessee-service third-admin third-service nova-service",
		"baremetal:node:delete":                   "system-admin owner-admin",
		"baremetal:node:update":                   sysWrite + " " + members + " " + lesseesUp,
		"baremetal:node:update_extra":             sysWrite + " " + members + " " + lesseesUp,
		"baremetal:node:update_instance_info":     sysWrite + " " + ownersUp + " " + lesseeHigh,
		"baremetal:node:update:driver_info":       sysWrite + " " + ownersUp,
		"baremetal:node:update:driver_interfaces": sysWrite + " " + ownerAdmins,
		"baremetal:node:update:owner":             "system-admin system-member nova-service",
		"baremetal:node:update:lessee":            sysWrite + " " + ownersUp,
		"baremetal:node:update:shard":             "system-admin",
		"baremetal:node:update:chassis_uuid":      "system-admin",
		"baremetal:node:update_owner_provisioned": "system-admin",
		"baremetal:node:disable_cleaning":         "system-admin",
		"baremetal:node:set_power_state":          sysWrite + " " + members + " " + lesseesUp,
		"baremetal:node:set_provision_state":      sysWrite + " " + ownersUp + " " + lesseeHigh,
		"baremetal:node:set_raid_state":           sysWrite + " " + ownersUp,
		"baremetal:node:set_boot_device":          sysWrite + " " + ownerAdmins,
		"baremetal:node:get_console":              sysWrite + " " + ownersUp,
		"baremetal:node:inject_nmi":               sysWrite + " " + ownerAdmins,
		"baremetal:node:traits:set":               sysWrite + " " + ownerAdmins,
		"baremetal:node:vif:attach":               sysWrite + " " + ownersUp + " " + lesseeHigh,
		"baremetal:node:set_maintenance":          sysWrite + " " + ownersUp + " " + lesseeHigh,
		"baremetal:node:vendor_passthru":          "system-admin",
		"baremetal:node:history:get":              sysAll + " " + owners,
		"baremetal:node:inventory:get":            sysAll + " " + owners,
		"baremetal:node:get:driver_info":          sysAll + " " + owners,
		"baremetal:port:get":                      sysAll + " " + owners + " " + lessees,
		"baremetal:port:create":                   "system-admin system-service " + ownerAdmins,
		"baremetal:port:update":                   sysWrite + " " + ownerAdmins,
		"baremetal:port:delete":                   "system-admin system-service " + ownerAdmins,
		"baremetal:portgroup:create":              "system-admin system-service " + ownerAdmins,
		"baremetal:volume:create":                 sysWrite + " " + ownerAdmins + " " + lesseeHigh,
		"baremetal:volume:update":                 sysWrite + " " + ownersUp + " " + lesseeHigh,
		"baremetal:chassis:get":                   "system-admin system-member system-reader system-service",
		"baremetal:chassis:create":                "system-admin",
		"baremetal:chassis:update":                "system-admin system-member",
		"baremetal:driver:get":                    "system-admin system-member system-reader system-service",
		"baremetal:driver:vendor_passthru":        "system-admin",
		"baremetal:conductor:get":                 sysAll,
		"baremetal:shards:get":                    sysAll,
		"baremetal:deploy_template:get":           sysAll,
		"baremetal:deploy_template:create":        "system-admin",
		"baremetal:inspection_rule:get":           sysAll,
		"baremetal:inspection_rule:delete":        "system-admin",
		"baremetal:events:post":                   "system-admin",
		"baremetal:runbook:create":                sysWrite + " owner-admin owner-manager owner-service lessee-admin lessee-manager lessee-service third-admin third-service nobody-admin",
	}
	for action, allowed := range want {
		p, known := policies[action]
		if !known {
			t.Errorf("%s has no row", action)
			continue
		}
		for _, name := range personas {
			c := persona(name)
			if got, want := p.rule(&c, target{ownerProject, lesseeProject}), slices.Contains(strings.Fields(allowed), name); got != want {
				t.Errorf("%s %s: %v, want %v", name, action, got, want)
			}
		}
	}
}

// What is nobody's is no project's, and a caller of no project has nothing.
func TestNobodysNodeIsNoProjects(t *testing.T) {
	for action, p := range policies {
		for _, name := range personas {
			c := persona(name)
			if c.System || c.Elevated || p.by != byNode {
				continue
			}
			if p.rule(&c, target{}) {
				t.Errorf("%s may %s what has no owner", name, action)
			}
		}
		none := Caller{}
		if p.rule(&none, target{}) {
			t.Errorf("a caller of nothing may %s", action)
		}
	}
}

func TestEveryRouteHasARule(t *testing.T) {
	d := newDoor(t)
	if err := d.s.Check(); err != nil {
		t.Error(err)
	}
	d.s.routes["/more"] = map[string]route{"GET": {path: "/more", method: "GET", action: "baremetal:more:get"}}
	d.s.routes["/open"] = map[string]route{"GET": {path: "/open", method: "GET"}}
	if err := d.s.Check(); err == nil || !strings.Contains(err.Error(), "/more") || !strings.Contains(err.Error(), "/open") {
		t.Errorf("routes without a rule: %v", err)
	}
	for action, p := range policies {
		if p.verb == "" {
			t.Errorf("%s says not what Kubernetes is asked for", action)
		}
		if (p.by == byList) != (p.all != "") {
			t.Errorf("%s: %q sees all", action, p.all)
		}
	}
}

// scene has three nodes: one owned, one owned and leased, one nobody's.
func scene(t *testing.T) *door {
	t.Helper()
	d := newDoor(t)
	for _, n := range []ironic.Node{
		{UUID: "00000000-0000-4000-8000-00000000000a", Name: ptr("owned"), Owner: ptr(ownerProject)},
		{UUID: "00000000-0000-4000-8000-00000000000b", Name: ptr("leased"), Owner: ptr(ownerProject), Lessee: ptr(lesseeProject)},
		{UUID: "00000000-0000-4000-8000-00000000000c", Name: ptr("nobodys")},
	} {
		n.Driver, n.LastError, n.Reservation = "fake-hardware", ptr("meow"), ptr("lolcats")
		n.DriverInfo = ironic.Object{"foo": "bar"}
		if _, err := d.nodes.Create(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func namesIn(out map[string]any) (list []string) {
	all, _ := out["nodes"].([]any)
	for _, n := range all {
		list = append(list, n.(map[string]any)["name"].(string))
	}
	return list
}

func TestProjectsSeeTheirOwn(t *testing.T) {
	d := scene(t)
	for _, tc := range []struct {
		who  string
		list string
		show map[string]int
	}{
		{"system-reader", "owned leased nobodys", map[string]int{"owned": 200, "leased": 200, "nobodys": 200, "none": 404}},
		{"nova-service", "owned leased nobodys", map[string]int{"owned": 200, "nobodys": 200}},
		{"owner-reader", "owned leased", map[string]int{"owned": 200, "leased": 200, "nobodys": 404, "none": 404}},
		{"lessee-reader", "leased", map[string]int{"owned": 404, "leased": 200, "nobodys": 404}},
		{"third-admin", "", map[string]int{"owned": 404, "leased": 404, "nobodys": 404, "none": 404}},
		{"owner-service", "owned leased", map[string]int{"owned": 200}},
	} {
		p := d.as(persona(tc.who))
		for _, path := range []string{"/v1/nodes", "/v1/nodes/detail", "/v1/nodes?shard=x"} {
			code, out, _ := p.do(http.MethodGet, path, nil)
			if strings.Contains(path, "shard") {
				// Whatever a filter finds, it is among what is seen.
				for _, n := range namesIn(out) {
					if !slices.Contains(strings.Fields(tc.list), n) {
						t.Errorf("%s %s shows %s", tc.who, path, n)
					}
				}
				continue
			}
			if got := strings.Join(namesIn(out), " "); code != http.StatusOK || got != tc.list {
				t.Errorf("%s %s: %d %q, want %q", tc.who, path, code, got, tc.list)
			}
		}
		for name, want := range tc.show {
			code, out, _ := p.do(http.MethodGet, "/v1/nodes/"+name, nil)
			if code != want {
				t.Errorf("%s %s: %d %v, want %d", tc.who, name, code, out, want)
			}
			if code == http.StatusNotFound && out["faultstring"] != "Node "+name+" could not be found." {
				t.Errorf("%s %s: %v tells a hidden node from none", tc.who, name, out)
			}
		}
	}
	for _, who := range []string{"nobody-admin", "owner-", "nobody-"} {
		if code, out, _ := d.as(persona(who)).do(http.MethodGet, "/v1/nodes", nil); code != http.StatusForbidden || out["faultstring"] != "Access was denied to the following resource: baremetal:node:list" {
			t.Errorf("%s lists: %d %v", who, code, out)
		}
	}
	if code, _, _ := d.as(persona("owner-reader")).do(http.MethodGet, "/v1/nodes?project="+lesseeProject, nil); code != http.StatusForbidden {
		t.Errorf("the nodes of another project were asked for: %d", code)
	}
}

func TestLesseesSeeNotHowItIsRun(t *testing.T) {
	d := scene(t)
	for who, redacted := range map[string]bool{"lessee-reader": true, "lessee-admin": true, "owner-reader": false, "system-reader": false} {
		for _, path := range []string{"/v1/nodes/leased", "/v1/nodes/detail", "/v1/nodes?fields=name,last_error,reservation,driver_info,driver_internal_info"} {
			out := d.as(persona(who)).want(http.StatusOK, http.MethodGet, path, nil)
			if list, ok := out["nodes"].([]any); ok {
				out = list[len(list)-1].(map[string]any)
			}
			if who == "system-reader" && out["name"] == "nobodys" {
				continue
			}
			text, _ := json.Marshal(map[string]any{"e": out["last_error"], "r": out["reservation"], "d": out["driver_info"], "i": out["driver_internal_info"]})
			if got := strings.Count(string(text), "edacted") == 4; got != redacted || redacted && bytes.Contains(text, []byte(`"bar"`)) {
				t.Errorf("%s %s: %s", who, path, text)
			}
		}
	}
	for _, r := range redactions {
		if _, known := policies[r.action]; !known || r.field < 0 || !json.Valid(r.instead) || !strings.HasSuffix(r.action, ":"+nodes.fields[r.field].name) {
			t.Errorf("redaction of %s", r.action)
		}
	}
}

func TestFieldsHaveRulesOfTheirOwn(t *testing.T) {
	d := scene(t)
	patch := func(path string, value any) []map[string]any {
		return []map[string]any{{"op": "replace", "path": path, "value": value}}
	}
	for _, tc := range []struct {
		who, node, path string
		value           any
		want            int
	}{
		{"owner-member", "owned", "/driver_info", map[string]any{"a": "b"}, 200},
		{"owner-member", "owned", "/power_interface", "fake", 403},
		{"owner-admin", "owned", "/power_interface", "fake", 200},
		{"owner-admin", "owned", "/owner", thirdProject, 403},
		{"owner-admin", "owned", "/shard", "s", 403},
		{"owner-admin", "owned", "/automated_clean", false, 403},
		{"owner-admin", "owned", "/automated_clean", "False", 403},
		{"owner-admin", "owned", "/disable_power_off", true, 403},
		{"owner-admin", "owned", "/parent_node", "x", 403},
		{"owner-reader", "owned", "/extra", map[string]any{}, 403},
		{"lessee-admin", "leased", "/instance_info", map[string]any{"a": "b"}, 200},
		{"lessee-member", "leased", "/instance_info", map[string]any{"a": "b"}, 403},
		{"lessee-member", "leased", "/extra", map[string]any{"a": "b"}, 200},
		{"lessee-admin", "leased", "/lessee", thirdProject, 403},
		{"lessee-admin", "leased", "/driver_info", map[string]any{"a": "b"}, 403},
		{"lessee-admin", "owned", "/extra", map[string]any{"a": "b"}, 404},
		{"third-admin", "owned", "/extra", map[string]any{"a": "b"}, 404},
		{"owner-service", "owned", "/instance_info", map[string]any{"a": "b"}, 200},
		{"owner-service", "owned", "/description", "x", 403},
		{"system-reader", "nobodys", "/extra", map[string]any{}, 403},
		{"system-member", "nobodys", "/owner", thirdProject, 200},
	} {
		code, out, _ := d.as(persona(tc.who)).do(http.MethodPatch, "/v1/nodes/"+tc.node, patch(tc.path, tc.value))
		if code != tc.want && (tc.want != 200 || code == 403 || code == 404) {
			t.Errorf("%s changes %s of %s: %d %v, want %d", tc.who, tc.path, tc.node, code, out, tc.want)
		}
	}
	// One field too many, and nothing is changed.
	two := append(patch("/extra", map[string]any{"z": 1}), patch("/shard", "s")...)
	d.as(persona("owner-admin")).want(http.StatusForbidden, http.MethodPatch, "/v1/nodes/owned", two)
	if out := d.want(http.StatusOK, http.MethodGet, "/v1/nodes/owned", nil); strings.Contains(toText(out["extra"]), "z") {
		t.Errorf("half of a patch was taken: %v", out["extra"])
	}
}

func toText(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

// A handler that finds a node by itself asks about it as the routes do.
func TestNodesThatHandlersFind(t *testing.T) {
	d := scene(t)
	n, _ := d.nodes.Get("leased")
	for _, tc := range []struct {
		who, action string
		want        int
	}{
		{"owner-member", "baremetal:node:validate", 0}, {"lessee-reader", "baremetal:node:validate", 403}, {"third-admin", "baremetal:node:validate", 404},
	} {
		c, got := &call{Request: &http.Request{}, s: d.s, caller: persona(tc.who), route: &route{action: tc.action}}, 0
		if err := c.mayNode(tc.action, "leased", n); err != nil {
			got = faultOf(err).status
		}
		if got != tc.want || !c.access.decided {
			t.Errorf("%s: %d, want %d", tc.who, got, tc.want)
		}
	}
	for _, who := range []string{"third-admin", "system-admin"} {
		c := &call{Request: &http.Request{}, s: d.s, caller: persona(who), route: &route{}}
		_, err := c.nodeFor("baremetal:port:create", "none")
		if want := map[string]int{"third-admin": 403, "system-admin": 400}[who]; faultOf(err).status != want {
			t.Errorf("%s names a node that is not there: %v", who, err)
		}
		if _, err := c.nodeFor("baremetal:port:create", "owned"); (err == nil) != (who == "system-admin") {
			t.Errorf("%s: %v", who, err)
		}
	}
}

func TestWhoMakesANodeOwnsIt(t *testing.T) {
	for _, tc := range []struct {
		who   string
		owner any
		want  int
		is    any
	}{
		{"system-admin", nil, 201, nil},
		{"system-admin", thirdProject, 201, thirdProject},
		{"owner-admin", nil, 201, ownerProject},
		{"owner-admin", ownerProject, 201, ownerProject},
		{"owner-admin", thirdProject, 403, nil},
		{"owner-service", nil, 201, ownerProject},
		{"owner-manager", nil, 403, nil},
		{"owner-member", nil, 403, nil},
		{"system-reader", nil, 403, nil},
		{"nobody-admin", nil, 403, nil},
	} {
		d := newDoor(t)
		body := map[string]any{"driver": "fake-hardware"}
		if tc.owner != nil {
			body["owner"] = tc.owner
		}
		code, out, _ := d.as(persona(tc.who)).do(http.MethodPost, "/v1/nodes", body)
		if code != tc.want || code == 201 && out["owner"] != tc.is {
			t.Errorf("%s for %v: %d, owner %v, want %d, %v", tc.who, tc.owner, code, out["owner"], tc.want, tc.is)
		}
		if n := len(d.nodes.List()); n != 0 && tc.want != 201 {
			t.Errorf("%s: made all the same", tc.who)
		}
	}
	d := scene(t)
	child := func(parent string) any { return map[string]any{"driver": "fake-hardware", "parent_node": parent} }
	d.as(persona("owner-admin")).want(http.StatusCreated, http.MethodPost, "/v1/nodes", child("00000000-0000-4000-8000-00000000000a"))
	d.as(persona("third-admin")).want(http.StatusBadRequest, http.MethodPost, "/v1/nodes", child("00000000-0000-4000-8000-00000000000a"))
}

// Whatever routes there are: who has no role gets nothing, and a strange project's
// administrator learns nothing of the nodes.
func TestStrangersGetNothing(t *testing.T) {
	d, param := scene(t), regexp.MustCompile(`\{[^}]*\}`)
	for path, methods := range d.s.routes {
		for method, r := range methods {
			if r.action == "" {
				continue
			}
			at := "/v1" + param.ReplaceAllString(strings.ReplaceAll(path, "{node}", "owned"), "x")
			var body any
			if method != http.MethodGet && method != http.MethodDelete {
				body = map[string]any{"node_uuid": "owned"}
			}
			if code, out, _ := d.as(persona("owner-")).do(method, at, body); code != http.StatusForbidden && code != http.StatusNotFound {
				t.Errorf("without a role: %s %s: %d %v", method, at, code, out)
			}
			if !strings.Contains(path, "{node}") {
				continue
			}
			if code, out, _ := d.as(persona("third-admin")).do(method, at, body); code != http.StatusNotFound {
				t.Errorf("a stranger: %s %s: %d %v", method, at, code, out)
			}
		}
	}
	for _, n := range []string{"owned", "leased", "nobodys"} {
		d.want(http.StatusOK, http.MethodGet, "/v1/nodes/"+n, nil)
	}
}

// No handler of ours forgets to ask: what is a project's is answered to it.
func TestNoHandlerForgetsToAsk(t *testing.T) {
	d, param := scene(t), regexp.MustCompile(`\{[^}]*\}`)
	ids := map[string]string{"nodes": "owned"}
	for i, k := range []struct{ at, kind, node, body string }{
		{"ports", node.KindPort, "00000000-0000-4000-8000-00000000000a", `{"address": "52:54:00:00:00:01"}`},
		{"portgroups", node.KindPortGroup, "00000000-0000-4000-8000-00000000000a", `{}`},
		{"connectors", node.KindVolumeConnector, "00000000-0000-4000-8000-00000000000a", `{"type": "iqn", "connector_id": "iqn.1"}`},
		{"targets", node.KindVolumeTarget, "00000000-0000-4000-8000-00000000000a", `{"volume_type": "iscsi", "boot_index": 0, "volume_id": "v"}`},
		{"allocations", node.KindAllocation, "00000000-0000-4000-8000-00000000000a", `{"owner": "` + ownerProject + `", "state": "active"}`},
		{"runbooks", node.KindRunbook, "", `{"owner": "` + ownerProject + `", "public": false, "steps": []}`},
		{"chassis", node.KindChassis, "", `{}`},
		{"deploy_templates", node.KindDeployTemplate, "", `{"steps": []}`},
	} {
		id := fmt.Sprintf("00000000-0000-4000-8000-0000000001%02d", i)
		if _, err := d.nodes.CreateObject(t.Context(), node.Object{UUID: id, Kind: k.kind, Node: k.node, Body: []byte(k.body)}); err != nil {
			t.Fatal(err)
		}
		ids[k.at] = id
	}
	asked := 0
	for path, methods := range d.s.routes {
		parts := strings.Split(path, "/")
		for i := range parts {
			if id, known := ids[parts[max(i-1, 0)]]; known && param.MatchString(parts[i]) {
				parts[i] = id
			}
		}
		at := "/v1" + param.ReplaceAllString(strings.Join(parts, "/"), "x")
		for method, r := range methods {
			if method == http.MethodDelete || r.action == "" {
				continue // it would take the scene away
			}
			for _, who := range []string{"owner-admin", "system-member"} {
				code, out, _ := d.as(persona(who)).do(method, at, nil)
				if strings.Contains(toText(out["faultstring"]), "Nothing decided") {
					t.Errorf("%s %s %s: %d %v", who, method, at, code, out)
				}
				if code == http.StatusOK {
					asked++
				}
			}
		}
	}
	t.Logf("%d answers", asked)
}

// A handler that forgets to ask gives no answer.
func TestUndecidedIsRefused(t *testing.T) {
	d := scene(t)
	forgets := func(action string) {
		d.s.routes["/forgets/{id}"] = map[string]route{http.MethodGet: {method: http.MethodGet, path: "/forgets/{id}", action: action, do: func(*call) (*reply, error) {
			return ok(map[string]any{"secret": "x"})
		}}}
	}
	for _, action := range []string{"baremetal:port:get", "baremetal:allocation:get", "baremetal:node:update"} {
		forgets(action)
		code, out, _ := d.as(persona("owner-admin")).do(http.MethodGet, "/v1/forgets/1", nil)
		if code != http.StatusInternalServerError || out["secret"] != nil {
			t.Errorf("%s: %d %v", action, code, out)
		}
	}
	forgets("baremetal:unheard:of")
	d.as(persona("system-admin")).want(http.StatusForbidden, http.MethodGet, "/v1/forgets/1", nil)
}

// Objects are known of as their node is; allocations and runbooks as their owner is.
func TestObjects(t *testing.T) {
	d := scene(t)
	made := map[string]*node.Object{}
	for _, o := range []node.Object{
		{UUID: "p1", Kind: node.KindPort, Node: "00000000-0000-4000-8000-00000000000a", Body: []byte(`{}`)},
		{UUID: "p2", Kind: node.KindPort, Node: "00000000-0000-4000-8000-00000000000b", Body: []byte(`{}`)},
		{UUID: "p3", Kind: node.KindPort, Node: "00000000-0000-4000-8000-00000000000c", Body: []byte(`{}`)},
		{UUID: "p4", Kind: node.KindPort, Node: "00000000-0000-4000-8000-00000000dead", Body: []byte(`{}`)},
		{UUID: "a1", Kind: node.KindAllocation, Body: []byte(`{"owner": "` + ownerProject + `"}`)},
		{UUID: "a2", Kind: node.KindAllocation, Node: "00000000-0000-4000-8000-00000000000b", Body: []byte(`{"owner": "` + lesseeProject + `"}`)},
		{UUID: "r1", Kind: node.KindRunbook, Body: []byte(`{"owner": "` + ownerProject + `", "public": false}`)},
		{UUID: "r2", Kind: node.KindRunbook, Body: []byte(`{"owner": null, "public": true}`)},
		{UUID: "c1", Kind: node.KindChassis, Body: []byte(`{}`)},
	} {
		obj, err := d.nodes.CreateObject(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		made[o.UUID] = obj
	}
	for _, tc := range []struct {
		who, action, object string
		want                int
	}{
		{"owner-reader", "baremetal:port:get", "p1", 0},
		{"owner-reader", "baremetal:port:update", "p1", 403},
		{"owner-manager", "baremetal:port:delete", "p1", 0},
		{"lessee-admin", "baremetal:port:get", "p1", 404},
		{"lessee-admin", "baremetal:port:update", "p2", 403},
		{"lessee-admin", "baremetal:port:get", "p3", 404},
		{"owner-admin", "baremetal:port:get", "p4", 404},
		{"system-admin", "baremetal:port:delete", "p4", 0},
		{"owner-reader", "baremetal:allocation:get", "a1", 0},
		{"owner-reader", "baremetal:allocation:delete", "a1", 403},
		{"owner-member", "baremetal:allocation:delete", "a1", 0},
		{"owner-admin", "baremetal:allocation:get", "a2", 404},
		{"lessee-member", "baremetal:allocation:delete", "a2", 0},
		{"owner-reader", "baremetal:runbook:get", "r1", 0},
		{"third-admin", "baremetal:runbook:get", "r1", 404},
		{"third-admin", "baremetal:runbook:delete", "r2", 403},
		{"owner-reader", "baremetal:chassis:get", "c1", 403},
		{"system-reader", "baremetal:chassis:get", "c1", 0},
	} {
		c := &call{Request: &http.Request{}, s: d.s, caller: persona(tc.who), route: &route{action: tc.action}}
		got := 0
		if err := c.mayObject(tc.action, made[tc.object]); err != nil {
			got = faultOf(err).status
		}
		if got != tc.want {
			t.Errorf("%s %s %s: %d, want %d", tc.who, tc.action, tc.object, got, tc.want)
		}
	}
	if c := (&call{s: d.s, caller: persona("third-reader"), route: &route{}}); !c.seesObject(made["r2"]) {
		t.Error("a public runbook is not seen")
	}
}

// One line for who changed something, or was kept from it; none for who looked.
func TestAudit(t *testing.T) {
	d := scene(t)
	var log bytes.Buffer
	d.s.Log = slog.New(slog.NewTextHandler(&log, nil))
	for _, tc := range []struct {
		who, method, path string
		want              string
	}{
		{"owner-reader", http.MethodGet, "/v1/nodes/owned", ""},
		{"owner-reader", http.MethodDelete, "/v1/nodes/owned", "user=owner-reader project=" + ownerProject + " from=192.0.2.1:1234 method=DELETE path=/nodes/owned action=baremetal:node:delete status=403"},
		{"owner-", http.MethodGet, "/v1/nodes", "status=403"},
		{"third-admin", http.MethodGet, "/v1/nodes/owned", "user=third-admin project=" + thirdProject + " from=192.0.2.1:1234 method=GET path=/nodes/owned action=baremetal:node:get status=404"},
		{"third-admin", http.MethodGet, "/v1/nodes/none", ""},
		{"owner-admin", http.MethodDelete, "/v1/nodes/owned", "action=baremetal:node:delete status=204"},
	} {
		log.Reset()
		d.as(persona(tc.who)).do(tc.method, tc.path, nil)
		lines := 0
		if tc.want != "" {
			lines = 1
		}
		if got := log.String(); !strings.Contains(got, tc.want) || strings.Count(got, "\n") != lines {
			t.Errorf("%s %s %s: %q", tc.who, tc.method, tc.path, got)
		}
	}
}
