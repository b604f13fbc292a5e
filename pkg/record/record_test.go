package record

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/host"
)

// recorded is what a restart may know of h, whose object said before whether the
// power was on.
func recorded(h host.Host, wasOn bool) host.Host {
	h.StateSince, h.Gone = time.Time{}, false
	switch {
	case h.Op != nil && belongs(h.Op.Kind, h.State):
		op := *h.Op
		op.Entered, op.Deadline = false, time.Time{}
		op.Started, op.Since = op.Started.Truncate(time.Microsecond), op.Since.Truncate(time.Microsecond)
		h.Op, h.Power = &op, host.PowerOff
		if wasOn {
			h.Power = host.PowerOn
		}
	default:
		h.Op = nil
	}
	if h.Agent() {
		h.Power = host.PowerOn // an agent runs in it
	}
	if h.Boot != nil {
		h.Boot = &host.Boot{ID: h.Boot.ID, Ordered: h.Boot.Ordered.Truncate(time.Microsecond), Redeemed: h.Boot.Redeemed}
	}
	if h.Problem != nil {
		p := *h.Problem
		p.Since, p.NextTry, p.Seen = p.Since.Truncate(time.Microsecond), p.NextTry.Truncate(time.Microsecond), bound(p.Seen)
		h.Problem = &p
	}
	if h.Good == "" {
		h.GoodAt, h.GoodWith = "", ""
		if h.Node.Hold != "" {
			h.Power = host.PowerUnknown // its BMC was never asked
		}
	}
	if h.State == host.Deprovisioning && h.Op == nil && h.Problem == nil && h.Node.Hold == "" && h.Node.Verb == "" {
		h.Dirty = true // nobody recorded that there is nothing to erase
	}
	h.Node.Since = h.Node.Since.Truncate(time.Microsecond)
	return h
}

// A random life, written and read back after each step, is the life that was
// lived, as far as it is recorded. No write is refused by the kinds' schemas.
func TestRoundTrip(t *testing.T) {
	s := readSchemas(t)
	for seed := range uint64(15) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t, s, declared(nil))
		before := host.Host{}
		for n := range 8 {
			h := anyHost(r, n)
			x := Extra{Inventory: &v1alpha1.InventoryRef{Digest: "sha256:aa", Boot: h.InventoryBoot}, KeyHash: "k", AgentIP: "10.0.0.9"}
			wasOn := w.objs.BMH.Status.PoweredOn
			w.save(h, x)
			got := w.restart(h.Wants)
			want := recorded(h, wasOn)
			if got.Seq != h.Seq && got.Seq != before.Seq || h.Op != nil && h.Op.StepID != "" && belongs(h.Op.Kind, h.State) && got.Seq != h.Seq {
				t.Fatalf("seed %d, step %d: sequence %d, want %d, or %d if nothing was written", seed, n, got.Seq, h.Seq, before.Seq)
			}
			got.StateSince, want.Seq = time.Time{}, got.Seq
			if got.Good == "" {
				got.GoodAt = ""
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("seed %d, step %d (-lived +loaded):\n%s", seed, n, diff)
			}
			before = got
			if writes := w.save(h, Extra{}); writes != 0 {
				t.Fatalf("seed %d, step %d: %d writes though nothing changed\n%+v", seed, n, writes, h)
			}
		}
	}
}

// What is left of a crash between the two writes belongs to a state that the host
// is no longer in, and is dropped.
func TestRemainsOfACrash(t *testing.T) {
	op := &v1alpha1.Operation{Kind: string(host.OpProvision), Phase: string(host.PhaseWrite), StepID: "b.3"}
	problem := &v1alpha1.Problem{Code: "disk-small", Type: string(host.ProvisioningError)}
	tests := []struct {
		name    string
		state   metal3.ProvisioningState
		err     metal3.ErrorType
		op      bool
		problem bool
	}{
		{name: "both belong", state: metal3.StateProvisioning, err: metal3.ProvisioningError, op: true, problem: true},
		{name: "the state moved on", state: metal3.StateDeprovisioning},
		{name: "the error was cleared", state: metal3.StateProvisioning, op: true},
		{name: "another error came", state: metal3.StateProvisioning, err: metal3.PowerManagementError, op: true},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			b := declared(func(b *metal3.BareMetalHost) {
				b.Status.Provisioning.State, b.Status.ErrorType = tc.state, tc.err
			})
			rec := &v1alpha1.HostRecord{Status: v1alpha1.HostRecordStatus{Operation: op, Problem: problem, Dirty: true}}
			h := Load(b, rec, host.Wants{})
			if (h.Op != nil) != tc.op || (h.Problem != nil) != tc.problem || !h.Dirty {
				t.Errorf("operation %+v, problem %+v, dirty %v", h.Op, h.Problem, h.Dirty)
			}
		})
	}
}

// What happens in the course of an operation is written with the next thing that
// matters; what must survive is written at once.
func TestWhatIsWritten(t *testing.T) {
	s := readSchemas(t)
	base := host.Host{
		Key: "rack/w1", State: host.Provisioning, Power: host.PowerOff, Good: "42", GoodAt: "redfish://10.0.0.3",
		Op:   &host.Op{Kind: host.OpProvision, Phase: host.PhaseOff, Started: time.Unix(1, 0)},
		Boot: &host.Boot{ID: "b1"}, LastTried: &host.Image{URL: "http://i"},
		Wants: host.Wants{SecretName: "s1", SecretVersion: "42"},
	}
	tests := []struct {
		name   string
		change func(*host.Host)
		writes int
	}{
		{name: "nothing", change: func(*host.Host) {}},
		{name: "a later phase", change: func(h *host.Host) { h.Op.Phase, h.Seq = host.PhaseNetBoot, 9 }},
		{name: "power in the course of it", change: func(h *host.Host) { h.Power = host.PowerOn }},
		{name: "how far the boot got", change: func(h *host.Host) { h.Boot.Seen.Kernel = true }},
		{name: "the phase after which the write must not be repeated", change: func(h *host.Host) { h.Op.Phase = host.PhaseRun }, writes: 1},
		{name: "a step that is handed out", change: func(h *host.Host) { h.Op.Phase, h.Op.StepID = host.PhaseWrite, "b1.9" }, writes: 1},
		{name: "dirty", change: func(h *host.Host) { h.Dirty = true }, writes: 1},
		{name: "another boot", change: func(h *host.Host) { h.Boot.ID = "b2" }, writes: 1},
		{name: "a redeemed boot", change: func(h *host.Host) { h.Boot.Redeemed = true }, writes: 1},
		{name: "the end of it", change: func(h *host.Host) { h.Op, h.State = nil, host.Provisioned }, writes: 2},
		{name: "gone", change: func(h *host.Host) { h.State, h.Gone = host.Deleting, true }},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, s, declared(nil))
			h := base
			w.save(h, Extra{})
			op, boot := *base.Op, *base.Boot
			h.Op, h.Boot = &op, &boot
			tc.change(&h)
			if got := w.save(h, Extra{}); got != tc.writes {
				t.Errorf("%d writes, want %d", got, tc.writes)
			}
		})
	}
}

// What waited for the next write is known to this process at once, and written
// with it.
func TestWhatWaitsIsNotLost(t *testing.T) {
	w := newWorld(t, readSchemas(t), declared(nil))
	h := host.Host{
		Key: "rack/w1", State: host.Provisioning, Good: "42", GoodAt: "redfish://10.0.0.3", Boot: &host.Boot{ID: "b1", Redeemed: true},
		Op: &host.Op{Kind: host.OpProvision, Phase: host.PhaseInspect, StepID: "b1.1"}, LastTried: &host.Image{URL: "http://i"},
	}
	w.save(h, Extra{KeyHash: "k"})
	h.Op = &host.Op{Kind: host.OpProvision, Phase: host.PhaseDisk}
	h.InventoryBoot = "b1"
	n := w.save(h, Extra{Inventory: &v1alpha1.InventoryRef{Digest: "sha256:aa", Boot: "b1"}, Manifest: "sha256:bb"})
	if ref := w.objs.HR.Status.Inventory; ref == nil || ref.Digest != "sha256:aa" {
		t.Errorf("after %d writes the inventory is %+v", n, ref)
	}
	h.Op = &host.Op{Kind: host.OpProvision, Phase: host.PhaseWrite, StepID: "b1.2"}
	h.Dirty = true
	if n := w.save(h, Extra{}); n != 1 {
		t.Errorf("handing out a write took %d writes, want 1", n)
	}
	got := w.restart(h.Wants)
	if got.InventoryBoot != "b1" || !got.Dirty || got.Op == nil || got.Op.StepID != "b1.2" {
		t.Errorf("loaded %+v, operation %+v", got, got.Op)
	}
	if i := w.objs.HR.Status.Image; i == nil || i.Digest != "sha256:bb" {
		t.Errorf("image %+v", i)
	}
}

// Fields of a newer Metal3 survive, and required fields are there even when they
// are zero.
func TestMergePatchKeepsWhatItDoesNotKnow(t *testing.T) {
	stored := []byte(`{"status":{"fromTheFuture":{"a":1},"errorMessage":"x","errorType":"inspection error","poweredOn":true,` +
		`"operationalStatus":"error","hardwareProfile":"unknown","provisioning":{"state":"inspecting","ID":"i","image":{"url":""},"alsoNew":2}}}`)
	var b metal3.BareMetalHost
	if err := json.Unmarshal(stored, &b); err != nil {
		t.Fatal(err)
	}
	next := b.Status.DeepCopy()
	next.ErrorMessage, next.ErrorType, next.PoweredOn, next.OperationalStatus = "", "", false, metal3.OperationalStatusOK
	next.Provisioning.State = metal3.StatePreparing
	patch, err := mergePatch(b.Status, *next)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jsonpatch.MergePatch(stored, []byte(`{"status":`+string(patch)+`}`))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]map[string]any
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"fromTheFuture": map[string]any{"a": 1.0}, "errorMessage": "", "poweredOn": false,
		"operationalStatus": "OK", "hardwareProfile": "unknown",
		"provisioning": map[string]any{"state": "preparing", "ID": "i", "image": map[string]any{"url": ""}, "alsoNew": 2.0},
	}
	if diff := cmp.Diff(want, got["status"]); diff != "" {
		t.Errorf("-want +got:\n%s\npatch %s", diff, patch)
	}
}

func TestFirstStatusIsWhole(t *testing.T) {
	w := newWorld(t, readSchemas(t), declared(nil))
	w.save(host.Host{Key: "rack/w1", State: host.Registering}, Extra{})
	st := w.objs.BMH.Status
	if st.Provisioning.ID != id || st.Provisioning.State != metal3.StateRegistering || st.LastUpdated == nil || st.OperationHistory.Register.Start.IsZero() {
		t.Errorf("status %+v", st)
	}
}

// A second owner, whose record is older than what is stored, fails.
func TestSecondOwnerFails(t *testing.T) {
	w := newWorld(t, readSchemas(t), declared(nil))
	h := host.Host{Key: "rack/w1", State: host.Available, Dirty: true}
	stale := Objects{BMH: w.objs.BMH.DeepCopy(), HR: w.objs.HR.DeepCopy()}
	w.save(h, Extra{})
	h.Dirty, h.FailCount = false, 1
	var status apierrors.APIStatus
	if err := w.store.Save(t.Context(), &stale, h, Extra{}); !errors.As(err, &status) || !apierrors.IsConflict(err) {
		t.Errorf("the stale owner got %v, want a conflict", err)
	}
}

func TestEnsureRecord(t *testing.T) {
	t.Run("keeps the id that is shown", func(t *testing.T) {
		const shown = "99999999-2222-4333-8444-555555555555"
		w := newWorld(t, readSchemas(t), declared(func(b *metal3.BareMetalHost) { b.Status.Provisioning.ID = shown }))
		if got := w.objs.HR.Spec.ID; got != shown {
			t.Errorf("id %s, want %s", got, shown)
		}
	})
	t.Run("takes over one that the cache lacks", func(t *testing.T) {
		w := newWorld(t, readSchemas(t), declared(nil))
		o := Objects{BMH: w.objs.BMH}
		if err := w.store.EnsureRecord(t.Context(), &o, "another"); err != nil || o.HR.Spec.ID != id {
			t.Errorf("record %+v, %v", o.HR, err)
		}
	})
	t.Run("waits for an earlier host's to be collected", func(t *testing.T) {
		w := newWorld(t, readSchemas(t), declared(nil))
		o := Objects{BMH: w.objs.BMH.DeepCopy()}
		o.BMH.UID = "u2"
		if err := w.store.EnsureRecord(t.Context(), &o, "another"); err == nil || o.HR != nil {
			t.Errorf("took over the record of another host: %v", err)
		}
	})
}

func TestExtraIsKept(t *testing.T) {
	w := newWorld(t, readSchemas(t), declared(nil))
	h := host.Host{
		Key: "rack/w1", State: host.Inspecting, Good: "42", GoodAt: "redfish://10.0.0.3",
		Boot: &host.Boot{ID: "b1"}, Op: &host.Op{Kind: host.OpInspect, Phase: host.PhaseHello},
	}
	w.save(h, Extra{BMC: &v1alpha1.BMC{Protocol: "redfish", SystemUUID: "u", MACs: []string{"52:54:00:00:00:01"}}, Epoch: 3})
	h.Boot = &host.Boot{ID: "b1", Redeemed: true}
	w.save(h, Extra{KeyHash: "first", AgentIP: "10.0.0.9", Epoch: 3})
	// Another key that comes later changes nothing.
	h.Dirty = true
	w.save(h, Extra{KeyHash: "second", AgentIP: "10.0.0.66", Epoch: 3})
	if n := w.save(h, Extra{FirstBoot: &v1alpha1.FirstBoot{At: metav1.NewMicroTime(w.now), Hostname: "node"}, Epoch: 3}); n != 1 {
		t.Errorf("a first boot took %d writes, want 1", n)
	}
	got := w.objs.HR.Status
	if got.FirstBoot == nil || got.FirstBoot.Hostname != "node" {
		t.Errorf("first boot %+v", got.FirstBoot)
	}
	if got.Boot.KeyHash != "first" || got.Boot.IP != "10.0.0.9" || got.Boot.Level != v1alpha1.TrustLAN {
		t.Errorf("boot %+v", got.Boot)
	}
	if got.BMC.SystemUUID != "u" || got.BMC.SecretVersion != "42" || got.BMC.Address != "redfish://10.0.0.3" {
		t.Errorf("BMC %+v", got.BMC)
	}
	if got.Operation.Epoch != 3 {
		t.Errorf("epoch %d, want 3", got.Operation.Epoch)
	}
}

// Evidence comes from networks: whatever it is, the write is not refused for it.
func TestHostileEvidence(t *testing.T) {
	s := readSchemas(t)
	name := strings.Repeat("s", 5000)
	w := newWorld(t, s, declared(func(b *metal3.BareMetalHost) { b.Spec.BMC.CredentialsName = name }))
	h := host.Host{Key: "rack/w1", State: host.Registering, Wants: host.Wants{SecretName: name, SecretVersion: "1"}}
	h.Problem = &host.Problem{Code: "bmc-auth", Type: host.RegistrationError, Seen: longEvidence()}
	w.save(h, Extra{})
	hr := w.objs.HR.Status
	for _, text := range append([]string{hr.WaitsFor}, hr.Problem.Seen...) {
		if !utf8.ValidString(text) || len(text) > 1024 {
			t.Errorf("text of %d bytes, valid %v", len(text), utf8.ValidString(text))
		}
	}
	for _, c := range w.objs.BMH.Status.Conditions {
		if !utf8.ValidString(c.Message) || len(c.Message) > 1024 {
			t.Errorf("condition %s has a message of %d bytes", c.Type, len(c.Message))
		}
	}
}

func TestConditions(t *testing.T) {
	problem := func(typ host.ErrorType) *host.Problem { return &host.Problem{Code: "bmc-auth", Type: typ} }
	tests := []struct {
		name string
		host host.Host
		want string // Manageable Provisioned Ready Available Progressing
	}{
		{name: "new", host: host.Host{}, want: "False NotManaged, False NotProvisioned, False NotProvisioned, False NotManageableReason, False NotProgressing"},
		{name: "unmanaged", host: host.Host{State: host.Unmanaged}, want: "False NotManaged, False NotProvisioned, False NotProvisioned, False NotManageableReason, False NotProgressing"},
		{name: "registering", host: host.Host{State: host.Registering}, want: "False Registering, False NotProvisioned, False NotProvisioned, False NotManageableReason, True Registering"},
		{name: "wrong password", host: host.Host{State: host.Registering, Problem: problem(host.RegistrationError)}, want: "False RegistrationFailed, False NotProvisioned, False Error, False NotManageableReason, True Registering"},
		{name: "inspecting", host: host.Host{State: host.Inspecting}, want: "True Manageable, False NotProvisioned, False NotProvisioned, False Inspecting, True Inspecting"},
		{name: "preparing", host: host.Host{State: host.Preparing}, want: "True Manageable, False NotProvisioned, False NotProvisioned, False NotAvailable, True Preparing"},
		{name: "available", host: host.Host{State: host.Available}, want: "True Manageable, False NotProvisioned, False NotProvisioned, True Available, False NotProgressing"},
		{name: "available, detached", host: host.Host{State: host.Available, Detached: true}, want: "True Manageable, False NotProvisioned, False Detached, False NotAvailable, False Detached"},
		{name: "available, no power", host: host.Host{State: host.Available, Problem: problem(host.PowerManagementError)}, want: "False PowerFailure, False NotProvisioned, False Error, False NotAvailable, False NotProgressing"},
		{name: "provisioning", host: host.Host{State: host.Provisioning}, want: "True Manageable, False Provisioning, False NotProvisioned, False NotAvailable, True Provisioning"},
		{name: "provisioned", host: host.Host{State: host.Provisioned}, want: "True Manageable, True Provisioned, True Provisioned, False NotAvailable, False NotProgressing"},
		{name: "provisioned, BMC lost", host: host.Host{State: host.Provisioned, Problem: problem(host.ProvisionedRegistrationErr)}, want: "False RegistrationFailed, True Provisioned, False Error, False NotAvailable, False NotProgressing"},
		{name: "externally provisioned", host: host.Host{State: host.ExternallyProvisioned}, want: "True Manageable, True Provisioned, True Provisioned, False NotAvailable, False NotProgressing"},
		{name: "deprovisioning", host: host.Host{State: host.Deprovisioning}, want: "True Manageable, False NotProvisioned, False NotProvisioned, False NotAvailable, True Deprovisioning"},
		{name: "powering off", host: host.Host{State: host.PoweringOffBeforeDelete}, want: "True Manageable, False NotProvisioned, False NotProvisioned, False NotAvailable, True PoweringOffBeforeDelete"},
		{name: "deleting", host: host.Host{State: host.Deleting}, want: "True Manageable, False NotProvisioned, False NotProvisioned, False NotAvailable, True Deleting"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			st := BMHStatus(tc.host, declared(nil), id, time.Unix(1, 0))
			by := map[string]string{}
			for _, c := range st.Conditions {
				by[c.Type] = string(c.Status) + " " + c.Reason
			}
			var got []string
			for _, kind := range []string{
				metal3.ManageableCondition, metal3.ProvisionedCondition, metal3.ReadyCondition,
				metal3.AvailableForProvisioningCondition, metal3.ProgressingCondition,
			} {
				got = append(got, by[kind])
			}
			if got := strings.Join(got, ", "); got != tc.want {
				t.Errorf("\n got %s\nwant %s", got, tc.want)
			}
			if by[metal3.HealthyCondition] != "Unknown Unknown" {
				t.Errorf("health is claimed: %s", by[metal3.HealthyCondition])
			}
		})
	}
}

// A host that is not fine always says so in errorMessage, which Cluster API
// reads.
func TestErrorsAreShown(t *testing.T) {
	for _, typ := range errorTypes() {
		h := host.Host{State: host.Available, Problem: &host.Problem{Code: "no-such-code", Type: typ}, ErrorCount: 2}
		st := BMHStatus(h, declared(nil), id, time.Unix(1, 0))
		if st.ErrorMessage == "" || st.OperationalStatus != metal3.OperationalStatusError || st.ErrorCount != 2 || string(st.ErrorType) != string(typ) {
			t.Errorf("%s: %+v", typ, st)
		}
		h.Problem = nil
		st = BMHStatus(h, declared(func(b *metal3.BareMetalHost) { b.Status = st }), id, time.Unix(2, 0))
		if st.ErrorMessage != "" || st.ErrorType != "" || st.OperationalStatus != metal3.OperationalStatusOK {
			t.Errorf("%s stays: %+v", typ, st)
		}
	}
}

func TestHistory(t *testing.T) {
	b := declared(nil)
	at := func(s int64) metav1.Time { return metav1.NewTime(time.Unix(s, 0)) }
	for i, s := range []host.State{host.Registering, host.Inspecting, host.Inspecting, host.Preparing} {
		b.Status = BMHStatus(host.Host{State: s}, b, id, time.Unix(int64(i+1), 0))
	}
	h := b.Status.OperationHistory
	if h.Register.Start != at(1) || h.Register.End != at(2) || h.Inspect.Start != at(2) || h.Inspect.End != at(4) {
		t.Errorf("history %+v", h)
	}
}

// What the life cycle does not know stays.
func TestOthersFieldsStay(t *testing.T) {
	w := newWorld(t, readSchemas(t), declared(nil))
	hw := &metal3.HardwareDetails{Hostname: "h"}
	h := host.Host{Key: "rack/w1", State: host.Available}
	w.save(h, Extra{Hardware: hw})
	h.State = host.Provisioned
	w.save(h, Extra{})
	b := &metal3.BareMetalHost{}
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(w.objs.BMH), b); err != nil {
		t.Fatal(err)
	}
	if b.Status.HardwareDetails == nil || b.Status.HardwareDetails.Hostname != "h" {
		t.Errorf("hardware %+v", b.Status.HardwareDetails)
	}
}

// The states that are read back are those that the life cycle writes.
func TestOldStates(t *testing.T) {
	for old, want := range map[metal3.ProvisioningState]host.State{
		metal3.StateReady: host.Available, metal3.StateMatchProfile: host.Preparing, metal3.StateNone: host.None,
	} {
		if got := state(old); got != want {
			t.Errorf("%q is read as %q, want %q", old, got, want)
		}
	}
	for _, s := range states() {
		if state(metal3.ProvisioningState(s)) != s {
			t.Errorf("%q changes on the way", s)
		}
	}
}

func BenchmarkSave(b *testing.B) {
	h := host.Host{Key: "rack/w1", State: host.Available, Power: host.PowerOn}
	bmh := declared(nil)
	bmh.Status = BMHStatus(h, bmh, id, time.Unix(1, 0))
	stamp := metav1.NewTime(time.Unix(1, 0))
	bmh.Status.LastUpdated = &stamp
	s := Store{Now: time.Now}
	o := Objects{BMH: bmh, HR: &v1alpha1.HostRecord{Spec: v1alpha1.HostRecordSpec{ID: id}}}
	for b.Loop() {
		// Nothing changed: no client is asked.
		if err := s.Save(b.Context(), &o, h, Extra{}); err != nil {
			b.Fatal(err)
		}
	}
}

// An owner that is none any more changes no status; a spec that somebody changed
// in between is no reason not to, and a lost answer none either.
func TestStatusIsFenced(t *testing.T) {
	w := newWorld(t, readSchemas(t), declared(nil))
	h := host.Host{Key: "rack/w1", State: host.Available, Power: host.PowerOff}
	w.save(h, Extra{})
	stale := Objects{BMH: w.objs.BMH.DeepCopy(), HR: w.objs.HR.DeepCopy()}

	person := w.objs.BMH.DeepCopy()
	person.Spec.Online = !person.Spec.Online
	if err := w.Update(t.Context(), person); err != nil {
		t.Fatal(err)
	}
	h.Power = host.PowerOn
	if n := w.save(h, Extra{}); n != 2 { // the first met the person's version
		t.Errorf("%d writes over a changed spec, want 2", n)
	}
	if w.objs.BMH.Spec.Online != person.Spec.Online || !w.objs.BMH.Status.PoweredOn {
		t.Errorf("online %v, powered on %v", w.objs.BMH.Spec.Online, w.objs.BMH.Status.PoweredOn)
	}

	late := host.Host{Key: "rack/w1", State: host.Provisioned, Power: host.PowerOff}
	if err := w.store.Save(t.Context(), &stale, late, Extra{}); !apierrors.IsConflict(err) {
		t.Errorf("the stale owner got %v, want a conflict", err)
	}
	if got := w.restart(host.Wants{}); got.State != host.Available || got.Power != host.PowerOn {
		t.Errorf("after the stale owner: %s, %s", got.State, got.Power)
	}
}
