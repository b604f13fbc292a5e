package journey_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/agent/transport"
	api "github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/lab/fleet"
)

// stranger says hello for a boot, with a key of its own.
func (m *machine) stranger(bootID, mac string) error {
	m.r.t.Helper()
	ca, _ := pem.Decode([]byte(shared.doors["ca"]))
	if ca == nil {
		m.r.t.Fatal("the doors' authority is no PEM")
	}
	pin := sha256.Sum256(ca.Bytes)
	tr, err := transport.New(shared.doors["https"], hex.EncodeToString(pin[:]), nil)
	if err != nil {
		m.r.t.Fatal(err)
	}
	defer tr.Close()
	_, err = tr.Hello(m.r.ctx, api.Hello{
		Version: api.Version, BootID: bootID, MACs: []string{mac}, MemoryMiB: 4096, Firmware: api.FirmwareUEFI, Build: "stranger",
	})
	return err
}

// Who knows a boot's id, which is public, gets nothing by it once the machine has
// called; but nobody can tell which of the two is the machine. So the boot is over
// for both, the host says so, and a boot made anew goes on.
func TestSecondClaimant(t *testing.T) {
	r := newRack(t, 2)
	m, other := r.machine(0), r.machine(1)
	os := r.image("os.raw", small)
	m.enrol()
	m.awaitState(metal3.StateAvailable)
	hr := &v1alpha1.HostRecord{}
	if err := shared.Get(r.ctx, m.key(), hr); err != nil {
		t.Fatal(err)
	}
	if hr.Status.Boot == nil || hr.Status.Boot.Redeemed == nil {
		t.Fatalf("an available host that is on has no agent: %+v", hr.Status.Boot)
	}
	for _, tc := range []struct{ name, boot, mac string }{
		{"another key", hr.Status.Boot.ID, m.MAC},
		{"another machine", hr.Status.Boot.ID, other.MAC},
		{"a boot that was not ordered", "0123456789abcdef0123456789abcdef", m.MAC},
	} {
		var refusal *transport.Refusal
		if err := m.stranger(tc.boot, tc.mac); !errors.As(err, &refusal) || refusal.Code != api.ErrNotArmed {
			t.Errorf("%s: %v, want the refusal %s", tc.name, err, api.ErrNotArmed)
		}
	}
	m.awaitEvent("BootRefused", "boot-token-spent")
	m.awaitEvent("InspectionError", "boot-token-spent") // the host's problem, for as long as it waits
	if err := shared.Get(r.ctx, m.key(), hr); err != nil || hr.Status.Boot != nil {
		t.Errorf("%v, the boot is still believed: %+v", err, hr.Status.Boot)
	}
	m.provision(os)
	m.awaitProvisioned(os)
}

// Before the machine has called, its boot is not for another machine.
func TestClaimByAnotherMachine(t *testing.T) {
	r := newRack(t, 2)
	m, other := r.machine(0), r.machine(1)
	m.SetFaults(fleet.Faults{Silent: true})
	m.enrol()
	m.await("started", func() bool { return len(m.log(fleet.KindStuck)) > 0 })
	hr := &v1alpha1.HostRecord{}
	if err := shared.Get(r.ctx, m.key(), hr); err != nil || hr.Status.Boot == nil {
		t.Fatalf("%v, boot %+v", err, hr.Status.Boot)
	}
	var refusal *transport.Refusal
	if err := m.stranger(hr.Status.Boot.ID, other.MAC); !errors.As(err, &refusal) || refusal.Code != api.ErrNotArmed {
		t.Errorf("%v, want the refusal %s", err, api.ErrNotArmed)
	}
	m.awaitEvent("BootRefused", "boot-other-mac")
	m.unchanged(nil)
	m.SetFaults(fleet.Faults{})
	m.awaitState(metal3.StateAvailable)
}
