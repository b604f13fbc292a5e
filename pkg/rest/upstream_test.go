package rest

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
)

// Ironic's own expectations, where its tests are at hand: INGOT_IRONIC_RBAC names the
// directory of test_rbac_project_scoped.yaml and test_rbac_system_scoped.yaml
// (Debian's python3-ironic has them in ironic/tests/unit/api). Each of their requests
// is sent through the door; the routes that are not there answer as their decisions
// alone would.
func TestUpstreamExpectations(t *testing.T) {
	dir := os.Getenv("INGOT_IRONIC_RBAC")
	if dir == "" {
		t.Skip("INGOT_IRONIC_RBAC names no directory of Ironic's test_rbac_*.yaml")
	}
	const nobodys, owned, leased, other = "1be26c0b-03f2-4d2e-ae87-c02d7f33c123", "1ab63b9e-66d7-4cd7-8618-dddd0f9f7881", "38d5abed-c585-4fce-a57e-a2ffc2a2ec6f", "573208e5-cd41-4e26-8f06-ef44022b3793"
	for _, file := range []string{"test_rbac_project_scoped.yaml", "test_rbac_system_scoped.yaml"} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		var cases map[string]struct {
			Path, Method   string
			Headers        map[string]string
			Body           any
			AssertStatus   int            `json:"assert_status"`
			AssertLength   map[string]int `json:"assert_list_length"`
			AssertContains map[string]any `json:"assert_dict_contains"`
			Skip           string         `json:"skip_reason"`
			SelfManaged    *bool          `json:"self_manage_nodes"`
			Elevated       bool           `json:"enable_service_project"`
			ServiceProject string         `json:"service_project"`
		}
		if err := yaml.Unmarshal(text, &cases); err != nil {
			t.Fatal(err)
		}
		system := strings.Contains(file, "system")
		ran, left := 0, map[string]int{}
		for name, tc := range cases {
			switch {
			case tc.Path == "":
				continue
			case tc.Skip != "":
				left["skipped there too"]++
				continue
			case tc.SelfManaged != nil && !*tc.SelfManaged:
				left["projects may manage no nodes of their own: no such switch here"]++
				continue
			}
			d := newDoor(t)
			make := func(id string, owner, lessee string) {
				n := ironic.Node{UUID: id, Driver: "fake-hardware", LastError: ptr("meow"), Reservation: ptr("lolcats"), DriverInfo: ironic.Object{"foo": "bar", "fake_password": ironic.Masked}}
				n.DriverInternalInfo = ironic.Object{"private_state": "secret value"}
				if owner != "" {
					n.Owner = &owner
				}
				if lessee != "" {
					n.Lessee = &lessee
				}
				if _, err := d.nodes.Create(t.Context(), n); err != nil {
					t.Fatal(err)
				}
			}
			object := func(id, kind, of, body string) string {
				if _, err := d.nodes.CreateObject(t.Context(), node.Object{UUID: id, Kind: kind, Node: of, Body: []byte(body)}); err != nil {
					t.Fatal(err)
				}
				return id
			}
			vars := map[string]string{
				"node_ident": nobodys, "owner_node_ident": owned, "lessee_node_ident": leased, "allocated_node_ident": leased,
				"trait": "CUSTOM_MEOW", "vif_ident": "0e21d58f-5de2-4956-85ff-33935ea1ca01", "ind_component": "component", "ind_ident": "magic_light",
				"driver_name": "fake-driverz", "bios_setting": "x", "conductor_ident": "fake-conductor", "history_ident": "h", "owned_history_ident": "h", "lessee_history_ident": "h",
			}
			make(nobodys, "", "")
			if system {
				vars["allocated_node_ident"] = nobodys
				vars["port_ident"] = object("port", node.KindPort, nobodys, "{}")
				vars["portgroup_ident"] = object("portgroup", node.KindPortGroup, nobodys, "{}")
				vars["volume_target_ident"] = object("target", node.KindVolumeTarget, nobodys, "{}")
				vars["volume_connector_ident"] = object("connector", node.KindVolumeConnector, nobodys, "{}")
				vars["allocation_ident"] = object("allocation", node.KindAllocation, nobodys, "{}")
				vars["chassis_ident"] = object("chassis", node.KindChassis, "", "{}")
				vars["deploy_template_ident"] = object("template", node.KindDeployTemplate, "", "{}")
			} else {
				make(owned, ownerProject, "")
				make(leased, ownerProject, lesseeProject)
				make(other, "", "")
				vars["owner_port_ident"] = object("ebe30f19-358d-41e1-8d28-fd7357a0164c", node.KindPort, owned, "{}")
				object("21a3c5a7-1e14-44dc-a9dd-0c84d5477a57", node.KindPort, owned, "{}")
				vars["lessee_port_ident"] = object("leased-port", node.KindPort, leased, "{}")
				vars["other_port_ident"] = object("other-port", node.KindPort, other, "{}")
				vars["owner_portgroup_ident"] = object("owner-group", node.KindPortGroup, owned, "{}")
				vars["lessee_portgroup_ident"] = object("leased-group", node.KindPortGroup, leased, "{}")
				vars["other_portgroup_ident"] = object("other-group", node.KindPortGroup, other, "{}")
				object("owner-target", node.KindVolumeTarget, owned, "{}")
				object("owner-connector", node.KindVolumeConnector, owned, "{}")
				vars["volume_target_ident"] = object("leased-target", node.KindVolumeTarget, leased, "{}")
				vars["volume_connector_ident"] = object("leased-connector", node.KindVolumeConnector, leased, "{}")
				vars["owner_allocation"] = object("owner-allocation", node.KindAllocation, owned, `{"owner": "`+ownerProject+`"}`)
				vars["lessee_allocation"] = object("leased-allocation", node.KindAllocation, leased, `{"owner": "`+lesseeProject+`"}`)
			}
			fill := func(s string) string {
				for k, v := range vars {
					s = strings.ReplaceAll(s, "{"+k+"}", v)
				}
				return s
			}
			c := Caller{User: name, Project: fill(tc.Headers["X-Project-Id"]), System: tc.Headers["OpenStack-System-Scope"] == "all"}
			for _, r := range strings.Split(tc.Headers["X-Roles"], ",") {
				c.Roles = append(c.Roles, strings.TrimSpace(r))
			}
			if system && slices.Contains(c.Roles, "admin") {
				c.Roles = persona("system-admin").Roles // as Keystone's roles imply each other
			}
			if name := tc.Headers["X-Project-Name"]; name != "" && c.Project == "" {
				c.Project = name
			}
			project := tc.ServiceProject
			if project == "" {
				project = "service"
			}
			c.Elevated = tc.Elevated && tc.Headers["X-Project-Name"] == project
			d.standIns()
			body := tc.Body
			if text, err := json.Marshal(body); err == nil && body != nil {
				body = fill(string(text))
			}
			code, out, _ := d.as(c).do(strings.ToUpper(tc.Method), fill(tc.Path), body)
			ran++
			want := tc.AssertStatus
			if want == http.StatusInternalServerError {
				want = http.StatusForbidden // a scope that is not taken is an error there
			}
			if strings.Contains(tc.Path, "{driver_name}") && want == http.StatusNotFound {
				want = http.StatusOK // the driver is not there, which comes after the decision
			}
			through := want != 401 && want != 403 && want != 404
			if through && (code == 401 || code == 403 || code == 404) || !through && code != want {
				t.Errorf("%s: %s %s as %s of %q: %d %v, want %d", name, tc.Method, tc.Path, c.Roles, c.Project, code, out, want)
				continue
			}
			for kind, n := range tc.AssertLength {
				if kind == "history" {
					continue // of no decision
				}
				list, _ := out[kind].([]any)
				if system && len(list) == 0 && n > 0 || !system && len(list) != n {
					t.Errorf("%s: %s %s shows %d %s, want %d", name, tc.Method, tc.Path, len(list), kind, n)
				}
			}
			if strings.Contains(name, "restricted_fields") {
				for k, v := range tc.AssertContains {
					if a, b := toText(out[k]), toText(v); a != b {
						t.Errorf("%s: %s is %s, want %s", name, k, a, b)
					}
				}
			}
		}
		t.Logf("%s: %d requests, left out %v", file, ran, left)
	}
}

// standIns take the places of all routes but the nodes' own: their decisions, by the
// actions that the routes really have, and nothing more.
func (d *door) standIns() {
	params := regexp.MustCompile(`\{[^}]*\}`)
	there := map[string]string{}
	for path := range d.s.routes {
		there[params.ReplaceAllString(path, "{}")] = path
	}
	add := func(method, path, action string, do func(*call) (*reply, error)) {
		if at, ok := there[params.ReplaceAllString(path, "{}")]; ok {
			path = at
		}
		if d.s.routes[path] == nil {
			d.s.routes[path] = map[string]route{}
		}
		r := route{method: method, path: path, action: "baremetal:" + action, do: do}
		if real, ok := d.s.routes[path][method]; ok {
			r.action = real.action
		}
		d.s.routes[path][method] = r
	}
	// part is one part of a path, as in /ports/{id}.
	part := func(c *call, i int) string { return strings.Split(c.URL.Path, "/")[i] }
	fine := func(*call) (*reply, error) { return ok(map[string]any{}) }
	for _, line := range strings.Split(strings.TrimSpace(`
GET /nodes/{node}/states node:get_states
GET /nodes/{node}/validate node:validate
PUT /nodes/{node}/maintenance node:set_maintenance
DELETE /nodes/{node}/maintenance node:clear_maintenance
GET /nodes/{node}/management/boot_device node:get_boot_device
GET /nodes/{node}/management/boot_device/supported node:get_boot_device
PUT /nodes/{node}/management/boot_device node:set_boot_device
PUT /nodes/{node}/management/inject_nmi node:inject_nmi
GET /nodes/{node}/management/indicators node:get_indicator_state
PUT /nodes/{node}/management/indicators/{c}/{i} node:set_indicator_state
PUT /nodes/{node}/states/power node:set_power_state
PUT /nodes/{node}/states/provision node:set_provision_state
PUT /nodes/{node}/states/raid node:set_raid_state
PUT /nodes/{node}/states/boot_mode node:set_boot_mode
PUT /nodes/{node}/states/secure_boot node:set_secure_boot
GET /nodes/{node}/states/console node:get_console
PUT /nodes/{node}/states/console node:set_console_state
GET /nodes/{node}/vendor_passthru/methods node:vendor_passthru
GET /nodes/{node}/vendor_passthru node:vendor_passthru
PUT /nodes/{node}/vendor_passthru node:vendor_passthru
POST /nodes/{node}/vendor_passthru node:vendor_passthru
DELETE /nodes/{node}/vendor_passthru node:vendor_passthru
GET /nodes/{node}/traits node:traits:list
PUT /nodes/{node}/traits node:traits:set
PUT /nodes/{node}/traits/{t} node:traits:set
DELETE /nodes/{node}/traits/{t} node:traits:delete
GET /nodes/{node}/vifs node:vif:list
POST /nodes/{node}/vifs node:vif:attach
DELETE /nodes/{node}/vifs/{v} node:vif:detach
GET /nodes/{node}/bios node:bios:get
GET /nodes/{node}/bios/{b} node:bios:get
GET /nodes/{node}/history node:history:get
GET /nodes/{node}/history/{h} node:history:get
GET /nodes/{node}/inventory node:inventory:get
GET /nodes/{node}/volume volume:get
GET /drivers driver:get
GET /drivers/{d} driver:get
GET /drivers/{d}/properties driver:get_properties
GET /drivers/{d}/raid/logical_disk_properties driver:get_raid_logical_disk_properties
GET /drivers/{d}/vendor_passthru/methods driver:vendor_passthru
GET /drivers/{d}/vendor_passthru driver:vendor_passthru
PUT /drivers/{d}/vendor_passthru driver:vendor_passthru
POST /drivers/{d}/vendor_passthru driver:vendor_passthru
DELETE /drivers/{d}/vendor_passthru driver:vendor_passthru
GET /conductors conductor:get
GET /conductors/{c} conductor:get
GET /shards shards:get
GET /chassis chassis:get
GET /chassis/detail chassis:get
POST /chassis chassis:create
GET /chassis/{c} chassis:get
PATCH /chassis/{c} chassis:update
DELETE /chassis/{c} chassis:delete
GET /deploy_templates deploy_template:get
POST /deploy_templates deploy_template:create
GET /deploy_templates/{c} deploy_template:get
PATCH /deploy_templates/{c} deploy_template:update
DELETE /deploy_templates/{c} deploy_template:delete
`), "\n") {
		f := strings.Fields(line)
		do := fine
		if f[1] == "/chassis" || f[1] == "/chassis/detail" || strings.HasPrefix(f[1], "/deploy_templates") && f[0] == "GET" {
			do = func(*call) (*reply, error) {
				return ok(map[string]any{"chassis": []any{1}, "deploy_templates": []any{1}})
			}
		}
		add(f[0], f[1], f[2], do)
	}
	list := func(kind, plural string, ofNode bool) func(*call) (*reply, error) {
		return func(c *call) (*reply, error) {
			var out []string
			for _, o := range d.nodes.Objects(kind) {
				if ofNode && o.Node != part(c, 2) || !c.seesObject(o) {
					continue
				}
				out = append(out, o.UUID)
			}
			return ok(map[string]any{plural: out})
		}
	}
	for _, k := range []struct{ kind, action, path, plural string }{
		{node.KindPort, "port", "ports", "ports"},
		{node.KindPortGroup, "portgroup", "portgroups", "portgroups"},
		{node.KindVolumeConnector, "volume", "volume/connectors", "connectors"},
		{node.KindVolumeTarget, "volume", "volume/targets", "targets"},
		{node.KindAllocation, "allocation", "allocations", "allocations"},
	} {
		add("GET", "/"+k.path, k.action+":list", list(k.kind, k.plural, false))
		add("GET", "/"+k.path+"/detail", k.action+":list", list(k.kind, k.plural, false))
		if k.kind != node.KindAllocation {
			add("GET", "/nodes/{node}/"+k.path, k.action+":list", list(k.kind, k.plural, true))
			add("GET", "/nodes/{node}/"+k.path+"/detail", k.action+":list", list(k.kind, k.plural, true))
		}
		for method, verb := range map[string]string{"GET": "get", "PATCH": "update", "DELETE": "delete"} {
			action := "baremetal:" + k.action + ":" + verb
			add(method, "/"+k.path+"/{id}", k.action+":"+verb, func(c *call) (*reply, error) {
				o, found := d.nodes.Object(k.kind, part(c, strings.Count(k.path, "/")+2))
				if !found {
					return nil, notFound("none")
				}
				if err := c.mayObject(action, o); err != nil {
					return nil, err
				}
				return ok(map[string]any{})
			})
		}
		add("POST", "/"+k.path, k.action+":create", func(c *call) (*reply, error) {
			var body map[string]any
			if err := c.read(&body); err != nil {
				return nil, err
			}
			if k.kind == node.KindAllocation {
				owner, _ := body["owner"].(string)
				_, err := c.mayAllocate(&owner)
				return nil, err
			}
			ident, _ := body["node_uuid"].(string)
			_, err := c.nodeFor("baremetal:"+k.action+":create", ident)
			return nil, err
		})
	}
	for _, path := range []string{"/portgroups/{id}/ports", "/portgroups/{id}/ports/detail"} {
		add("GET", path, "port:get", func(c *call) (*reply, error) {
			o, found := d.nodes.Object(node.KindPortGroup, part(c, 2))
			if !found {
				return nil, notFound("none")
			}
			if err := c.mayObject("baremetal:port:get", o); err != nil {
				return nil, err
			}
			return ok(map[string]any{"ports": []any{}})
		})
	}
	for method, verb := range map[string]string{"GET": "get", "DELETE": "delete"} {
		add(method, "/nodes/{node}/allocation", "allocation:"+verb, func(c *call) (*reply, error) {
			i := slices.IndexFunc(d.nodes.Objects(node.KindAllocation), func(o *node.Object) bool { return o.Node == part(c, 2) })
			if i < 0 {
				return nil, notFound("none")
			}
			return nil, c.mayObject("baremetal:allocation:"+verb, d.nodes.Objects(node.KindAllocation)[i])
		})
	}
	add("GET", "/volume", "volume:list", fine)
}
