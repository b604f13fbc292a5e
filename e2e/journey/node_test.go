package journey_test

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/node"
	"github.com/ingot-metal/ingot/pkg/record"
)

// nodes is a store of the rack's nodes, without the door before it.
func (r *rack) nodes() *node.Store {
	return node.NewStore(shared.Client, shared.Client, r.ns, time.Now, uuid.NewString)
}

// see has a store know all there is, as its watches do.
func (r *rack) see(s *node.Store) {
	r.t.Helper()
	for _, list := range []client.ObjectList{&metal3.BareMetalHostList{}, &v1alpha1.HostRecordList{}, &v1alpha1.NodeAttributesList{}, &corev1.SecretList{}} {
		if err := shared.List(r.ctx, list, client.InNamespace(r.ns)); err != nil {
			r.t.Fatal(err)
		}
		err := apimeta.EachListItem(list, func(o runtime.Object) error {
			s.Observe(o.DeepCopyObject().(client.Object)) //nolint:forcetypeassert // all are
			return nil
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

// patchNode changes a node's document, and tries again while others write.
func (r *rack) patchNode(s *node.Store, ident string, change func(*ironic.Node)) *node.Node {
	r.t.Helper()
	for {
		r.see(s)
		n, ok := s.Get(ident)
		if !ok {
			r.t.Fatalf("no node %s", ident)
		}
		d := n.Clone()
		change(&d)
		n, err := s.Update(r.ctx, n, d)
		switch {
		case err == nil:
			return n
		case !errors.Is(err, node.ErrChanged):
			r.t.Fatal(err)
		}
	}
}

// A node's document is kept by a real API as it was written, is changed at both doors,
// and goes with its host, whatever the life cycle does meanwhile.
func TestNodeDocument(t *testing.T) {
	r := newRack(t, 1)
	m := r.machine(0)
	at, err := bmc.ParseAddress(m.Address)
	if err != nil {
		t.Fatal(err)
	}
	s := r.nodes()
	name := "Node 7"
	info := ironic.Object{
		"redfish_address": at.BaseURL(), "redfish_system_id": at.System, "redfish_username": m.Username, "redfish_password": m.Password,
		"redfish_verify_ca": !m.Insecure,
	}
	if at.Protocol != bmc.ProtocolRedfish {
		t.Skip("no Redfish")
	}
	n, err := s.Create(r.ctx, ironic.Node{
		Name: &name, Driver: node.DriverRedfish, DriverInfo: maps.Clone(info), Extra: ironic.Object{"rack": 4.0}, Properties: ironic.Object{"capabilities": "boot_mode:uefi"},
		Traits: []string{"CUSTOM_A"}, ResourceClass: new("big"), Maintenance: true, MaintenanceReason: new("new"), AutomatedClean: new(false),
	})
	if err != nil {
		t.Fatal(err)
	}
	if n.Key.Name != "node-7" || *n.ProvisionState != ironic.Enroll {
		t.Errorf("%s in %s", n.Key, *n.ProvisionState)
	}
	info["redfish_password"] = ironic.Masked
	if diff := cmp.Diff(info, n.DriverInfo); diff != "" {
		t.Error(diff)
	}
	fake, err := s.Create(r.ctx, ironic.Node{Driver: node.DriverFake, DriverInfo: ironic.Object{"ipmi_password": "hush"}, InstanceInfo: ironic.Object{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	n = r.patchNode(s, name, func(d *ironic.Node) {
		d.Description, d.Extra, d.Maintenance, d.DriverInfo["deploy_kernel"] = new("seven"), nil, false, "http://k"
	})
	b := &metal3.BareMetalHost{}
	if err := shared.Get(r.ctx, n.Key, b); err != nil {
		t.Fatal(err)
	}
	if b.Spec.Description != "seven" || b.Spec.BMC.CredentialsName == "" || b.Spec.AutomatedCleaningMode != metal3.CleaningModeDisabled || b.Annotations[record.AnnotationMaintenance] != "" {
		t.Errorf("%+v", b.Spec)
	}
	// kubectl's turn.
	before := b.DeepCopy()
	b.Spec.Description = "kubectl's"
	if err := shared.Patch(r.ctx, b, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	n = r.patchNode(s, name, func(d *ironic.Node) { d.Extra = ironic.Object{"x": "y"} })
	if *n.Description != "kubectl's" || n.DriverInfo["deploy_kernel"] != "http://k" || n.DriverInfo["redfish_password"] != ironic.Masked {
		t.Errorf("%v %v", *n.Description, n.DriverInfo)
	}
	// A new store, as after a restart, shows the same.
	again := r.nodes()
	r.see(again)
	r.see(s)
	was, _ := s.Get(n.UUID)
	is, _ := again.Get(n.UUID)
	if diff := cmp.Diff(was.Node, is.Node); diff != "" {
		t.Error(diff)
	}
	// The schema's limits, and admission, refuse as a client is told.
	var refused *node.Refusal
	d := is.Clone()
	d.Description = new(strings.Repeat("x", 70000))
	d.Extra = ironic.Object{"y": "z"}
	d.InstanceInfo = ironic.Object{"image_source": "http://x"}
	d.DriverInfo["redfish_address"] = "ftp://x"
	if _, err := again.Update(r.ctx, is, d); !errors.As(err, &refused) {
		t.Errorf("a bad address: %v", err)
	}
	ask, err := s.Ask(r.ctx, fake, node.Asked{Verb: ironic.VerbManage})
	if err != nil && !errors.Is(err, node.ErrChanged) {
		t.Fatal(err)
	}
	_ = ask
	if now, ok := s.Get(fake.UUID); !ok || now.Driver != node.DriverFake {
		t.Errorf("fake: %v", ok)
	}
	for _, id := range []string{fake.UUID, n.UUID} {
		for {
			r.see(s)
			n, ok := s.Get(id)
			if !ok {
				break
			}
			if err := s.Delete(r.ctx, n); err != nil && !errors.Is(err, node.ErrChanged) && !errors.Is(err, node.ErrNotFound) {
				t.Fatal(err)
			}
		}
	}
	for _, o := range []client.Object{&metal3.BareMetalHost{}, &v1alpha1.HostRecord{}, &v1alpha1.NodeAttributes{}} {
		if !poll(r.ctx, func() bool { return apierrors.IsNotFound(shared.Get(r.ctx, n.Key, o)) }) {
			t.Errorf("%T stays", o)
		}
	}
	var secrets corev1.SecretList
	if !poll(r.ctx, func() bool {
		return shared.List(r.ctx, &secrets, client.InNamespace(r.ns)) == nil && len(secrets.Items) == 0
	}) {
		for _, s := range secrets.Items {
			t.Errorf("Secret %s stays: %v %v", s.Name, s.Finalizers, s.OwnerReferences)
		}
	}
}
