package record

import (
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/pkg/host"
)

// What a BMC is about to be asked is written before it is, its answer before it is
// waited for, and a restart before it happens; a look at what is true costs nothing.
func TestChangesAreRecorded(t *testing.T) {
	w := newWorld(t, readSchemas(t), declared(nil))
	planned := host.Change{What: host.ChangeSettings, Target: "settings Threads", For: "f1"}
	asked := planned
	asked.Op, asked.Reset = `{"kind":"bios"}`, true
	h := host.Host{Key: "rack/w1", State: host.Preparing, Good: "v1", Power: host.PowerOff, Op: &host.Op{Kind: host.OpPrepare}}
	for _, s := range []struct {
		phase  host.Phase
		change *host.Change
		writes bool
	}{
		{host.PhasePlan, nil, false},
		{host.PhaseChange, &planned, true},
		{host.PhaseRestart, &asked, true},
		{host.PhaseSettle, &asked, true},
		{host.PhasePlan, nil, false},
		{host.PhaseChange, &host.Change{What: host.ChangeRAIDDelete, Target: "/Volumes/1", For: "r1"}, true},
	} {
		h.Op.Phase, h.Op.Change = s.phase, s.change
		before := w.objs.HR.ResourceVersion
		w.save(h, Extra{})
		if wrote := w.objs.HR.ResourceVersion != before; wrote != s.writes {
			t.Errorf("%s: the record was written: %t, want %t", s.phase, wrote, s.writes)
		}
		if !s.writes {
			continue
		}
		got := w.restart(host.Wants{}).Op
		if got == nil || got.Phase != s.phase || (got.Change == nil) != (s.change == nil) || got.Change != nil && *got.Change != *s.change {
			t.Errorf("%s: a restart finds %+v", s.phase, got)
		}
	}
}

func TestServicingAndRAIDAreShown(t *testing.T) {
	b := declared(nil)
	w := newWorld(t, readSchemas(t), b)
	h := host.Host{Key: "rack/w1", State: host.ExternallyProvisioned, Good: "v1", Op: &host.Op{Kind: host.OpService, Phase: host.PhaseSettle, Change: &host.Change{What: host.ChangeSettings}}, RAID: "[]"}
	w.save(h, Extra{})
	st := w.objs.BMH.Status
	if st.OperationalStatus != metal3.OperationalStatusServicing {
		t.Errorf("operationalStatus %q", st.OperationalStatus)
	}
	if r := st.Provisioning.RAID; r == nil || r.HardwareRAIDVolumes == nil || len(r.HardwareRAIDVolumes) != 0 {
		t.Errorf("raid %+v", r)
	}
	if got := w.restart(host.Wants{}); got.RAID != "[]" || got.Op == nil || got.Op.Kind != host.OpService {
		t.Errorf("a restart finds RAID %q, %+v", got.RAID, got.Op)
	}
	h.RAID, h.Op = "", nil
	w.save(h, Extra{})
	if st := w.objs.BMH.Status; st.Provisioning.RAID != nil || st.OperationalStatus != metal3.OperationalStatusOK {
		t.Errorf("raid %+v, %s", st.Provisioning.RAID, st.OperationalStatus)
	}
}
