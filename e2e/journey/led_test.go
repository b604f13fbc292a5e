package journey_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/lab/fleet"
	"github.com/ingot-metal/ingot/pkg/record"
)

// node enrols a machine as the REST door does: it rests at enroll.
func (m *machine) node(change ...func(*metal3.BareMetalHost)) string {
	m.r.t.Helper()
	id := uuid.NewString()
	m.enrol(append(change, func(b *metal3.BareMetalHost) {
		metav1.SetMetaDataAnnotation(&b.ObjectMeta, record.AnnotationNodeUUID, id)
		metav1.SetMetaDataAnnotation(&b.ObjectMeta, record.AnnotationNodeName, "Node "+m.host)
	})...)
	return id
}

// ask declares what goes with a verb and asks for it, as the REST door does.
func (m *machine) ask(verb string, declare func(*metal3.BareMetalHost), change ...func(*v1alpha1.Ask)) {
	m.r.t.Helper()
	a := v1alpha1.Ask{N: 1, Verb: verb}
	if declare != nil {
		b := m.read()
		before := b.DeepCopy()
		declare(b)
		if err := shared.Patch(m.r.ctx, b, client.MergeFrom(before), record.FieldOwner); err != nil {
			m.r.t.Fatal(err)
		}
		a.Generation = b.Generation
	}
	for _, f := range change {
		f(&a)
	}
	hr := m.record()
	if hr.Spec.Ask != nil {
		a.N = hr.Spec.Ask.N + 1
	}
	before := hr.DeepCopy()
	hr.Spec.Ask = &a
	if err := shared.Patch(m.r.ctx, hr, client.MergeFrom(before), record.FieldOwner); err != nil {
		m.r.t.Fatal(err)
	}
}

// awaitHold waits until the verb is over and the host rests.
func (m *machine) awaitHold(hold string) *v1alpha1.HostRecord {
	m.r.t.Helper()
	var hr *v1alpha1.HostRecord
	m.await("resting in "+hold, func() bool {
		hr = &v1alpha1.HostRecord{}
		err := shared.Get(m.r.ctx, m.key(), hr)
		n := hr.Status.Node
		return err == nil && n != nil && n.Hold == hold && n.Verb == "" && (hr.Spec.Ask == nil || hr.Spec.Ask.N == n.Asked)
	})
	return hr
}

// awaitLed waits until a verb that leads to no hold is over.
func (m *machine) awaitLed(s metal3.ProvisioningState) {
	m.r.t.Helper()
	m.awaitHold("")
	if b := m.awaitState(s); b.Status.ErrorMessage != "" {
		m.r.t.Errorf("error %q", b.Status.ErrorMessage)
	}
}

// A node's life as its REST client leads it, told to the life cycle as the door
// tells it.
func TestLedLife(t *testing.T) {
	r := newRack(t, 2)
	os, other := r.image("os.raw", small), r.image("other.raw", small)
	m := r.machine(0)
	id := m.node()
	hr := m.awaitHold(host.Enroll)
	if hr.Spec.ID != id || hr.Spec.IronicName != "Node "+m.host || hr.Spec.Hold != host.Enroll || m.read().Status.Provisioning.ID != id {
		t.Errorf("the record of a node: %+v", hr.Spec)
	}
	if b := m.awaitState(metal3.StateRegistering); b.Status.GoodCredentials.Version != "" || b.Status.TriedCredentials.Version == "never" {
		t.Errorf("its BMC was asked: %+v", b.Status.GoodCredentials)
	}
	r.barrier(1, os)
	if all := m.log(); len(all) != 0 {
		t.Errorf("something was done at enroll: %v", all)
	}

	m.ask(host.VerbManage, nil)
	m.awaitHold(host.Manageable)
	m.await("known to be off", func() bool { return !m.read().Spec.Online }) // whatever was declared

	m.ask(host.VerbInspect, nil)
	m.awaitHold(host.Manageable)
	if b := m.awaitState(metal3.StateRegistering); b.Status.HardwareDetails == nil || b.Status.PoweredOn {
		t.Errorf("inspected: hardware %v, on %v", b.Status.HardwareDetails, b.Status.PoweredOn)
	}
	untouched := m.disks()
	if len(untouched) != 0 {
		t.Errorf("an inspection touched disks: %v", untouched)
	}

	m.ask(host.VerbClean, nil, func(a *v1alpha1.Ask) { a.Erase = host.EraseMetadata })
	m.awaitHold(host.Manageable)
	erased := m.log(fleet.KindErase)
	if len(erased) == 0 {
		t.Error("nothing was erased")
	}
	m.ask(host.VerbProvide, func(b *metal3.BareMetalHost) { b.Spec.Online = false })
	m.awaitLed(metal3.StateAvailable)

	m.ask(host.VerbActive, func(b *metal3.BareMetalHost) { b.Spec.Image, b.Spec.Online = os.spec(), true })
	m.awaitLed(metal3.StateProvisioned)
	m.awaitUp(os.digest())
	m.holds(os.digest())

	before := len(m.log(fleet.KindOSUp))
	m.ask(host.VerbReboot, func(b *metal3.BareMetalHost) { b.Spec.Online = true })
	m.awaitHold("")
	m.await("up again", func() bool { return len(m.log(fleet.KindOSUp)) == before+1 })

	erased = m.log(fleet.KindErase)
	m.ask(host.VerbRebuild, func(b *metal3.BareMetalHost) { b.Spec.Image = other.spec() })
	m.awaitLed(metal3.StateProvisioned)
	m.awaitUp(other.digest())
	m.holds(other.digest())
	if now := m.log(fleet.KindErase); !slices.Equal(now, erased) {
		t.Errorf("a rebuild erased: %v", now)
	}

	m.ask(host.VerbPowerOff, func(b *metal3.BareMetalHost) { b.Spec.Online = false })
	m.awaitHold("")
	m.await("off", func() bool { return !m.read().Status.PoweredOn })

	m.ask(host.VerbDeleted, func(b *metal3.BareMetalHost) { b.Spec.Image, b.Spec.Online = nil, false })
	m.awaitLed(metal3.StateAvailable)
	if now := m.log(fleet.KindErase); len(now) <= len(erased) {
		t.Error("it was handed out without an erase")
	}

	// What is running is taken over as it is.
	m.ask(host.VerbManage, nil)
	m.awaitHold(host.Manageable)
	m.ask(host.VerbPowerOn, nil)
	m.awaitHold(host.Manageable)
	m.await("declared to be on", func() bool { return m.read().Spec.Online })
	all := m.log()
	m.ask(host.VerbAdopt, func(b *metal3.BareMetalHost) { b.Spec.ExternallyProvisioned = true })
	m.awaitLed(metal3.StateExternallyProvisioned)
	if now := m.log(); !slices.Equal(now, all) {
		t.Errorf("an adoption did something: %v", now[len(all):])
	}
	m.ask(host.VerbUnhold, nil)
	if hr := m.awaitHold(""); !strings.Contains(hr.Status.Node.Error, `"unhold"`) {
		t.Errorf("refused with %q", hr.Status.Node.Error)
	}
}

// A node that rests at manageable, and is deleted: its power is not touched.
func TestLedDelete(t *testing.T) {
	r := newRack(t, 1)
	m := r.machine(0)
	m.node()
	m.awaitHold(host.Enroll)
	m.ask(host.VerbPowerOn, nil)
	m.awaitHold(host.Enroll)
	m.ask(host.VerbManage, nil)
	m.awaitHold(host.Manageable)
	all := m.log()
	m.delete()
	m.awaitGone()
	if now := m.log(); !slices.Equal(now, all) {
		t.Errorf("a deletion did something: %v", now[len(all):])
	}
}

// What fails is told once and waits for the client.
func TestLedFailures(t *testing.T) {
	r := newRack(t, 1)
	m := r.machine(0)
	r.secret(m.secretName(), map[string]string{"username": m.Username, "password": "wrong"})
	m.enrolOnly(func(b *metal3.BareMetalHost) {
		metav1.SetMetaDataAnnotation(&b.ObjectMeta, record.AnnotationNodeUUID, uuid.NewString())
	})
	m.awaitHold(host.Enroll)
	m.ask(host.VerbManage, nil)
	hr := m.awaitHold(host.Enroll)
	rep := m.explain()
	if !strings.HasPrefix(hr.Status.Node.Error, "bmc-auth: ") || m.read().Status.ErrorType != metal3.RegistrationError || rep.Code != "bmc-auth" ||
		!strings.Contains(rep.WaitsFor, "REST client") || !rep.NextAt.IsZero() {
		t.Errorf("error %+v, explained by %+v", hr.Status.Node, rep)
	}
	m.setCredentials(map[string]string{"username": m.Username, "password": m.Password})
	m.ask(host.VerbManage, nil)
	if hr := m.awaitHold(host.Manageable); hr.Status.Node.Error != "" {
		t.Errorf("an error that is over: %q", hr.Status.Node.Error)
	}

	m.SetFaults(fleet.Faults{Silent: true})
	m.ask(host.VerbInspect, nil)
	m.await("waiting for its agent", func() bool { return len(m.log(fleet.KindStuck)) > 0 })
	m.ask(host.VerbAbort, nil)
	if hr := m.awaitHold(host.InspectFailed); !strings.Contains(hr.Status.Node.Error, "aborted") {
		t.Errorf("aborted: %+v", hr.Status.Node)
	}
	m.SetFaults(fleet.Faults{})
	m.ask(host.VerbInspect, nil)
	m.awaitHold(host.Manageable)
}

// A node without a machine does at once what it is asked for.
func TestLedFake(t *testing.T) {
	r := newRack(t, 1)
	m := r.machine(0)
	m.enrolOnly(func(b *metal3.BareMetalHost) {
		b.Spec.BMC, b.Spec.BootMACAddress = metal3.BMCDetails{}, ""
		b.Annotations = map[string]string{record.AnnotationNodeUUID: uuid.NewString(), record.AnnotationDriver: record.DriverFake}
	})
	m.awaitHold(host.Enroll)
	for _, step := range []struct{ verb, hold string }{
		{host.VerbManage, host.Manageable},
		{host.VerbProvide, host.NodeAvailable},
		{host.VerbActive, host.Active},
		{host.VerbRescue, host.Rescue},
		{host.VerbUnrescue, host.Active},
		{host.VerbDeleted, host.NodeAvailable},
	} {
		m.ask(step.verb, nil)
		m.awaitHold(step.hold)
	}
	m.ask(host.VerbPowerOn, nil)
	if hr := m.awaitHold(host.NodeAvailable); hr.Status.Node.Power != host.VerbPowerOn {
		t.Errorf("power %q", hr.Status.Node.Power)
	}
	m.delete()
	m.awaitGone()
}
