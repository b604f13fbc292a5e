package journey_test

import (
	"strings"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/pkg/lab/fleet"
)

// An agent that dies with half an image on the disk: the disk is cleaned and
// written again. It is the first test because it takes the longest: an agent is
// given time before it counts as lost.
func TestAgentDiesMidWrite(t *testing.T) {
	r := newRack(t, 1)
	m := r.machine(0)
	os := r.image("os.raw", 9<<20) // two chunks
	m.SetFaults(fleet.Faults{DieMidWrite: 1})
	m.enrol(func(b *metal3.BareMetalHost) { b.Spec.Image = os.spec() })
	m.awaitEvent("ProvisioningError", "agent-lost")
	m.awaitProvisioned(os)
	if b := m.log(fleet.KindWriteBegin); len(b) != 2 {
		t.Errorf("writes begun: %v, want 2", b)
	}
	if w := m.log(fleet.KindWrite); len(w) != 1 {
		t.Errorf("writes ended: %v, want 1", w)
	}
	// Between the two the disk was cleaned.
	var order []string
	for _, e := range m.disks() {
		kind, _, _ := strings.Cut(e, " ")
		if len(order) == 0 || order[len(order)-1] != kind {
			order = append(order, kind)
		}
	}
	if got, want := strings.Join(order, " "), "erase write-begin erase write-begin write config-drive"; got != want {
		t.Errorf("disks: %s, want %s", got, want)
	}
}

// A machine that does not get as far as the agent says how far it got, and is
// tried again by itself.
func TestAgentDoesNotCome(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		faults fleet.Faults
		code   string
		seen   string
	}{
		{name: "too little memory", faults: fleet.Faults{MemoryMiB: 128}, code: "boot-ram", seen: "128 MiB"},
		{name: "no network", faults: fleet.Faults{NoNetwork: true}, code: "boot-no-dhcp", seen: "no call from the agent"},
		{name: "never calls home", faults: fleet.Faults{Silent: true}, code: "boot-kernel-no-callhome", seen: "no call from the agent"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRack(t, 1)
			m := r.machine(0)
			os := r.image("os.raw", small)
			m.SetFaults(tc.faults)
			m.enrol(func(b *metal3.BareMetalHost) { b.Spec.Image = os.spec() })
			rep := m.awaitCode(tc.code, metal3.InspectionError)
			if all := strings.Join(rep.Seen, "; "); !strings.Contains(all, tc.seen) {
				t.Errorf("seen %q lacks %q", all, tc.seen)
			}
			m.unchanged(nil)
			m.SetFaults(fleet.Faults{})
			m.awaitProvisioned(os)
		})
	}
}

// Two hosts with one MAC: the second is not booted in the first one's place.
func TestDuplicateMAC(t *testing.T) {
	r := newRack(t, 2)
	first, second := r.machine(0), r.machine(1)
	first.enrol()
	first.awaitState(metal3.StateAvailable)
	second.enrol(func(b *metal3.BareMetalHost) { b.Spec.BootMACAddress = first.MAC })
	rep := second.awaitCode("inspect-duplicate-mac", metal3.InspectionError)
	if all := strings.Join(rep.Seen, "; "); !strings.Contains(all, first.MAC) || !strings.Contains(all, first.host) {
		t.Errorf("seen %q names neither MAC nor host", all)
	}
	if !strings.Contains(strings.Join(rep.Do, "; "), r.ns+"/"+first.host) {
		t.Errorf("do %q does not name the other host", rep.Do)
	}
	second.unchanged(nil)
	if got := second.log(fleet.KindStart); len(got) != 0 {
		t.Errorf("the second machine was started: %v", got)
	}
	if b := first.read(); b.Status.Provisioning.State != metal3.StateAvailable || b.Status.ErrorMessage != "" {
		t.Errorf("the first host is %s, %q", b.Status.Provisioning.State, b.Status.ErrorMessage)
	}

	// The MAC of a host cannot be changed: it is enrolled anew.
	second.delete()
	second.awaitGone()
	second.await("without its Secret, which goes with it", func() bool {
		s := &corev1.Secret{}
		return apierrors.IsNotFound(shared.Get(r.ctx, client.ObjectKey{Namespace: r.ns, Name: second.secretName()}, s))
	})
	second.enrol()
	second.awaitState(metal3.StateAvailable)
}
