package takeover

import (
	"slices"
	"strings"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/lab/fleet"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// left is a host as Metal3 left it (testdata/NAME.yaml), and where it belongs.
type left struct {
	name    string
	off     bool // the machine was
	deleted bool
	want    metal3.ProvisioningState // empty: gone
	status  metal3.OperationalStatus // empty: OK
	// untouched hosts see no write at their BMC, and keep id, image and hardware.
	untouched bool
	written   bool // the image is written, once
	erased    bool
}

func hosts() []left {
	return []left{
		{name: "unmanaged", off: true, want: metal3.StateUnmanaged, status: metal3.OperationalStatusDiscovered, untouched: true},
		{name: "registering", off: true, want: metal3.StateAvailable, erased: true},
		{name: "registering-error", off: true, want: metal3.StateAvailable, erased: true},
		{name: "inspecting", want: metal3.StateAvailable, erased: true},
		{name: "inspecting-error", want: metal3.StateAvailable, erased: true},
		{name: "match-profile", want: metal3.StateAvailable, erased: true},
		{name: "preparing", want: metal3.StateAvailable, erased: true},
		{name: "preparing-error", want: metal3.StateAvailable, erased: true},
		{name: "ready", off: true, want: metal3.StateAvailable, untouched: true},
		{name: "available", off: true, want: metal3.StateAvailable, untouched: true},
		{name: "provisioning", want: metal3.StateProvisioned, written: true},
		{name: "provisioning-error", want: metal3.StateProvisioned, erased: true, written: true},
		{name: "provisioning-delayed", want: metal3.StateProvisioned, written: true},
		{name: "provisioned", want: metal3.StateProvisioned, untouched: true},
		{name: "provisioned-custom-deploy", want: metal3.StateProvisioned, untouched: true},
		{name: "provisioned-registration-error", want: metal3.StateProvisioned, untouched: true},
		{name: "provisioned-power-error", want: metal3.StateProvisioned, untouched: true},
		{name: "servicing", want: metal3.StateProvisioned, untouched: true},
		{name: "moved", want: metal3.StateProvisioned, untouched: true},
		{name: "detached", want: metal3.StateProvisioned, status: metal3.OperationalStatusDetached, untouched: true},
		{name: "external", want: metal3.StateExternallyProvisioned, untouched: true},
		{name: "deprovisioning", want: metal3.StateAvailable, erased: true},
		{name: "deprovisioning-error", want: metal3.StateAvailable, erased: true},
		{name: "powering-off", deleted: true},
		{name: "deleting", off: true, deleted: true, untouched: true},
	}
}

// Every host that Metal3 left is carried on to where it belongs; a machine in use
// sees nothing of it.
func TestTakeover(t *testing.T) {
	all := hosts()
	s := newSite(t, len(all))
	for i, h := range all {
		s.leave(h, s.fleet.Machines()[i])
	}
	for _, m := range s.fleet.Machines() {
		// It finds nothing on its disk, which is all that such a machine does by itself.
		s.await(m.Name+" to have started", func() bool { return !m.On() || len(s.journal.Entries(m.Name, fleet.KindStuck)) > 0 })
	}
	before := map[string]int{}
	for i, h := range all {
		before[h.name] = len(s.log(s.fleet.Machines()[i]))
	}
	s.serve()
	for i, h := range all {
		s.arrives(h)
		t.Run(h.name, func(t *testing.T) {
			m := s.fleet.Machines()[i]
			done := s.log(m)[before[h.name]:]
			s.judge(t, h, m, done)
		})
	}
	// All of them have rested while the slowest went its way: what was not to be
	// touched is asked about once more, at the very end.
	for i, h := range all {
		if done := s.log(s.fleet.Machines()[i])[before[h.name]:]; h.untouched && len(done) > 0 {
			t.Errorf("%s: done to a machine that is not ours to touch: %v", h.name, done)
		}
	}
}

// arrives waits until a host is where it belongs.
func (s *site) arrives(h left) {
	s.t.Helper()
	s.await(h.name+" to be "+string(h.want), func() bool {
		b := &metal3.BareMetalHost{}
		err := s.Get(s.ctx, s.key(h.name), b)
		if h.want == "" {
			return apierrors.IsNotFound(err)
		}
		want := h.status
		if want == "" {
			want = metal3.OperationalStatusOK
		}
		verified := h.name == "unmanaged" || h.name == "detached" || s.verified(h.name)
		return err == nil && b.Status.Provisioning.State == h.want && b.Status.OperationalStatus == want && b.Status.ErrorType == "" && verified
	})
}

// verified reports whether we have logged in to a host's BMC.
func (s *site) verified(name string) bool {
	hr := &v1alpha1.HostRecord{}
	return s.Get(s.ctx, s.key(name), hr) == nil && hr.Status.BMC != nil
}

func (s *site) judge(t *testing.T, h left, m *fleet.Machine, done []string) {
	has := func(kind string) bool {
		return slices.ContainsFunc(done, func(e string) bool { return strings.HasPrefix(e, kind+" ") })
	}
	switch {
	case h.untouched && len(done) > 0:
		t.Errorf("done to its machine: %v", done)
	case has(fleet.KindWrite) != h.written || has(fleet.KindErase) != h.erased:
		t.Errorf("written %v, want %v; erased %v, want %v: %v", has(fleet.KindWrite), h.written, has(fleet.KindErase), h.erased, done)
	}
	if n := m.BMC().Stats().Requests; h.name == "detached" && n > 1 { // the test's own
		t.Errorf("a detached host's BMC was asked %d times", n-1)
	}
	if h.want == "" {
		if m.On() {
			t.Error("a deleted host's machine is on")
		}
		secret := &corev1.Secret{}
		if err := s.Get(s.ctx, s.key(h.name+"-bmc"), secret); err == nil && len(secret.Finalizers) > 0 {
			t.Errorf("its Secret is still claimed: %v", secret.Finalizers)
		}
		hd := &metal3.HardwareData{}
		if err := s.Get(s.ctx, s.key(h.name), hd); err == nil && len(hd.Finalizers) > 0 {
			t.Errorf("its HardwareData is still held: %v", hd.Finalizers)
		}
		return
	}
	b := &metal3.BareMetalHost{}
	if err := s.Get(s.ctx, s.key(h.name), b); err != nil {
		t.Fatal(err)
	}
	was := s.was[h.name]
	if id := b.Status.Provisioning.ID; was.id != "" && id != was.id {
		t.Errorf("provisioning.ID %q, was %q", id, was.id)
	}
	if h.name == "provisioned-custom-deploy" {
		if d := b.Status.Provisioning.CustomDeploy; d == nil || d.Method != "install_coreos" || b.Status.Provisioning.Image.URL != "" {
			t.Errorf("status.provisioning.customDeploy %+v, image %+v", d, b.Status.Provisioning.Image)
		}
	} else if h.want == metal3.StateProvisioned && b.Status.Provisioning.Image.URL != s.image {
		t.Errorf("status.provisioning.image %+v", b.Status.Provisioning.Image)
	}
	if h.untouched && was.hardware && (b.Status.HardwareDetails == nil || b.Status.HardwareDetails.CPU.Model != "Left by Metal3") {
		t.Errorf("status.hardware %+v", b.Status.HardwareDetails)
	}
	if b.Annotations[metal3.StatusAnnotation] != "" {
		t.Error("the status annotation is still there")
	}
	if h.name == "provisioned" {
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(metal3.GroupVersion.WithKind("BareMetalHost"))
		if err := s.Get(s.ctx, s.key(h.name), u); err != nil {
			t.Fatal(err)
		}
		if url, _, _ := unstructured.NestedString(u.Object, "status", "lastAttemptedImage", "url"); url != s.image {
			t.Errorf("status.lastAttemptedImage.url %q", url)
		}
	}
	if h.off == m.On() && h.untouched {
		t.Errorf("the machine is on: %v", m.On())
	}
}

func (s *site) log(m *fleet.Machine) []string {
	var out []string
	for _, e := range s.journal.Entries(m.Name) {
		if e.Kind != simbmc.KindEvent {
			out = append(out, e.Kind+" "+e.Detail)
		}
	}
	return out
}

func (s *site) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: namespace, Name: name}
}
