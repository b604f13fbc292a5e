package deploy

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/api/crd"
	"sigs.k8s.io/yaml"
)

// Names of the roles and of the namespace that holds what all replicas share.
const (
	ManagerRole     = "ingot-manager"
	SharedNamespace = "kube-system"
)

// Rule is a right of the manager.
type Rule struct {
	For       string // why it is needed
	Shared    bool   // in SharedNamespace only; otherwise everywhere
	Group     string
	Resources []string
	Names     []string // empty: all
	Verbs     []string
	// Seldom is set where a life of one host does not need it: a kind of its own,
	// a conflict, a repair.
	Seldom bool
}

const (
	metal3    = "metal3.io"
	ingot     = "ingot.dev"
	admission = "admissionregistration.k8s.io"
)

// Rules are all that the manager may do.
func Rules() ([]Rule, error) {
	crds, err := kinds()
	if err != nil {
		return nil, err
	}
	return []Rule{
		// Hosts and what belongs to them.
		{For: "hosts: their spec, annotations and finalizers", Group: metal3, Resources: []string{"baremetalhosts"}, Verbs: []string{"patch", "watch"}},
		{For: "hosts after a conflict, and of an API that cannot stream lists", Group: metal3, Resources: []string{"baremetalhosts"}, Verbs: []string{"get", "list"}, Seldom: true},
		{For: "what hosts show", Group: metal3, Resources: []string{"baremetalhosts/status"}, Verbs: []string{"patch"}},
		{For: "what an inspection found", Group: metal3, Resources: []string{"hardwaredata"}, Verbs: []string{"create"}},
		{
			For: "a later inspection, hardware that a person gave, its finalizer", Group: metal3,
			Resources: []string{"hardwaredata"}, Verbs: []string{"delete", "get", "list", "patch", "watch"}, Seldom: true,
		},
		{For: "the operation record of each host", Group: ingot, Resources: []string{"hostrecords"}, Verbs: []string{"create", "watch"}},
		{For: "the operation record after a conflict, and of an API that cannot stream lists", Group: ingot, Resources: []string{"hostrecords"}, Verbs: []string{"get", "list", "patch"}, Seldom: true},
		{For: "the operation record of each host", Group: ingot, Resources: []string{"hostrecords/status"}, Verbs: []string{"update"}},
		{For: "timelines", Group: ingot, Resources: []string{"hosttimelines"}, Verbs: []string{"create", "update"}},
		{For: "a timeline from before a restart", Group: ingot, Resources: []string{"hosttimelines"}, Verbs: []string{"get"}, Seldom: true},
		{For: "Secrets that hosts name: they are read, and marked as in use", Resources: []string{"secrets"}, Verbs: []string{"get", "patch", "watch"}},
		{For: "Secrets of an API that cannot stream lists", Resources: []string{"secrets"}, Verbs: []string{"list"}, Seldom: true},
		{For: "copies of Secrets that a HostClaim of another namespace names; the doors' certificate authority", Resources: []string{"secrets"}, Verbs: []string{"create"}},
		{For: "copies that are not needed any more; owner references of BMCs' Secrets, as below", Resources: []string{"secrets"}, Verbs: []string{"delete"}, Seldom: true},
		{For: "events", Resources: []string{"events"}, Verbs: []string{"create"}},
		{For: "repeated events", Resources: []string{"events"}, Verbs: []string{"patch"}, Seldom: true},

		// Metal3's other kinds.
		{
			For: "companions: their spec is read, their finalizers and owners are kept", Group: metal3,
			Resources: []string{"bmceventsubscriptions", "dataimages", "firmwareschemas", "hostclaims", "hostfirmwarecomponents", "hostfirmwaresettings", "hostupdatepolicies", "preprovisioningimages"},
			Verbs:     []string{"get", "list", "patch", "watch"}, Seldom: true,
		},
		{
			For: "companions that are made for a host", Group: metal3,
			Resources: []string{"firmwareschemas", "hostfirmwarecomponents", "hostfirmwaresettings", "preprovisioningimages"},
			Verbs:     []string{"create"}, Seldom: true,
		},
		{
			For: "owner references of what was there already: clusters with OwnerReferencesPermissionEnforcement (OpenShift) ask for this right", Group: metal3,
			Resources: []string{"dataimages", "firmwareschemas", "hostfirmwarecomponents", "hostfirmwaresettings", "hostupdatepolicies", "preprovisioningimages"},
			Verbs:     []string{"delete"}, Seldom: true,
		},
		{
			For: "what companions show", Group: metal3,
			Resources: []string{
				"bmceventsubscriptions/status", "dataimages/status", "hostclaims/status",
				"hostfirmwarecomponents/status", "hostfirmwaresettings/status", "preprovisioningimages/status",
			},
			Verbs: []string{"patch"}, Seldom: true,
		},
		{For: "policies", Group: metal3, Resources: []string{"hostdeploypolicies"}, Verbs: []string{"get", "list", "watch"}, Seldom: true},
		{For: "labels of namespaces that policies choose by", Resources: []string{"namespaces"}, Verbs: []string{"get", "list", "watch"}, Seldom: true},

		// The REST door.
		{For: "what the REST door keeps", Group: ingot, Resources: []string{"nodeattributes", "noderesources"}, Verbs: []string{"watch"}},
		{For: "nodes that clients of the REST door make and delete", Group: metal3, Resources: []string{"baremetalhosts"}, Verbs: []string{"create", "delete"}, Seldom: true},
		{For: "what the REST door keeps", Group: ingot, Resources: []string{"nodeattributes", "noderesources"}, Verbs: []string{"list", "get", "create", "update", "patch", "delete"}, Seldom: true},

		// Networks.
		{For: "networks to boot machines on", Group: ingot, Resources: []string{"provisioningnetworks"}, Verbs: []string{"get", "list", "watch"}, Seldom: true},
		{For: "whether a network is served", Group: ingot, Resources: []string{"provisioningnetworks/status"}, Verbs: []string{"patch"}, Seldom: true},

		// The service itself.
		{For: "our own kinds, kept at this version", Group: "apiextensions.k8s.io", Resources: []string{"customresourcedefinitions"}, Names: crds, Verbs: []string{"get", "patch"}},
		{For: "a kind that the API does not establish", Group: "apiextensions.k8s.io", Resources: []string{"customresourcedefinitions/status"}, Names: crds, Verbs: []string{"update"}, Seldom: true},
		{For: "our admission webhooks", Group: admission, Resources: []string{"validatingwebhookconfigurations"}, Names: []string{"ingot-validating-webhook"}, Verbs: []string{"create", "patch"}},
		{For: "our admission webhooks, looked at every half minute", Group: admission, Resources: []string{"validatingwebhookconfigurations"}, Names: []string{"ingot-validating-webhook"}, Verbs: []string{"get"}, Seldom: true},
		{For: "webhooks of others that refuse every write", Group: admission, Resources: []string{"mutatingwebhookconfigurations", "validatingwebhookconfigurations"}, Verbs: []string{"list"}},
		{For: "whether anything answers for them", Resources: []string{"services"}, Verbs: []string{"get"}, Seldom: true},
		{For: "whether anything answers for them", Group: "discovery.k8s.io", Resources: []string{"endpointslices"}, Verbs: []string{"list"}, Seldom: true},
		{For: "whether Metal3's operator is at work", Group: "coordination.k8s.io", Resources: []string{"leases"}, Verbs: []string{"list"}},
		{For: "who asks the doors and the metrics", Group: "authentication.k8s.io", Resources: []string{"tokenreviews"}, Verbs: []string{"create"}, Seldom: true},
		{For: "what they may", Group: "authorization.k8s.io", Resources: []string{"subjectaccessreviews"}, Verbs: []string{"create"}, Seldom: true},

		// What all replicas share.
		{For: "leader election, the count of owners", Shared: true, Group: "coordination.k8s.io", Resources: []string{"leases"}, Verbs: []string{"create", "get", "update"}},
		{For: "shares of the hosts among replicas", Shared: true, Group: "coordination.k8s.io", Resources: []string{"leases"}, Verbs: []string{"delete", "patch", "watch"}, Seldom: true},
		{For: "where the doors are", Shared: true, Resources: []string{"configmaps"}, Verbs: []string{"create"}},
		{For: "doors that moved", Shared: true, Resources: []string{"configmaps"}, Verbs: []string{"get", "update"}, Seldom: true},
	}, nil
}

// kinds are the names of the custom resources that ingot serves.
func kinds() ([]string, error) {
	all, err := crd.Manifests()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, m := range all {
		var o struct {
			Metadata struct {
				Name string `json:"name"`
			} `json:"metadata"`
		}
		if err := yaml.Unmarshal(m.YAML, &o); err != nil {
			return nil, fmt.Errorf("%s: %w", m.File, err)
		}
		names = append(names, o.Metadata.Name)
	}
	return names, nil
}

// Roles are the manifests of the manager's ClusterRole and Role.
func Roles() ([]byte, error) {
	rules, err := Rules()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString("# Generated from deploy/rbac.go by go generate ./deploy; change that.\n")
	write := func(kind, namespace string, shared bool) {
		fmt.Fprintf(&b, "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: %s\nmetadata:\n  name: %s\n%srules:\n", kind, ManagerRole, namespace)
		for _, r := range rules {
			if r.Shared != shared {
				continue
			}
			fmt.Fprintf(&b, "# %s\n- apiGroups: [%q]\n  resources: [%s]\n", r.For, r.Group, strings.Join(r.Resources, ", "))
			if len(r.Names) > 0 {
				fmt.Fprintf(&b, "  resourceNames:\n")
				for _, n := range slices.Sorted(slices.Values(r.Names)) {
					fmt.Fprintf(&b, "  - %s\n", n)
				}
			}
			fmt.Fprintf(&b, "  verbs: [%s]\n", strings.Join(r.Verbs, ", "))
		}
	}
	write("ClusterRole", "", false)
	write("Role", "  namespace: "+SharedNamespace+"\n", true)
	return b.Bytes(), nil
}
