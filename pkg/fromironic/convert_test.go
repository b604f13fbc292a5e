package fromironic

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/enroll"
	"github.com/ingot-metal/ingot/pkg/node"
	"github.com/ingot-metal/ingot/pkg/record"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestConvertGolden makes objects of what a real Ironic answered: testdata/README.md
// says which nodes they are.
func TestConvertGolden(t *testing.T) {
	p := Convert(newRecorded(t).site(), Options{
		Namespace:   "racks",
		Credentials: Credentials{"imp-Rack_1.w1": {Username: "root", Password: "hunter2"}},
		Secret:      "shared",
	})
	got := render(t, p)
	const path = "testdata/plan.golden.yaml"
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func render(t *testing.T, p Plan) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, v := range p.Nodes {
		text, err := yaml.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "# %s\n", strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "\n# "))
	}
	for _, o := range p.Objects {
		text, err := yaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "---\n%s", text)
	}
	return b.Bytes()
}

func ptr[T any](v T) *T { return &v }

// redfishNode is one that could be taken over, with what is given changed.
func redfishNode(change func(*Node)) Node {
	n := Node{Node: ironic.Node{
		UUID: "33333333-0000-4000-8000-000000000001", Name: ptr("w1"), Driver: "redfish", ProvisionState: ptr(ironic.Active), PowerState: ptr(ironic.PowerOn),
		DriverInfo: ironic.Object{"redfish_address": "https://10.0.0.1", "redfish_system_id": "/redfish/v1/Systems/1", "redfish_username": "root", "redfish_password": "******"},
	}}
	if change != nil {
		change(&n)
	}
	return n
}

func TestRefused(t *testing.T) {
	state := func(s ironic.State) func(*Node) { return func(n *Node) { n.ProvisionState = &s } }
	tests := []struct {
		name   string
		change func(*Node)
		want   string // in the reason; empty: it is taken
	}{
		{name: "active"},
		{name: "available", change: state(ironic.Available)},
		{name: "available before 1.2", change: func(n *Node) { n.ProvisionState = nil }},
		{name: "manageable", change: state(ironic.Manageable)},
		{name: "enroll", change: state(ironic.Enroll)},
		{name: "cleaning", change: state(ironic.Cleaning), want: "on its way (cleaning)"},
		{name: "deploying", change: state(ironic.DeployWait), want: "on its way (wait call-back)"},
		{name: "failed", change: state(ironic.DeployFail), want: `state "deploy failed"`},
		{name: "error", change: state(ironic.Error), want: `state "error"`},
		{name: "rescue", change: state(ironic.Rescue), want: "unrescue"},
		{name: "a state of tomorrow", change: state("melting\x1b[2J"), want: "on its way (melting [2J)"},
		{name: "reserved", change: func(n *Node) { n.Reservation = ptr("conductor-1") }, want: "reserved by conductor-1"},
		{name: "in use with unknown power", change: func(n *Node) { n.PowerState = nil }, want: "does not know whether it is on"},
		{name: "part", change: func(n *Node) { n.ParentNode = ptr("p") }, want: "part of the node p"},
		{name: "ilo", change: func(n *Node) { n.Driver = "ilo5" }, want: "set it to redfish"},
		{name: "other driver", change: func(n *Node) { n.Driver = "manual-management" }, want: `driver is "manual-management"`},
		{name: "no address", change: func(n *Node) { delete(n.DriverInfo, "redfish_address") }, want: "no redfish_address"},
		{name: "file as address", change: func(n *Node) { n.DriverInfo["redfish_address"] = "file:///etc/passwd" }, want: "no URL of a BMC"},
		{name: "password in the address", change: func(n *Node) { n.DriverInfo["redfish_address"] = "https://root:x@10.0.0.1" }, want: "no URL of a BMC"},
		{name: "port that is none", change: func(n *Node) { n.DriverInfo["redfish_address"] = "https://10.0.0.1:99999" }, want: "its address"},
		{name: "hint without counterpart", change: func(n *Node) { n.Properties = ironic.Object{"root_device": map[string]any{"size": "< 100"}} }, want: "root device hint size"},
		{name: "too much to keep", change: func(n *Node) { n.Extra = ironic.Object{"x": strings.Repeat("x", 70_000)} }, want: "64 KiB are kept"},
		{name: "bridged IPMI", change: func(n *Node) {
			n.Driver, n.DriverInfo = "ipmi", ironic.Object{"ipmi_address": "10.0.0.1", "ipmi_bridging": "single"}
		}, want: "not bridged"},
		{name: "unreadable", change: func(n *Node) { n.Bad = "it cannot be read: x" }, want: "cannot be read"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := Convert(&Site{Nodes: []Node{redfishNode(tt.change)}}, Options{Namespace: "n", Secret: "s"})
			v := p.Nodes[0]
			if !strings.Contains(v.Refused, tt.want) || (tt.want == "") != (v.Refused == "") {
				t.Errorf("refused %q, want %q in it", v.Refused, tt.want)
			}
			if (v.Refused == "") != (len(p.Objects) > 0) || (v.Refused == "") != (v.Host != "") {
				t.Errorf("host %q, %d objects, refused %q", v.Host, len(p.Objects), v.Refused)
			}
		})
	}
}

func TestConflictsAreNamed(t *testing.T) {
	second := redfishNode(func(n *Node) { n.UUID, n.Name = "33333333-0000-4000-8000-000000000002", ptr("w2") })
	port := func(id, of, mac string) Thing {
		return Thing{Kind: "port", UUID: id, Node: of, Body: map[string]any{"address": mac}}
	}
	known := types.NamespacedName{Namespace: "other", Name: "old"}
	tests := []struct {
		name  string
		site  Site
		known []Known
		want  []string // refusals
	}{
		{name: "two nodes with one BMC", site: Site{Nodes: []Node{redfishNode(nil), second}}, want: []string{"", "its BMC redfish://10.0.0.1/redfish/v1/Systems/1 is that of node w1 already"}},
		{
			name: "BMC of a host, written otherwise", site: Site{Nodes: []Node{redfishNode(nil)}},
			known: []Known{{Key: known, Address: "redfish-virtualmedia+https://10.0.0.1/redfish/v1/Systems/1/"}},
			want:  []string{"is that of host other/old already"},
		},
		{
			name:  "MAC of a host",
			site:  Site{Nodes: []Node{redfishNode(nil)}, Things: []Thing{port("44444444-0000-4000-8000-000000000001", "33333333-0000-4000-8000-000000000001", "52:54:00:AA:00:01")}},
			known: []Known{{Key: known, MACs: []string{"52:54:00:aa:00:01"}}},
			want:  []string{"its MAC address 52:54:00:aa:00:01 is that of host other/old already"},
		},
		{
			name: "another system of the same BMC", site: Site{Nodes: []Node{redfishNode(nil)}},
			known: []Known{{Key: known, Address: "redfish://10.0.0.1/redfish/v1/Systems/2"}},
			want:  []string{""},
		},
		{
			name: "the node itself", site: Site{Nodes: []Node{redfishNode(nil)}},
			known: []Known{{Key: known, ID: "33333333-0000-4000-8000-000000000001", Address: "redfish://10.0.0.1/redfish/v1/Systems/1"}},
			want:  []string{""},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := Convert(&tt.site, Options{Namespace: "n", Secret: "s", Known: tt.known})
			for i, want := range tt.want {
				if got := p.Nodes[i].Refused; !strings.Contains(got, want) || (want == "") != (got == "") {
					t.Errorf("node %d: refused %q, want %q", i, got, want)
				}
			}
		})
	}
}

func TestHostNames(t *testing.T) {
	const id = "33333333-0000-4000-8000-000000000001"
	tests := []struct {
		name  string
		node  *string
		known []Known
		want  string
	}{
		{name: "plain", node: ptr("w1"), want: "n/w1"},
		{name: "not Kubernetes'", node: ptr("Rack_1.W1"), want: "n/rack-1.w1"},
		{name: "Metal3's", node: ptr("metal3~worker-0"), want: "metal3/worker-0"},
		{name: "none", want: "n/node-33333333"},
		{name: "nothing left", node: ptr("~_~"), want: "n/node-33333333"},
		{name: "taken", node: ptr("w1"), known: []Known{{Key: types.NamespacedName{Namespace: "n", Name: "w1"}}}, want: "n/node-33333333"},
		{name: "here already", node: ptr("w1"), known: []Known{{Key: types.NamespacedName{Namespace: "m", Name: "theirs"}, ID: id}}, want: "m/theirs"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := redfishNode(func(n *Node) { n.Name = tt.node })
			p := Convert(&Site{Nodes: []Node{n}}, Options{Namespace: "n", Secret: "s", Known: tt.known})
			if got := p.Nodes[0].Host; got != tt.want {
				t.Errorf("host %s, want %s", got, tt.want)
			}
		})
	}
}

// TestActiveIsLeftAlone: nothing that is declared of a node in use asks for a change.
func TestActiveIsLeftAlone(t *testing.T) {
	for _, power := range []ironic.Power{ironic.PowerOn, ironic.PowerOff} {
		n := redfishNode(func(n *Node) { n.PowerState = &power })
		p := Convert(&Site{Nodes: []Node{n}}, Options{Namespace: "n", Secret: "s"})
		host := object(t, p, "BareMetalHost")
		spec, _ := host.Object["spec"].(map[string]any)
		if spec["externallyProvisioned"] != true || spec["online"] != (power == ironic.PowerOn) || spec["image"] != nil {
			t.Errorf("%s: spec %v", power, spec)
		}
		if hold := host.GetAnnotations()[record.AnnotationNodeHold]; hold != "" {
			t.Errorf("%s: hold %q", power, hold)
		}
	}
}

// TestMaintenance comes along, but for the one by which Ironic lets go of a node.
func TestMaintenance(t *testing.T) {
	for reason, want := range map[string]string{"disk swap": "disk swap", "": "in maintenance at the Ironic that it was imported from", moved: ""} {
		n := redfishNode(func(n *Node) { n.Maintenance, n.MaintenanceReason = true, &reason })
		host := object(t, Convert(&Site{Nodes: []Node{n}}, Options{Namespace: "n", Secret: "s"}), "BareMetalHost")
		_, unhealthy := host.GetAnnotations()[node.AnnotationUnhealthy]
		if got := host.GetAnnotations()[record.AnnotationMaintenance]; got != want || unhealthy != (want != "") {
			t.Errorf("%q: maintenance %q, unhealthy %v; want %q", reason, got, unhealthy, want)
		}
	}
}

// TestWithoutCredentials: the host rests until a person gives them, and is told how.
func TestWithoutCredentials(t *testing.T) {
	p := Convert(&Site{Nodes: []Node{redfishNode(nil)}}, Options{Namespace: "n"})
	host := object(t, p, "BareMetalHost")
	if hold := host.GetAnnotations()[record.AnnotationNodeHold]; hold != "enroll" {
		t.Errorf("hold %q, want enroll", hold)
	}
	if _, found := host.GetAnnotations()[node.AnnotationUnhealthy]; !found {
		t.Error("Cluster API may pick it")
	}
	if notes := strings.Join(p.Nodes[0].Notes, "\n"); !strings.Contains(notes, "Secret w1-bmc-secret") || !strings.Contains(notes, "baremetal node adopt w1") {
		t.Errorf("notes %q", notes)
	}
	for _, o := range p.Objects {
		if o.GetKind() == "Secret" {
			t.Errorf("a Secret was made of nothing: %v", o.Object)
		}
	}
}

// TestNoSecretLeaks: what looks like a secret is in Secrets alone.
func TestNoSecretLeaks(t *testing.T) {
	n := redfishNode(func(n *Node) {
		n.DriverInfo["redfish_password"] = "hunter2" // a policy that shows them
		n.DriverInfo["snmp_auth_key"] = "hunter2"
		n.InstanceInfo = ironic.Object{"configdrive": "hunter2", "nested": map[string]any{"rescue_password": "hunter2", "ok": "yes"}}
	})
	p := Convert(&Site{Nodes: []Node{n}}, Options{Namespace: "n"})
	for _, o := range p.Objects {
		text := fmt.Sprint(o.Object)
		if o.GetKind() != "Secret" && strings.Contains(text, "hunter2") {
			t.Errorf("%s: %s", o.GetKind(), text)
		}
	}
	if object(t, p, "Secret").Unstructured == nil {
		t.Error("the password that Ironic shows was not taken")
	}
}

func TestOnly(t *testing.T) {
	site := newRecorded(t).site()
	p := Convert(site, Options{Namespace: "n", Secret: "s", Only: []string{"imp-w2", "nobody"}, Credentials: Credentials{"imp-w3": {}}})
	if len(p.Nodes) != 1 || p.Nodes[0].Name != "imp-w2" || cmp.Diff(p.Unused, []string{"nobody"}) != "" {
		t.Errorf("nodes %v, unused %v", p.Nodes, p.Unused)
	}
	for _, o := range p.Objects {
		if o.GetKind() == "NodeResource" && o.Host == "" {
			t.Errorf("%s belongs to none of the nodes that were named", o.GetName())
		}
	}
}

func TestBMCAddresses(t *testing.T) {
	tests := []struct {
		name, driver, boot string
		info               ironic.Object
		want               string
		noVerify           bool
	}{
		{name: "https is the default", driver: "redfish", info: ironic.Object{"redfish_address": "bmc.example:8443"}, want: "redfish://bmc.example:8443"},
		{name: "http", driver: "redfish", info: ironic.Object{"redfish_address": "http://10.0.0.1"}, want: "redfish+http://10.0.0.1:80"},
		{name: "media", driver: "redfish", boot: "redfish-virtual-media", info: ironic.Object{"redfish_address": "10.0.0.1", "redfish_verify_ca": "False"}, want: "redfish-virtualmedia://10.0.0.1:443", noVerify: true},
		{name: "idrac", driver: "idrac", boot: "ipxe", info: ironic.Object{"redfish_address": "10.0.0.1"}, want: "idrac-redfish://10.0.0.1:443"},
		{name: "idrac media", driver: "idrac", boot: "idrac-redfish-virtual-media", info: ironic.Object{"redfish_address": "10.0.0.1", "redfish_verify_ca": true}, want: "idrac-virtualmedia://10.0.0.1:443"},
		{name: "UEFI HTTP", driver: "redfish", boot: "redfish-https", info: ironic.Object{"redfish_address": "10.0.0.1"}, want: "redfish-uefihttp://10.0.0.1:443"},
		{name: "IPMI", driver: "ipmi", info: ironic.Object{"ipmi_address": "10.0.0.1"}, want: "ipmi://10.0.0.1:623"},
		{name: "IPMI, port as a number", driver: "ipmi", info: ironic.Object{"ipmi_address": "2001:db8::1", "ipmi_port": 6230.0, "ipmi_priv_level": "operator"}, want: "ipmi://[2001:db8::1]:6230?privilegelevel=OPERATOR"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := Node{Node: ironic.Node{Driver: tt.driver, BootInterface: tt.boot, DriverInfo: tt.info}}
			m, err := machineOf(&n)
			if err != nil {
				t.Fatal(err)
			}
			if got := m.address.String(); got != tt.want || m.noVerify != tt.noVerify {
				t.Errorf("%s, noVerify %v; want %s, %v", got, m.noVerify, tt.want, tt.noVerify)
			}
		})
	}
}

func TestRootHints(t *testing.T) {
	got, err := rootHints(map[string]any{
		"model": "<in> INTEL", "vendor": "s== Acme", "serial": "ABC", "size": ">= 100", "rotational": "False", "name": "s== /dev/sda", "wwn": "0x1",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"model": "INTEL", "vendor": "Acme", "serialNumber": "ABC", "minSizeGigabytes": int64(100), "rotational": false, "deviceName": "/dev/sda", "wwn": "0x1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, bad := range []map[string]any{{"size": 100.0}, {"size": "<= 5"}, {"serial": "s!= A"}, {"serial": 5.0}, {"model": "<or> a <or> b"}, {"colour": "red"}, {"rotational": "perhaps"}} {
		if _, err := rootHints(bad); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}

// object finds the first of a kind.
func object(t *testing.T, p Plan, kind string) enroll.Object {
	t.Helper()
	for _, o := range p.Objects {
		if o.GetKind() == kind {
			return o
		}
	}
	t.Fatalf("there is no %s: %+v", kind, p.Nodes)
	return enroll.Object{}
}
