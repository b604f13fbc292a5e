package journey_test

import (
	"slices"
	"strings"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ingot-metal/ingot/pkg/lab/fleet"
)

// withDisks finds and enrols a machine of the rack that has that many disks.
func (r *rack) withDisks(n int, change ...func(*metal3.BareMetalHost)) (*machine, []metal3.Storage) {
	r.t.Helper()
	for i := range r.fleet.Machines() {
		m := r.machine(i)
		m.enrol(change...)
		if disks := m.awaitState(metal3.StateAvailable).Status.HardwareDetails.Storage; len(disks) >= n {
			return m, disks
		}
	}
	r.t.Fatalf("no machine has %d disks", n)
	return nil, nil
}

func TestHintMatchesNothing(t *testing.T) {
	r := newRack(t, 1)
	m := r.machine(0)
	os := r.image("os.raw", small)
	m.enrol(func(b *metal3.BareMetalHost) {
		b.Spec.RootDeviceHints = &metal3.RootDeviceHints{SerialNumber: "NO-SUCH-DISK"}
	})
	hw := m.awaitState(metal3.StateAvailable).Status.HardwareDetails
	before := m.disks()
	m.provision(os)
	rep := m.awaitCode("hint-none", metal3.ProvisioningError)
	all := strings.Join(rep.Seen, "; ")
	for _, d := range hw.Storage {
		if !strings.Contains(all, d.Name) {
			t.Errorf("seen %q does not list %s", all, d.Name)
		}
	}
	m.unchanged(before)

	m.change(func(b *metal3.BareMetalHost) {
		b.Spec.RootDeviceHints = &metal3.RootDeviceHints{SerialNumber: hw.Storage[0].SerialNumber}
	})
	m.awaitProvisioned(os)
	m.wrote(hw.Storage[0].SerialNumber)
}

// wrote fails unless the disk with that serial is the only one that was written.
func (m *machine) wrote(serial string) {
	m.r.t.Helper()
	got := m.log(fleet.KindWriteBegin)
	if len(got) == 0 || slices.ContainsFunc(got, func(s string) bool { return !strings.HasPrefix(s, fleet.KindWriteBegin+" "+serial+" ") }) {
		m.r.t.Errorf("%s: writes %v, want only to %s", m.Name, got, serial)
	}
}

func TestStrictHintMatchesTwo(t *testing.T) {
	r := newRack(t, 8)
	os := r.image("os.raw", small)
	m, disks := r.withDisks(2, func(b *metal3.BareMetalHost) {
		metav1.SetMetaDataAnnotation(&b.ObjectMeta, "ingot.dev/strict-root-device-hints", "true")
		b.Spec.RootDeviceHints = &metal3.RootDeviceHints{Vendor: "Ingot"}
	})
	before := m.disks()
	m.provision(os)
	rep := m.awaitCode("hint-many", metal3.ProvisioningError)
	all := strings.Join(rep.Seen, "; ")
	for _, d := range disks {
		if !strings.Contains(all, d.Name) {
			t.Errorf("seen %q does not list %s", all, d.Name)
		}
	}
	m.unchanged(before)

	want := disks[len(disks)-1] // not the one that would be chosen without hints
	m.change(func(b *metal3.BareMetalHost) { b.Spec.RootDeviceHints.SerialNumber = want.SerialNumber })
	m.awaitProvisioned(os)
	m.wrote(want.SerialNumber)
}

func TestHintMatchesTwo(t *testing.T) {
	r := newRack(t, 8)
	os := r.image("os.raw", small)
	m, disks := r.withDisks(2, func(b *metal3.BareMetalHost) {
		b.Spec.RootDeviceHints = &metal3.RootDeviceHints{Vendor: "Ingot"}
	})
	m.provision(os)
	m.awaitProvisioned(os)
	smallest := slices.MinFunc(disks, func(a, b metal3.Storage) int { return int(a.SizeBytes/1e9 - b.SizeBytes/1e9) })
	m.wrote(smallest.SerialNumber)
	e := m.awaitEvent("DiskChosen", smallest.Name)
	for _, d := range disks {
		if !strings.Contains(e.Message, d.Name) {
			t.Errorf("the event %q does not list %s", e.Message, d.Name)
		}
	}
	if e.Type != corev1.EventTypeWarning {
		t.Errorf("the event is %s, want a warning", e.Type)
	}
}

// The disk that is there is not the one that was inspected: it is neither erased
// nor written before it was looked at.
func TestDiskSwapped(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		clean metal3.AutomatedCleaningMode
		event string
	}{
		{"before cleaning", metal3.CleaningModeMetadata, "PreparationError"},
		{"before writing", metal3.CleaningModeDisabled, "ProvisioningError"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRack(t, 1)
			m := r.machine(0)
			os := r.image("os.raw", small)
			m.SetFaults(fleet.Faults{SwapDisks: true}) // as soon as it was inspected
			m.enrol(func(b *metal3.BareMetalHost) { b.Spec.AutomatedCleaningMode, b.Spec.Image = tc.clean, os.spec() })
			m.awaitEvent(tc.event, "disk-mismatch")
			m.awaitProvisioned(os)
			for _, e := range m.disks() {
				if !strings.Contains(e, "-SWAPPED") {
					t.Errorf("done to a disk that is not there: %s", e)
				}
			}
		})
	}
}
