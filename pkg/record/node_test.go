package record

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/host"
)

const nodeID = "99999999-2222-4333-8444-555555555555"

// fromREST is a host as the REST door makes it.
func fromREST(b *metal3.BareMetalHost) {
	b.Annotations = map[string]string{AnnotationNodeUUID: nodeID, AnnotationNodeName: "Compute_7~x"}
}

// Whoever makes the record of a node first makes it the same.
func TestBornAtTheRESTDoor(t *testing.T) {
	w := newWorld(t, readSchemas(t), declared(fromREST))
	want := v1alpha1.HostRecordSpec{ID: nodeID, IronicName: "Compute_7~x", Hold: host.Enroll}
	if diff := cmp.Diff(want, w.objs.HR.Spec); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for name, tc := range map[string]struct {
		change func(*metal3.BareMetalHost)
		want   v1alpha1.HostRecordSpec
	}{
		"no UUID": {
			change: func(b *metal3.BareMetalHost) { b.Annotations[AnnotationNodeUUID] = "{" + nodeID + "}" },
			want:   v1alpha1.HostRecordSpec{ID: id},
		},
		"in use, and its record was lost": {
			change: func(b *metal3.BareMetalHost) {
				b.Status.Provisioning.State, b.Status.Provisioning.ID = "provisioned", id
			},
			want: v1alpha1.HostRecordSpec{ID: id, IronicName: "Compute_7~x"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := declared(fromREST)
			tc.change(b)
			if diff := cmp.Diff(tc.want, bornSpec(b, id)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestLoadNode(t *testing.T) {
	asked := &v1alpha1.Ask{N: 4, Verb: host.VerbManage}
	used := func(b *metal3.BareMetalHost) {
		now := metav1.Now()
		b.Status.LastUpdated, b.Status.Provisioning.State = &now, metal3.StateRegistering
	}
	known := v1alpha1.HostRecordStatus{Seq: 3}
	for _, tc := range []struct {
		name   string
		change func(*metal3.BareMetalHost)
		rec    *v1alpha1.HostRecord
		want   host.Node
	}{
		{name: "made with kubectl"},
		{name: "new, its record not made", change: fromREST, want: host.Node{Hold: host.Enroll}},
		{
			name: "new, and asked at once", change: fromREST,
			rec:  &v1alpha1.HostRecord{Spec: v1alpha1.HostRecordSpec{Hold: host.Enroll, Ask: asked}},
			want: host.Node{Hold: host.Enroll},
		},
		{
			name: "its record lost", change: func(b *metal3.BareMetalHost) { fromREST(b); used(b) },
		},
		{
			name: "its status lost", change: used,
			rec:  &v1alpha1.HostRecord{Spec: v1alpha1.HostRecordSpec{Hold: host.CleanFailed, Ask: asked}},
			want: host.Node{Hold: host.CleanFailed, Asked: 4},
		},
		{
			name: "one status written, and asked before the other was", change: func(b *metal3.BareMetalHost) { fromREST(b); used(b) },
			rec:  &v1alpha1.HostRecord{Spec: v1alpha1.HostRecordSpec{Hold: host.Enroll, Ask: asked}},
			want: host.Node{Hold: host.Enroll},
		},
		{
			name: "the same, and switched", change: func(b *metal3.BareMetalHost) { fromREST(b); used(b) },
			rec:  &v1alpha1.HostRecord{Spec: v1alpha1.HostRecordSpec{Hold: host.Enroll, Ask: &v1alpha1.Ask{N: 4, Verb: host.VerbPowerOn}}},
			want: host.Node{Hold: host.Enroll, Asked: 4},
		},
		{
			name: "all statuses lost", rec: &v1alpha1.HostRecord{Spec: v1alpha1.HostRecordSpec{Hold: host.Manageable, Ask: asked}},
			want: host.Node{Hold: host.Manageable, Asked: 4},
		},
		{
			name: "never led", change: used,
			rec: &v1alpha1.HostRecord{Spec: v1alpha1.HostRecordSpec{Ask: asked}, Status: known},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := Load(declared(tc.change), tc.rec, host.Wants{})
			if diff := cmp.Diff(tc.want, h.Node); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if h.Node.Hold != "" && h.Power != host.PowerUnknown {
				t.Errorf("power %q of a machine that nobody has asked", h.Power)
			}
		})
	}
}

func TestNodeWishes(t *testing.T) {
	b := declared(func(b *metal3.BareMetalHost) {
		b.Annotations = map[string]string{AnnotationDriver: DriverFake, AnnotationMaintenance: ""}
	})
	if w := Wants(b, nil); !w.Fake || !w.Maintenance {
		t.Errorf("fake %v, maintenance %v", w.Fake, w.Maintenance)
	}
	b.Annotations = map[string]string{AnnotationDriver: "redfish"}
	if w := Wants(b, nil); w.Fake || w.Maintenance {
		t.Errorf("fake %v, maintenance %v", w.Fake, w.Maintenance)
	}
	rec := &v1alpha1.HostRecord{Spec: v1alpha1.HostRecordSpec{Ask: &v1alpha1.Ask{N: 2, Verb: "clean", Erase: "metadata", Hold: true, Generation: 7}}}
	want := &host.Ask{N: 2, Verb: host.VerbClean, Erase: host.EraseMetadata, Hold: true, Generation: 7}
	if diff := cmp.Diff(want, AskOf(rec)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// spec.hold says where a host rests, and in the course of a verb where it rested
// before: a lost status leaves nobody going on by himself.
func TestHoldInSpec(t *testing.T) {
	w := newWorld(t, readSchemas(t), declared(fromREST))
	h := host.Host{Key: "rack/w1", State: host.Registering, Node: host.Node{Hold: host.Manageable, Asked: 1}}
	hold := func(want string) {
		t.Helper()
		w.save(h, Extra{})
		hr := &v1alpha1.HostRecord{}
		if err := w.Get(t.Context(), client.ObjectKeyFromObject(w.objs.BMH), hr); err != nil {
			t.Fatal(err)
		}
		if hr.Spec.Hold != want {
			t.Errorf("spec.hold %q, want %q", hr.Spec.Hold, want)
		}
	}
	hold(host.Manageable)
	h.State, h.Node = host.Preparing, host.Node{Verb: host.VerbProvide, Asked: 2}
	hold(host.Manageable)
	h.State, h.Node = host.Available, host.Node{Asked: 2}
	hold("")
}

// Ironic's last_error is the message that every door shows, and goes with it.
func TestNodeError(t *testing.T) {
	w := newWorld(t, readSchemas(t), declared(nil))
	p := &host.Problem{Code: "bmc-auth", Class: host.Wait, Type: host.RegistrationError, Seen: []string{"401"}, Since: time.Unix(1_800_000_000, 0)}
	h := host.Host{Key: "rack/w1", State: host.Registering, Problem: p, Node: host.Node{Hold: host.Enroll, Asked: 1}}
	w.save(h, Extra{})
	st := w.objs.HR.Status.Node
	if st == nil || st.Error != Message(p) || w.objs.BMH.Status.ErrorMessage != Message(p) {
		t.Fatalf("last error %+v, want %q", st, Message(p))
	}
	if got := w.restart(h.Wants).Node; got != h.Node {
		t.Errorf("loaded %+v, want %+v", got, h.Node)
	}
	h.Problem = nil
	w.save(h, Extra{})
	if st := w.objs.HR.Status.Node; st.Error != "" || w.objs.BMH.Status.ErrorMessage != "" {
		t.Errorf("an error that is over: %+v", st)
	}
	c := apimeta.FindStatusCondition(w.objs.BMH.Status.Conditions, metal3.ProgressingCondition)
	if c == nil || c.Status != metav1.ConditionFalse {
		t.Errorf("a host that rests is said to go on: %+v", c)
	}
}

// An ask of the door's is taken up beside our own writes, and does not fence them.
func TestHeed(t *testing.T) {
	w := newWorld(t, readSchemas(t), declared(fromREST))
	h := host.Host{Key: "rack/w1", State: host.Registering, Node: host.Node{Hold: host.Enroll}}
	w.save(h, Extra{})
	hr := &v1alpha1.HostRecord{}
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(w.objs.BMH), hr); err != nil {
		t.Fatal(err)
	}
	hr.Spec.Ask = &v1alpha1.Ask{N: 1, Verb: host.VerbManage}
	if err := w.Update(t.Context(), hr); err != nil {
		t.Fatal(err)
	}
	w.objs.Heed(hr)
	if a := AskOf(w.objs.HR); a == nil || a.N != 1 {
		t.Fatalf("ask %+v", a)
	}
	h.Node = host.Node{Verb: host.VerbManage, Asked: 1}
	if writes := w.save(h, Extra{}); writes != 2 { // of the host, which goes on, and of its record
		t.Errorf("%d writes, want 2", writes)
	}
	older := hr.DeepCopy()
	older.ResourceVersion, older.Spec.Ask = "1", nil
	w.objs.Heed(older)
	if AskOf(w.objs.HR) == nil {
		t.Error("an older version was taken up")
	}
}

// The life cycle knows nothing of Ironic's API; its words are Ironic's.
func TestWords(t *testing.T) {
	states := map[string]ironic.State{
		host.Enroll: ironic.Enroll, host.Manageable: ironic.Manageable, host.InspectFailed: ironic.InspectFail, host.CleanFailed: ironic.CleanFail,
		host.AdoptFailed: ironic.AdoptFail, host.DeployFailed: ironic.DeployFail, host.ErrorState: ironic.Error, host.ServiceFailed: ironic.ServiceFail,
		host.NodeAvailable: ironic.Available, host.Active: ironic.Active, host.DeployHold: ironic.DeployHold, host.CleanHold: ironic.CleanHold,
		host.ServiceHold: ironic.ServiceHold, host.Rescue: ironic.Rescue, host.RescueFailed: ironic.RescueFail, host.UnrescueFailed: ironic.UnrescueFail,
	}
	for ours, theirs := range states {
		if ours != string(theirs) {
			t.Errorf("state %q, Ironic's %q", ours, theirs)
		}
	}
	verbs := map[string]ironic.Verb{
		host.VerbManage: ironic.VerbManage, host.VerbInspect: ironic.VerbInspect, host.VerbProvide: ironic.VerbProvide, host.VerbClean: ironic.VerbClean,
		host.VerbAdopt: ironic.VerbAdopt, host.VerbActive: ironic.VerbActive, host.VerbRebuild: ironic.VerbRebuild, host.VerbDeleted: ironic.VerbDeleted,
		host.VerbService: ironic.VerbService, host.VerbRescue: ironic.VerbRescue, host.VerbUnrescue: ironic.VerbUnrescue, host.VerbUnhold: ironic.VerbUnhold,
		host.VerbAbort: ironic.VerbAbort,
	}
	for ours, theirs := range verbs {
		if ours != string(theirs) {
			t.Errorf("verb %q, Ironic's %q", ours, theirs)
		}
	}
	powers := map[string]ironic.Power{
		host.VerbPowerOn: ironic.PowerOn, host.VerbPowerOff: ironic.PowerOff, host.VerbReboot: ironic.Reboot, host.VerbSoftOff: ironic.SoftPowerOff,
		host.VerbSoftReboot: ironic.SoftReboot,
	}
	for ours, theirs := range powers {
		if ours != string(theirs) {
			t.Errorf("power %q, Ironic's %q", ours, theirs)
		}
	}
}

// Where a new node rests may be said along with its UUID; of a real machine only that
// it does not.
func TestBornHold(t *testing.T) {
	tests := []struct {
		name   string
		change func(*metal3.BareMetalHost)
		want   string
	}{
		{name: "nothing said", change: func(*metal3.BareMetalHost) {}, want: host.Enroll},
		{name: "in use", change: func(b *metal3.BareMetalHost) { b.Annotations[AnnotationNodeHold] = "" }, want: ""},
		{name: "enroll", change: func(b *metal3.BareMetalHost) { b.Annotations[AnnotationNodeHold] = "enroll" }, want: host.Enroll},
		{name: "no short cut", change: func(b *metal3.BareMetalHost) { b.Annotations[AnnotationNodeHold] = host.Manageable }, want: host.Enroll},
		{name: "fake", change: func(b *metal3.BareMetalHost) {
			b.Annotations[AnnotationNodeHold], b.Annotations[AnnotationDriver], b.Spec.BMC.Address = host.Active, DriverFake, ""
		}, want: host.Active},
		{name: "no such state", change: func(b *metal3.BareMetalHost) {
			b.Annotations[AnnotationNodeHold], b.Annotations[AnnotationDriver], b.Spec.BMC.Address = "melting", DriverFake, ""
		}, want: host.Enroll},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, readSchemas(t), declared(func(b *metal3.BareMetalHost) { fromREST(b); tt.change(b) }))
			if got := w.objs.HR.Spec.Hold; got != tt.want {
				t.Errorf("hold %q, want %q", got, tt.want)
			}
		})
	}
}
