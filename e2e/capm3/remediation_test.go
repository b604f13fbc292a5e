package capm3

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/pkg/lab/fleet"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// remediation is a Metal3Remediation of the only type, Reboot
// (Metal3RemediationReconciler.reconcileNormal, remediateRebootStrategy).
type remediation struct {
	m     *machine
	uid   string
	phase string
}

// The phases that matter here (capm3:api/v1beta2/metal3remediation_types.go).
const (
	phaseRunning = "Running"
	phaseWaiting = "Waiting"
	phaseFailed  = "Failed"
)

// key is powerOffAnnotation.
func (r *remediation) key() string { return "reboot.metal3.io/metal3-remediation-" + r.uid }

// reconcile does one turn and says whether there is nothing left to do.
func (r *remediation) reconcile(t *testing.T) (done bool) {
	t.Helper()
	host, helper, err := r.m.host(t.Context())
	must(t, err)
	if !host.Spec.Online {
		r.phase = phaseFailed
		return true
	}
	_, requested := host.Annotations[r.key()]
	switch r.phase {
	case "":
		r.phase = phaseRunning
	case phaseRunning:
		if !requested { // SetPowerOffAnnotation
			mode, err := json.Marshal(metal3.RebootAnnotationArguments{Mode: metal3.RebootModeHard})
			must(t, err)
			if string(mode) != `{"mode":"hard","force":false}` {
				t.Errorf("the annotation's value is %s", mode)
			}
			note(host, r.key(), string(mode))
			must(t, helper.patch(t.Context(), host))
			return false
		}
		if !host.Status.PoweredOn {
			// The node gets the out-of-service taint, or is deleted, here.
			r.phase = phaseWaiting
		}
	case phaseWaiting:
		if requested { // RemovePowerOffAnnotation
			delete(host.Annotations, r.key())
			must(t, helper.patch(t.Context(), host))
			return false
		}
		return host.Status.PoweredOn
	}
	return false
}

// TestRemediation: a node that does not answer is switched off hard, which is
// reported at once, stays off until CAPM3 has dealt with its workload, and comes
// back with the same disk.
func TestRemediation(t *testing.T) {
	t.Parallel()
	s := shared.site
	ns := s.namespace(t)
	h := s.enrol(t, shared.rack, ns)
	s.awaitState(t, h, metal3.StateAvailable)
	m := s.newMachine(t, ns, "m1", "c1")
	keep(t, "a host", m.associate)
	s.awaitState(t, h, metal3.StateProvisioned)
	s.await(t, h, "on", func(b *metal3.BareMetalHost) bool { return b.Status.PoweredOn })
	up := func() int { return len(shared.rack.journal.Entries(h.machine.Name, fleet.KindOSUp)) }
	until(t, "the system to be up", func() (bool, error) { return up() == 1, nil }, nothing)
	before := len(shared.rack.touched(h.machine))

	r := &remediation{m: m, uid: "0b6a7fd8-8c6e-4a7b-9d0e-111111111111"}
	var ordered time.Time
	until(t, "the host to be off", func() (bool, error) {
		r.reconcile(t)
		if ordered.IsZero() && s.get(t, h).Annotations[r.key()] != "" {
			ordered = time.Now()
		}
		return r.phase == phaseWaiting, nil
	}, func() string { return fmt.Sprint(s.get(t, h).Status) })
	if took := time.Since(ordered); took > 30*time.Second {
		t.Errorf("poweredOn: false came after %s; CAPM3 asks every 5 s and a workload waits for it", took)
	}
	if h.machine.On() {
		t.Error("status says that the machine is off, and it is on")
	}
	if b := s.get(t, h); b.Status.Provisioning.State != metal3.StateProvisioned || b.Annotations[r.key()] == "" {
		t.Errorf("off, the host is %s with the annotations %v", b.Status.Provisioning.State, b.Annotations)
	}
	until(t, "the remediation to end", func() (bool, error) { return r.reconcile(t), nil }, func() string { return r.phase })
	until(t, "the system to be up again", func() (bool, error) { return up() == 2, nil }, nothing)

	var did []string
	for _, e := range shared.rack.touched(h.machine)[before:] {
		if e.Kind != simbmc.KindBoot {
			did = append(did, e.Kind+" "+e.Detail)
		}
	}
	if !slices.EqualFunc(did, []string{"power ForceOff", "power On"}, strings.EqualFold) {
		t.Errorf("to the machine was done: %q, want one hard power off and one power on", did)
	}

	// A host that a person switched off is not remediated, and stays off.
	b := s.get(t, h)
	off := b.DeepCopy()
	off.Spec.Online = false
	must(t, s.admin.Patch(t.Context(), off, client.MergeFrom(b)))
	r = &remediation{m: m, uid: "0b6a7fd8-8c6e-4a7b-9d0e-222222222222"}
	if !r.reconcile(t) || r.phase != phaseFailed {
		t.Errorf("the remediation of a host with online: false is in phase %q", r.phase)
	}
	s.await(t, h, "off", func(b *metal3.BareMetalHost) bool { return !b.Status.PoweredOn })

	// After the last try CAPM3 marks the host, and nobody takes it again
	// (SetUnhealthyAnnotation).
	host, helper, err := m.host(t.Context())
	must(t, err)
	note(host, annotationUnhealthy, "capm3/UnhealthyNode")
	must(t, helper.patch(t.Context(), host))
	m.release(t)
	s.awaitState(t, h, metal3.StateAvailable)
	if host, _, err := s.newMachine(t, ns, "m2", "c1").choose(t.Context()); err != nil || host != nil {
		t.Errorf("an unhealthy host was chosen: %v, %v", host, err)
	}
}
