//go:build e2e

package clients

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/noauth"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/nodes"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/ports"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestBareMetalHostIsANode makes a host as kubectl does, and drives it by REST.
func TestBareMetalHostIsANode(t *testing.T) {
	site := newSite(t)
	if site.kube == nil {
		t.Skip("the door is not ours")
	}
	ctx := t.Context()
	m := site.machines[1]
	meta := metav1.ObjectMeta{Namespace: "default", Name: "worker-1"}
	secret := &corev1.Secret{ObjectMeta: meta, StringData: map[string]string{"username": m.Username, "password": m.Password}}
	host := &metal3.BareMetalHost{ObjectMeta: meta, Spec: metal3.BareMetalHostSpec{
		BMC:            metal3.BMCDetails{Address: m.Address, CredentialsName: meta.Name, DisableCertificateVerification: true},
		BootMACAddress: m.MAC, AutomatedCleaningMode: metal3.CleaningModeDisabled,
	}}
	for _, o := range []client.Object{secret, host} {
		if err := site.kube.Create(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	c, err := noauth.NewBareMetalNoAuth(noauth.EndpointOpts{IronicEndpoint: site.url + "/v1/"})
	if err != nil {
		t.Fatal(err)
	}
	c.Microversion = "1.89"
	var uuid string
	is := func(want func(n *nodes.Node) bool) {
		t.Helper()
		err := eventually(ctx, func() error {
			page, err := nodes.ListDetail(c, nodes.ListOpts{}).AllPages(ctx)
			if err != nil {
				return err
			}
			all, err := nodes.ExtractNodes(page)
			if err != nil {
				return err
			}
			if len(all) != 1 {
				return fmt.Errorf("%d nodes, want one", len(all))
			}
			uuid = all[0].UUID
			if !want(&all[0]) {
				return fmt.Errorf("node %s: state %q, target %q, power %q: %s", all[0].Name, all[0].ProvisionState, all[0].TargetProvisionState, all[0].PowerState, all[0].LastError)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	state := func(s nodes.ProvisionState) func(n *nodes.Node) bool {
		return func(n *nodes.Node) bool { return n.ProvisionState == string(s) && n.TargetProvisionState == "" }
	}
	ask := func(o nodes.ProvisionStateOpts) {
		t.Helper()
		if err := nodes.ChangeProvisionState(ctx, c, uuid, o).ExtractErr(); err != nil {
			t.Fatal(o.Target, err)
		}
	}
	is(state(nodes.Available))
	n, err := nodes.Get(ctx, c, uuid).Extract()
	if err != nil {
		t.Fatal(err)
	}
	if n.Driver != "redfish" || n.DriverInfo["redfish_password"] != "******" || n.DriverInfo["redfish_username"] != m.Username {
		t.Errorf("driver %s, driver_info %v", n.Driver, n.DriverInfo)
	}
	err = func() error {
		page, err := ports.List(c, ports.ListOpts{Address: m.MAC, Fields: []string{"node_uuid", "uuid", "address"}}).AllPages(ctx)
		if err != nil {
			return err
		}
		all, err := ports.ExtractPorts(page)
		if err == nil && (len(all) != 1 || all[0].NodeUUID != uuid) {
			err = fmt.Errorf("ports %v", all)
		}
		return err
	}()
	if err != nil {
		t.Error("the port of its boot NIC:", err)
	}
	// Deployed at REST, seen in the BareMetalHost.
	img := site.images.Image(2)
	if _, err := nodes.Update(ctx, c, uuid, nodes.UpdateOpts{nodes.UpdateOperation{Op: nodes.AddOp, Path: "/instance_info", Value: map[string]any{
		"image_source": img.URL, "image_os_hash_algo": "sha256", "image_os_hash_value": img.Digest, "image_disk_format": "raw",
	}}}).Extract(); err != nil {
		t.Fatal(err)
	}
	ask(nodes.ProvisionStateOpts{Target: nodes.TargetActive, ConfigDrive: nodes.ConfigDrive{UserData: "#cloud-config\n"}})
	is(state(nodes.Active))
	seen := func(want metal3.ProvisioningState, url string) {
		t.Helper()
		err := eventually(ctx, func() error {
			var h metal3.BareMetalHost
			if err := site.kube.Get(ctx, client.ObjectKeyFromObject(host), &h); err != nil {
				return err
			}
			got := ""
			if h.Spec.Image != nil {
				got = h.Spec.Image.URL
			}
			if h.Status.Provisioning.State != want || got != url {
				return fmt.Errorf("BareMetalHost is %s with image %q: %s", h.Status.Provisioning.State, got, h.Status.ErrorMessage)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	seen(metal3.StateProvisioned, img.URL)
	if ran := m.Images(); len(ran) == 0 {
		t.Error("the machine runs no image")
	}
	// Power at REST is online there.
	if err := nodes.ChangePowerState(ctx, c, uuid, nodes.PowerStateOpts{Target: nodes.PowerOff}).ExtractErr(); err != nil {
		t.Fatal(err)
	}
	is(func(n *nodes.Node) bool { return n.PowerState == string(nodes.PowerOff) })
	if err := site.kube.Get(ctx, client.ObjectKeyFromObject(host), host); err != nil {
		t.Fatal(err)
	}
	if host.Spec.Online || m.On() {
		t.Errorf("after power off: spec.online %v, the machine is on: %v", host.Spec.Online, m.On())
	}
	// Undeployed at REST.
	ask(nodes.ProvisionStateOpts{Target: nodes.TargetDeleted})
	is(state(nodes.Available))
	seen(metal3.StateAvailable, "")
	// Provisioned by kubectl, seen at REST.
	img = site.images.Image(3)
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"online": true, "image": map[string]any{
		"url": img.URL, "checksum": img.Digest, "checksumType": "sha256", "format": "raw",
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := site.kube.Patch(ctx, host, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		t.Fatal(err)
	}
	is(state(nodes.Active))
	n, err = nodes.Get(ctx, c, uuid).Extract()
	if err == nil && n.InstanceInfo["image_source"] != img.URL {
		err = errors.New("instance_info has not the image")
	}
	if err != nil {
		t.Error(err)
	}
}
