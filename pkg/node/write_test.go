package node

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/record"
)

// full is a node as a client may write it, with whatever a client may say.
func full() ironic.Node {
	return ironic.Node{
		Name: new("Rack4.Unit7"), Driver: DriverRedfish,
		DriverInfo: ironic.Object{
			"redfish_address": "https://10.0.0.3:443", "redfish_system_id": "/redfish/v1/Systems/1", "redfish_username": "root",
			"redfish_password": "calvin", "redfish_verify_ca": "False", "deploy_kernel": "http://k", "snmp_auth_key": "psst",
		},
		Properties:   ironic.Object{"cpu_arch": "x86_64", "capabilities": "boot_mode:uefi,secure_boot:true,rack:4", "root_device": map[string]any{"size": ">= 10"}},
		Extra:        ironic.Object{"a": map[string]any{"b": []any{1.0, "x"}}},
		InstanceInfo: ironic.Object{"image_source": "http://10.0.0.9/i", "image_checksum": "0123", "display_name": "vm1"},
		NetworkData:  ironic.Object{"links": []any{}},
		Traits:       []string{"CUSTOM_A"}, ResourceClass: new("big"), Owner: new("o"), Lessee: new("l"), Shard: new("s"), Description: new("here"),
		InstanceName: new("i"), Protected: true, ProtectedReason: new("p"), Retired: true, RetiredReason: new("r"), ConductorGroup: "g",
		AutomatedClean: new(false), DisablePowerOff: true, Maintenance: true, MaintenanceReason: new("m"), BootInterface: "redfish-virtual-media", InspectInterface: "redfish",
		InstanceUUID: new("11111111-1111-4111-8111-111111111111"), TargetRAIDConfig: ironic.Object{"logical_disks": []any{}},
	}
}

// shownAs is what a client that wrote d reads back.
func shownAs(d ironic.Node, n *Node) (want, got map[string]any) {
	for _, key := range []string{"redfish_password", "snmp_auth_key"} {
		if _, ok := d.DriverInfo[key]; ok {
			d.DriverInfo[key] = ironic.Masked
		}
	}
	of := func(d ironic.Node) map[string]any {
		raw, err := json.Marshal(d)
		if err != nil {
			panic(err)
		}
		var m map[string]any
		if err := json.Unmarshal(raw, &m); err != nil {
			panic(err)
		}
		return m
	}
	want, got = of(d), of(n.Node)
	for _, key := range []string{
		"uuid", "created_at", "updated_at", "provision_state", "target_provision_state", "conductor", "driver_internal_info", "raid_config",
		"clean_step", "deploy_step", "service_step", "bios_interface", "console_interface", "deploy_interface", "firmware_interface", "inspect_interface",
		"management_interface", "network_interface", "power_interface", "raid_interface", "rescue_interface", "storage_interface", "vendor_interface",
	} {
		delete(want, key)
		delete(got, key)
	}
	return want, got
}

func TestDocumentReadsAsItWasWritten(t *testing.T) {
	w := newWorld(t)
	n := w.create(full())
	want, got := shownAs(full(), n)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	b, r := w.host("rack4.unit7"), w.record("rack4.unit7")
	spec := b.Spec
	credentials := spec.BMC.CredentialsName
	spec.BMC.CredentialsName = ""
	if diff := cmp.Diff(metal3.BareMetalHostSpec{
		BMC:             metal3.BMCDetails{Address: "redfish-virtualmedia://10.0.0.3:443/redfish/v1/Systems/1", DisableCertificateVerification: true},
		RootDeviceHints: &metal3.RootDeviceHints{MinSizeGigabytes: 10}, BootMode: metal3.UEFISecureBoot, Description: "here",
		AutomatedCleaningMode: metal3.CleaningModeDisabled, DisablePowerOff: true, Online: true, InspectionMode: record.InspectionModeFast,
		ConsumerRef: &corev1.ObjectReference{APIVersion: "ingot.dev/v1alpha1", Kind: "NodeInstance", Namespace: "default", Name: "11111111-1111-4111-8111-111111111111"},
	}, spec); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{
		record.AnnotationNodeUUID: n.UUID, record.AnnotationNodeName: "Rack4.Unit7", record.AnnotationMaintenance: "m", AnnotationUnhealthy: "ingot.dev/maintenance",
	}, b.Annotations); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(v1alpha1.HostRecordSpec{ID: n.UUID, IronicName: "Rack4.Unit7", Hold: "enroll"}, r.Spec); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string][]byte{"username": []byte("root"), "password": []byte("calvin"), "driver_info.snmp_auth_key": []byte("psst")}, w.secret(credentials)); diff != "" {
		t.Error(diff)
	}
	stored := string(n.Attrs.Spec.Attributes.Raw)
	if strings.Contains(stored, "calvin") || strings.Contains(stored, "psst") || n.Attrs.Spec.Intent != nil {
		t.Errorf("attributes %s, intent %v", stored, n.Attrs.Spec.Intent)
	}
	// A document that is sent back as it was read changes nothing.
	before := w.writes
	if _, err := w.store.Update(t.Context(), n, n.Clone()); err != nil || w.writes != before {
		t.Errorf("%d writes, %v", w.writes-before, err)
	}
	w.restart()
	if diff := cmp.Diff(n.Node, w.node(n.UUID).Node); diff != "" {
		t.Errorf("after a restart: %s", diff)
	}
}

func TestKubectlsChangeShowsAtOnce(t *testing.T) {
	w := newWorld(t)
	n := w.create(full())
	for _, tc := range []struct {
		name   string
		change func(*metal3.BareMetalHost)
		shows  func(*Node) any
		want   any
	}{
		{
			name: "address", change: func(b *metal3.BareMetalHost) {
				b.Spec.BMC.Address = "redfish-virtualmedia://10.0.0.5/redfish/v1/Systems/2"
			},
			shows: func(n *Node) any {
				return []any{n.DriverInfo["redfish_address"], n.DriverInfo["redfish_system_id"], n.DriverInfo["deploy_kernel"]}
			},
			want: []any{"https://10.0.0.5", "/redfish/v1/Systems/2", "http://k"},
		},
		{
			name: "protocol", change: func(b *metal3.BareMetalHost) { b.Spec.BMC.Address = "ipmi://10.0.0.6" },
			shows: func(n *Node) any {
				return []any{n.Driver, n.DriverInfo["ipmi_address"], n.BootInterface, n.PowerInterface}
			},
			want: []any{"ipmi", "10.0.0.6", "ipxe", "ipmitool"},
		},
		{
			name: "inspection by the agent", change: func(b *metal3.BareMetalHost) { b.Spec.InspectionMode = "" },
			shows: func(n *Node) any { return n.InspectInterface }, want: "agent",
		},
		{
			name: "inspection by the BMC alone", change: func(b *metal3.BareMetalHost) { b.Spec.InspectionMode = record.InspectionModeFast },
			shows: func(n *Node) any { return n.InspectInterface }, want: "redfish",
		},
		{name: "description", change: func(b *metal3.BareMetalHost) { b.Spec.Description = "there" }, shows: func(n *Node) any { return *n.Description }, want: "there"},
		{
			name: "boot mode", change: func(b *metal3.BareMetalHost) { b.Spec.BootMode = metal3.Legacy },
			shows: func(n *Node) any { return n.Properties["capabilities"] }, want: "rack:4,boot_mode:bios",
		},
		{
			name: "hints", change: func(b *metal3.BareMetalHost) { b.Spec.RootDeviceHints = &metal3.RootDeviceHints{WWN: "w"} },
			shows: func(n *Node) any { return n.Properties["root_device"] }, want: map[string]any{"wwn": "s== w"},
		},
		{name: "no hints", change: func(b *metal3.BareMetalHost) { b.Spec.RootDeviceHints = nil }, shows: func(n *Node) any { return n.Properties["root_device"] }},
		{name: "maintenance", change: func(b *metal3.BareMetalHost) { delete(b.Annotations, record.AnnotationMaintenance) }, shows: func(n *Node) any { return n.Maintenance }, want: false},
		{name: "cleaning", change: func(b *metal3.BareMetalHost) { b.Spec.AutomatedCleaningMode = metal3.CleaningModeMetadata }, shows: func(n *Node) any { return n.AutomatedClean == nil }, want: true},
		{
			name: "image", change: func(b *metal3.BareMetalHost) { b.Spec.Image = &metal3.Image{URL: "http://other", Checksum: "ff"} },
			shows: func(n *Node) any { return []any{n.InstanceInfo["image_source"], n.InstanceInfo["display_name"]} }, want: []any{"http://other", "vm1"},
		},
		{name: "instance", change: func(b *metal3.BareMetalHost) { b.Spec.ConsumerRef = nil }, shows: func(n *Node) any { return n.InstanceUUID == nil }, want: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.kubectl("rack4.unit7", tc.change)
			if diff := cmp.Diff(tc.want, tc.shows(w.node(n.UUID))); diff != "" {
				t.Error(diff)
			}
		})
	}
	// And what a client then changes does not bring back what it once wrote.
	w.update(n.UUID, func(d *ironic.Node) { d.Extra = ironic.Object{"x": 1.0} })
	if b := w.host("rack4.unit7"); b.Spec.BMC.Address != "ipmi://10.0.0.6" || b.Spec.BootMode != metal3.Legacy || b.Spec.RootDeviceHints != nil {
		t.Errorf("spec %+v", b.Spec)
	}
}

func TestPatchReachesTheHost(t *testing.T) {
	w := newWorld(t)
	w.born("h1", func(b *metal3.BareMetalHost) {
		b.Spec.BMC = metal3.BMCDetails{Address: "redfish://10.0.0.3/redfish/v1/Systems/1", CredentialsName: "shared"}
	})
	shared := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "shared"}, Data: map[string][]byte{"username": []byte("u"), "password": []byte("p")}}
	w.must(w.api.Create(t.Context(), shared))
	w.store.Observe(shared)
	n := w.update("h1", func(d *ironic.Node) { d.DriverInfo["redfish_system_id"] = "/redfish/v1/Systems/2" })
	if b := w.host("h1"); b.Spec.BMC.Address != "redfish://10.0.0.3/redfish/v1/Systems/2" || n.DriverInfo["redfish_address"] != "https://10.0.0.3" || b.Spec.BMC.CredentialsName != "shared" {
		t.Errorf("%+v, %v", b.Spec.BMC, n.DriverInfo)
	}
	// A new password is a new Secret: the old one may be other hosts' too.
	n = w.update("h1", func(d *ironic.Node) { d.DriverInfo["redfish_password"] = "p2" })
	name := w.host("h1").Spec.BMC.CredentialsName
	if diff := cmp.Diff(map[string][]byte{"username": []byte("u"), "password": []byte("p2")}, w.secret(name)); name == "shared" || diff != "" {
		t.Error(name, diff)
	}
	if string(w.secret("shared")["password"]) != "p" || n.DriverInfo["redfish_password"] != ironic.Masked {
		t.Errorf("shared %v, shown %v", w.secret("shared"), n.DriverInfo)
	}
	// And the next replaces ours.
	w.update("h1", func(d *ironic.Node) { d.DriverInfo["redfish_username"] = "root" })
	second := w.host("h1").Spec.BMC.CredentialsName
	if diff := cmp.Diff(map[string][]byte{"username": []byte("root"), "password": []byte("p2")}, w.secret(second)); diff != "" {
		t.Error(diff)
	}
	if err := w.api.Get(t.Context(), types.NamespacedName{Namespace: "default", Name: name}, &corev1.Secret{}); err == nil {
		t.Errorf("Secret %s stays", name)
	}
	n = w.update("h1", func(d *ironic.Node) {
		d.Name, d.Properties["root_device"], d.InstanceInfo["capabilities"] = new("n 1"), map[string]any{"name": "/dev/sdb"}, map[string]any{"boot_mode": "bios"}
	})
	if b := w.host("h1"); *n.Name != "n 1" || b.Spec.RootDeviceHints.DeviceName != "/dev/sdb" || b.Spec.BootMode != metal3.Legacy {
		t.Errorf("%v, %+v", *n.Name, b.Spec)
	}
	n, err := w.store.SetBootMAC(t.Context(), n, "52:54:00:AA:00:01")
	w.must(err)
	if n, err = w.store.SetBootMAC(t.Context(), n, "52:54:00:aa:00:02"); err != nil || w.host("h1").Spec.BootMACAddress != "52:54:00:aa:00:01" {
		t.Errorf("%v, %s", err, w.host("h1").Spec.BootMACAddress)
	}
	n, err = w.store.SetMaintenance(t.Context(), n, true, "")
	w.must(err)
	if n, err = w.store.SetMaintenance(t.Context(), n, false, ""); err != nil || n.Maintenance || len(w.host("h1").Annotations) != 0 {
		t.Errorf("%v, %v", err, w.host("h1").Annotations)
	}
	if n, err = w.store.SetInstance(t.Context(), n, new("11111111-1111-4111-8111-111111111111"), nil); err != nil || *n.InstanceUUID != "11111111-1111-4111-8111-111111111111" {
		t.Error(err)
	}
	if _, err = w.store.SetInstance(t.Context(), n, new("22222222-1111-4111-8111-111111111111"), nil); !errors.Is(err, ErrExists) {
		t.Errorf("a second instance: %v", err)
	}
}

func TestWriteIsRefused(t *testing.T) {
	w := newWorld(t)
	w.create(ironic.Node{Name: new("n1"), Driver: DriverRedfish})
	w.create(ironic.Node{Name: new("n2"), Driver: DriverFake})
	for _, tc := range []struct {
		name   string
		change func(*ironic.Node)
		want   string
	}{
		{name: "too large", change: func(d *ironic.Node) { d.Extra = ironic.Object{"x": strings.Repeat("y", 70000)} }, want: "at most 65536 bytes"},
		{name: "address", change: func(d *ironic.Node) { d.DriverInfo["redfish_address"] = "ftp://x" }, want: "redfish_address"},
		{name: "hint", change: func(d *ironic.Node) { d.Properties["root_device"] = map[string]any{"x": "y"} }, want: `"x" is not supported`},
		{name: "boot mode", change: func(d *ironic.Node) { d.Properties["capabilities"] = "boot_mode:openfirmware" }, want: "uefi or bios"},
		{name: "secret's key", change: func(d *ironic.Node) { d.DriverInfo["my password"] = "x" }, want: "cannot be that of one"},
		{name: "config drive", change: func(d *ironic.Node) { d.InstanceInfo["configdrive"] = "http://x" }, want: "URL is not supported"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := w.node("n1")
			d := n.Clone()
			tc.change(&d)
			before := w.writes
			_, err := w.store.Update(t.Context(), n, d)
			if !contains(refused(t, err), tc.want) || w.writes != before {
				t.Errorf("%v, %d writes", err, w.writes-before)
			}
		})
	}
	n := w.node("n1")
	d := n.Clone()
	d.Name = new("n2")
	if _, err := w.store.Update(t.Context(), n, d); !errors.Is(err, ErrExists) {
		t.Errorf("name of another: %v", err)
	}
	if _, err := w.store.Create(t.Context(), ironic.Node{Name: new("n2"), Driver: DriverFake}); !errors.Is(err, ErrExists) {
		t.Errorf("name of another: %v", err)
	}
	if _, err := w.store.Create(t.Context(), ironic.Node{UUID: n.UUID, Driver: DriverFake}); !errors.Is(err, ErrExists) {
		t.Errorf("uuid of another: %v", err)
	}
	// Two clients change what they both read: the second is told.
	w.update("n1", func(d *ironic.Node) { d.Extra = ironic.Object{"first": true} })
	d = n.Clone()
	d.Extra = ironic.Object{"second": true}
	if _, err := w.store.Update(t.Context(), n, d); !errors.Is(err, ErrChanged) {
		t.Errorf("second: %v", err)
	}
	// kubectl changed what the client changes as well, and the store has not seen it.
	n = w.node("n1")
	b := w.host("n1")
	b.Spec.Description = "kubectl's"
	w.must(w.api.Update(t.Context(), b))
	d = n.Clone()
	d.Description = new("client's")
	if _, err := w.store.Update(t.Context(), n, d); !errors.Is(err, ErrChanged) || w.host("n1").Spec.Description != "kubectl's" {
		t.Errorf("both: %v", err)
	}
	// What others change beside it does not matter.
	b = w.host("n1")
	b.Status.ErrorCount = 1
	w.must(w.api.Status().Update(t.Context(), b))
	if n := w.update("n1", func(d *ironic.Node) { d.Description, d.Extra = new("client's"), nil }); *n.Description != "client's" {
		t.Error("not changed")
	}
}

func TestNames(t *testing.T) {
	w := newWorld(t)
	w.born("taken", nil)
	for _, tc := range []struct {
		name   *string
		object string
	}{
		{name: new("Rack 4/A"), object: "rack-4-a"},
		{name: new("a.b"), object: "a.b"},
		{name: new("ns2~x"), object: "x"},
		{name: new("Taken"), object: "node-7"},
		{name: new("~~"), object: "node-8"},
		{object: "node-9"},
	} {
		d := ironic.Node{UUID: "", Name: tc.name, Driver: DriverFake}
		n := w.create(d)
		if !strings.HasPrefix(n.Key.Name, strings.TrimRight(tc.object, "0123456789")) || !equal(n.Name, tc.name) {
			t.Errorf("%v is kept as %s, shown as %v", tc.name, n.Key, n.Name)
		}
	}
	if n := w.node("ns2~x"); n.Key.Namespace != "ns2" {
		t.Errorf("in %s", n.Key)
	}
	n := w.node("a.b")
	w.update("a.b", func(d *ironic.Node) { d.Name = nil })
	if n = w.node(n.UUID); n.Name != nil || w.host("a.b").Annotations[record.AnnotationNodeName] != "" {
		t.Errorf("name %v", n.Name)
	}
}

func TestDelete(t *testing.T) {
	w := newWorld(t)
	n := w.create(ironic.Node{Name: new("n1"), Driver: DriverFake})
	_, err := w.store.CreateObject(t.Context(), Object{Kind: KindPort, Node: n.UUID, Body: []byte(`{}`)})
	w.must(err)
	w.must(w.store.Delete(t.Context(), n))
	if _, ok := w.store.Get("n1"); ok || len(w.store.List()) != 0 || len(w.store.Objects(KindPort)) != 0 {
		t.Error("it is still shown")
	}
	if err := w.store.Delete(t.Context(), n); err != nil && !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	// One that is in use is let go of, and its machine goes on.
	w.born("used", func(b *metal3.BareMetalHost) {
		b.Finalizers = []string{metal3.BareMetalHostFinalizer}
		b.Status.Provisioning.State = "provisioned"
	})
	w.must(w.store.Delete(t.Context(), w.node("used")))
	if b := w.host("used"); b.DeletionTimestamp == nil || !strings.Contains(b.Annotations[metal3.DetachedAnnotation], "delete") {
		t.Errorf("%v", b.ObjectMeta)
	}
	w.watch()
	if _, ok := w.store.Get("used"); ok {
		t.Error("it is still shown")
	}
	// One that kubectl deletes is shown for as long as something is done to it.
	w.born("kubectls", func(b *metal3.BareMetalHost) {
		b.Finalizers = []string{metal3.BareMetalHostFinalizer}
		b.Status.Provisioning.State = "deprovisioning"
	})
	w.must(w.api.Delete(t.Context(), w.host("kubectls")))
	w.watch()
	if n := w.node("kubectls"); *n.ProvisionState != ironic.Deleting {
		t.Errorf("%s", *n.ProvisionState)
	}
	// It has moved on since the client looked.
	w.born("moved", func(b *metal3.BareMetalHost) { b.Status.Provisioning.State = "registering" })
	n = w.node("moved")
	w.rests("moved", ironic.Manageable, "registering")
	if err := w.store.Delete(t.Context(), n); !errors.Is(err, ErrChanged) {
		t.Errorf("moved on: %v", err)
	}
}

// What was asked of a machine at once, and failed, is told until the next verb.
func TestNotedError(t *testing.T) {
	w := newWorld(t)
	w.create(ironic.Node{Name: new("n1"), Driver: DriverFake})
	if n := w.update("n1", func(d *ironic.Node) { d.LastError = new("no route") }); *n.LastError != "no route" {
		t.Error(n.LastError)
	}
	if n := w.update("n1", func(d *ironic.Node) { d.Extra = ironic.Object{"a": "b"} }); *n.LastError != "no route" {
		t.Error(n.LastError)
	}
	_, err := w.store.Ask(t.Context(), w.node("n1"), Asked{Verb: ironic.VerbManage})
	w.must(err)
	w.rests("n1", ironic.Manageable, "unmanaged")
	if n := w.node("n1"); n.LastError != nil {
		t.Error(*n.LastError)
	}
}

func TestBornAvailable(t *testing.T) {
	w := newWorld(t)
	w.create(ironic.Node{Name: new("n1"), Driver: DriverFake, ProvisionState: new(ironic.Available)})
	w.create(ironic.Node{Name: new("n2"), Driver: DriverRedfish, ProvisionState: new(ironic.Available)})
	if n := w.node("n1"); *n.ProvisionState != ironic.Available {
		t.Error(*n.ProvisionState)
	}
	if hold := w.record("n2").Spec.Hold; hold != "" {
		t.Errorf("a machine holds at %q", hold)
	}
}

// The list is in order, and each node in it is the one that Get finds, whatever changed
// between two looks.
func TestListFollows(t *testing.T) {
	s := quiet()
	fill(s, 40)
	s.List()
	version := 1000
	change := func(i int) {
		n, ok := s.Get("aaaaaaaa-0000-4000-8000-" + strings.Repeat("0", 10) + string(rune('0'+i/10)) + string(rune('0'+i%10)))
		if !ok {
			t.Fatalf("no node %d", i)
		}
		version++
		b := n.Host.DeepCopy()
		b.ResourceVersion = strconv.Itoa(version)
		if i%3 == 0 {
			s.Forget(b)
			b.UID += "again"
			b.CreationTimestamp = metav1.NewTime(b.CreationTimestamp.AddDate(0, 0, i%2))
		}
		s.Observe(b)
	}
	for round := range 10 {
		for i := range 4 {
			change((round*7 + i*i) % 40)
		}
		before := s.List()
		kept := slices.Clone(before)
		list := s.List()
		if len(list) != 40 || !slices.IsSortedFunc(list, byAge) {
			t.Fatalf("round %d: %d nodes, sorted %v", round, len(list), slices.IsSortedFunc(list, byAge))
		}
		for _, n := range list {
			if is, _ := s.Get(n.UUID); is != n {
				t.Errorf("round %d: %s is not what it is", round, n.UUID)
			}
		}
		change(round)
		s.List()
		if !slices.Equal(before, kept) {
			t.Fatal("a list that was handed out changed")
		}
	}
}

// Readers and writers at once; and of ten that write from the same document, one does.
func TestAtOnce(t *testing.T) {
	w := newWorld(t)
	w.create(ironic.Node{Name: new("n1"), Driver: DriverFake})
	n := w.node("n1")
	var done, changed atomic.Int32
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			d := n.Clone()
			d.Extra = ironic.Object{"i": float64(i)}
			switch _, err := w.store.Update(t.Context(), n, d); {
			case err == nil:
				done.Add(1)
			case errors.Is(err, ErrChanged):
				changed.Add(1)
			default:
				t.Error(err)
			}
		})
		wg.Go(func() {
			for range 20 {
				w.store.List()
				w.store.Get("n1")
			}
		})
	}
	wg.Wait()
	if done.Load() != 1 || changed.Load() != 9 {
		t.Errorf("%d wrote, %d were told", done.Load(), changed.Load())
	}
}
