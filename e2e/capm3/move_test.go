package capm3

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
)

// Names of clusterctl (cluster-api:cmd/clusterctl/api/v1alpha3/labels.go,
// annotations.go).
const (
	labelClusterctl         = "clusterctl.cluster.x-k8s.io"
	labelMove               = "clusterctl.cluster.x-k8s.io/move"
	labelMoveHierarchy      = "clusterctl.cluster.x-k8s.io/move-hierarchy"
	annotationBlockMove     = "clusterctl.cluster.x-k8s.io/block-move"
	annotationDeleteForMove = "clusterctl.cluster.x-k8s.io/delete-for-move"
)

// pause is what CAPM3 does to a host whose Cluster is paused
// (MachineManager.SetPauseAnnotation; main holds clusterctl back meanwhile).
func (m *machine) pause(ctx context.Context) error {
	host, helper, err := m.host(ctx)
	if err != nil {
		return err
	}
	note(host, annotationBlockMove, "true")
	if err := helper.patch(ctx, host); err != nil {
		return err
	}
	if host, helper, err = m.host(ctx); err != nil {
		return err
	}
	text, err := json.Marshal(&host.Status)
	if err != nil {
		return err
	}
	var status map[string]any
	if err := json.Unmarshal(text, &status); err != nil {
		return err
	}
	delete(status, "hardware") // too large for an annotation
	if text, err = json.Marshal(status); err != nil {
		return err
	}
	note(host, metal3.PausedAnnotation, pausedByCAPM3)
	note(host, metal3.StatusAnnotation, string(text))
	if err := helper.patch(ctx, host); err != nil {
		return err
	}
	if host, helper, err = m.host(ctx); err != nil {
		return err
	}
	delete(host.Annotations, annotationBlockMove)
	return helper.patch(ctx, host)
}

// unpause lets go of a host that CAPM3 paused, and of no other
// (MachineManager.RemovePauseAnnotation).
func (m *machine) unpause(ctx context.Context) error {
	host, helper, err := m.host(ctx)
	if err != nil {
		return err
	}
	if host.Labels[labelCluster] != m.cluster || host.Annotations[metal3.PausedAnnotation] != pausedByCAPM3 {
		return nil
	}
	delete(host.Annotations, metal3.PausedAnnotation)
	return helper.patch(ctx, host)
}

// move takes a namespace from one management cluster to another as clusterctl
// does (cluster-api:cmd/clusterctl/client/cluster/mover.go move,
// objectgraph.go getDiscoveryTypes): objects of kinds whose CRD is labelled, and
// the Secrets that they own, owners first; without status and resourceVersion
// and with owners' new UIDs; then it deletes them, the owned first, without a
// word from their finalizers.
func move(ctx context.Context, from, to client.Client, namespace string) error {
	objects, err := graph(ctx, from, namespace)
	if err != nil {
		return err
	}
	if err := to.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		return err
	}
	uids := map[types.UID]types.UID{}
	for _, o := range objects {
		n := o.DeepCopy()
		n.SetResourceVersion("")
		var owners []metav1.OwnerReference
		for _, r := range o.GetOwnerReferences() {
			if uid, ok := uids[r.UID]; ok {
				r.UID = uid
				owners = append(owners, r)
			}
		}
		n.SetOwnerReferences(owners)
		err := to.Create(ctx, n)
		if apierrors.IsAlreadyExists(err) { // then clusterctl updates it
			there := n.DeepCopy()
			if err = to.Get(ctx, client.ObjectKeyFromObject(n), there); err == nil {
				n.SetUID(there.GetUID())
				n.SetResourceVersion(there.GetResourceVersion())
				err = to.Update(ctx, n)
			}
		}
		if err != nil {
			return fmt.Errorf("creating %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		uids[o.GetUID()] = n.GetUID()
	}
	for _, o := range slices.Backward(objects) {
		notes := fmt.Sprintf(`{"metadata":{"annotations":{%q:""}}}`, annotationDeleteForMove)
		for _, step := range []func() error{
			func() error { return from.Patch(ctx, o, client.RawPatch(types.MergePatchType, []byte(notes))) },
			func() error { return from.Delete(ctx, o) },
			func() error {
				if len(o.GetFinalizers()) == 0 {
					return nil
				}
				return from.Patch(ctx, o, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
			},
		} {
			// What the garbage collector was faster with is gone already.
			if err := client.IgnoreNotFound(step()); err != nil {
				return fmt.Errorf("deleting %s %s: %w", o.GetKind(), o.GetName(), err)
			}
		}
	}
	return nil
}

// graph is what clusterctl would move, owners first.
func graph(ctx context.Context, c client.Client, namespace string) ([]*unstructured.Unstructured, error) {
	crds := &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinitionList"}}
	if err := c.List(ctx, crds, client.HasLabels{labelClusterctl}); err != nil {
		return nil, err
	}
	kinds := [][2]string{{"v1", "SecretList"}}
	for _, crd := range crds.Items {
		group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "listKind")
		versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
		version, _ := versions[0].(map[string]any)["name"].(string)
		kinds = append(kinds, [2]string{group + "/" + version, kind})
	}
	var found []*unstructured.Unstructured
	depth := map[types.UID]int{}
	for _, k := range kinds {
		list := &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": k[0], "kind": k[1]}}
		if err := c.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return nil, err
		}
		for i := range list.Items {
			found = append(found, &list.Items[i])
			depth[list.Items[i].GetUID()] = 0
		}
	}
	for range found { // the longest chain there can be
		for _, o := range found {
			for _, r := range o.GetOwnerReferences() {
				if d, ok := depth[r.UID]; ok {
					depth[o.GetUID()] = max(depth[o.GetUID()], d+1)
				}
			}
		}
	}
	found = slices.DeleteFunc(found, func(o *unstructured.Unstructured) bool {
		return o.GetKind() == "Secret" && depth[o.GetUID()] == 0
	})
	slices.SortStableFunc(found, func(a, b *unstructured.Unstructured) int { return cmp.Compare(depth[a.GetUID()], depth[b.GetUID()]) })
	return found, nil
}

// labelKinds is the one thing that a person does before the first move: Metal3's
// kinds come without clusterctl's labels.
func (s *site) labelKinds(t *testing.T) {
	t.Helper()
	for name, label := range map[string]string{"baremetalhosts": labelMoveHierarchy, "hardwaredata": labelMove} {
		crd := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
			"metadata": map[string]any{"name": name + ".metal3.io"},
		}}
		patch := fmt.Sprintf(`{"metadata":{"labels":{%q:"",%q:""}}}`, labelClusterctl, label)
		must(t, s.admin.Patch(t.Context(), crd, client.RawPatch(types.MergePatchType, []byte(patch))))
	}
}

// labelled lists the kinds that clusterctl would move.
func (s *site) labelled(t *testing.T) []string {
	t.Helper()
	crds := &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinitionList"}}
	must(t, s.admin.List(t.Context(), crds, client.HasLabels{labelClusterctl}))
	var names []string
	for _, crd := range crds.Items {
		names = append(names, crd.GetName())
	}
	return names
}

// TestMove: a cluster is moved to another management cluster. Its host is taken
// over there as it is, and the machine's BMC is asked for nothing but how it is.
func TestMove(t *testing.T) {
	t.Parallel()
	from := shared.site
	to, err := newSite(t.Context(), filepath.Join(t.TempDir(), "b"))
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(to.server.Tail())
		}
		must(t, to.server.Close())
	})
	from.labelKinds(t)
	to.labelKinds(t)
	want := to.labelled(t)
	to.server.Kill() // and the labels outlive a start, which applies our manifests
	must(t, to.server.Start())
	must(t, to.server.WaitReady(t.Context()))
	if diff := gocmp.Diff(want, to.labelled(t)); diff != "" || !slices.Contains(want, "hostrecords.ingot.dev") {
		t.Errorf("kinds with Cluster API's label: %v; after a start (-before +after):\n%s", want, diff)
	}
	machines, err := newRack(from, 1, 99)
	must(t, err)
	t.Cleanup(machines.close)

	ns := from.namespace(t)
	h := from.enrol(t, machines, ns)
	from.awaitState(t, h, metal3.StateAvailable)
	m := from.newMachine(t, ns, "m1", "c1")
	m.template = &template{nic: "ens1", bootMAC: "boot", nicMAC: "nic", fromLabel: "none"}
	keep(t, "a host", m.associate)
	keep(t, "the data template", m.render)
	must(t, m.update(t.Context()))
	from.awaitState(t, h, metal3.StateProvisioned)
	before := from.await(t, h, "on", func(b *metal3.BareMetalHost) bool { return b.Status.PoweredOn })
	node := kubelet(t, h)
	nodes := []corev1.Node{node}
	must(t, m.setProviderID(before, nodes))
	record := &v1alpha1.HostRecord{}
	must(t, from.admin.Get(t.Context(), h.ObjectKey, record))
	if _, ok := record.Labels[labelMove]; !ok {
		t.Errorf("the HostRecord has the labels %v, want %s", record.Labels, labelMove)
	}
	touched := machines.touched(h.machine)

	must(t, m.pause(t.Context()))
	must(t, move(t.Context(), from.admin, to.admin, ns))
	until(t, "nothing to be left", func() (bool, error) {
		left, err := graph(t.Context(), from.admin, ns)
		left = slices.DeleteFunc(left, func(o *unstructured.Unstructured) bool { return o.GetKind() == "Secret" })
		return len(left) == 0, err
	}, nothing)

	// There, it is paused: nothing is done to it and nothing is written.
	moved := to.get(t, h)
	if moved.UID == before.UID || moved.Status.Provisioning.State != "" || moved.Annotations[metal3.StatusAnnotation] == "" {
		t.Fatalf("moved, the host is in state %q with the annotations %v", moved.Status.Provisioning.State, moved.Annotations)
	}
	m.p = to.capm3
	must(t, to.admin.Get(t.Context(), client.ObjectKeyFromObject(m.obj), m.obj))
	must(t, m.unpause(t.Context()))
	b := to.await(t, h, "taken over, and known to be on", func(b *metal3.BareMetalHost) bool {
		_, noted := b.Annotations[metal3.StatusAnnotation] // used up
		return b.Status.Provisioning.State == metal3.StateProvisioned && b.Status.PoweredOn && b.Status.GoodCredentials.Version != "" && !noted
	})
	kept := func(b *metal3.BareMetalHost) any {
		return []any{b.Status.Provisioning, b.Status.HardwareDetails, b.Status.HardwareProfile, b.Status.OperationHistory}
	}
	if diff := gocmp.Diff(kept(before), kept(b)); diff != "" {
		t.Errorf("what the status says (-before +after the move):\n%s", diff)
	}
	again := &v1alpha1.HostRecord{}
	must(t, to.admin.Get(t.Context(), h.ObjectKey, again))
	if again.Spec.ID != record.Spec.ID || b.Status.Provisioning.ID != record.Spec.ID {
		t.Errorf("the host's identity was %s and is %s, shown as %s", record.Spec.ID, again.Spec.ID, b.Status.Provisioning.ID)
	}
	must(t, m.update(t.Context()))
	if want := m.wantProviderID(b); nodes[0].Spec.ProviderID != want { // NodeWithMatchingProviderIDExists
		t.Errorf("the node's providerID is %q; CAPM3 looks for %q now", nodes[0].Spec.ProviderID, want)
	}
	if len(m.addresses) == 0 {
		t.Error("no addresses after the move")
	}
	to.await(t, h, "at rest", func(b *metal3.BareMetalHost) bool {
		return b.Status.Provisioning.State == metal3.StateProvisioned && b.Status.PoweredOn && b.Status.ErrorMessage == ""
	})
	if diff := gocmp.Diff(touched, machines.touched(h.machine)); diff != "" {
		t.Errorf("the move was noticed at the machine (-before +after):\n%s", diff)
	}

	// It is as good as before: its cluster can be deleted there.
	machines.follow(to)
	m.release(t)
	to.awaitState(t, h, metal3.StateAvailable)
	if h.machine.Images()[0] != "" {
		t.Error("given back, the disk still holds the image")
	}
	if n := strings.Count(to.server.Tail(), h.machine.Password); n > 0 {
		t.Error("a BMC's password is in the log")
	}
}
