package journey_test

import (
	"strings"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/pkg/lab/fleet"
)

// TestSoftwareRAIDJourney declares arrays for an available host, installs on
// them, and takes them away again with the next cleaning.
func TestSoftwareRAIDJourney(t *testing.T) {
	r := newRack(t, 8)
	os := r.image("os.raw", small)
	m, disks := r.withDisks(2)
	arrays := func(b *metal3.BareMetalHost) int {
		if b.Status.Provisioning.RAID == nil {
			return 0
		}
		return len(b.Status.Provisioning.RAID.SoftwareRAIDVolumes)
	}
	if n := len(m.log(fleet.KindArray)); n > 0 {
		t.Fatalf("%d arrays that nobody declared", n)
	}
	m.change(func(b *metal3.BareMetalHost) {
		b.Spec.RAID = &metal3.RAIDConfig{SoftwareRAIDVolumes: []metal3.SoftwareRAIDVolume{{
			Level: "1", PhysicalDisks: []metal3.RootDeviceHints{{SerialNumber: disks[0].SerialNumber}, {SerialNumber: disks[1].SerialNumber}},
		}}}
	})
	m.await("made of an array", func() bool { return arrays(m.read()) == 1 })
	m.awaitState(metal3.StateAvailable)
	m.awaitEvent("SoftwareRAIDMade", "/dev/md0")
	made := m.log(fleet.KindArray)
	if len(made) != 1 || !strings.HasSuffix(made[0], "of 2 disks") {
		t.Fatalf("arrays %v", made)
	}
	m.provision(os)
	m.awaitProvisioned(os)
	m.wrote(strings.Fields(made[0])[1])

	m.change(func(b *metal3.BareMetalHost) { b.Spec.RAID, b.Spec.Image = nil, nil })
	b := m.awaitState(metal3.StateAvailable)
	if n := len(m.log(fleet.KindArray)); arrays(b) != 0 || n != 1 {
		t.Errorf("%d arrays in the status, %d were made", arrays(b), n)
	}
	// Members are disks like any other again.
	m.provision(os)
	m.awaitProvisioned(os)
	if got := m.log(fleet.KindWriteBegin); len(got) != 2 || strings.Contains(got[1], "-MD") {
		t.Errorf("writes %v", got)
	}
}
