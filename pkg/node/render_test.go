package node

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/record"
)

var metav1Now = metav1.NewTime(time.Date(2026, 11, 21, 11, 0, 0, 0, time.UTC)) // never changed

func TestHostBornByKubectl(t *testing.T) {
	w := newWorld(t)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "creds"}, Data: map[string][]byte{"username": []byte("root"), "password": []byte("calvin")}}
	w.store.Observe(secret)
	w.born("worker-3", func(b *metal3.BareMetalHost) {
		b.Spec = metal3.BareMetalHostSpec{
			BMC:             metal3.BMCDetails{Address: "idrac-virtualmedia://10.0.0.3/redfish/v1/Systems/System.Embedded.1", CredentialsName: "creds", DisableCertificateVerification: true},
			RootDeviceHints: &metal3.RootDeviceHints{DeviceName: "/dev/sda", MinSizeGigabytes: 40, Rotational: new(false)},
			BootMode:        metal3.UEFISecureBoot, Online: true, Description: "in the corner", AutomatedCleaningMode: metal3.CleaningModeDisabled,
			Image:       &metal3.Image{URL: "http://10.0.0.9/i.qcow2", Checksum: "abc", ChecksumType: metal3.SHA256, DiskFormat: new("qcow2")},
			ConsumerRef: &corev1.ObjectReference{APIVersion: "infrastructure.cluster.x-k8s.io/v1beta1", Kind: "Metal3Machine", Name: "m1"},
			RAID:        &metal3.RAIDConfig{HardwareRAIDVolumes: []metal3.HardwareRAIDVolume{{Level: "1", SizeGibibytes: new(100), Name: "os"}}},
		}
		b.Annotations = map[string]string{record.AnnotationMaintenance: "a fan"}
		b.Status.Provisioning.State, b.Status.LastUpdated, b.Status.PoweredOn = "provisioned", &metav1Now, true
		b.Status.Provisioning.BootMode = metal3.UEFISecureBoot
		b.Status.OperationHistory.Inspect = metal3.OperationMetric{Start: metav1Now, End: metav1.NewTime(metav1Now.Add(time.Minute))}
		b.Status.ErrorType, b.Status.ErrorMessage = metal3.PowerManagementError, "bmc-timeout: it does not answer"
		b.Status.Conditions = []metav1.Condition{{Type: metal3.HealthyCondition, Status: metav1.ConditionFalse, Reason: metal3.WarningHealthReason}}
		b.Status.HardwareDetails = &metal3.HardwareDetails{RAMMebibytes: 8192, CPU: metal3.CPU{Arch: "x86_64", Count: 8}, Storage: []metal3.Storage{{SizeBytes: 50 << 30}}}
	})
	n := w.node("worker-3")
	text := func(s *string) string {
		if s == nil {
			return "null"
		}
		return *s
	}
	got := map[string]any{
		"driver": n.Driver, "driver_info": n.DriverInfo, "instance_info": n.InstanceInfo, "properties": n.Properties,
		"state": *n.ProvisionState, "power": *n.PowerState, "error": text(n.LastError), "fault": text(n.Fault), "maintenance": n.Maintenance,
		"reason": text(n.MaintenanceReason), "instance": text(n.InstanceUUID), "health": text(n.Health), "clean": *n.AutomatedClean,
		"description": text(n.Description), "mode": text(n.BootMode), "secure": *n.SecureBoot, "boot": n.BootInterface, "bios": n.BIOSInterface,
		"from": text(n.InspectionStartedAt), "to": text(n.InspectionFinishedAt), "updated": text(n.ProvisionUpdatedAt), "raid": n.TargetRAIDConfig,
	}
	want := map[string]any{
		"driver": "idrac",
		"driver_info": ironic.Object{
			"redfish_address": "https://10.0.0.3", "redfish_system_id": "/redfish/v1/Systems/System.Embedded.1", "redfish_verify_ca": false,
			"redfish_username": "root", "redfish_password": "******",
		},
		"instance_info": ironic.Object{"image_source": "http://10.0.0.9/i.qcow2", "image_os_hash_algo": "sha256", "image_os_hash_value": "abc", "image_disk_format": "qcow2"},
		"properties": ironic.Object{
			"cpus": 8, "cpu_arch": "x86_64", "memory_mb": 8192, "local_gb": 49, "capabilities": "boot_mode:uefi,secure_boot:true",
			"root_device": map[string]any{"name": "s== /dev/sda", "size": ">= 40", "rotational": "false"},
		},
		"state": ironic.Active, "power": ironic.PowerOn, "error": "bmc-timeout: it does not answer", "fault": "power failure", "maintenance": true,
		"reason": "a fan", "instance": "uid-worker-3", "health": "WARNING", "clean": false,
		"description": "in the corner", "mode": "uefi", "secure": true, "boot": "idrac-redfish-virtual-media", "bios": "idrac-redfish",
		"from": "2026-11-21T11:00:00+00:00", "to": "2026-11-21T11:01:00+00:00", "updated": "2026-11-21T11:01:00+00:00",
		"raid": ironic.Object{"logical_disks": []any{map[string]any{"raid_level": "1", "size_gb": 100, "volume_name": "os"}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	secret.Data["username"] = []byte("admin")
	w.store.Observe(secret)
	if now := w.node("worker-3"); now.DriverInfo["redfish_username"] != "admin" || now.Version == n.Version {
		t.Errorf("the Secret's change does not show: %v", now.DriverInfo)
	}
}

func TestAddresses(t *testing.T) {
	for _, tc := range []struct {
		driver, boot string
		info         ironic.Object
		want         string // address; or a refusal that begins with "!"
	}{
		{driver: DriverRedfish, info: ironic.Object{"redfish_address": "10.0.0.3"}, want: "redfish://10.0.0.3"},
		{driver: DriverRedfish, info: ironic.Object{"redfish_address": "http://10.0.0.3:8000", "redfish_system_id": "/redfish/v1/Systems/1"}, want: "redfish+http://10.0.0.3:8000/redfish/v1/Systems/1"},
		{driver: DriverRedfish, boot: "redfish-virtual-media", info: ironic.Object{"redfish_address": "https://bmc"}, want: "redfish-virtualmedia://bmc"},
		{driver: DriverRedfish, boot: "redfish-https", info: ironic.Object{"redfish_address": "https://bmc"}, want: "redfish-uefihttp://bmc"},
		{driver: DriverIDRAC, boot: "idrac-redfish-virtual-media", info: ironic.Object{"redfish_address": "https://bmc"}, want: "idrac-virtualmedia://bmc"},
		{driver: DriverIPMI, info: ironic.Object{"ipmi_address": "10.0.0.4", "ipmi_port": 6230.0}, want: "ipmi://10.0.0.4:6230"},
		{driver: DriverIPMI, info: ironic.Object{"ipmi_address": "fe80::1", "ipmi_priv_level": "operator"}, want: "ipmi://[fe80::1]:623?privilegelevel=OPERATOR"},
		{driver: DriverIPMI, info: ironic.Object{"ipmi_address": "a b"}, want: "!driver_info does not say where the BMC is"},
		{driver: DriverRedfish, info: ironic.Object{"redfish_address": "https://root:calvin@bmc"}, want: "!Invalid value of driver_info/redfish_address"},
		{driver: DriverRedfish, info: ironic.Object{}, want: ""},
		{driver: DriverFake, info: ironic.Object{"redfish_address": "x y"}, want: ""},
	} {
		c, err := connect(tc.driver, tc.info, tc.boot)
		if len(tc.want) > 0 && tc.want[0] == '!' {
			if err == nil || !contains(refused(t, err), tc.want[1:]) || contains(err.Error(), "calvin") {
				t.Errorf("%v: %v", tc.info, err)
			}
			continue
		}
		if err != nil || c.address != tc.want {
			t.Errorf("%s %v: %q, %v; want %q", tc.driver, tc.info, c.address, err, tc.want)
		}
		if tc.want == "" {
			continue
		}
		driver, info, boot := c.described()
		back, err := connect(driver, info, boot)
		if err != nil || driver != tc.driver || !back.same(c) {
			t.Errorf("%q is described as %s %v %s, which is %q, %v", c.address, driver, info, boot, back.address, err)
		}
	}
}

func TestHints(t *testing.T) {
	for _, tc := range []struct {
		hints any
		want  *metal3.RootDeviceHints
		err   string
	}{
		{hints: nil},
		{hints: map[string]any{}},
		{hints: map[string]any{"name": "/dev/sda", "model": "<in> QEMU", "size": ">= 10"}, want: &metal3.RootDeviceHints{DeviceName: "/dev/sda", Model: "QEMU", MinSizeGigabytes: 10}},
		{hints: `{"wwn": "0x5", "rotational": false}`, want: &metal3.RootDeviceHints{WWN: "0x5", Rotational: new(false)}},
		{hints: map[string]any{"size": 10.0}, err: `size "10" is not supported`},
		{hints: map[string]any{"serial": "<or> a <or> b"}, err: "its operator <or> is not"},
		{hints: map[string]any{"colour": "red"}, err: `"colour" is not supported`},
		{hints: []any{}, err: "has to be a JSON object"},
	} {
		got, err := hintsOf(tc.hints)
		if tc.err != "" {
			if err == nil || !contains(refused(t, err), tc.err) {
				t.Errorf("%v: %v", tc.hints, err)
			}
			continue
		}
		if diff := cmp.Diff(tc.want, got); err != nil || diff != "" {
			t.Errorf("%v: %v %s", tc.hints, err, diff)
		}
		if back, err := hintsOf(anyOf(shownHints(got))); err != nil || !sameHints(back, got) {
			t.Errorf("%v comes back as %v, %v", got, back, err)
		}
	}
}

func anyOf(m map[string]any) any {
	if m == nil {
		return nil
	}
	return m
}

func TestRAID(t *testing.T) {
	config := ironic.Object{"logical_disks": []any{
		map[string]any{"size_gb": 100.0, "raid_level": "1", "disk_type": "ssd", "controller": "c1", "physical_disks": []any{"d1", "d2"}, "volume_name": "os"},
		map[string]any{"size_gb": "MAX", "raid_level": "5", "number_of_physical_disks": 3.0},
	}}
	got, err := raidOf(config)
	want := &metal3.RAIDConfig{HardwareRAIDVolumes: []metal3.HardwareRAIDVolume{
		{SizeGibibytes: new(100), Level: "1", Rotational: new(false), Controller: "c1", PhysicalDisks: []string{"d1", "d2"}, Name: "os"},
		{Level: "5", NumberOfPhysicalDisks: new(3)},
	}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for name, bad := range map[string]ironic.Object{
		"no list": {}, "no level": {"logical_disks": []any{map[string]any{}}},
		"both": {"logical_disks": []any{map[string]any{"raid_level": "1", "controller": "software"}, map[string]any{"raid_level": "1"}}},
	} {
		if _, err := raidOf(bad); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestHistory(t *testing.T) {
	w := newWorld(t)
	w.born("h1", nil)
	n := w.node("h1")
	if got, err := w.store.History(t.Context(), n); err != nil || len(got) != 0 {
		t.Errorf("before anything: %v, %v", got, err)
	}
	w.must(w.api.Create(t.Context(), &v1alpha1.HostTimeline{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "h1"}, Entries: []v1alpha1.TimelineEntry{
		{At: metav1.NewMicroTime(metav1Now.Time), Phase: "inspecting", Outcome: "failed", Detail: "boot-no-dhcp, try 1", Took: &metav1.Duration{Duration: 90 * time.Second}},
	}}))
	got, err := w.store.History(t.Context(), n)
	w.must(err)
	if len(got) != 1 || got[0].Event != "inspecting: failed (boot-no-dhcp, try 1)" || got[0].Severity != "ERROR" || got[0].EventType != "introspection" ||
		got[0].CreatedAt != "2026-11-21T11:01:30+00:00" || *got[0].State != "inspecting" {
		t.Errorf("%+v", got)
	}
}
