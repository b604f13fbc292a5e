package capm3

import (
	"errors"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/pkg/lab/fleet"
	"github.com/ingot-metal/ingot/pkg/record"
)

// TestConversation takes one machine of a cluster from nothing to a node, and
// back, with all that CAPM3 says on the way
// (Metal3MachineReconciler.reconcileNormal and reconcileDelete, in order).
func TestConversation(t *testing.T) {
	t.Parallel()
	s := shared.site
	ns := s.namespace(t)
	m := s.newMachine(t, ns, "m1", "c1")
	m.template = &template{index: 3, nic: "ens2", bootMAC: "provisioningMAC", nicMAC: "privateMAC", fromLabel: "rack"}
	if err := m.associate(t.Context()); !errors.Is(err, errWait) {
		t.Fatalf("a host was found where none is: %v", err)
	}
	h := s.enrol(t, shared.rack, ns, func(b *metal3.BareMetalHost) {
		b.Labels = map[string]string{"rack": "r7", "my-prefix.metal3.io/zone": "north", "other/thing": "x"}
	})
	// CAPM3 asks all the while that it is made ready.
	keep(t, "a host", m.associate)
	b := s.get(t, h)
	if b.Spec.Image != nil || !m.consumes(b) || b.Labels[labelCluster] != "c1" {
		t.Fatalf("after the association the host is %+v of %v", b.Spec, b.Labels)
	}
	bmc := &corev1.Secret{}
	must(t, s.admin.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: h.secret}, bmc))
	if bmc.Labels[labelCluster] != "c1" || bmc.Labels["environment.metal3.io"] != "baremetal" {
		t.Errorf("the BMC's Secret has the labels %v", bmc.Labels)
	}

	keep(t, "the data template", m.render)
	must(t, m.update(t.Context()))
	b = s.awaitState(t, h, metal3.StateProvisioned)
	if got := h.machine.Images()[0]; got != m.image.Checksum {
		t.Errorf("the disk holds %q, want the image %s", got, m.image.Checksum)
	}
	if b.Status.Provisioning.Image.URL != m.image.URL || b.Status.ErrorMessage != "" || !b.Status.PoweredOn {
		t.Errorf("status %+v", b.Status)
	}

	t.Run("config drive", func(t *testing.T) { checkDrive(t, m, h, b) })
	t.Run("addresses", func(t *testing.T) {
		must(t, m.update(t.Context()))
		want := []address{}
		for _, nic := range b.Status.HardwareDetails.NIC {
			if nic.IP != "" {
				want = append(want, address{"InternalIP", nic.IP})
			}
		}
		name := b.Status.HardwareDetails.Hostname
		if name == "" {
			t.Error("status.hardware has no hostname: CAPM3 finds no node by it")
		}
		want = append(want, address{"Hostname", name}, address{"InternalDNS", name})
		if diff := cmp.Diff(want, m.addresses, cmp.AllowUnexported(address{})); diff != "" {
			t.Errorf("addresses (-want +got):\n%s", diff)
		}
	})
	t.Run("providerID", func(t *testing.T) {
		nodes := []corev1.Node{{}, kubelet(t, h)}
		must(t, m.setProviderID(b, nodes))
		if want := "metal3://" + ns + "/" + h.Name + "/m1"; nodes[1].Spec.ProviderID != want || m.providerID != want {
			t.Errorf("providerID %q at the node and %q at the machine, want %q", nodes[1].Spec.ProviderID, m.providerID, want)
		}
		// What kubeadm's --provider-id would be, from the template's providerid.
		meta, _, _ := drive(t, h)
		if got := providerIDPrefix + meta["providerid"].(string); got != m.providerID {
			t.Errorf("the config drive's providerid gives %q, want %q", got, m.providerID)
		}
	})
	t.Run("label sync", func(t *testing.T) {
		node := kubelet(t, h)
		node.Labels["my-prefix.metal3.io/gone"] = "x"
		want := maps.Clone(node.Labels)
		delete(want, "my-prefix.metal3.io/gone")
		want["my-prefix.metal3.io/zone"] = "north"
		syncLabels(s.get(t, h), &node, "my-prefix.metal3.io")
		if diff := cmp.Diff(want, node.Labels); diff != "" {
			t.Errorf("the node's labels (-want +got):\n%s", diff)
		}
	})
	t.Run("nothing is written twice", func(t *testing.T) {
		before := s.get(t, h)
		touched := shared.rack.touched(h.machine)
		must(t, m.update(t.Context()))
		if after := s.get(t, h); after.Generation != before.Generation {
			t.Errorf("CAPM3's update of a provisioned host changed it (-before +after):\n%s", cmp.Diff(before, after))
		}
		if diff := cmp.Diff(touched, shared.rack.touched(h.machine)); diff != "" {
			t.Errorf("and the machine was touched:\n%s", diff)
		}
	})

	m.release(t)
	b = s.awaitState(t, h, metal3.StateAvailable)
	if b.Spec.ConsumerRef != nil || len(b.OwnerReferences) > 0 || b.Labels[labelCluster] != "" || b.Spec.UserData != nil ||
		b.Spec.MetaData != nil || b.Spec.NetworkData != nil || b.Spec.Image != nil {
		t.Errorf("given back, the host is %+v of %v %v", b.Spec, b.OwnerReferences, b.Labels)
	}
	if h.machine.Images()[0] != "" || h.machine.ConfigDrive() != nil {
		t.Error("given back, the disk still holds the image or the config drive")
	}
	s.await(t, h, "off", func(b *metal3.BareMetalHost) bool { return !b.Status.PoweredOn })
	must(t, s.admin.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: h.secret}, bmc))
	if bmc.Labels[labelCluster] != "" || bmc.Labels["environment.metal3.io"] != "baremetal" {
		t.Errorf("given back, the BMC's Secret has the labels %v", bmc.Labels)
	}
}

// checkDrive: what the machine received is what CAPM3's templates said.
func checkDrive(t *testing.T, m *machine, h hostOf, b *metal3.BareMetalHost) {
	meta, network, user := drive(t, h)
	hw := b.Status.HardwareDetails
	mac, err := macByName("ens2", b)
	must(t, err)
	if hw == nil || mac == b.Spec.BootMACAddress {
		t.Errorf("the second NIC's address is %s, the boot MAC address too", mac)
	}
	want := map[string]any{
		"uuid": string(b.UID), "name": h.Name, "metal3-name": h.Name, "metal3-namespace": h.Namespace,
		"local-hostname": "m1", "local_hostname": "m1", "index": "3", "rack": "r7", "datacenter": "north: 1 #2",
		"privateMAC": mac, "provisioningMAC": h.machine.MAC, "providerid": h.Namespace + "/" + h.Name + "/m1",
	}
	delete(meta, "ingot") // ours: where an installed system may say that it is up
	if diff := cmp.Diff(want, meta); diff != "" {
		t.Errorf("meta_data.json (-want +got):\n%s", diff)
	}
	wantNetwork := map[string]any{
		"links": []any{map[string]any{"type": "phy", "id": "pxe", "mtu": 1500., "ethernet_mac_address": mac}},
		"networks": []any{map[string]any{
			"type": "ipv4", "id": "pxe", "link": "pxe", "ip_address": "10.1.2.3", "netmask": "255.255.255.0",
			"routes": []any{map[string]any{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.1.2.1", "services": []any{}}},
		}},
		"services": []any{map[string]any{"type": "dns", "address": "8.8.8.8"}},
	}
	if diff := cmp.Diff(wantNetwork, network); diff != "" {
		t.Errorf("network_data.json (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(bootstrap("m1"), user); diff != "" {
		t.Errorf("user_data (-want +got):\n%s", diff)
	}
}

// TestWithoutTemplate: a machine without a data template is provisioned at once,
// its metadata is Metal3's own, and the empty disk format that an omitted
// diskFormat becomes is no format.
func TestWithoutTemplate(t *testing.T) {
	t.Parallel()
	s := shared.site
	ns := s.namespace(t)
	h := s.enrol(t, shared.rack, ns)
	s.awaitState(t, h, metal3.StateAvailable)
	m := s.newMachine(t, ns, "m1", "c1")
	keep(t, "a host", m.associate)
	if i := s.get(t, h).Spec.Image; i == nil || i.DiskFormat == nil || *i.DiskFormat != "" {
		t.Errorf("the image is %+v, and CAPM3 sends it with an empty format", i)
	}
	b := s.awaitState(t, h, metal3.StateProvisioned)
	meta, network, user := drive(t, h)
	delete(meta, "ingot")
	want := map[string]any{
		"uuid": string(b.UID), "name": h.Name, "metal3-name": h.Name, "metal3-namespace": ns,
		"local-hostname": h.Name, "local_hostname": h.Name,
	}
	if diff := cmp.Diff(want, meta); diff != "" {
		t.Errorf("meta_data.json (-want +got):\n%s", diff)
	}
	if network != nil {
		t.Errorf("network data %v from nowhere", network)
	}
	if diff := cmp.Diff(bootstrap("m1"), user); diff != "" {
		t.Errorf("user_data (-want +got):\n%s", diff)
	}
	// A user's online: false on a host of Cluster API's is fought.
	before := b.DeepCopy()
	b.Spec.Online = false
	must(t, s.admin.Patch(t.Context(), b, client.MergeFrom(before)))
	s.await(t, h, "off", func(b *metal3.BareMetalHost) bool { return !b.Status.PoweredOn })
	must(t, m.update(t.Context()))
	s.await(t, h, "on", func(b *metal3.BareMetalHost) bool { return b.Status.PoweredOn })
	if n := len(shared.rack.journal.Entries(h.machine.Name, fleet.KindWriteBegin)); n != 1 {
		t.Errorf("%d images were written, want one", n)
	}
	m.release(t)
}

// TestChoose: which hosts CAPM3 passes over, each for one reason.
func TestChoose(t *testing.T) {
	t.Parallel()
	s := shared.site
	ns := s.namespace(t)
	good := s.enrol(t, shared.rack, ns, func(b *metal3.BareMetalHost) {
		b.Labels = map[string]string{labelFailureDomain: "a", "size": "big"}
	})
	// Its BMC refuses the password.
	locked := s.enrol(t, shared.rack, ns, func(b *metal3.BareMetalHost) { b.Spec.BMC.CredentialsName = "wrong" })
	must(t, s.admin.Create(t.Context(), &corev1.Secret{
		ObjectMeta: objectMeta(ns, "wrong"), StringData: map[string]string{"username": "root", "password": "wrong"},
	}))
	unmanaged := &metal3.BareMetalHost{ObjectMeta: objectMeta(ns, "unmanaged")}
	must(t, s.admin.Create(t.Context(), unmanaged))
	// Nodes of the REST door: one rests at enroll, one has no machine.
	s.enrol(t, shared.rack, ns, func(b *metal3.BareMetalHost) {
		note(b, record.AnnotationNodeUUID, "9a2f1c52-7f5e-4f0c-8f4e-1d9f6f7f3b11")
	})
	fake := &metal3.BareMetalHost{ObjectMeta: objectMeta(ns, "fake")}
	note(fake, record.AnnotationNodeUUID, "9a2f1c52-7f5e-4f0c-8f4e-1d9f6f7f3b12")
	note(fake, record.AnnotationDriver, record.DriverFake)
	must(t, s.admin.Create(t.Context(), fake))
	s.awaitState(t, good, metal3.StateAvailable)
	s.await(t, locked, "refused", func(b *metal3.BareMetalHost) bool { return b.Status.ErrorMessage != "" })

	m := s.newMachine(t, ns, "m1", "c1")
	choose := func(t *testing.T) string {
		t.Helper()
		host, _, err := m.choose(t.Context())
		if err != nil && !errors.Is(err, errWait) {
			t.Fatal(err)
		}
		if host == nil {
			return ""
		}
		return host.Name
	}
	if got := choose(t); got != good.Name {
		t.Fatalf("%q was chosen, want %q", got, good.Name)
	}
	cases := []struct {
		name string
		mark func(*metal3.BareMetalHost)
		want bool
	}{
		{name: "somebody else's", mark: func(b *metal3.BareMetalHost) {
			b.Spec.ConsumerRef = &corev1.ObjectReference{Kind: "HostClaim", Name: "x", Namespace: ns, APIVersion: "metal3.io/v1alpha1"}
		}},
		{name: "an instance's of the REST door", mark: func(b *metal3.BareMetalHost) {
			b.Spec.ConsumerRef = &corev1.ObjectReference{Kind: "NodeInstance", Name: "5d1f6d0e-2f5c-4f66-9d0c-8f7f5f8d2c10", APIVersion: "ingot.dev/v1alpha1"}
		}},
		{name: "in maintenance", mark: func(b *metal3.BareMetalHost) {
			note(b, record.AnnotationMaintenance, "a disk is changed")
			note(b, annotationUnhealthy0, record.AnnotationMaintenance)
		}},
		{name: "paused", mark: func(b *metal3.BareMetalHost) { note(b, metal3.PausedAnnotation, "") }},
		{name: "unhealthy", mark: func(b *metal3.BareMetalHost) { note(b, annotationUnhealthy, "capm3/UnhealthyNode") }},
		{name: "unhealthy, as it was called before", mark: func(b *metal3.BareMetalHost) { note(b, annotationUnhealthy0, "") }},
		{name: "kept for another set", mark: func(b *metal3.BareMetalHost) { setLabel(b, labelNodeReuse, "md-other") }},
		{name: "kept for this set", mark: func(b *metal3.BareMetalHost) { setLabel(b, labelNodeReuse, "md-c1") }, want: true},
		{name: "with a label of no meaning", mark: func(b *metal3.BareMetalHost) { setLabel(b, "x", "y") }, want: true},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			plain := s.get(t, good)
			marked := plain.DeepCopy()
			tc.mark(marked)
			must(t, s.admin.Patch(t.Context(), marked.DeepCopy(), client.MergeFrom(plain)))
			if got := choose(t); (got == good.Name) != tc.want || got != "" && got != good.Name {
				t.Errorf("%q was chosen", got)
			}
			must(t, s.admin.Patch(t.Context(), plain.DeepCopy(), client.MergeFrom(marked)))
		})
	}
	t.Run("by label", func(t *testing.T) {
		m.selector = mustSelector(t, "size in (small)")
		if got := choose(t); got != "" {
			t.Errorf("%q was chosen", got)
		}
		m.selector = mustSelector(t, "size in (big,small)")
		m.failureDomain = "a"
		if got := choose(t); got != good.Name {
			t.Errorf("%q was chosen", got)
		}
		m.failureDomain = "b" // preferred, not required
		if got := choose(t); got != good.Name {
			t.Errorf("%q was chosen", got)
		}
	})
	t.Run("being deleted", func(t *testing.T) {
		plain := s.get(t, good)
		held := plain.DeepCopy()
		held.Finalizers = append(held.Finalizers, "test/hold")
		must(t, s.admin.Patch(t.Context(), held, client.MergeFrom(plain)))
		must(t, s.admin.Delete(t.Context(), held))
		if got := choose(t); got != "" {
			t.Errorf("%q was chosen", got)
		}
		until(t, "ingot to let go of the host", func() (bool, error) {
			b := s.get(t, good)
			return len(b.Finalizers) == 1, nil
		}, nothing)
		b := s.get(t, good)
		gone := b.DeepCopy()
		gone.Finalizers = nil
		must(t, s.admin.Patch(t.Context(), gone, client.MergeFrom(b)))
	})
}

func note(b *metal3.BareMetalHost, key, value string) {
	notes := maps.Clone(b.Annotations)
	if notes == nil {
		notes = map[string]string{}
	}
	notes[key] = value
	b.Annotations = notes
}
