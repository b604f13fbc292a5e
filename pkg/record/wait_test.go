package record

import (
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/host"
)

// Phases on the way to one that must be recorded cost no write of their own, and
// nothing that came with them is lost.
func TestWhatCanWaitComesWithTheNextWrite(t *testing.T) {
	w := newWorld(t, readSchemas(t), declared(nil))
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	h := host.Host{
		Key: "rack/w1", State: host.Provisioning, Good: "v1", Power: host.PowerOff,
		LastTried: &host.Image{URL: "http://images/a.raw"}, Op: &host.Op{Kind: host.OpProvision},
	}
	ordered := &host.Boot{ID: "b1", Ordered: now}
	redeemed := &host.Boot{ID: "b1", Ordered: now, Redeemed: true}
	steps := []struct {
		phase  host.Phase
		boot   *host.Boot
		stepID string
		dirty  bool
		x      Extra
		writes int // of the HostRecord
	}{
		{phase: host.PhaseImage, writes: 1},
		{phase: host.PhaseOff, x: Extra{Manifest: "sha256:bb"}},
		{phase: host.PhaseNetBoot},
		{phase: host.PhaseOrder},
		{phase: host.PhaseStart, boot: ordered, writes: 1},
		{phase: host.PhaseHello, boot: ordered},
		{phase: host.PhaseInspect, boot: redeemed, stepID: "b1.1", x: Extra{KeyHash: "k"}, writes: 1},
		{phase: host.PhaseDisk, boot: redeemed, x: Extra{Inventory: &v1alpha1.InventoryRef{Digest: "sha256:aa", Boot: "b1"}}},
		{phase: host.PhaseWrite, boot: redeemed, stepID: "b1.2", dirty: true, writes: 1},
		{phase: host.PhaseStop, boot: redeemed, dirty: true, writes: 1}, // the image is not written again
		{phase: host.PhaseDiskBoot, dirty: true},
		{phase: host.PhaseRun, dirty: true, writes: 1},
	}
	for i, s := range steps {
		h.Op.Phase, h.Op.StepID, h.Boot, h.Dirty = s.phase, s.stepID, s.boot, s.dirty
		before := w.objs.HR.ResourceVersion
		w.save(h, s.x)
		if wrote := w.objs.HR.ResourceVersion != before; wrote != (s.writes > 0) {
			t.Errorf("%s: the record was written: %t, want %d writes", s.phase, wrote, s.writes)
		}
		if s.phase == host.PhaseDisk && w.objs.HR.Status.Inventory == nil {
			t.Error("the disk is chosen from an inventory that is not shown yet")
		}
		if i == len(steps)-1 {
			break
		}
		// Whatever was stored last, a restart finds the operation.
		if got := w.stored().Status.Operation; got == nil || got.Kind != string(host.OpProvision) {
			t.Errorf("%s: stored is the operation %+v", s.phase, got)
		}
	}
	st := w.stored().Status
	if st.Inventory == nil || st.Image == nil || st.Image.Digest != "sha256:bb" || st.Boot != nil || !st.Dirty {
		t.Errorf("stored in the end: %+v", st)
	}
}

// What an operation begins with is written with the first thing that must be
// known before it goes on.
func TestTheBeginningOfAnOperationWaits(t *testing.T) {
	w := newWorld(t, readSchemas(t), declared(nil))
	h := host.Host{Key: "rack/w1", State: host.Registering}
	w.save(h, Extra{})
	before := w.objs.HR.ResourceVersion
	h.State, h.Good, h.GoodAt = host.Inspecting, "v1", "redfish://bmc"
	h.Op = &host.Op{Kind: host.OpInspect, Phase: host.PhaseOff}
	w.save(h, Extra{BMC: &v1alpha1.BMC{Protocol: "redfish", SystemUUID: "u"}})
	if w.objs.HR.ResourceVersion != before {
		t.Error("the record was written before there was need")
	}
	h.Op.Phase, h.Boot = host.PhaseStart, &host.Boot{ID: "b1", Ordered: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)}
	w.save(h, Extra{})
	st := w.stored().Status
	if st.Boot == nil || st.Operation == nil || st.BMC == nil || st.BMC.SystemUUID != "u" || st.BMC.SecretVersion != "v1" {
		t.Errorf("stored is %+v", st)
	}
}

// A problem is written at once, whatever phase it came in.
func TestProblemsDoNotWait(t *testing.T) {
	w := newWorld(t, readSchemas(t), declared(nil))
	h := host.Host{Key: "rack/w1", State: host.Provisioning, Op: &host.Op{Kind: host.OpProvision, Phase: host.PhaseImage}}
	w.save(h, Extra{})
	h.Op = &host.Op{Kind: host.OpProvision, Phase: host.PhaseDisk}
	h.Problem = &host.Problem{Code: "disk-no-match", Class: host.Wait, Type: host.ProvisioningError}
	w.save(h, Extra{})
	if p := w.stored().Status.Problem; p == nil || p.Code != "disk-no-match" {
		t.Errorf("stored is the problem %+v", p)
	}
	h.Problem = nil
	w.save(h, Extra{})
	if p := w.stored().Status.Problem; p != nil {
		t.Errorf("a problem that is over is stored: %+v", p)
	}
}

// A write whose answer was lost, or a label, does not stand in the way of the
// writes after it; what another owner wrote does.
func TestALostAnswer(t *testing.T) {
	w := newWorld(t, readSchemas(t), declared(nil))
	h := host.Host{Key: "rack/w1", State: host.Provisioning, Op: &host.Op{Kind: host.OpProvision, Phase: host.PhaseImage}}
	w.lost = true
	if err := w.store.Save(t.Context(), &w.objs, h, Extra{}); err == nil {
		t.Fatal("a lost answer is no error")
	}
	step := func(id string) error {
		h.Op = &host.Op{Kind: host.OpProvision, Phase: host.PhaseWrite, StepID: id}
		return w.store.Save(t.Context(), &w.objs, h, Extra{})
	}
	if err := step("b1.2"); err != nil {
		t.Fatal(err)
	}
	other := w.stored()
	other.Labels["rack"] = "r1"
	if err := w.Update(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if err := step("b1.3"); err != nil {
		t.Fatal(err)
	}
	other = w.stored()
	if op := other.Status.Operation; op == nil || op.StepID != "b1.3" || other.Labels["rack"] != "r1" {
		t.Errorf("stored is the operation %+v", op)
	}
	other.Status.Operation.StepID = "b2.1"
	if err := w.Status().Update(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if err := step("b1.4"); !apierrors.IsConflict(err) {
		t.Errorf("another owner wrote, and the error is %v", err)
	}
	if op := w.stored().Status.Operation; op.StepID != "b2.1" {
		t.Errorf("another owner's record was overwritten: %+v", op)
	}
}

// stored is the record as the API has it.
func (w *world) stored() *v1alpha1.HostRecord {
	w.t.Helper()
	hr := w.objs.HR.DeepCopy()
	if err := w.Get(w.t.Context(), client.ObjectKeyFromObject(hr), hr); err != nil {
		w.t.Fatal(err)
	}
	return hr
}
