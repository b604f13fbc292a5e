package record

import (
	"slices"
	"strings"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/host"
)

// Load reads a host from its objects, as after a restart. rec may be nil: a host
// that is new, or whose record was lost.
func Load(b *metal3.BareMetalHost, rec *v1alpha1.HostRecord, w host.Wants) host.Host {
	st := b.Status
	h := host.Host{
		Key:        b.Namespace + "/" + b.Name,
		Wants:      w,
		State:      state(st.Provisioning.State),
		ErrorCount: st.ErrorCount,
		Detached:   st.OperationalStatus == metal3.OperationalStatusDetached,
	}
	if st.LastUpdated != nil {
		h.StateSince = st.LastUpdated.Time
		h.Power = host.PowerOff
		if st.PoweredOn {
			h.Power = host.PowerOn
		}
	}
	h.Health = health(st.Conditions)
	h.Provisioned = deployed(&st.Provisioning.Image, st.Provisioning.CustomDeploy)
	h.RAID, h.SoftRAID = raid(st.Provisioning.RAID), softRAID(st.Provisioning.RAID)
	h.Hints = hintsID(st.Provisioning.RootDeviceHints)
	if Unknown(rec) {
		takeOver(&h, b, rec)
		h.Node = lostNode(b, rec)
		unread(&h)
		return h
	}
	r := rec.Status
	h.Seq, h.Dirty, h.FailCount, h.SecureBoot = r.Seq, r.Dirty, int(r.FailCount), r.SecureBoot
	h.LastTried = fromProvisioned(r.LastTried)
	if r.BMC != nil {
		h.Good, h.GoodAt, h.GoodWith = r.BMC.SecretVersion, r.BMC.Address, r.BMC.Options
	}
	if r.Inventory != nil {
		h.InventoryBoot = r.Inventory.Boot
	}
	h.Media, h.Ramdisk = fromMedia(r.Media), fromRamdisk(r.Ramdisk)
	op := r.Operation
	ongoing := op != nil && belongs(host.OpKind(op.Kind), h.State)
	// An operation that ends by stopping the machine ends the boot: a crash may come
	// when the state alone says so.
	stopped := op != nil && !ongoing && host.Phase(op.Phase) == host.PhaseStop
	if r.Boot != nil && !stopped {
		h.Boot = &host.Boot{ID: r.Boot.ID, Ordered: when(r.Boot.Ordered), Redeemed: r.Boot.Redeemed != nil}
		if h.Boot.Redeemed {
			// In the course of an operation the BareMetalHost is not told of power
			// (saveBMH); where an agent runs, it is on.
			h.Power = host.PowerOn
		}
	}
	if ongoing {
		h.Op = &host.Op{
			Kind: host.OpKind(op.Kind), Phase: host.Phase(op.Phase), StepID: op.StepID, Hard: op.Hard,
			Started: when(op.Started), Since: when(op.PhaseStarted),
			Change: fromChange(op.Change), Made: op.Made,
		}
	}
	if h.State == host.Deprovisioning && h.Op == nil && r.Problem == nil && (r.Node == nil || r.Node.Hold == "" && r.Node.Verb == "") {
		// Written before a crash, without the record of why: a machine that was
		// externally provisioned has somebody's system on it.
		h.Dirty = true
	}
	if p := r.Problem; p != nil && string(st.ErrorType) == p.Type {
		h.Problem = &host.Problem{
			Code: p.Code, Class: host.Wait, Seen: p.Seen, Facts: p.Facts, Type: host.ErrorType(p.Type),
			Since: when(p.Since), NextTry: when(p.NextTry), Attempts: int(p.Attempts),
			Generation: p.Generation, Secret: p.Secret,
		}
		if p.NextTry != nil {
			h.Problem.Class = host.Retry
		}
	}
	h.Node = fromNode(r.Node, h.Problem)
	unread(&h)
	return h
}

// state maps the states that Metal3 no longer writes.
func state(s metal3.ProvisioningState) host.State {
	switch s {
	case metal3.StateReady:
		return host.Available
	case metal3.StateMatchProfile:
		return host.Preparing
	}
	return host.State(s)
}

// belongs reports whether an operation can be under way in a state.
func belongs(k host.OpKind, s host.State) bool {
	switch k {
	case host.OpInspect:
		return s == host.Inspecting
	case host.OpPrepare:
		return s == host.Preparing
	case host.OpProvision:
		return s == host.Provisioning
	case host.OpDeprovision:
		return s == host.Deprovisioning
	case host.OpService:
		return s == host.Provisioned || s == host.ExternallyProvisioned
	}
	return false // not recorded: decided anew
}

// status is what a HostRecord's status says of h; what the life cycle does not
// know is kept from old.
func status(h host.Host, old v1alpha1.HostRecordStatus) v1alpha1.HostRecordStatus {
	r := *old.DeepCopy()
	r.Seq, r.Dirty, r.FailCount, r.SecureBoot = h.Seq, h.Dirty, int32(h.FailCount), h.SecureBoot
	if r.Inventory != nil && h.InventoryBoot == "" {
		r.Inventory.Boot = "" // the disks are others since
	}
	r.LastTried = toProvisioned(h.LastTried)
	r.Media, r.Ramdisk = toMedia(h.Media), toRamdisk(h.Ramdisk)
	r.WaitsFor = clip(h.Waits(), maxWaits)
	if h.Good != "" {
		if r.BMC == nil {
			r.BMC = &v1alpha1.BMC{}
		}
		r.BMC.SecretVersion, r.BMC.Address, r.BMC.Options = h.Good, h.GoodAt, h.GoodWith
	} else if r.BMC != nil {
		r.BMC.SecretVersion, r.BMC.Options = "", "" // the address stays: a pinned key is for it
	}
	switch {
	case h.Boot == nil:
		r.Boot = nil
	case r.Boot == nil || r.Boot.ID != h.Boot.ID:
		r.Boot = &v1alpha1.Boot{ID: h.Boot.ID, Ordered: micro(h.Boot.Ordered)}
	}
	r.Operation = nil
	if op := h.Op; op != nil && belongs(op.Kind, h.State) {
		r.Operation = &v1alpha1.Operation{
			Kind: string(op.Kind), Phase: string(op.Phase), StepID: op.StepID, Hard: op.Hard,
			Started: micro(op.Started), PhaseStarted: micro(op.Since), Until: micro(op.Deadline),
			Change: toChange(op.Change), Made: op.Made,
		}
		if h.Boot != nil && !h.Boot.Redeemed {
			r.WaitsFor = "the machine to start and the agent to call home"
		}
	}
	if h.State == host.Provisioning && (h.Op == nil || h.Op.Phase != host.PhaseRun) || h.State == host.Deprovisioning {
		r.FirstBoot = nil // of an earlier installation
	}
	r.Problem = nil
	if p := h.Problem; p != nil {
		r.Problem = &v1alpha1.Problem{
			Code: p.Code, Type: string(p.Type), Seen: bound(p.Seen), Facts: p.Facts,
			Since: micro(p.Since), NextTry: micro(p.NextTry), Attempts: int32(p.Attempts),
			Generation: p.Generation, Secret: p.Secret,
		}
	}
	r.Node = toNode(h)
	return r
}

// significant leaves of a status what must be written before the host goes on.
// The rest is written along with it: a phase that is entered twice does no harm,
// save those named here.
func significant(s v1alpha1.HostRecordStatus) v1alpha1.HostRecordStatus {
	r := *s.DeepCopy()
	r.Seq = 0
	if r.WaitsFor != host.WaitsForStart { // nothing else says that it waits
		r.WaitsFor = ""
	}
	if b := r.BMC; b != nil {
		b.Session, b.Quirks = "", nil
	}
	if op := r.Operation; op != nil {
		switch host.Phase(op.Phase) {
		case host.PhaseRun, host.PhaseChange, host.PhaseRestart, host.PhaseSettle:
		default:
			op.Phase = ""
		}
		op.PhaseStarted, op.Until, op.Started = nil, nil, nil
	}
	return r
}

// canWait reports whether what changed may be written with what comes next. An
// operation passes through some phases on its way to one that must be recorded;
// after a crash in between, the phase that is stored is entered again, and comes
// to the same: the image lies in the cache, the agent sends its recorded result
// again, the machine is off already. An operation of which nothing is stored is
// decided anew from the host's state, after another look at the BMC.
func canWait(st, stored v1alpha1.HostRecordStatus) bool {
	op, was := st.Operation, stored.Operation
	switch {
	case op == nil || was != nil && (op.Kind != was.Kind || op.Epoch != was.Epoch),
		st.Problem != nil || stored.Problem != nil,
		!equality.Semantic.DeepEqual(st.Node, stored.Node),
		st.Dirty != stored.Dirty || st.FailCount != stored.FailCount,
		st.Boot != nil && !equality.Semantic.DeepEqual(st.Boot, stored.Boot):
		return false
	}
	switch host.Phase(op.Phase) {
	case host.PhaseOff, host.PhaseNetBoot, host.PhaseOrder, host.PhaseDisk, host.PhaseDiskBoot, host.PhasePlan:
		return true
	}
	return false
}

// maxWaits is the schema's limit of waitsFor: a longer one would have the whole
// status refused.
const maxWaits = 1024

// bound keeps evidence small: the record is written often.
func bound(seen []string) []string {
	out := slices.Clone(seen[:min(len(seen), 8)])
	for i, s := range out {
		out[i] = clip(s, 300)
	}
	return out
}

// clip makes s fit for n bytes of JSON. What is no UTF-8 would come back changed
// from the API, and be written again for ever.
func clip(s string, n int) string {
	if s = strings.ToValidUTF8(s, "?"); len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-len("…")], "") + "…"
}

func fromProvisioned(p *v1alpha1.ProvisionedImage) *host.Image {
	if p == nil {
		return nil
	}
	return &host.Image{URL: p.URL, Checksum: p.Checksum, ChecksumType: p.ChecksumType, Format: p.Format, Method: p.Method}
}

func toProvisioned(i *host.Image) *v1alpha1.ProvisionedImage {
	if i == nil {
		return nil
	}
	return &v1alpha1.ProvisionedImage{URL: i.URL, Checksum: i.Checksum, ChecksumType: i.ChecksumType, Format: i.Format, Method: i.Method}
}

func micro(t time.Time) *metav1.MicroTime {
	if t.IsZero() {
		return nil
	}
	m := metav1.NewMicroTime(t.Truncate(time.Microsecond)) // as it is stored
	return &m
}

func when(t *metav1.MicroTime) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}
