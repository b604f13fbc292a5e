package journey_test

import (
	"slices"
	"strings"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/pkg/lab/fleet"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

func liveISO(i image) func(*metal3.BareMetalHost) {
	return func(b *metal3.BareMetalHost) {
		b.Spec.Image = &metal3.Image{URL: i.url, DiskFormat: ptr("live-iso")}
	}
}

// insertedThenStarted fails unless the journal ends with an insertion, the boot
// device Cd and power on, in this order, with nothing else in between.
func (m *machine) insertedThenStarted(url string) {
	m.r.t.Helper()
	var got []string
	for _, e := range m.r.journal.Entries(m.Name, simbmc.KindMedia, simbmc.KindBoot, simbmc.KindPower) {
		got = append(got, e.Kind+" "+e.Detail)
	}
	at := slices.Index(got, simbmc.KindMedia+" insert "+url)
	if at < 0 || len(got) < at+3 || !strings.HasPrefix(got[at+1], simbmc.KindBoot+" Cd Continuous") || got[at+2] != simbmc.KindPower+" On" {
		m.r.t.Errorf("want insert, boot Cd, power on; the journal has\n%s", strings.Join(got, "\n"))
	}
}

// drive is what is in the machine's virtual drive, by the lab's journal.
func (m *machine) drive() string {
	all := m.r.journal.Entries(m.Name, simbmc.KindMedia)
	if len(all) == 0 || all[len(all)-1].Detail == "eject" {
		return ""
	}
	return strings.TrimPrefix(all[len(all)-1].Detail, "insert ")
}

// A live ISO is inserted, booted and taken out again; no disk is touched for it.
func TestLiveISO(t *testing.T) {
	r := newRack(t, 1, fleet.RedfishTLS)
	m := r.machine(0)
	iso := r.serve("live.iso", []byte("a system that runs from its drive"))
	m.enrol()
	m.awaitState(metal3.StateAvailable)
	disks := m.disks()

	m.change(liveISO(iso))
	b := m.awaitState(metal3.StateProvisioned)
	m.awaitUp("media " + iso.url)
	m.insertedThenStarted(iso.url)
	m.unchanged(disks)
	if i := b.Status.Provisioning.Image; i.URL != iso.url || i.DiskFormat == nil || *i.DiskFormat != "live-iso" {
		t.Errorf("status.provisioning.image %+v", i)
	}
	if hr := m.record(); hr.Status.Dirty || hr.Status.Media == nil || hr.Status.Media.Use != "live-iso" {
		t.Errorf("record: dirty %v, media %+v", hr.Status.Dirty, hr.Status.Media)
	}

	// A reboot finds the ISO where it is.
	m.annotate("reboot.metal3.io", `{"mode":"hard"}`)
	m.await("started twice", func() bool {
		return len(m.log(fleet.KindOSUp)) == 2 && m.read().Status.PoweredOn
	})
	if n := len(m.log(simbmc.KindMedia)); n != 1 {
		t.Errorf("%d changes of the drive, want 1: %v", n, m.log(simbmc.KindMedia))
	}

	m.change(func(b *metal3.BareMetalHost) { b.Spec.Image = nil })
	m.awaitState(metal3.StateAvailable)
	if in := m.drive(); in != "" {
		t.Errorf("after deprovisioning the drive holds %s", in)
	}
	if hr := m.record(); hr.Status.Media != nil {
		t.Errorf("record: media %+v", hr.Status.Media)
	}
}

// A BMC without virtual media says so, and the host goes on when something else is
// wanted of it.
func TestLiveISOWithoutVirtualMedia(t *testing.T) {
	r := newRack(t, 1, fleet.IPMI)
	m := r.machine(0)
	iso := r.serve("live.iso", []byte("nobody boots this"))
	m.enrol(liveISO(iso))
	rep := m.awaitCode("media-unsupported", metal3.ProvisioningError)
	if !strings.Contains(rep.Do[0], "redfish://") {
		t.Errorf("do %q", rep.Do)
	}
	m.change(func(b *metal3.BareMetalHost) { b.Spec.Image = nil })
	m.awaitState(metal3.StateAvailable)
}

func (m *machine) data(url string) *metal3.DataImage {
	m.r.t.Helper()
	d := &metal3.DataImage{ObjectMeta: metav1.ObjectMeta{Namespace: m.r.ns, Name: m.host}, Spec: metal3.DataImageSpec{URL: url}}
	m.r.create(d)
	return d
}

func (m *machine) awaitData(what string, d *metal3.DataImage, done func() bool) {
	m.r.t.Helper()
	m.await(what, func() bool {
		return shared.Get(m.r.ctx, client.ObjectKeyFromObject(d), d) == nil && done()
	})
}

// A DataImage is put into the drive when its provisioned host is started, and
// taken out at a start after it was deleted, or at once where the host is off.
func TestDataImage(t *testing.T) {
	r := newRack(t, 1)
	m := r.machine(0)
	os := r.image("os.raw", small)
	m.enrol(func(b *metal3.BareMetalHost) { b.Spec.Image = os.spec() })
	m.awaitProvisioned(os)
	starts := func() int { return len(m.log(fleet.KindOSUp)) }
	reboot := func() {
		n := starts()
		m.annotate("reboot.metal3.io", `{"mode":"hard"}`)
		m.await("rebooted", func() bool { return starts() > n && m.read().Status.PoweredOn })
	}

	d := m.data("http://192.0.2.1/data.iso")
	m.awaitData("held", d, func() bool {
		return slices.Contains(d.Finalizers, "dataimage.metal3.io") && len(d.OwnerReferences) == 1 && d.OwnerReferences[0].Name == m.host
	})
	m.await("waiting for its next start", func() bool { return strings.Contains(m.explain().WaitsFor, "DataImage") })
	if got := m.log(simbmc.KindMedia); len(got) != 0 || d.Status.AttachedImage.URL != "" {
		t.Errorf("before a start: %v, %+v", got, d.Status)
	}
	reboot()
	m.awaitData("told", d, func() bool { return d.Status.AttachedImage.URL == d.Spec.URL })
	if d.Status.LastReconciled == nil || d.Status.Error.Count != 0 || m.drive() != d.Spec.URL {
		t.Errorf("status %+v, in the drive: %q", d.Status, m.drive())
	}

	// Paused, it stays as it is.
	before := d.DeepCopy()
	metav1.SetMetaDataAnnotation(&d.ObjectMeta, metal3.PausedAnnotation, "")
	d.Spec.URL = "http://192.0.2.1/other.iso"
	if err := shared.Patch(r.ctx, d, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	reboot()
	if in := m.drive(); in != before.Spec.URL {
		t.Errorf("a paused DataImage was changed: %q is in the drive", in)
	}
	before = d.DeepCopy()
	delete(d.Annotations, metal3.PausedAnnotation)
	if err := shared.Patch(r.ctx, d, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	m.await("waiting for its next start", func() bool { return strings.Contains(m.explain().WaitsFor, "DataImage") })
	reboot()
	m.awaitData("told of the other", d, func() bool { return d.Status.AttachedImage.URL == d.Spec.URL })

	if err := shared.Delete(r.ctx, d); err != nil {
		t.Fatal(err)
	}
	m.awaitData("being deleted", d, func() bool { return !d.DeletionTimestamp.IsZero() })
	if m.drive() == "" {
		t.Error("the drive of a running machine was emptied")
	}
	m.change(func(b *metal3.BareMetalHost) { b.Spec.Online = false })
	m.await("without its DataImage", func() bool {
		return apierrors.IsNotFound(shared.Get(r.ctx, client.ObjectKeyFromObject(d), d))
	})
	if m.drive() != "" || m.On() {
		t.Errorf("the machine is on: %v; in its drive: %q", m.On(), m.drive())
	}
	m.holds(os.digest())
}

// A DataImage that cannot be inserted keeps its host off, as Metal3 does, and says
// why at both objects; deleted, the host goes on.
func TestDataImageFails(t *testing.T) {
	r := newRack(t, 1, fleet.IPMI)
	m := r.machine(0)
	os := r.image("os.raw", small)
	m.enrol(func(b *metal3.BareMetalHost) { b.Spec.Image = os.spec() })
	m.awaitProvisioned(os)
	m.change(func(b *metal3.BareMetalHost) { b.Spec.Online = false })
	m.await("off", func() bool { return !m.On() && !m.read().Status.PoweredOn })
	d := m.data("http://192.0.2.1/data.iso")
	m.awaitData("held", d, func() bool { return len(d.Finalizers) == 1 })
	m.change(func(b *metal3.BareMetalHost) { b.Spec.Online = true })
	m.awaitCode("media-unsupported", metal3.PowerManagementError)
	m.awaitData("told of the error", d, func() bool {
		return d.Status.Error.Count > 0 && strings.HasPrefix(d.Status.Error.Message, "media-unsupported: ")
	})
	if err := shared.Delete(r.ctx, d); err != nil {
		t.Fatal(err)
	}
	m.await("on", func() bool { return m.On() && m.read().Status.PoweredOn })
	m.await("without its DataImage", func() bool {
		return apierrors.IsNotFound(shared.Get(r.ctx, client.ObjectKeyFromObject(d), d))
	})
	m.awaitState(metal3.StateProvisioned)
}

func method(name string) func(*metal3.BareMetalHost) {
	return func(b *metal3.BareMetalHost) { b.Spec.CustomDeploy = &metal3.CustomDeploy{Method: name} }
}

// A deploy method of the ramdisk is a provisioning like an image; one that the
// ramdisk does not have is found before a disk is touched.
func TestCustomDeploy(t *testing.T) {
	r := newRack(t, 1)
	m := r.machine(0)
	r.secret("user-data", map[string]string{"userData": "recipe: one"})
	m.enrol(method(fleet.DeployMethod), func(b *metal3.BareMetalHost) {
		b.Spec.UserData = &corev1.SecretReference{Name: "user-data"}
		b.Spec.Image = &metal3.Image{URL: "http://192.0.2.1/tree", DiskFormat: ptr("live-iso")}
	})
	b := m.awaitState(metal3.StateProvisioned)
	done := fleet.Deployed("http://192.0.2.1/tree", "recipe: one")
	m.awaitUp(done)
	m.holds(done)
	if d := b.Status.Provisioning.CustomDeploy; d == nil || d.Method != fleet.DeployMethod || b.Status.Provisioning.Image.URL == "" {
		t.Errorf("status.provisioning: customDeploy %+v, image %+v", d, b.Status.Provisioning.Image)
	}
	if got := m.log(fleet.KindWriteBegin, simbmc.KindMedia); len(got) != 0 {
		t.Errorf("besides the method: %v", got)
	}
	r.noSecrets("recipe: one")

	m.change(method("no-such-method"))
	rep := m.awaitCode("deploy-unknown-method", metal3.ProvisioningError)
	if all := strings.Join(rep.Seen, "; "); !strings.Contains(all, "the ramdisk has "+fleet.DeployMethod) || !strings.Contains(all, "no-such-method") {
		t.Errorf("seen %q", rep.Seen)
	}
	if n := len(m.log(fleet.KindDeploy)); n != 1 {
		t.Errorf("%d methods ran, want 1", n)
	}
	m.change(func(b *metal3.BareMetalHost) { b.Spec.CustomDeploy, b.Spec.Image = nil, nil })
	b = m.awaitState(metal3.StateAvailable)
	if b.Status.Provisioning.CustomDeploy != nil {
		t.Errorf("an available host shows %+v", b.Status.Provisioning.CustomDeploy)
	}
}

// What a method last printed is the evidence of its failure.
func TestCustomDeployFails(t *testing.T) {
	r := newRack(t, 1)
	m := r.machine(0)
	r.secret("user-data", map[string]string{"userData": "fail"})
	m.enrol(method(fleet.DeployMethod), func(b *metal3.BareMetalHost) {
		b.Spec.UserData = &corev1.SecretReference{Name: "user-data"}
	})
	rep := m.awaitCode("deploy-failed", metal3.ProvisioningError)
	if all := strings.Join(rep.Seen, "; "); !strings.Contains(all, "exit status 3") || !strings.Contains(all, "no such recipe") {
		t.Errorf("seen %q", rep.Seen)
	}
}
