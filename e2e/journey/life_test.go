package journey_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/pkg/lab/fleet"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// provisioned enrols a machine and waits until it runs its image.
func (r *rack) provisioned(i int, os image) *machine {
	r.t.Helper()
	m := r.machine(i)
	m.enrol(func(b *metal3.BareMetalHost) { b.Spec.Image = os.spec() })
	m.awaitProvisioned(os)
	return m
}

// barrier takes another machine all the way: time enough for whatever should not
// happen.
func (r *rack) barrier(i int, os image) { r.t.Helper(); r.provisioned(i, os) }

// A dead BMC does not hold an object for ever.
func TestDeleteWithDeadBMC(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		state metal3.ProvisioningState
	}{{"available", metal3.StateAvailable}, {"provisioned", metal3.StateProvisioned}} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRack(t, 1)
			os := r.image("os.raw", small)
			m := r.machine(0)
			m.enrol(func(b *metal3.BareMetalHost) {
				if tc.state == metal3.StateProvisioned {
					b.Spec.Image = os.spec()
				}
			})
			m.awaitState(tc.state)
			before := m.disks()
			m.BMC().SetFaults(simbmc.Faults{Refuse: true})
			m.delete()
			m.await("in trouble", func() bool {
				text, code := m.r.cli("explain", m.host)
				return code != 0 || strings.Contains(text, "bmc-")
			})
			m.awaitGone()
			m.unchanged(before)
		})
	}
}

func TestPause(t *testing.T) {
	r := newRack(t, 2)
	os := r.image("os.raw", small)
	m := r.machine(0)
	m.enrol()
	m.awaitState(metal3.StateAvailable)
	m.annotate(metal3.PausedAnnotation, "ann")
	m.await("paused", func() bool { return m.explain().Code == "paused" })
	all := m.log()
	m.provision(os)
	r.barrier(1, os)
	if now := m.log(); !slices.Equal(now, all) {
		t.Errorf("a paused host's machine was touched: %v", now[len(all):])
	}
	if rep := m.explain(); rep.Code != "paused" || len(rep.Do) == 0 || rep.WaitsFor == "" {
		t.Errorf("explain of a paused host: %+v", rep)
	}
	m.unannotate(metal3.PausedAnnotation)
	m.awaitProvisioned(os)
}

func TestDetach(t *testing.T) {
	r := newRack(t, 2)
	os := r.image("os.raw", small)
	m := r.provisioned(0, os)
	m.annotate(metal3.DetachedAnnotation, "")
	m.await("detached", func() bool { return m.read().Status.OperationalStatus == metal3.OperationalStatusDetached })
	if rep := m.explain(); rep.Code != "detached" || len(rep.Do) == 0 {
		t.Errorf("explain of a detached host: %+v", rep)
	}
	m.await("left alone", func() bool { // by a poll that was under way
		n := m.BMC().Stats().Requests
		other := m.read()
		return other.Status.OperationalStatus == metal3.OperationalStatusDetached && n == m.BMC().Stats().Requests
	})
	all := m.log()
	m.change(func(b *metal3.BareMetalHost) { b.Spec.Image, b.Spec.Online = nil, false })
	asked := m.BMC().Stats().Requests
	r.barrier(1, os)
	if now := m.BMC().Stats().Requests; now > asked+4 { // a poll may have been under way
		t.Errorf("a detached host's BMC was asked %d times", now-asked)
	}
	if now := m.log(); !slices.Equal(now, all) {
		t.Errorf("a detached host's machine was touched: %v", now[len(all):])
	}
	m.change(func(b *metal3.BareMetalHost) { b.Spec.Image, b.Spec.Online = os.spec(), true })
	m.unannotate(metal3.DetachedAnnotation)
	m.awaitState(metal3.StateProvisioned)

	// Deleted while it is detached, it keeps its system and its power.
	m.annotate(metal3.DetachedAnnotation, "")
	m.await("detached", func() bool { return m.read().Status.OperationalStatus == metal3.OperationalStatusDetached })
	m.delete()
	m.awaitGone()
	if now := m.log(); !slices.Equal(now, all) || !m.On() {
		t.Errorf("on: %v, done to the machine: %v", m.On(), now[len(all):])
	}
	m.holds(os.digest())
}

func TestRebootAnnotation(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, value, off string }{
		{"soft", "", string(simbmc.GracefulShutdown)},
		{"hard", `{"mode":"hard"}`, string(simbmc.ForceOff)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRack(t, 1)
			os := r.image("os.raw", small)
			m := r.provisioned(0, os)
			power, disks := m.log(simbmc.KindPower), m.disks()
			m.annotate("reboot.metal3.io", tc.value)
			m.await("up again", func() bool {
				b := m.read()
				_, asked := b.Annotations["reboot.metal3.io"]
				return !asked && b.Status.PoweredOn && len(m.log(fleet.KindOSUp)) == 2
			})
			got := m.log(simbmc.KindPower)[len(power):]
			if want := []string{"power " + tc.off, "power " + string(simbmc.PowerOn)}; !slices.Equal(got, want) {
				t.Errorf("power: %v, want %v", got, want)
			}
			m.unchanged(disks)
			m.holds(os.digest())
		})
	}
}

func TestOnline(t *testing.T) {
	t.Parallel()
	for _, p := range []fleet.Protocol{fleet.RedfishHTTP, fleet.IPMI} {
		t.Run(string(p), func(t *testing.T) {
			r := newRack(t, 1, p)
			os := r.image("os.raw", small)
			m := r.provisioned(0, os)
			disks := m.disks()
			if text, code := r.cli("power", "off", m.host, "--wait"); code != 0 {
				t.Fatalf("power off: %d\n%s", code, text)
			}
			if m.On() || m.read().Status.PoweredOn {
				t.Errorf("on: %v, poweredOn: %v", m.On(), m.read().Status.PoweredOn)
			}
			if text, code := r.cli("power", "on", m.host, "--wait"); code != 0 {
				t.Fatalf("power on: %d\n%s", code, text)
			}
			m.await("up again", func() bool { return len(m.log(fleet.KindOSUp)) == 2 })
			m.unchanged(disks)
			if b := m.read(); b.Status.Provisioning.State != metal3.StateProvisioned || !b.Status.PoweredOn {
				t.Errorf("%s, poweredOn %v", b.Status.Provisioning.State, b.Status.PoweredOn)
			}
		})
	}
}

// press switches power past the service, as another user of the BMC.
func (m *machine) press(a simbmc.PowerAction) {
	m.r.t.Helper()
	target := strings.Replace(m.Address, "redfish+http://", "http://", 1) + "/Actions/ComputerSystem.Reset"
	req, err := http.NewRequestWithContext(m.r.ctx, http.MethodPost, target, strings.NewReader(`{"ResetType":"`+string(a)+`"}`))
	if err != nil {
		m.r.t.Fatal(err)
	}
	req.SetBasicAuth(m.Username, m.Password)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		m.r.t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode >= 300 {
		m.r.t.Fatalf("%s: %s", a, res.Status)
	}
}

// Somebody at the front button is put right: the declared power holds.
func TestPowerButton(t *testing.T) {
	r := newRack(t, 1)
	os := r.image("os.raw", small)
	m := r.provisioned(0, os)
	m.press(simbmc.ForceOff)
	m.await("up again", func() bool { return len(m.log(fleet.KindOSUp)) == 2 && m.read().Status.PoweredOn })
}

// A machine with somebody else's system on it is never booted or written.
func TestExternallyProvisioned(t *testing.T) {
	r := newRack(t, 2)
	os := r.image("os.raw", small)
	m := r.machine(0)
	m.enrol(func(b *metal3.BareMetalHost) { b.Spec.ExternallyProvisioned = true })
	m.awaitState(metal3.StateExternallyProvisioned)
	m.await("on", func() bool { return m.On() && m.read().Status.PoweredOn })
	m.annotate("reboot.metal3.io", `{"mode":"hard"}`)
	m.await("rebooted", func() bool {
		_, asked := m.read().Annotations["reboot.metal3.io"]
		return !asked && len(m.log(simbmc.KindPower)) == 3 && m.read().Status.PoweredOn
	})
	r.barrier(1, os)
	m.unchanged(nil)
	if got := m.log(simbmc.KindBoot, fleet.KindAgent); len(got) != 0 {
		t.Errorf("boot actions: %v", got)
	}
	m.delete()
	m.awaitGone()
	m.unchanged(nil)
}

func TestImageChanges(t *testing.T) {
	r := newRack(t, 1)
	one, two := r.image("one.raw", small), r.image("two.raw", small+4096)
	m := r.provisioned(0, one)
	m.provision(two)
	m.await("holding the other image", func() bool { return m.read().Status.Provisioning.Image.URL == two.url })
	m.awaitProvisioned(two)
	var order []string
	for _, e := range m.disks() {
		kind, _, _ := strings.Cut(e, " ")
		if len(order) == 0 || order[len(order)-1] != kind {
			order = append(order, kind)
		}
	}
	want := "erase write-begin write config-drive erase write-begin write config-drive"
	if got := strings.Join(order, " "); got != want {
		t.Errorf("disks: %s, want %s", got, want)
	}
	m.awaitEvent("DeprovisioningStarted", "")
}
