// Package tasks is the Go code of docs/reference/rest.md, which a test of pkg/rest
// runs and compares with what the page shows.
package tasks

import (
	"context"
	"fmt"
	"io"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/noauth"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/nodes"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/ports"
	"github.com/gophercloud/gophercloud/v2/pagination"
)

// Run does the tasks at an Ironic. What each asks for has to be done when done
// returns.
func Run(ctx context.Context, endpoint string, out io.Writer, done func(ident string)) error {
	client, err := noauth.NewBareMetalNoAuth(noauth.EndpointOpts{IronicEndpoint: endpoint})
	if err != nil {
		return err
	}
	client.Microversion = "1.95"
	n, err := nodes.Create(ctx, client, nodes.CreateOpts{
		Name: "w1", Driver: "redfish",
		DriverInfo: map[string]any{
			"redfish_address": "https://10.0.0.3", "redfish_system_id": "/redfish/v1/Systems/1",
			"redfish_username": "admin", "redfish_password": "secret",
		},
	}).Extract()
	if err != nil {
		return err
	}
	err = nodes.ListDetail(client, nodes.ListOpts{}).EachPage(ctx, func(_ context.Context, page pagination.Page) (bool, error) {
		list, err := nodes.ExtractNodes(page)
		for _, n := range list {
			fmt.Fprintln(out, n.Name, n.ProvisionState, n.PowerState)
		}
		return err == nil, err
	})
	if err != nil {
		return err
	}
	_, err = ports.Create(ctx, client, ports.CreateOpts{NodeUUID: n.UUID, Address: "52:54:00:12:34:56"}).Extract()
	if err != nil {
		return err
	}
	err = nodes.ChangeProvisionState(ctx, client, n.UUID, nodes.ProvisionStateOpts{Target: nodes.TargetManage}).ExtractErr()
	if err != nil {
		return err
	}
	done(n.UUID)
	err = nodes.ChangeProvisionState(ctx, client, n.UUID, nodes.ProvisionStateOpts{Target: nodes.TargetProvide}).ExtractErr()
	if err != nil {
		return err
	}
	done(n.UUID)
	if err := inUse(ctx, client, n, out, done); err != nil {
		return err
	}
	err = nodes.ChangeProvisionState(ctx, client, n.UUID, nodes.ProvisionStateOpts{Target: nodes.TargetDeleted}).ExtractErr()
	if err != nil {
		return err
	}
	done(n.UUID)
	err = nodes.Delete(ctx, client, n.UUID).ExtractErr()
	return err
}

// inUse are those from the deployment on.
func inUse(ctx context.Context, client *gophercloud.ServiceClient, n *nodes.Node, out io.Writer, done func(ident string)) error {
	_, err := nodes.Update(ctx, client, n.UUID, nodes.UpdateOpts{nodes.UpdateOperation{
		Op: nodes.AddOp, Path: "/instance_info", Value: map[string]any{
			"image_source": "http://10.0.0.1/debian.qcow2", "image_os_hash_algo": "sha256",
			"image_os_hash_value": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		},
	}}).Extract()
	if err != nil {
		return err
	}
	err = nodes.ChangeProvisionState(ctx, client, n.UUID, nodes.ProvisionStateOpts{
		Target:      nodes.TargetActive,
		ConfigDrive: nodes.ConfigDrive{MetaData: map[string]any{"hostname": "w1"}, UserData: "#cloud-config\n"},
	}).ExtractErr()
	if err != nil {
		return err
	}
	done(n.UUID)
	err = nodes.ChangePowerState(ctx, client, n.UUID, nodes.PowerStateOpts{Target: nodes.SoftPowerOff, Timeout: 60}).ExtractErr()
	if err != nil {
		return err
	}
	done(n.UUID)
	err = nodes.SetMaintenance(ctx, client, n.UUID, nodes.MaintenanceOpts{Reason: "disk swap"}).ExtractErr()
	if err != nil {
		return err
	}
	err = nodes.UnsetMaintenance(ctx, client, n.UUID).ExtractErr()
	if err != nil {
		return err
	}
	is, err := nodes.Get(ctx, client, n.UUID).Extract()
	if err != nil {
		return err
	}
	fmt.Fprintln(out, is.ProvisionState, is.LastError, is.Reservation)
	return nil
}
