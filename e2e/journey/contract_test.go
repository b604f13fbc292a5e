package journey_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/lab/fleet"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// raw reads the host with every field that it has.
func (m *machine) raw() *unstructured.Unstructured {
	m.r.t.Helper()
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(metal3.GroupVersion.WithKind("BareMetalHost"))
	if err := shared.Get(m.r.ctx, m.key(), u); err != nil {
		m.r.t.Fatal(err)
	}
	return u
}

// enrolRaw makes the host with fields that our types lack.
func (m *machine) enrolRaw(spec map[string]any, change ...func(*metal3.BareMetalHost)) {
	m.r.t.Helper()
	m.credentials()
	b := m.object()
	for _, f := range change {
		f(b)
	}
	text, err := json.Marshal(b)
	if err != nil {
		m.r.t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal(text, &u.Object); err != nil {
		m.r.t.Fatal(err)
	}
	u.SetGroupVersionKind(metal3.GroupVersion.WithKind("BareMetalHost"))
	unstructured.RemoveNestedField(u.Object, "status")
	all := u.Object["spec"].(map[string]any)
	for k, v := range spec {
		all[k] = v
	}
	m.r.create(u)
}

func (m *machine) hardwareData() *metal3.HardwareData {
	m.r.t.Helper()
	hd := &metal3.HardwareData{}
	if err := shared.Get(m.r.ctx, m.key(), hd); err != nil {
		m.r.t.Fatal(err)
	}
	return hd
}

// A host that Cluster API moves here comes paused, without a status: nothing is
// written, not even at its companions, until it is let go of. Then it is what it
// was, and nothing is done to its machine.
func TestMovedHost(t *testing.T) {
	r := newRack(t, 2)
	os := r.image("os.raw", small)
	m := r.machine(0)
	status := metal3.BareMetalHostStatus{
		OperationalStatus: metal3.OperationalStatusServicing, ErrorType: metal3.ServicingError, ErrorMessage: "x", PoweredOn: true,
	}
	status.Provisioning = metal3.ProvisionStatus{State: metal3.StateProvisioned, ID: "6c2a3f2e-6f0e-4b52-8a5b-0d9e2d1b7a11", Image: *os.spec()}
	status.HardwareDetails = &metal3.HardwareDetails{Hostname: "old"}
	text, err := json.Marshal(status)
	if err != nil {
		t.Fatal(err)
	}
	m.press(simbmc.PowerOn)
	m.await("on", func() bool { return len(m.log(fleet.KindStuck)) > 0 })
	m.enrol(func(b *metal3.BareMetalHost) {
		b.Annotations = map[string]string{metal3.PausedAnnotation: "metal3.io/capm3", metal3.StatusAnnotation: string(text)}
		b.Spec.Image = os.spec()
	})
	r.create(&metal3.HardwareData{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.ns, Name: m.host},
		Spec:       metal3.HardwareDataSpec{HardwareDetails: &metal3.HardwareDetails{Hostname: "newer", CPU: metal3.CPU{Arch: "x86_64"}}},
	})
	before, all := m.read(), m.log()
	r.barrier(1, os)
	if now := m.read(); now.ResourceVersion != before.ResourceVersion {
		t.Errorf("a paused host was written:\n%s", cmp.Diff(before, now))
	}
	s := &corev1.Secret{}
	if err := shared.Get(r.ctx, client.ObjectKey{Namespace: r.ns, Name: m.secretName()}, s); err != nil || len(s.Finalizers)+len(s.Labels) > 0 {
		t.Errorf("%v, a paused host's Secret was written: %+v", err, s.ObjectMeta)
	}
	if err := shared.Get(r.ctx, m.key(), &v1alpha1.HostRecord{}); !apierrors.IsNotFound(err) {
		t.Errorf("a paused host has a record: %v", err)
	}
	m.unannotate(metal3.PausedAnnotation)
	m.awaitState(metal3.StateProvisioned)
	m.await("verified", func() bool { return m.read().Status.GoodCredentials.Version != "" })
	b := m.read()
	if _, still := b.Annotations[metal3.StatusAnnotation]; still || b.Status.Provisioning.ID != status.Provisioning.ID ||
		b.Status.Provisioning.Image.URL != os.url || b.Status.HardwareDetails == nil || b.Status.HardwareDetails.Hostname != "newer" {
		t.Errorf("restored: annotations %v, status %+v", b.Annotations, b.Status)
	}
	m.await("recorded", func() bool { return m.record().Spec.Provisioned == os.url })
	if id := m.record().Spec.ID; id != status.Provisioning.ID {
		t.Errorf("the record's id is %q", id)
	}
	if now := m.log(); !slices.Equal(now, all) {
		t.Errorf("done to its machine: %v", now[len(all):])
	}
}

// Where inspection is disabled a person tells the hardware: in an annotation that
// is consumed, or in a HardwareData, also later.
func TestHardwareIsGiven(t *testing.T) {
	r := newRack(t, 2)
	m, early := r.machine(0), r.machine(1)
	r.create(&metal3.HardwareData{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.ns, Name: early.host},
		Spec:       metal3.HardwareDataSpec{HardwareDetails: &metal3.HardwareDetails{Hostname: "known before"}},
	})
	early.enrol(func(b *metal3.BareMetalHost) { b.Spec.InspectionMode = metal3.InspectionModeDisabled })
	m.enrol(func(b *metal3.BareMetalHost) {
		b.Spec.InspectionMode = metal3.InspectionModeDisabled
		b.Spec.AutomatedCleaningMode, b.Spec.Online = metal3.CleaningModeDisabled, false
		b.Annotations = map[string]string{metal3.HardwareDetailsAnnotation: `{"hostname":"told","cpu":{"arch":"aarch64"}}`}
	})
	b := m.awaitState(metal3.StateAvailable)
	m.await("without the annotation", func() bool {
		b = m.read()
		_, still := b.Annotations[metal3.HardwareDetailsAnnotation]
		return !still && b.Spec.Architecture != ""
	})
	if hw := b.Status.HardwareDetails; hw == nil || hw.Hostname != "told" || b.Spec.Architecture != "aarch64" {
		t.Errorf("architecture %q, status.hardware %+v", b.Spec.Architecture, hw)
	}
	m.awaitEvent("UpdateHardwareDetails", "")
	if log := m.log(simbmc.KindPower, simbmc.KindBoot); len(log) > 0 {
		t.Errorf("done to its machine: %v", log)
	}
	r.create(&metal3.HardwareData{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.ns, Name: m.host},
		Spec:       metal3.HardwareDataSpec{HardwareDetails: &metal3.HardwareDetails{Hostname: "shown"}},
	})
	m.await("showing its HardwareData", func() bool { return m.read().Status.HardwareDetails.Hostname == "shown" })

	if hw := early.awaitState(metal3.StateAvailable).Status.HardwareDetails; hw == nil || hw.Hostname != "known before" {
		t.Errorf("status.hardware of a host whose HardwareData was there before it: %+v", hw)
	}

	// Beside a HardwareData, the annotation counts for nothing and is only removed.
	m.annotate(metal3.HardwareDetailsAnnotation, `{"hostname":"late"}`)
	m.awaitEvent("RemoveAnnotation", "")
	if hw := m.read().Status.HardwareDetails; hw.Hostname != "shown" {
		t.Errorf("status.hardware %+v", hw)
	}
}

// A HardwareData is replaced at each inspection, and held until its host is gone.
func TestHardwareDataIsHeld(t *testing.T) {
	const held = "baremetalhost.metal3.io/hardwareData"
	r := newRack(t, 1)
	m := r.machine(0)
	m.enrol()
	m.awaitState(metal3.StateAvailable)
	first := m.hardwareData()
	if !slices.Equal(first.Finalizers, []string{held}) || len(first.OwnerReferences) != 1 || first.OwnerReferences[0].Controller == nil {
		t.Errorf("HardwareData %+v", first.ObjectMeta)
	}
	b := m.read()
	m.await("of a known architecture", func() bool { b = m.read(); return b.Spec.Architecture != "" })
	if b.Spec.Architecture != first.Spec.HardwareDetails.CPU.Arch {
		t.Errorf("spec.architecture %q, want %q", b.Spec.Architecture, first.Spec.HardwareDetails.CPU.Arch)
	}
	if !slices.ContainsFunc(b.ManagedFields, func(f metav1.ManagedFieldsEntry) bool {
		return f.Manager == "ingot" && f.FieldsV1 != nil && strings.Contains(f.FieldsV1.GetRawString(), "f:architecture")
	}) {
		t.Error("spec.architecture is not written by our field manager")
	}
	m.annotate("inspect.metal3.io", "")
	m.await("inspected again", func() bool {
		hd := &metal3.HardwareData{}
		return shared.Get(r.ctx, m.key(), hd) == nil && hd.UID != first.UID
	})
	m.awaitState(metal3.StateAvailable)
	m.delete()
	m.awaitGone()
	m.await("without its HardwareData", func() bool {
		hd := &metal3.HardwareData{}
		err := shared.Get(r.ctx, m.key(), hd)
		return apierrors.IsNotFound(err) || err == nil && len(hd.Finalizers) == 0
	})
}

// A reboot that is forced ends what waits for a machine that hangs, and is the only
// one that an available host honours.
func TestForcedReboot(t *testing.T) {
	r := newRack(t, 2)
	os := r.image("os.raw", small)
	m := r.machine(0)
	m.SetFaults(fleet.Faults{Silent: true})
	m.enrol()
	m.await("hanging", func() bool { return len(m.log(fleet.KindStuck)) > 0 })
	m.SetFaults(fleet.Faults{})
	starts := len(m.log(fleet.KindStart))
	m.annotate("reboot.metal3.io", `{"mode":"hard","force":true}`)
	m.await("started anew", func() bool { return len(m.log(fleet.KindStart)) > starts })
	b := m.awaitState(metal3.StateAvailable)
	if _, asked := b.Annotations["reboot.metal3.io"]; asked {
		t.Error("the annotation is still there")
	}
	m.await("on", func() bool { return m.read().Status.PoweredOn })
	power := m.log(simbmc.KindPower)
	m.annotate("reboot.metal3.io", `{"mode":"hard"}`)
	r.barrier(1, os)
	if now := m.log(simbmc.KindPower); !slices.Equal(now, power) {
		t.Errorf("an available host was rebooted without force: %v", now[len(power):])
	}
	m.annotate("reboot.metal3.io", `{"mode":"hard","force":true}`)
	m.await("rebooted", func() bool {
		_, asked := m.read().Annotations["reboot.metal3.io"]
		return !asked && len(m.log(simbmc.KindPower)) >= len(power)+2 && m.read().Status.PoweredOn
	})
	m.annotate("reboot.metal3.io/mine", `{"force":true}`)
	m.await("held off", func() bool { return !m.On() && !m.read().Status.PoweredOn })
	m.unannotate("reboot.metal3.io/mine")
	m.await("on again", func() bool { return m.On() && m.read().Status.PoweredOn })
}

// Another root disk for an available host: it is prepared anew, and shows it.
func TestHintsChange(t *testing.T) {
	r := newRack(t, 1)
	m := r.machine(0)
	m.enrol()
	m.awaitState(metal3.StateAvailable)
	erased := len(m.log(fleet.KindErase))
	want := &metal3.RootDeviceHints{MinSizeGigabytes: 1}
	m.change(func(b *metal3.BareMetalHost) { b.Spec.RootDeviceHints = want })
	m.await("prepared for it", func() bool {
		b := m.read()
		return cmp.Equal(b.Status.Provisioning.RootDeviceHints, want) && b.Status.Provisioning.State == metal3.StateAvailable
	})
	if n := len(m.log(fleet.KindErase)); n != 2*erased {
		t.Errorf("%d erases, want %d", n, 2*erased)
	}
	m.change(func(b *metal3.BareMetalHost) { b.Spec.RootDeviceHints = nil })
	os := r.image("os.raw", small)
	m.provision(os)
	b := m.awaitProvisioned(os)
	if got := b.Status.Provisioning.RootDeviceHints; !cmp.Equal(got, want) {
		t.Errorf("hints that nobody replaced: %+v", got)
	}
}

// Fields of Metal3 v0.14 that our types lack survive all that we write, and those
// that are ours to write are written.
func TestNewerFields(t *testing.T) {
	r := newRack(t, 2)
	m, used := r.machine(0), r.machine(1)
	given := []any{map[string]any{
		"name": "eno1", "hostNetworkAttachment": map[string]any{"name": "storage"},
		"switchPort": map[string]any{"switchID": "52:54:00:00:00:01", "portID": "Ethernet1/1"},
	}}
	m.enrolRaw(map[string]any{"networkInterfaces": given})
	volumes := []any{map[string]any{"level": "1", "rootVolume": true}}
	used.enrolRaw(map[string]any{"raid": map[string]any{"softwareRAIDVolumes": volumes}},
		func(b *metal3.BareMetalHost) { b.Spec.ExternallyProvisioned = true })
	m.awaitState(metal3.StateAvailable)

	bad := r.image("bad.raw", small)
	m.change(func(b *metal3.BareMetalHost) {
		b.Spec.Image = bad.spec()
		b.Spec.Image.Checksum = strings.Repeat("0", 64)
	})
	m.awaitCode("image-checksum", metal3.ProvisioningError)
	m.await("counted", func() bool {
		n, _, _ := unstructured.NestedInt64(m.raw().Object, "status", "provisioningFailCount")
		tried, _, _ := unstructured.NestedString(m.raw().Object, "status", "lastAttemptedImage", "url")
		return n > 0 && tried == bad.url
	})
	os := r.image("os.raw", small)
	m.provision(os)
	m.awaitProvisioned(os)
	u := m.raw()
	if n, _, _ := unstructured.NestedInt64(u.Object, "status", "provisioningFailCount"); n != 0 {
		t.Errorf("status.provisioningFailCount %d", n)
	}
	tried, _, _ := unstructured.NestedMap(u.Object, "status", "lastAttemptedImage")
	if tried["url"] != os.url || tried["checksum"] != os.digest() {
		t.Errorf("status.lastAttemptedImage %v", tried)
	}
	got, _, _ := unstructured.NestedSlice(u.Object, "spec", "networkInterfaces")
	if diff := cmp.Diff(given, got); diff != "" {
		t.Errorf("spec.networkInterfaces (-given +kept):\n%s", diff)
	}

	used.awaitState(metal3.StateExternallyProvisioned)
	used.await("on", func() bool { return used.read().Status.PoweredOn })
	used.annotate("reboot.metal3.io", "")
	used.await("rebooted", func() bool {
		_, asked := used.read().Annotations["reboot.metal3.io"]
		return !asked && used.read().Status.PoweredOn
	})
	got, _, _ = unstructured.NestedSlice(used.raw().Object, "spec", "raid", "softwareRAIDVolumes")
	if len(got) != 1 || got[0].(map[string]any)["rootVolume"] != true {
		t.Errorf("spec.raid.softwareRAIDVolumes %v", got)
	}
}

// The Secret of the ramdisk's network is held as long as a host names it.
func TestNetworkDataIsClaimed(t *testing.T) {
	r := newRack(t, 2)
	r.secret("ramdisk-net", map[string]string{"networkData": "links: []\n"})
	one, two := r.machine(0), r.machine(1)
	for _, m := range []*machine{one, two} {
		m.enrol(func(b *metal3.BareMetalHost) { b.Spec.PreprovisioningNetworkDataName = "ramdisk-net" })
		m.awaitState(metal3.StateAvailable)
	}
	read := func() *corev1.Secret {
		s := &corev1.Secret{}
		if err := shared.Get(r.ctx, client.ObjectKey{Namespace: r.ns, Name: "ramdisk-net"}, s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := read(); len(s.Finalizers) != 1 || s.Labels["environment.metal3.io"] != "baremetal" || len(s.OwnerReferences) != 0 {
		t.Errorf("the Secret: %+v", s.ObjectMeta)
	}
	one.delete()
	one.awaitGone()
	if s := read(); len(s.Finalizers) != 1 {
		t.Errorf("it was let go of while a host uses it: %+v", s.ObjectMeta)
	}
	two.delete()
	two.awaitGone()
	if s := read(); len(s.Finalizers) != 0 {
		t.Errorf("it is held: %+v", s.ObjectMeta)
	}
}

// A hardware profile that does not exist is a registration error; one that does
// says which disk.
func TestHardwareProfile(t *testing.T) {
	r := newRack(t, 1)
	m := r.machine(0)
	m.enrol(func(b *metal3.BareMetalHost) { b.Spec.HardwareProfile = "no-such" })
	m.awaitCode("hardware-profile", metal3.RegistrationError)
	m.change(func(b *metal3.BareMetalHost) { b.Spec.HardwareProfile = "libvirt" })
	b := m.awaitState(metal3.StateAvailable)
	if b.Status.HardwareProfile != "libvirt" || b.Status.Provisioning.RootDeviceHints == nil || b.Status.Provisioning.RootDeviceHints.DeviceName != "/dev/vda" {
		t.Errorf("profile %q, hints %+v", b.Status.HardwareProfile, b.Status.Provisioning.RootDeviceHints)
	}
}

// What somebody else runs is handed over: the host is provisioned with the image
// that spec names, and nothing is written; without one it is deprovisioned.
func TestExternallyProvisionedEnds(t *testing.T) {
	r := newRack(t, 2)
	os := r.image("os.raw", small)
	m, bare := r.machine(0), r.machine(1)
	m.enrol(func(b *metal3.BareMetalHost) { b.Spec.ExternallyProvisioned, b.Spec.Image = true, os.spec() })
	bare.enrol(func(b *metal3.BareMetalHost) { b.Spec.ExternallyProvisioned = true })
	for _, h := range []*machine{m, bare} {
		h.awaitState(metal3.StateExternallyProvisioned)
		h.change(func(b *metal3.BareMetalHost) { b.Spec.ExternallyProvisioned = false })
	}
	if b := m.awaitState(metal3.StateProvisioned); b.Status.Provisioning.Image.URL != os.url {
		t.Errorf("status.provisioning.image %+v", b.Status.Provisioning.Image)
	}
	bare.awaitState(metal3.StateAvailable)
	bare.awaitEvent("DeprovisioningStarted", "")
	if len(bare.log(fleet.KindErase)) == 0 {
		t.Error("somebody's system was handed out with the host")
	}
	m.unchanged(nil)
}
