package journey_test

import (
	"strings"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/pkg/lab/fleet"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// update replaces a Secret's data.
func (r *rack) update(s *corev1.Secret, data map[string]string) {
	r.t.Helper()
	if err := shared.Get(r.ctx, client.ObjectKeyFromObject(s), s); err != nil {
		r.t.Fatal(err)
	}
	before := s.DeepCopy()
	s.Data, s.StringData = nil, data
	if err := shared.Patch(r.ctx, s, client.MergeFrom(before)); err != nil {
		r.t.Fatal(err)
	}
}

func (m *machine) setCredentials(data map[string]string) {
	m.r.t.Helper()
	s := &corev1.Secret{}
	s.Namespace, s.Name = m.r.ns, m.secretName()
	m.r.update(s, data)
}

// A wrong password is sent once, so that no account is locked.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	for _, p := range []fleet.Protocol{fleet.RedfishHTTP, fleet.IPMI} {
		t.Run(string(p), func(t *testing.T) {
			r := newRack(t, 2, p)
			m, other := r.machine(0), r.machine(1)
			r.secret(m.secretName(), map[string]string{"username": m.Username, "password": "wrong"})
			m.enrolOnly()
			rep := m.awaitCode("bmc-auth", metal3.RegistrationError)
			if all := strings.Join(rep.Do, "; "); !strings.Contains(all, "Secret "+m.secretName()) {
				t.Errorf("do %q does not name the Secret", all)
			}
			if !strings.Contains(rep.WaitsFor, m.secretName()) {
				t.Errorf("it waits for %q, not for the Secret", rep.WaitsFor)
			}
			asked := m.BMC().Stats()

			// In the time in which another host becomes available, nothing is tried.
			other.enrol()
			other.awaitState(metal3.StateAvailable)
			if now := m.BMC().Stats(); now != asked {
				t.Errorf("the BMC was asked again: %+v, then %+v", asked, now)
			}
			if got := m.log(simbmc.KindAuth); p == fleet.RedfishHTTP && len(got) != 1 {
				t.Errorf("logins that the BMC refused: %v, want 1", got)
			}
			if asked.Logins != 0 {
				t.Errorf("%d sessions were opened", asked.Logins)
			}
			if got := m.log(simbmc.KindPower, simbmc.KindBoot); len(got) != 0 {
				t.Errorf("done to the machine: %v", got)
			}

			m.setCredentials(map[string]string{"username": m.Username, "password": m.Password})
			m.awaitState(metal3.StateAvailable)
			if got := m.log(simbmc.KindAuth); p == fleet.RedfishHTTP && len(got) != 1 {
				t.Errorf("logins that the BMC refused: %v, want 1", got)
			}
		})
	}
}

// A password that changes at the BMC of a host in use harms nobody.
func TestPasswordChangesInUse(t *testing.T) {
	r := newRack(t, 1)
	m := r.machine(0)
	os := r.image("os.raw", small)
	m.enrol(func(b *metal3.BareMetalHost) { b.Spec.Image = os.spec() })
	m.awaitProvisioned(os)
	disks := m.disks()
	m.setCredentials(map[string]string{"username": m.Username, "password": "wrong"})
	m.awaitCode("bmc-auth", metal3.ProvisionedRegistrationError)
	if !m.On() {
		t.Error("the machine was switched off")
	}
	m.setCredentials(map[string]string{"username": m.Username, "password": m.Password})
	m.awaitState(metal3.StateProvisioned)
	m.unchanged(disks)
	m.holds(os.digest())
}

func TestSecretMissing(t *testing.T) {
	r := newRack(t, 1)
	m := r.machine(0)
	m.enrolOnly()
	rep := m.awaitCode("bmc-secret-missing", metal3.RegistrationError)
	if want := "kubectl -n " + r.ns + " create secret generic " + m.secretName(); !strings.Contains(rep.Do[0], want) {
		t.Errorf("do %q, want %q", rep.Do, want)
	}
	r.secret(m.secretName(), map[string]string{"username": m.Username})
	m.await("told about the key", func() bool {
		return strings.Contains(strings.Join(m.explain().Seen, " "), "password")
	})
	m.awaitCode("bmc-secret-missing", metal3.RegistrationError)
	if n := m.BMC().Stats().Requests; n != 0 {
		t.Errorf("%d requests without credentials", n)
	}
	m.setCredentials(map[string]string{"username": m.Username, "password": m.Password})
	m.awaitState(metal3.StateAvailable)
}

func TestNobodyAnswers(t *testing.T) {
	r := newRack(t, 1)
	m := r.machine(0)
	m.enrol(func(b *metal3.BareMetalHost) {
		b.Spec.BMC.Address = "redfish+http://" + closedPort(t) + "/redfish/v1/Systems/1"
	})
	rep := m.awaitCode("bmc-refused", metal3.RegistrationError)
	if !strings.Contains(rep.Next, "try") {
		t.Errorf("next %q", rep.Next)
	}
	m.change(func(b *metal3.BareMetalHost) { b.Spec.BMC.Address = m.Address })
	m.awaitState(metal3.StateAvailable)
}

// A BMC that comes back is found without anybody's help.
func TestBMCComesBack(t *testing.T) {
	r := newRack(t, 1)
	m := r.machine(0)
	m.BMC().SetFaults(simbmc.Faults{Refuse: true})
	m.enrol()
	rep := m.explainAny(metal3.RegistrationError)
	if rep.NextAt.IsZero() {
		t.Errorf("no next try: %+v", rep)
	}
	m.BMC().SetFaults(simbmc.Faults{})
	m.awaitState(metal3.StateAvailable)
}

// What cannot be an address is refused at the door.
func TestAddressSyntax(t *testing.T) {
	r := newRack(t, 1)
	m := r.machine(0)
	for _, tc := range []struct{ address, says string }{
		{"redfsh://10.0.0.1/redfish/v1/Systems/1", "redfish"},
		{"redfish://:secret@", "host"},
	} {
		b := m.object()
		b.Spec.BMC.Address = tc.address
		err := shared.Create(r.ctx, b)
		if err == nil {
			t.Errorf("%s is taken", tc.address)
			continue
		}
		for _, want := range []string{"spec.bmc.address", tc.says} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q lacks %q", tc.address, err, want)
			}
		}
		if strings.Contains(err.Error(), ":secret") {
			t.Errorf("%s: %q shows what may be a password", tc.address, err)
		}
		if tc.says == "redfish" && !strings.Contains(err.Error(), "redfsh") {
			t.Errorf("%q does not show the value", err)
		}
	}
}
