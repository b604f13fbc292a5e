package journey_test

import (
	"strings"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/lab/fleet"
)

const pinAnnotation = "ingot.dev/bmc-pin"

// A host is inspected through its BMC, whose key is believed at first use, and
// stays dark until an image is wanted.
func TestFastInspection(t *testing.T) {
	r := newRack(t, 1, fleet.RedfishTLS)
	m := r.machine(0)
	m.credentials()
	b := m.object()
	b.Annotations = map[string]string{pinAnnotation: "first-time"}
	if err := shared.Create(r.ctx, b); err == nil || !strings.Contains(err.Error(), "write first-use") {
		t.Errorf("a wrong annotation: %v", err)
	}
	m.enrolOnly(func(b *metal3.BareMetalHost) {
		b.Annotations = map[string]string{pinAnnotation: "first-use"}
		b.Spec.InspectionMode, b.Spec.AutomatedCleaningMode = "fast", metal3.CleaningModeDisabled
		b.Spec.Online, b.Spec.BMC.DisableCertificateVerification = false, false
	})
	b = m.awaitState(metal3.StateAvailable)
	if hw := b.Status.HardwareDetails; hw == nil || hw.CPU.Count == 0 || hw.RAMMebibytes == 0 {
		t.Errorf("hardware %+v", hw)
	}
	if log := m.log(); strings.Contains(strings.Join(log, "\n"), "power") {
		t.Errorf("the machine was switched: %q", log)
	}
	var st v1alpha1.HostRecordStatus
	m.await("recorded", func() bool { // just after the host
		st = m.record().Status
		return st.BMC != nil && st.Inventory != nil
	})
	pin := st.BMC.SPKI
	if st.Inventory.Boot != "" || !strings.HasPrefix(pin, "sha256:") || st.BMC.Session == "" {
		t.Errorf("recorded: %+v, %+v", st.Inventory, st.BMC)
	}

	os := r.image("os.raw", 1<<20)
	m.change(func(b *metal3.BareMetalHost) { b.Spec.Online = true })
	m.provision(os)
	m.awaitProvisioned(os)

	// Another key than the BMC's is no way to it, and the error says which one is.
	m.annotate(pinAnnotation, "sha256:"+strings.Repeat("ab", 32))
	rep := m.awaitCode("bmc-tls-untrusted", metal3.ProvisionedRegistrationError)
	m.await("no longer pinned by itself", func() bool { return m.record().Status.BMC.SPKI == "" })
	if !strings.Contains(strings.Join(rep.Seen, " "), strings.TrimPrefix(pin, "sha256:")) {
		t.Errorf("seen %q does not tell the key %s", rep.Seen, pin)
	}
	m.annotate(pinAnnotation, pin)
	m.awaitState(metal3.StateProvisioned)
}

func (m *machine) record() *v1alpha1.HostRecord {
	m.r.t.Helper()
	hr := &v1alpha1.HostRecord{}
	if err := shared.Get(m.r.ctx, m.key(), hr); err != nil {
		m.r.t.Fatal(err)
	}
	return hr
}
