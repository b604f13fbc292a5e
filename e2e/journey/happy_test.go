package journey_test

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/lab/fleet"
)

func TestWholeLife(t *testing.T) {
	t.Parallel()
	for _, p := range []fleet.Protocol{fleet.RedfishHTTP, fleet.RedfishTLS, fleet.IPMI} {
		t.Run(string(p), func(t *testing.T) {
			r := newRack(t, 1, p)
			m := r.machine(0)
			os := r.image("os.raw", 9<<20) // two chunks
			r.secret("user-data", map[string]string{"userData": "#cloud-config\nhostname: w1\npassword: a-secret-of-the-user\n"})

			m.enrol(func(b *metal3.BareMetalHost) { b.Spec.UserData = &corev1.SecretReference{Name: "user-data"} })
			b := m.awaitState(metal3.StateAvailable)
			hw := &metal3.HardwareData{}
			if err := shared.Get(r.ctx, m.key(), hw); err != nil {
				t.Fatal(err)
			}
			if hw.Spec.HardwareDetails == nil || b.Status.HardwareDetails == nil || len(hw.Spec.HardwareDetails.Storage) == 0 || hw.Spec.HardwareDetails.NIC[0].MAC != m.MAC {
				t.Errorf("HardwareData %+v, status.hardware %+v", hw.Spec.HardwareDetails, b.Status.HardwareDetails)
			}
			if got := m.log(fleet.KindErase); len(got) != len(hw.Spec.HardwareDetails.Storage) {
				t.Errorf("automated cleaning: %v, want one erase of each of %d disks", got, len(hw.Spec.HardwareDetails.Storage))
			}

			m.provision(os)
			b = m.awaitProvisioned(os)
			checkProvisioned(t, b, os)
			if rep := m.explain(); rep.Code != "" || rep.State != "provisioned" || rep.WaitsFor != "nothing" {
				t.Errorf("explain of a provisioned host: %+v", rep)
			}
			if n := len(m.log(fleet.KindWrite)); n != 1 {
				t.Errorf("%d image writes, want 1", n)
			}
			m.listed(metal3.StateProvisioned)
			for _, want := range [][2]string{
				{"BMCAccessValidated", ""},
				{"Registered", ""},
				{"InspectionStarted", ""},
				{"InspectionComplete", ""},
				{"ProvisioningStarted", ""},
				{"DiskChosen", b.Status.HardwareDetails.Storage[0].Name},
				{"ProvisioningComplete", ""},
			} {
				m.awaitEvent(want[0], want[1])
			}
			r.noSecrets(m.Password, "a-secret-of-the-user")

			m.change(func(b *metal3.BareMetalHost) { b.Spec.Image = nil })
			b = m.awaitState(metal3.StateAvailable)
			if b.Status.Provisioning.Image.URL != "" {
				t.Errorf("an available host shows the image %+v", b.Status.Provisioning.Image)
			}
			if h := b.Status.OperationHistory.Deprovision; h.Start.IsZero() || h.End.IsZero() {
				t.Errorf("operationHistory.deprovision %+v", h)
			}
			if slices.ContainsFunc(m.Images(), func(d string) bool { return d != "" }) {
				t.Errorf("after deprovisioning the disks hold %v", m.Images())
			}
			m.awaitEvent("DeprovisioningComplete", "")

			m.delete()
			m.awaitGone()
			if m.On() {
				t.Error("a deleted host's machine is on")
			}
			m.await("without a claim on its Secret", func() bool {
				s := &corev1.Secret{}
				err := shared.Get(r.ctx, client.ObjectKey{Namespace: r.ns, Name: m.secretName()}, s)
				return apierrors.IsNotFound(err) || err == nil && len(s.Finalizers) == 0
			})
		})
	}
}

func checkProvisioned(t *testing.T, b *metal3.BareMetalHost, os image) {
	t.Helper()
	st := b.Status
	if !st.PoweredOn || st.OperationalStatus != metal3.OperationalStatusOK || st.ErrorMessage != "" || st.ErrorCount != 0 {
		t.Errorf("poweredOn %v, operationalStatus %q, errorMessage %q, errorCount %d", st.PoweredOn, st.OperationalStatus, st.ErrorMessage, st.ErrorCount)
	}
	if i := st.Provisioning.Image; i.URL != os.url || i.Checksum != os.digest() {
		t.Errorf("status.provisioning.image %+v", i)
	}
	if st.GoodCredentials.Version == "" || st.Provisioning.ID == "" {
		t.Errorf("goodCredentials %+v, provisioning.ID %q", st.GoodCredentials, st.Provisioning.ID)
	}
	for _, h := range []metal3.OperationMetric{st.OperationHistory.Register, st.OperationHistory.Inspect, st.OperationHistory.Provision} {
		if h.Start.IsZero() || h.End.IsZero() || h.End.Before(&h.Start) {
			t.Errorf("operationHistory %+v", st.OperationHistory)
		}
	}
	for kind, want := range map[string]metav1.ConditionStatus{
		metal3.ManageableCondition: metav1.ConditionTrue, metal3.ProvisionedCondition: metav1.ConditionTrue,
		metal3.ReadyCondition: metav1.ConditionTrue, metal3.ProgressingCondition: metav1.ConditionFalse,
		metal3.AvailableForProvisioningCondition: metav1.ConditionFalse,
	} {
		if c := apimeta.FindStatusCondition(st.Conditions, kind); c == nil || c.Status != want {
			t.Errorf("condition %s: %+v, want %s", kind, c, want)
		}
	}
}

// listed fails unless `ingot hosts` shows the host in that state.
func (m *machine) listed(s metal3.ProvisioningState) {
	m.r.t.Helper()
	text, code := m.r.cli("hosts", "-o", "json")
	var list metal3.BareMetalHostList
	if err := json.Unmarshal([]byte(text), &list); err != nil || code != 0 {
		m.r.t.Fatalf("hosts: exit code %d, %v\n%s", code, err, text)
	}
	for _, b := range list.Items {
		if b.Name == m.host && b.Status.Provisioning.State == s {
			return
		}
	}
	m.r.t.Errorf("hosts does not show %s as %s:\n%s", m.host, s, text)
}

// noSecrets reads every object of the namespace that is no Secret, as `kubectl
// get -o yaml` would show it.
func (r *rack) noSecrets(secrets ...string) {
	r.t.Helper()
	for _, gvk := range []schema.GroupVersionKind{
		metal3.GroupVersion.WithKind("BareMetalHost"), metal3.GroupVersion.WithKind("HardwareData"),
		v1alpha1.GroupVersion.WithKind("HostRecord"), v1alpha1.GroupVersion.WithKind("HostTimeline"),
		corev1.SchemeGroupVersion.WithKind("Event"), corev1.SchemeGroupVersion.WithKind("ConfigMap"),
	} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(gvk)
		// What tells of a state is written soon after the state.
		if !poll(r.ctx, func() bool {
			return shared.List(r.ctx, list, client.InNamespace(r.ns)) == nil && (len(list.Items) > 0 || gvk.Kind == "ConfigMap")
		}) {
			r.t.Errorf("no %s to look at", gvk.Kind)
		}
		for _, o := range list.Items {
			text, err := json.Marshal(o.Object)
			if err != nil {
				r.t.Fatal(err)
			}
			for _, s := range secrets {
				if strings.Contains(string(text), s) || strings.Contains(string(text), base64.StdEncoding.EncodeToString([]byte(s))) {
					r.t.Errorf("%s %s shows a secret:\n%s", gvk.Kind, o.GetName(), text)
				}
			}
		}
	}
}
