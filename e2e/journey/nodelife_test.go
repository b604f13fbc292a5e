package journey_test

import (
	"errors"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/node"
)

// askNode asks a node for something, and tries again while others write.
func (r *rack) askNode(s *node.Store, id string, a node.Asked) *node.Node {
	r.t.Helper()
	for {
		r.see(s)
		n, ok := s.Get(id)
		if !ok {
			r.t.Fatalf("no node %s", id)
		}
		n, err := s.Ask(r.ctx, n, a)
		switch {
		case err == nil:
			return n
		case !errors.Is(err, node.ErrChanged):
			r.t.Fatal(err)
		}
	}
}

// awaitNode waits until a node rests in a state.
func (r *rack) awaitNode(s *node.Store, id string, st ironic.State) *node.Node {
	r.t.Helper()
	var n *node.Node
	if !poll(r.ctx, func() bool {
		r.see(s)
		n, _ = s.Get(id)
		return n != nil && *n.ProvisionState == st && n.Reservation == nil
	}) {
		r.t.Fatalf("%+v is not %s", n, st)
	}
	return n
}

// A machine is led by what the store writes, through all of its life.
func TestNodeLife(t *testing.T) {
	r := newRack(t, 1)
	m := r.machine(0)
	os := r.image("os.raw", small)
	at, err := bmc.ParseAddress(m.Address)
	if err != nil {
		t.Fatal(err)
	}
	s := r.nodes()
	d := ironic.Node{Name: &m.host, Driver: node.DriverRedfish, DriverInfo: ironic.Object{
		"redfish_address": at.BaseURL(), "redfish_system_id": at.System, "redfish_username": m.Username, "redfish_password": m.Password,
		"redfish_verify_ca": !m.Insecure,
	}}
	if at.Protocol == bmc.ProtocolIPMI {
		d.Driver, d.DriverInfo = node.DriverIPMI, ironic.Object{
			"ipmi_address": at.Host, "ipmi_port": float64(at.Port), "ipmi_username": m.Username, "ipmi_password": m.Password,
		}
	}
	n, err := s.Create(r.ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	if n, err = s.SetBootMAC(r.ctx, r.awaitNode(s, n.UUID, ironic.Enroll), m.MAC); err != nil {
		t.Fatal(err)
	}
	r.askNode(s, n.UUID, node.Asked{Verb: ironic.VerbManage})
	n = r.awaitNode(s, n.UUID, ironic.Manageable)
	if n.PowerState == nil || *n.PowerState != ironic.PowerOff || n.LastError != nil {
		t.Errorf("power %v, error %v", n.PowerState, n.LastError)
	}
	r.askNode(s, n.UUID, node.Asked{Verb: ironic.VerbInspect})
	if n = r.awaitNode(s, n.UUID, ironic.Manageable); n.Properties["cpus"] == nil || n.InspectionFinishedAt == nil {
		t.Errorf("%v", n.Properties)
	}
	r.askNode(s, n.UUID, node.Asked{Verb: ironic.VerbClean, Steps: []ironic.Step{{Interface: "deploy", Step: "erase_devices_metadata"}}})
	r.awaitNode(s, n.UUID, ironic.Manageable)
	r.askNode(s, n.UUID, node.Asked{Verb: ironic.VerbProvide})
	r.awaitNode(s, n.UUID, ironic.Available)
	want := os.spec()
	r.patchNode(s, n.UUID, func(d *ironic.Node) {
		d.InstanceInfo = ironic.Object{"image_source": want.URL, "image_os_hash_algo": string(want.ChecksumType), "image_os_hash_value": want.Checksum}
		if want.ChecksumType == "" {
			d.InstanceInfo = ironic.Object{"image_source": want.URL, "image_checksum": want.Checksum}
		}
		if want.DiskFormat != nil {
			d.InstanceInfo["image_disk_format"] = *want.DiskFormat
		}
		d.InstanceUUID = new("11111111-1111-4111-8111-111111111111")
	})
	r.askNode(s, n.UUID, node.Asked{Verb: ironic.VerbActive, ConfigDrive: []byte(`{"meta_data": {"k": "v"}, "user_data": "#cloud-config\n{}\n"}`)})
	n = r.awaitNode(s, n.UUID, ironic.Active)
	m.awaitUp(os.digest())
	if n.InstanceInfo["image_source"] != want.URL || n.InstanceInfo["configdrive"] != ironic.Masked {
		t.Errorf("%v", n.InstanceInfo)
	}
	r.askNode(s, n.UUID, node.Asked{Power: ironic.PowerOff})
	if !poll(r.ctx, func() bool {
		r.see(s)
		n, _ = s.Get(n.UUID)
		return *n.PowerState == ironic.PowerOff && n.TargetPowerState == nil
	}) {
		t.Errorf("power %v", *n.PowerState)
	}
	r.askNode(s, n.UUID, node.Asked{Verb: ironic.VerbDeleted})
	n = r.awaitNode(s, n.UUID, ironic.Available)
	if len(n.InstanceInfo) != 0 || n.InstanceUUID != nil || m.read().Status.Provisioning.State != metal3.StateAvailable {
		t.Errorf("%v", n.InstanceInfo)
	}
	history, err := s.History(r.ctx, n)
	if err != nil || len(history) == 0 {
		t.Errorf("%d entries of history, %v", len(history), err)
	}
}
