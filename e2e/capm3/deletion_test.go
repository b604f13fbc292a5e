package capm3

import (
	"errors"
	"strings"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/ingot-metal/ingot/pkg/lab/fleet"
)

// TestDeleteOnline: the table in CAPM3's Delete, and what becomes of the
// machine's power.
func TestDeleteOnline(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name      string
		fastTrack bool
		cleaning  metal3.AutomatedCleaningMode
		noOff     bool
		want      bool
	}{
		{name: "fast track", fastTrack: true, cleaning: metal3.CleaningModeMetadata, want: true},
		{name: "fast track without cleaning", fastTrack: true, cleaning: metal3.CleaningModeDisabled},
		{name: "power off disabled", cleaning: metal3.CleaningModeMetadata, noOff: true, want: true},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := shared.site
			ns := s.namespace(t)
			h := s.enrol(t, shared.rack, ns, func(b *metal3.BareMetalHost) { b.Spec.DisablePowerOff = tc.noOff })
			s.awaitState(t, h, metal3.StateAvailable)
			m := s.newMachine(t, ns, "m1", "c1")
			m.p = &provider{Client: s.capm3.Client, fastTrack: tc.fastTrack}
			m.cleaning = tc.cleaning
			keep(t, "a host", m.associate)
			s.awaitState(t, h, metal3.StateProvisioned)
			m.release(t)
			b := s.await(t, h, "at rest", func(b *metal3.BareMetalHost) bool {
				return b.Status.Provisioning.State == metal3.StateAvailable && b.Status.PoweredOn == tc.want && h.machine.On() == tc.want
			})
			if b.Spec.Online != tc.want || b.Spec.AutomatedCleaningMode != tc.cleaning {
				t.Errorf("online %t, cleaning %s", b.Spec.Online, b.Spec.AutomatedCleaningMode)
			}
			if kept := h.machine.Images()[0] != ""; kept != (tc.cleaning == metal3.CleaningModeDisabled) {
				t.Errorf("the disk still holds the image: %t", kept)
			}
		})
	}
}

// TestDeleteWhileProvisioning: a machine that is deleted before its host is
// provisioned gets rid of it; nothing is written to the disk after that.
func TestDeleteWhileProvisioning(t *testing.T) {
	t.Parallel()
	s := shared.site
	ns := s.namespace(t)
	h := s.enrol(t, shared.rack, ns)
	s.awaitState(t, h, metal3.StateAvailable)
	m := s.newMachine(t, ns, "m1", "c1")
	m.image.URL = shared.image.URL + "/slow/image.raw"
	m.image.Checksum = strings.Repeat("5", 64) // of nothing that the server has already
	keep(t, "a host", m.associate)
	s.awaitState(t, h, metal3.StateProvisioning)
	m.release(t)
	b := s.awaitState(t, h, metal3.StateAvailable)
	if b.Spec.ConsumerRef != nil || b.Status.ErrorMessage != "" {
		t.Errorf("given back, the host is of %v, with error %q", b.Spec.ConsumerRef, b.Status.ErrorMessage)
	}
	if n := len(shared.rack.journal.Entries(h.machine.Name, fleet.KindWriteBegin)); n != 0 {
		t.Errorf("%d writes to its disk", n)
	}
	// It is as good as before.
	next := s.newMachine(t, ns, "m2", "c1")
	keep(t, "the host again", next.associate)
	s.awaitState(t, h, metal3.StateProvisioned)
	next.release(t)
}

// TestDeleteExternallyProvisioned: a host whose disk is none of ours is given
// back once it is off, and its disk is left alone.
func TestDeleteExternallyProvisioned(t *testing.T) {
	t.Parallel()
	s := shared.site
	ns := s.namespace(t)
	h := s.enrol(t, shared.rack, ns, func(b *metal3.BareMetalHost) { b.Spec.ExternallyProvisioned = true })
	s.await(t, h, "externally provisioned and on", func(b *metal3.BareMetalHost) bool {
		return b.Status.Provisioning.State == metal3.StateExternallyProvisioned && b.Status.PoweredOn
	})
	m := s.newMachine(t, ns, "m1", "c1")
	if err := m.associate(t.Context()); !errors.Is(err, errWait) {
		t.Fatalf("CAPM3 chose an externally provisioned host: %v", err)
	}
	// A person did it by hand, as when a cluster is adopted.
	host := s.get(t, h)
	helper := newPatchHelper(m.p, host)
	m.consume(host)
	must(t, helper.patch(t.Context(), host))
	must(t, m.annotate(t.Context(), host))

	if done, err := m.delete(t.Context()); done || !errors.Is(err, errWait) {
		t.Errorf("a host that is on was let go of: %t, %v", done, err)
	}
	m.release(t)
	b := s.get(t, h)
	if b.Spec.ConsumerRef != nil || b.Status.Provisioning.State != metal3.StateExternallyProvisioned || b.Status.PoweredOn || h.machine.On() {
		t.Errorf("given back, the host is %+v", b.Status)
	}
	if n := len(shared.rack.journal.Entries(h.machine.Name, fleet.KindWriteBegin, fleet.KindErase)); n != 0 {
		t.Errorf("%d writes to its disk", n)
	}
}

// TestNodeReuse: the next machine of a set gets the host that the last one had,
// though another is free, and another set's machine does not; in both of the forms
// that CAPM3 has kept a host for its set in.
func TestNodeReuse(t *testing.T) {
	t.Parallel()
	s := shared.site
	ns := s.namespace(t)
	hosts := map[string]hostOf{}
	for range 2 {
		h := s.enrol(t, shared.rack, ns)
		hosts[h.Name] = h
	}
	for _, h := range hosts {
		s.awaitState(t, h, metal3.StateAvailable)
	}
	old := s.newMachine(t, ns, "m1", "c1")
	for i, keepsRef := range []bool{false, true} {
		old.nodeReuse, old.keepsRef = true, keepsRef
		keep(t, "a host", old.associate)
		mine, _, err := old.host(t.Context())
		must(t, err)
		h := hosts[mine.Name]
		s.awaitState(t, h, metal3.StateProvisioned)
		next := s.newMachine(t, ns, []string{"m2", "m3"}[i], "c1")
		old.release(t)
		b := s.get(t, h)
		if b.Labels[labelNodeReuse] != "md-c1" || (b.Spec.ConsumerRef != nil) != keepsRef {
			t.Errorf("given back for the next of its set, the host is of %+v, labelled %v", b.Spec.ConsumerRef, b.Labels)
		}
		other := s.newMachine(t, ns, []string{"o2", "o3"}[i], "c2") // of another set
		if host, _, err := other.choose(t.Context()); err != nil || host == nil || host.Name == h.Name {
			t.Errorf("another set's machine chose %v, %v", host, err)
		}
		keep(t, "the same host again", next.associate)
		if again, _, err := next.host(t.Context()); err != nil || again.Name != h.Name || again.Labels[labelNodeReuse] != "" {
			t.Errorf("the next machine got %v, want %s without the label: %v", again, h.Name, err)
		}
		old = next
	}
	s.awaitState(t, hosts[hostName(t, old)], metal3.StateProvisioned)
	old.nodeReuse = false
	old.release(t)
}

func hostName(t *testing.T, m *machine) string {
	t.Helper()
	host, _, err := m.host(t.Context())
	must(t, err)
	return host.Name
}

func objectMeta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

func mustSelector(t *testing.T, text string) labels.Selector {
	t.Helper()
	s, err := labels.Parse(text)
	must(t, err)
	return s
}
