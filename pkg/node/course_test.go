package node

import (
	"slices"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/api/v1alpha1"
)

func TestCourse(t *testing.T) {
	op := func(kind, phase string) *v1alpha1.Operation { return &v1alpha1.Operation{Kind: kind, Phase: phase} }
	boot := &v1alpha1.Boot{ID: "b"}
	for _, tc := range []struct {
		name     string
		state    metal3.ProvisioningState
		problem  metal3.ErrorType
		hold     string
		verb     string
		ask      string // not yet taken up
		op       *v1alpha1.Operation
		boot     *v1alpha1.Boot
		want     ironic.State
		target   ironic.State
		reserved bool
	}{
		{name: "new", want: ironic.Enroll},
		{name: "kubectl's, being looked at", state: "registering", want: ironic.Verifying, target: ironic.Manageable},
		{name: "kubectl's, not let in", state: "registering", problem: metal3.RegistrationError, want: ironic.Enroll},
		{name: "kubectl's, boots", state: "inspecting", op: op("inspect", "off"), want: ironic.Inspecting, target: ironic.Manageable, reserved: true},
		{name: "kubectl's, agent awaited", state: "inspecting", op: op("inspect", "hello"), boot: boot, want: ironic.InspectWait, target: ironic.Manageable},
		{name: "kubectl's, inspection failed", state: "inspecting", problem: metal3.InspectionError, want: ironic.InspectFail, target: ironic.Manageable},
		{name: "kubectl's, cleaned", state: "preparing", op: op("prepare", "clean"), boot: boot, want: ironic.CleanWait, target: ironic.Available},
		{name: "kubectl's, preparation failed", state: "preparing", problem: metal3.PreparationError, want: ironic.CleanFail, target: ironic.Available},
		{name: "available", state: "available", want: ironic.Available},
		{name: "image is fetched", state: "provisioning", op: op("provision", "image"), want: ironic.Deploying, target: ironic.Active, reserved: true},
		{name: "image is written", state: "provisioning", op: op("provision", "write"), boot: boot, want: ironic.DeployWait, target: ironic.Active},
		{name: "deployment failed", state: "provisioning", problem: metal3.ProvisioningError, want: ironic.DeployFail, target: ironic.Active},
		{name: "provisioned", state: "provisioned", want: ironic.Active},
		{name: "provisioned, its BMC does not answer", state: "provisioned", problem: metal3.PowerManagementError, want: ironic.Active},
		{name: "taken as it was", state: "externally provisioned", want: ironic.Active},
		{name: "firmware is changed", state: "provisioned", op: op("service", "change"), want: ironic.Servicing, target: ironic.Active, reserved: true},
		{name: "firmware waits", state: "provisioned", op: op("service", "settle"), want: ironic.ServiceWait, target: ironic.Active},
		{name: "firmware change failed", state: "provisioned", problem: metal3.ServicingError, want: ironic.ServiceFail, target: ironic.Active},
		{name: "image is removed", state: "deprovisioning", op: op("deprovision", "off"), want: ironic.Deleting, target: ironic.Available, reserved: true},
		{name: "disks are erased", state: "deprovisioning", op: op("deprovision", "clean"), boot: boot, want: ironic.CleanWait, target: ironic.Available},
		{name: "removal failed", state: "deprovisioning", problem: metal3.ProvisioningError, want: ironic.Error},
		{name: "let go", state: "powering off before delete", want: ironic.Deleting, target: ironic.Available},

		{name: "born here", state: "registering", hold: "enroll", want: ironic.Enroll},
		{name: "verb asked for", state: "registering", hold: "enroll", ask: "manage", want: ironic.Verifying, target: ironic.Manageable, reserved: true},
		{name: "verb refused", state: "registering", hold: "enroll", ask: "active", want: ironic.Enroll, reserved: true},
		{name: "verified", state: "registering", verb: "manage", want: ironic.Verifying, target: ironic.Manageable, reserved: true},
		{name: "managed", state: "registering", hold: "manageable", want: ironic.Manageable},
		{name: "asked to clean", state: "registering", hold: "manageable", ask: "clean", want: ironic.Cleaning, target: ironic.Manageable, reserved: true},
		{name: "asked to provide", state: "registering", hold: "manageable", ask: "provide", want: ironic.Cleaning, target: ironic.Available, reserved: true},
		{name: "cleaned by hand", state: "preparing", verb: "clean", op: op("prepare", "clean"), boot: boot, want: ironic.CleanWait, target: ironic.Manageable},
		{name: "cleaning failed", state: "preparing", hold: "clean failed", problem: metal3.PreparationError, want: ironic.CleanFail, target: ironic.Available},
		{name: "failed, and asked again", state: "provisioning", hold: "deploy failed", ask: "active", want: ironic.Deploying, target: ironic.Active, reserved: true},
		{name: "adopted", state: "registering", verb: "adopt", want: ironic.Adopting, target: ironic.Active, reserved: true},
		{name: "torn down", state: "deprovisioning", verb: "deleted", want: ironic.Deleting, target: ironic.Available, reserved: true},
		{name: "torn down, erased", state: "preparing", verb: "deleted", op: op("prepare", "clean"), boot: boot, want: ironic.CleanWait, target: ironic.Available},
		{name: "no machine, rescued", state: "unmanaged", hold: "rescue", want: ironic.Rescue},
		{name: "no machine, held", state: "unmanaged", hold: "service hold", want: ironic.ServiceHold, target: ironic.Active},
		{name: "power is no state", state: "registering", hold: "manageable", ask: "power on", want: ironic.Manageable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, r := &metal3.BareMetalHost{}, &v1alpha1.HostRecord{}
			b.Status.Provisioning.State, b.Status.ErrorType = tc.state, tc.problem
			r.Status.Operation, r.Status.Boot = tc.op, tc.boot
			if tc.hold != "" || tc.verb != "" {
				r.Status.Node = &v1alpha1.NodeStatus{Hold: tc.hold, Verb: tc.verb, Asked: 3}
			}
			if tc.ask != "" {
				r.Spec.Ask = &v1alpha1.Ask{N: 4, Verb: tc.ask}
			}
			c := courseOf(&Node{Host: b, Record: r})
			st, target := c.state()
			if st != tc.want || target != tc.target || c.works() != tc.reserved {
				t.Errorf("%q → %q, works %v; want %q → %q, %v", st, target, c.works(), tc.want, tc.target, tc.reserved)
			}
			row, known := RowOf(st)
			if tc.state != "" && tc.state != metal3.StateUnmanaged && (!known || tc.ask == "" && !slices.Contains(row.Host, string(tc.state))) {
				t.Errorf("the table has %q go with %q, not with %q", st, row.Host, tc.state)
			}
		})
	}
}

func TestPower(t *testing.T) {
	w := newWorld(t)
	w.create(ironic.Node{Name: new("n1"), Driver: DriverRedfish, DriverInfo: ironic.Object{"redfish_address": "https://10.0.0.3"}})
	if n := w.node("n1"); n.PowerState != nil {
		t.Errorf("power %v before anybody looked", *n.PowerState)
	}
	w.lives("n1", func(b *metal3.BareMetalHostStatus, r *v1alpha1.HostRecordStatus) {
		b.Provisioning.State, b.LastUpdated, b.PoweredOn = "registering", &metav1Now, true
		r.Node = &v1alpha1.NodeStatus{Hold: "enroll"}
	})
	if n := w.node("n1"); n.PowerState != nil {
		t.Errorf("power %v though nobody was let in", *n.PowerState)
	}
	w.lives("n1", func(_ *metal3.BareMetalHostStatus, r *v1alpha1.HostRecordStatus) {
		r.BMC = &v1alpha1.BMC{SecretVersion: "7"}
	})
	if n := w.node("n1"); n.PowerState == nil || *n.PowerState != ironic.PowerOn {
		t.Errorf("power %v", n.PowerState)
	}
	w.kubectl("n1", func(b *metal3.BareMetalHost) { b.Spec.Online = true })
	n, err := w.store.Ask(t.Context(), w.node("n1"), Asked{Power: ironic.SoftPowerOff, Timeout: 90 * time.Second})
	w.must(err)
	if n.TargetPowerState == nil || *n.TargetPowerState != ironic.PowerOff || n.Reservation == nil {
		t.Errorf("target %v, reservation %v", n.TargetPowerState, n.Reservation)
	}
	if s := w.record("n1").Spec.Ask.TimeoutSeconds; s != 90 {
		t.Errorf("timeout %d s", s)
	}
	if !w.host("n1").Spec.Online {
		t.Error("declared to be off, though it may not follow")
	}
	w.lives("n1", func(_ *metal3.BareMetalHostStatus, r *v1alpha1.HostRecordStatus) { r.Node.Asked = 1 })
	if _, err = w.store.Ask(t.Context(), w.node("n1"), Asked{Power: ironic.Reboot}); err != nil || !w.host("n1").Spec.Online || w.record("n1").Spec.Ask.N != 2 {
		t.Errorf("reboot: %v, %+v", err, w.record("n1").Spec.Ask)
	}
}
