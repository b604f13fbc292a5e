package fromironic

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/enroll"
	"github.com/ingot-metal/ingot/pkg/node"
)

// FieldManager owns what an import makes.
const FieldManager = "ingot-import"

// Options of Convert.
type Options struct {
	// Namespace of the hosts, but for nodes that are named namespace~name.
	Namespace string
	// Credentials of BMCs: Ironic shows no passwords.
	Credentials Credentials
	// Secret names one that all others share.
	Secret string
	// Known are the hosts that are here already.
	Known []Known
	// Only are the names or UUIDs of the nodes that are wanted; none: all.
	Only []string
}

// Known is a host that is here already.
type Known struct {
	Key     types.NamespacedName
	ID      string // of its node
	Address string
	MACs    []string
}

// Verdict is what becomes of one node.
type Verdict struct {
	UUID   string `json:"uuid"`
	Name   string `json:"name,omitempty"`
	State  string `json:"state,omitempty"`
	Power  string `json:"power,omitempty"`
	Driver string `json:"driver,omitempty"`
	// Host is the BareMetalHost, namespace/name; empty: it is refused.
	Host string `json:"host,omitempty"`
	// Here says that the host is here already, and is left as it is.
	Here bool `json:"here,omitempty"`
	// Refused says why it is not taken over.
	Refused string `json:"refused,omitempty"`
	// Notes are what a person should know of it.
	Notes []string `json:"notes,omitempty"`
}

// Plan is what an Ironic would be here.
type Plan struct {
	Objects []enroll.Object
	Nodes   []Verdict
	// Unused are names in Options that fit no node.
	Unused []string
}

// Convert makes objects of what an Ironic has. It is a function of what it is given.
func Convert(site *Site, o Options) Plan {
	c := newConverter(site, o)
	for i := range site.Nodes {
		n := &site.Nodes[i]
		if !c.wanted(n) {
			continue
		}
		c.plan.Nodes = append(c.plan.Nodes, c.node(n))
	}
	for _, t := range site.Things {
		if t.Node == "" && len(o.Only) == 0 {
			c.objects = append(c.objects, c.thing(t, types.NamespacedName{Namespace: o.Namespace}))
		}
	}
	c.plan.Objects = slices.Concat(c.secrets, c.hosts, c.objects)
	for _, name := range slices.Sorted(keysOf(o.Credentials)) {
		if !c.used[name] && (len(o.Only) == 0 || slices.Contains(o.Only, name)) {
			c.plan.Unused = append(c.plan.Unused, name)
		}
	}
	for _, name := range o.Only {
		if !c.used["only "+name] {
			c.plan.Unused = append(c.plan.Unused, name)
		}
	}
	return c.plan
}

func keysOf[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// converter collects objects, and knows what is taken.
type converter struct {
	Options
	site                    *Site
	plan                    Plan
	secrets, hosts, objects []enroll.Object
	ofNode                  map[string][]Thing
	known                   map[string]Known // by node
	names                   map[types.NamespacedName]string
	addresses, macs         map[string]string // whose: a host, as it is called in a refusal
	used                    map[string]bool
}

func newConverter(site *Site, o Options) *converter {
	c := &converter{
		Options: o, site: site, ofNode: map[string][]Thing{}, known: map[string]Known{}, names: map[types.NamespacedName]string{},
		addresses: map[string]string{}, macs: map[string]string{}, used: map[string]bool{},
	}
	for _, t := range site.Things {
		if t.Node != "" {
			c.ofNode[t.Node] = append(c.ofNode[t.Node], t)
		}
	}
	for _, k := range o.Known {
		if k.ID != "" {
			c.known[k.ID] = k
		}
		c.names[k.Key] = k.ID
	}
	for _, k := range o.Known {
		whose := "host " + k.Key.String()
		if a, err := bmc.ParseAddress(k.Address); err == nil {
			c.addresses[key(a)] = whose
		}
		for _, mac := range k.MACs {
			c.macs[strings.ToLower(mac)] = whose
		}
	}
	return c
}

func (c *converter) wanted(n *Node) bool {
	if len(c.Only) == 0 {
		return true
	}
	for _, name := range c.Only {
		if strings.EqualFold(name, n.UUID) || n.Name != nil && name == *n.Name {
			c.used["only "+name] = true
			return true
		}
	}
	return false
}

// node decides about one, and makes its objects.
func (c *converter) node(n *Node) Verdict {
	v := Verdict{UUID: clip(n.UUID), Driver: clip(n.Driver)}
	if n.Name != nil {
		v.Name = clip(*n.Name)
	}
	if n.ProvisionState != nil {
		v.State = clip(string(*n.ProvisionState))
	}
	if n.PowerState != nil {
		v.Power = clip(string(*n.PowerState))
	}
	for _, name := range []string{n.UUID, v.Name} {
		c.used[name] = true
	}
	if n.Bad != "" {
		v.Refused = n.Bad
		return v
	}
	k, here := c.known[n.UUID]
	if v.Refused = refusal(n, here); v.Refused != "" {
		return v
	}
	m, err := machineOf(n)
	if err != nil && !here {
		v.Refused = err.Error()
		return v
	}
	key, mine := k.Key, "host "+k.Key.String()
	if !here {
		key = c.hostName(n)
		mine = "node " + cmp.Or(v.Name, v.UUID)
	}
	if v.Refused = c.conflict(n, m, mine); v.Refused != "" {
		return v
	}
	v.Host, v.Here = key.String(), here
	h := &hostBuilder{node: n, machine: m, key: key, ports: c.ports(n), verdict: &v}
	c.credentials(h)
	host, attributes, err := h.build()
	if err != nil {
		v.Host, v.Refused = "", err.Error()
		return v
	}
	c.names[key] = n.UUID
	c.claim(n, m, mine)
	if h.secret != nil {
		c.secrets = append(c.secrets, *h.secret)
	}
	c.hosts = append(c.hosts, host)
	c.objects = append(c.objects, attributes)
	for _, t := range c.ofNode[n.UUID] {
		c.objects = append(c.objects, c.thing(t, key))
	}
	if here {
		v.Notes = nil // it was made with them, or without us
	}
	return v
}

// refusal says why a node is left to Ironic for now. What is here already only gets
// what is missing, whatever it does at Ironic.
func refusal(n *Node, here bool) string {
	if here {
		return ""
	}
	st := ironic.Available // null, to versions before 1.2
	if n.ProvisionState != nil {
		st = *n.ProvisionState
	}
	switch st {
	case ironic.Enroll, ironic.Manageable, ironic.Available, ironic.Active:
	case ironic.Rescue:
		return "it is in rescue: unrescue it first"
	case ironic.Error, ironic.DeployFail, ironic.CleanFail, ironic.InspectFail, ironic.AdoptFail, ironic.RescueFail, ironic.UnrescueFail, ironic.ServiceFail:
		return fmt.Sprintf("it is in the state %q: bring it to manageable, available or active in Ironic first (baremetal node manage, provide, rebuild or undeploy)", st)
	default:
		return fmt.Sprintf("it is on its way (%s): wait until it rests", clip(string(st)))
	}
	if n.Reservation != nil {
		return fmt.Sprintf("Ironic works on it (reserved by %s): wait, or see why the lock stays", clip(*n.Reservation))
	}
	if st == ironic.Active && (n.PowerState == nil || *n.PowerState != ironic.PowerOn && *n.PowerState != ironic.PowerOff) && n.Driver != fakeDriver {
		return "it is in use, and Ironic does not know whether it is on: nothing could be declared that leaves it as it is"
	}
	if n.ParentNode != nil {
		return "it is part of the node " + clip(*n.ParentNode) + ", and parts are not managed here"
	}
	return ""
}

// conflict names who has the BMC or a MAC already.
func (c *converter) conflict(n *Node, m *machine, mine string) string {
	if m != nil {
		if whose, taken := c.addresses[key(m.address)]; taken && whose != mine {
			return fmt.Sprintf("its BMC %s is that of %s already", m.text, whose)
		}
	}
	for _, mac := range c.addressesOf(n) {
		if whose, taken := c.macs[mac]; taken && whose != mine {
			return fmt.Sprintf("its MAC address %s is that of %s already", clip(mac), whose)
		}
	}
	return ""
}

func (c *converter) claim(n *Node, m *machine, mine string) {
	if m != nil {
		c.addresses[key(m.address)] = mine
	}
	for _, mac := range c.addressesOf(n) {
		c.macs[mac] = mine
	}
}

func (c *converter) ports(n *Node) []Thing {
	var ports []Thing
	for _, t := range c.ofNode[n.UUID] {
		if t.Kind == node.KindPort {
			ports = append(ports, t)
		}
	}
	return ports
}

func (c *converter) addressesOf(n *Node) []string {
	var macs []string
	for _, p := range c.ports(n) {
		if mac, _ := p.Body["address"].(string); mac != "" {
			macs = append(macs, strings.ToLower(mac))
		}
	}
	return macs
}

// credentials finds the Secret of a host, or has it made.
func (c *converter) credentials(h *hostBuilder) {
	if h.machine == nil {
		return
	}
	name := h.key.Name + "-bmc-secret"
	found, ok := c.Credentials.of(h.node)
	if !ok && h.machine.username != "" && h.machine.password != "" {
		found, ok = Credential{Username: h.machine.username, Password: h.machine.password}, true // its policy shows them
	}
	switch {
	case ok:
		h.secret = &enroll.Object{Manager: FieldManager, Unstructured: secret(types.NamespacedName{Namespace: h.key.Namespace, Name: name}, found)}
	case c.Secret != "":
		name = c.Secret
	default:
		h.noCredentials = true
	}
	h.secretName = name
}

func secret(key types.NamespacedName, cred Credential) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
		"metadata": map[string]any{"name": key.Name, "namespace": key.Namespace},
		"data": map[string]any{
			"username": base64.StdEncoding.EncodeToString([]byte(cred.Username)),
			"password": base64.StdEncoding.EncodeToString([]byte(cred.Password)),
		},
	}}
}

// thing is a NodeResource; host is that of its node, or only the namespace.
func (c *converter) thing(t Thing, host types.NamespacedName) enroll.Object {
	spec := map[string]any{"kind": t.Kind, "body": t.Body}
	if t.Node != "" {
		spec["node"] = t.Node
	}
	if t.Name != "" {
		spec["name"] = t.Name
	}
	setTime(spec, "createdAt", t.Created)
	setTime(spec, "updatedAt", t.Updated)
	return enroll.Object{
		Manager: FieldManager, Once: true, Host: host.Name,
		Unstructured: ours("NodeResource", types.NamespacedName{Namespace: host.Namespace, Name: t.UUID}, spec),
	}
}
