//go:build e2e

package clients

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/noauth"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/drivers"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/nodes"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/ports"
	"github.com/gophercloud/gophercloud/v2/openstack/utils"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/pkg/lab/fleet"
)

// within bounds a wait for a state of a pretended machine.
const within = 60 * time.Second

// operator speaks as Metal3's operator does (pkg/provisioner/ironic).
type operator struct {
	*suite
	c    *gophercloud.ServiceClient
	node string // UUID
}

// metal3Operator takes a machine with a real Redfish BMC through what the operator does with one.
func metal3Operator(t *testing.T, p *suite) {
	if p.kube == nil {
		t.Skip("the operator asks for 1.89 at least, and a machine of ours")
	}
	ctx := t.Context()
	c, err := noauth.NewBareMetalNoAuth(noauth.EndpointOpts{IronicEndpoint: p.URL + "/v1/"})
	if err != nil {
		t.Fatal(err)
	}
	o := &operator{suite: p, c: c}
	m := p.machines[0]
	bmc, err := url.Parse(m.Address)
	if err != nil {
		t.Fatal(err)
	}
	img := p.images.Image(1)

	o.step(t, "version", func() error {
		// The operator asks without its own headers: these have to be public.
		v, err := utils.GetSupportedMicroversions(ctx, c)
		if err != nil {
			return err
		}
		if v.MaxMajor != 1 || v.MaxMinor < 89 {
			return fmt.Errorf("it wants 1.89 at least, and is offered 1.%d", v.MaxMinor)
		}
		c.Microversion = fmt.Sprintf("1.%d", min(v.MaxMinor, 110))
		return nil
	})
	o.step(t, "ready: drivers", func() error {
		page, err := drivers.ListDrivers(c, drivers.ListDriversOpts{}).AllPages(ctx)
		if err != nil {
			return err
		}
		all, err := drivers.ExtractDrivers(page)
		if err == nil && len(all) == 0 {
			err = errors.New("no drivers")
		}
		return err
	})
	o.step(t, "no such node", func() error { return wants(http.StatusNotFound, nodes.Get(ctx, c, "default~m3-a").Err) })
	o.step(t, "no such port", func() error {
		all, err := o.ports(ctx, m.MAC)
		if err == nil && len(all) > 0 {
			err = fmt.Errorf("there is one: %v", all)
		}
		return err
	})
	o.step(t, "register", func() error {
		no := false
		n, err := nodes.Create(ctx, c, nodes.CreateOpts{
			Name: "default~m3-a", Driver: "redfish", BootInterface: "ipxe", InspectInterface: "agent", PowerInterface: "redfish",
			ManagementInterface: "redfish", RAIDInterface: "redfish", VendorInterface: "redfish", FirmwareInterface: "redfish",
			AutomatedClean: &no,
			DriverInfo: map[string]any{
				"redfish_address": "http://" + bmc.Host, "redfish_system_id": bmc.Path, "redfish_username": m.Username,
				"redfish_password": m.Password, "redfish_verify_ca": false, "force_persistent_boot_device": "Default",
			},
			Properties: map[string]any{"capabilities": "boot_mode:uefi"},
		}).Extract()
		if err != nil {
			return err
		}
		o.node = n.UUID
		if n.DriverInfo["redfish_password"] != "******" {
			return errors.New("the password is not masked")
		}
		return nil
	})
	if o.node == "" {
		return
	}
	o.step(t, "register: port", func() error {
		yes := true
		_, err := ports.Create(ctx, c, ports.CreateOpts{NodeUUID: o.node, Address: m.MAC, PXEEnabled: &yes}).Extract()
		return err
	})
	o.step(t, "port by address", func() error {
		all, err := o.ports(ctx, m.MAC)
		if err == nil && (len(all) != 1 || all[0].NodeUUID != o.node) {
			err = fmt.Errorf("not the port: %v", all)
		}
		return err
	})
	o.step(t, "node by name", func() error {
		n, err := nodes.Get(ctx, c, "default~m3-a").Extract()
		if err == nil && n.UUID != o.node {
			err = errors.New("another node")
		}
		return err
	})
	o.step(t, "all nodes", func() error {
		page, err := nodes.List(c, nodes.ListOpts{Fields: []string{"uuid", "name", "provision_state", "boot_interface"}}).AllPages(ctx)
		if err != nil {
			return err
		}
		all, err := nodes.ExtractNodes(page)
		if err == nil && (len(all) == 0 || all[0].BootInterface == "") {
			err = fmt.Errorf("not the nodes: %v", all)
		}
		return err
	})
	o.step(t, "it is a BareMetalHost", func() error { return o.hostIs(ctx, metal3.StateRegistering) })
	o.to(t, nodes.ProvisionStateOpts{Target: nodes.TargetManage}, nodes.Manageable)
	o.step(t, "inventory: not yet", func() error { return wants(http.StatusNotFound, nodes.GetInventory(ctx, c, o.node).Err) })
	o.to(t, nodes.ProvisionStateOpts{Target: nodes.TargetInspect}, nodes.Manageable)
	o.step(t, "inventory", func() error {
		data, err := nodes.GetInventory(ctx, c, o.node).Extract()
		if err == nil && len(data.Inventory.Interfaces) == 0 {
			err = errors.New("no interfaces in it")
		}
		return err
	})
	o.step(t, "bios", func() error {
		return nodes.ListBIOSSettings(ctx, c, o.node, nodes.ListBIOSSettingsOpts{Detail: true}).Err
	})
	o.step(t, "firmware", func() error { return nodes.ListFirmware(ctx, c, o.node).Err })
	o.step(t, "raid", func() error {
		size := 100
		return nodes.SetRAIDConfig(ctx, c, o.node, nodes.RAIDConfigOpts{LogicalDisks: []nodes.LogicalDisk{{SizeGB: &size, RAIDLevel: nodes.RAID1}}}).ExtractErr()
	})
	o.step(t, "raid: none after all", func() error {
		_, err := c.Put(ctx, c.ServiceURL("nodes", o.node, "states", "raid"), map[string]any{}, nil, &gophercloud.RequestOpts{OkCodes: []int{204}})
		return err
	})
	o.to(t, nodes.ProvisionStateOpts{Target: nodes.TargetProvide}, nodes.Available)
	o.step(t, "host is available", func() error { return o.hostIs(ctx, metal3.StateAvailable) })
	o.step(t, "subscription", func() error {
		s, err := nodes.CreateSubscription(ctx, c, o.node, nodes.CallVendorPassthruOpts{Method: "create_subscription"}, nodes.CreateSubscriptionOpts{
			Destination: "https://192.0.2.1/events", Context: "c", Protocol: "Redfish", EventTypes: []string{"Alert"},
		}).Extract()
		if err != nil {
			return err
		}
		return nodes.DeleteSubscription(ctx, c, o.node, nodes.CallVendorPassthruOpts{Method: "delete_subscription"}, nodes.DeleteSubscriptionOpts{Id: s.Id}).ExtractErr()
	})
	o.step(t, "instance", func() error {
		_, err := nodes.Update(ctx, c, o.node, nodes.UpdateOpts{
			nodes.UpdateOperation{Op: nodes.AddOp, Path: "/instance_uuid", Value: "7e1f5bc8-0d4f-4a0e-9f0a-000000000001"},
			nodes.UpdateOperation{Op: nodes.AddOp, Path: "/instance_info", Value: map[string]any{
				"image_source": img.URL, "image_os_hash_algo": "sha256", "image_os_hash_value": img.Digest, "image_checksum": img.Digest,
				"image_disk_format": "raw", "capabilities": map[string]any{},
			}},
		}).Extract()
		return err
	})
	o.step(t, "validate", func() error {
		v, err := nodes.Validate(ctx, c, o.node).Extract()
		if err == nil && (!v.Boot.Result || !v.Deploy.Result || !v.Power.Result) {
			err = fmt.Errorf("boot %v, deploy %v, power %v", v.Boot, v.Deploy, v.Power)
		}
		return err
	})
	o.to(t, nodes.ProvisionStateOpts{Target: nodes.TargetActive, ConfigDrive: nodes.ConfigDrive{
		MetaData: map[string]any{"local-hostname": "m3-a"}, UserData: "#cloud-config\n",
	}}, nodes.Active)
	o.step(t, "host is provisioned", func() error {
		if err := o.hostIs(ctx, metal3.StateProvisioned); err != nil {
			return err
		}
		if ran := m.Images(); len(ran) == 0 {
			return errors.New("no image is on the machine's disk")
		}
		return nil
	})
	o.step(t, "maintenance", func() error {
		return errors.Join(nodes.SetMaintenance(ctx, c, o.node, nodes.MaintenanceOpts{Reason: "operator"}).ExtractErr(),
			nodes.UnsetMaintenance(ctx, c, o.node).ExtractErr())
	})
	o.power(t, m, nodes.PowerOff, false)
	o.power(t, m, nodes.PowerOn, true)
	o.step(t, "virtual media", func() error {
		err := nodes.AttachVirtualMedia(ctx, c, o.node, nodes.AttachVirtualMediaOpts{DeviceType: nodes.VirtualMediaCD, ImageURL: img.URL}).ExtractErr()
		return errors.Join(err, nodes.GetVirtualMedia(ctx, c, o.node).Err,
			nodes.DetachVirtualMedia(ctx, c, o.node, nodes.DetachVirtualMediaOpts{}).ExtractErr())
	})
	o.to(t, nodes.ProvisionStateOpts{Target: nodes.TargetDeleted}, nodes.Available)
	o.step(t, "host is available again", func() error { return o.hostIs(ctx, metal3.StateAvailable) })
	o.step(t, "delete", func() error { return nodes.Delete(ctx, c, o.node).ExtractErr() })
	o.step(t, "it is gone", func() error {
		return eventually(ctx, func() error { return wants(http.StatusNotFound, nodes.Get(ctx, c, o.node).Err) })
	})
}

// ports are those with an address, with the fields that the operator asks for.
func (o *operator) ports(ctx context.Context, mac string) ([]ports.Port, error) {
	page, err := ports.List(o.c, ports.ListOpts{Address: mac, Fields: []string{"node_uuid", "uuid", "address"}}).AllPages(ctx)
	if err != nil {
		return nil, err
	}
	return ports.ExtractPorts(page)
}

// to asks for a verb and waits for where it leads.
func (o *operator) to(t *testing.T, ask nodes.ProvisionStateOpts, state nodes.ProvisionState) {
	t.Helper()
	o.step(t, string(ask.Target), func() error {
		if err := nodes.ChangeProvisionState(t.Context(), o.c, o.node, ask).ExtractErr(); err != nil {
			return err
		}
		return eventually(t.Context(), func() error {
			n, err := nodes.Get(t.Context(), o.c, o.node).Extract()
			if err == nil && (n.ProvisionState != string(state) || n.TargetProvisionState != "") {
				err = fmt.Errorf("%s on its way to %q: %s", n.ProvisionState, n.TargetProvisionState, n.LastError)
			}
			return err
		})
	})
}

func (o *operator) power(t *testing.T, m *fleet.Machine, target nodes.TargetPowerState, on bool) {
	t.Helper()
	o.step(t, string(target), func() error {
		if err := nodes.ChangePowerState(t.Context(), o.c, o.node, nodes.PowerStateOpts{Target: target}).ExtractErr(); err != nil {
			return err
		}
		return eventually(t.Context(), func() error {
			n, err := nodes.Get(t.Context(), o.c, o.node).Extract()
			if err == nil && (n.PowerState != string(target) || m.On() != on) {
				err = fmt.Errorf("REST says %s, the machine is on: %v", n.PowerState, m.On())
			}
			return err
		})
	})
}

// hostIs waits until the BareMetalHost that the node is, is in a state.
func (s *suite) hostIs(ctx context.Context, state metal3.ProvisioningState) error {
	return eventually(ctx, func() error {
		var hosts metal3.BareMetalHostList
		if err := s.kube.List(ctx, &hosts, client.InNamespace("default")); err != nil {
			return err
		}
		for _, h := range hosts.Items {
			if strings.HasPrefix(h.Name, "m3-a") {
				if h.Status.Provisioning.State != state {
					return fmt.Errorf("BareMetalHost %s is %s: %s", h.Name, h.Status.Provisioning.State, h.Status.ErrorMessage)
				}
				return nil
			}
		}
		return fmt.Errorf("no BareMetalHost of the node among %d", len(hosts.Items))
	})
}

// errLate is of a wait that was in vain.
var errLate = errors.New("it did not come")

// eventually waits until there is no error.
func eventually(ctx context.Context, look func() error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		err := look()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w within %s: %w", errLate, within, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// wants is no error if a request was refused with a status.
func wants(status int, err error) error {
	if gophercloud.ResponseCodeIs(err, status) {
		return nil
	}
	if err == nil {
		return fmt.Errorf("it worked, and %d was wanted", status)
	}
	return err
}
