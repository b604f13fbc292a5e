package node

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/api/v1alpha1"
)

// managed makes a node of a machine, in a state.
func (w *world) managed(name string, st ironic.State, is metal3.ProvisioningState, d ironic.Node) *Node {
	w.Helper()
	d.Name, d.Driver = &name, DriverRedfish
	if d.DriverInfo == nil {
		d.DriverInfo = ironic.Object{"redfish_address": "https://10.0.0.3", "redfish_username": "u", "redfish_password": "p"}
	}
	w.create(d)
	w.rests(name, st, is)
	return w.node(name)
}

func TestDeployAndUndeploy(t *testing.T) {
	w := newWorld(t)
	n := w.managed("n1", "", "available", ironic.Node{
		InstanceUUID: new("11111111-1111-4111-8111-111111111111"),
		InstanceInfo: ironic.Object{"image_source": "http://10.0.0.9/i", "image_os_hash_algo": "sha512", "image_os_hash_value": "ab", "image_disk_format": "raw"},
	})
	n, err := w.store.Ask(t.Context(), n, Asked{
		Verb:        ironic.VerbActive,
		ConfigDrive: json.RawMessage(`{"meta_data": {"hostname": "x"}, "user_data": "#cloud-config\n{}\n", "network_data": {"links": []}}`),
	})
	w.must(err)
	b, r := w.host("n1"), w.record("n1")
	if diff := cmp.Diff(&metal3.Image{URL: "http://10.0.0.9/i", Checksum: "ab", ChecksumType: metal3.SHA512, DiskFormat: new("raw")}, b.Spec.Image); diff != "" || !b.Spec.Online {
		t.Error(b.Spec.Online, diff)
	}
	if diff := cmp.Diff(&v1alpha1.Ask{N: 1, Verb: "active"}, r.Spec.Ask); diff != "" {
		t.Error(diff)
	}
	if *n.ProvisionState != ironic.Deploying || *n.TargetProvisionState != ironic.Active || n.InstanceInfo["configdrive"] != ironic.Masked || n.Reservation == nil {
		t.Errorf("%s → %v, %v", *n.ProvisionState, n.TargetProvisionState, n.InstanceInfo)
	}
	drive := b.Spec.UserData.Name
	if diff := cmp.Diff(map[string][]byte{"userData": []byte("#cloud-config\n{}\n"), "networkData": []byte(`{"links": []}`), "metaData": []byte(`{"hostname": "x"}`)}, w.secret(drive)); diff != "" {
		t.Error(diff)
	}
	if b.Spec.MetaData.Name != drive || b.Spec.NetworkData.Name != drive {
		t.Errorf("%v %v", b.Spec.MetaData, b.Spec.NetworkData)
	}
	// A second client is too late.
	if _, err := w.store.Ask(t.Context(), w.node("n1"), Asked{Verb: ironic.VerbActive}); !errors.Is(err, ErrChanged) || w.record("n1").Spec.Ask.N != 1 {
		t.Errorf("an ask before the last one is taken up: %v, %+v", err, w.record("n1").Spec.Ask)
	}
	w.rests("n1", "", "provisioned")
	n = w.node("n1")
	if *n.ProvisionState != ironic.Active || n.TargetProvisionState != nil {
		t.Errorf("%s", *n.ProvisionState)
	}
	if _, err := w.store.Ask(t.Context(), &Node{Node: ironic.Node{ProvisionState: new(ironic.Available)}, Key: n.Key, Host: n.Host, Attrs: n.Attrs}, Asked{Verb: ironic.VerbActive}); !errors.Is(err, ErrChanged) {
		t.Errorf("from another state: %v", err)
	}
	// The next image is named, shown, and then written.
	n = w.update("n1", func(d *ironic.Node) { d.InstanceInfo["image_source"] = "http://10.0.0.9/next" })
	if n.InstanceInfo["image_source"] != "http://10.0.0.9/next" || n.InstanceInfo["image_os_hash_value"] != "ab" || w.host("n1").Spec.Image.URL != "http://10.0.0.9/i" {
		t.Errorf("%v", n.InstanceInfo)
	}
	n, err = w.store.Ask(t.Context(), n, Asked{Verb: ironic.VerbRebuild})
	w.must(err)
	if b := w.host("n1"); b.Spec.Image.URL != "http://10.0.0.9/next" || b.Spec.UserData == nil || n.InstanceInfo["configdrive"] != ironic.Masked {
		t.Errorf("%+v", b.Spec)
	}
	w.rests("n1", "", "provisioned")
	n, err = w.store.Ask(t.Context(), w.node("n1"), Asked{Verb: ironic.VerbDeleted})
	w.must(err)
	b = w.host("n1")
	if b.Spec.Image != nil || b.Spec.Online || b.Spec.UserData != nil || b.Spec.MetaData != nil || b.Spec.ConsumerRef != nil || len(n.InstanceInfo) != 0 || n.InstanceUUID != nil {
		t.Errorf("%+v, %v", b.Spec, n.InstanceInfo)
	}
	if err := w.api.Get(t.Context(), types.NamespacedName{Namespace: "default", Name: drive}, &corev1.Secret{}); err == nil {
		t.Error("the config drive's Secret stays")
	}
	if *n.ProvisionState != ironic.Deleting || *n.TargetProvisionState != ironic.Available {
		t.Errorf("%s", *n.ProvisionState)
	}
}

func TestImages(t *testing.T) {
	for _, tc := range []struct {
		name string
		info ironic.Object
		want *metal3.Image
		err  string
	}{
		{name: "nothing", info: ironic.Object{}, err: "image_source is missing"},
		{name: "an image service's", info: ironic.Object{"image_source": "uuid", "image_checksum": "x"}, err: "is no URL"},
		{name: "no checksum", info: ironic.Object{"image_source": "http://x"}, err: "no checksum"},
		{name: "partition image", info: ironic.Object{"image_source": "http://x", "image_checksum": "c", "kernel": "http://k"}, err: "partition images"},
		{name: "hash", info: ironic.Object{"image_source": "http://x", "image_os_hash_algo": "sha1", "image_os_hash_value": "y"}, err: "sha1"},
		{name: "checksum", info: ironic.Object{"image_source": "http://x", "image_checksum": "c"}, want: &metal3.Image{URL: "http://x", Checksum: "c"}},
		{name: "live", info: ironic.Object{"boot_iso": "http://iso"}, want: &metal3.Image{URL: "http://iso", DiskFormat: new("live-iso")}},
		{name: "container", info: ironic.Object{"image_source": "oci://x/y"}, want: &metal3.Image{URL: "oci://x/y"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			n := w.managed("n1", "", "available", ironic.Node{InstanceInfo: tc.info})
			before := w.writes
			n, err := w.store.Ask(t.Context(), n, Asked{Verb: ironic.VerbActive})
			if tc.err != "" {
				if !contains(refused(t, err), tc.err) || w.writes != before {
					t.Errorf("%v, %d writes", err, w.writes-before)
				}
				return
			}
			w.must(err)
			if diff := cmp.Diff(tc.want, w.host("n1").Spec.Image); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tc.info, n.InstanceInfo); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConfigDrives(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte("CD001 and so on")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	var bomb bytes.Buffer
	z = gzip.NewWriter(&bomb)
	if _, err := z.Write(make([]byte, 8<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	quoted := func(b []byte) json.RawMessage {
		return json.RawMessage(`"` + base64.StdEncoding.EncodeToString(b) + `"`)
	}
	for _, tc := range []struct {
		name string
		sent json.RawMessage
		want map[string][]byte
		err  string
	}{
		{name: "none"},
		{name: "null", sent: json.RawMessage("null")},
		{name: "whole", sent: quoted(packed.Bytes()), want: map[string][]byte{"configDrive": []byte("CD001 and so on")}},
		{name: "bomb", sent: quoted(bomb.Bytes()), err: "larger than"},
		{name: "no gzip", sent: quoted([]byte("plain")), err: "no base64 of a gzipped"},
		{name: "URL", sent: json.RawMessage(`"http://x/y"`), err: "by its URL"},
		{name: "object in a text", sent: json.RawMessage(`"{\"user_data\": {\"a\": 1}}"`), want: map[string][]byte{"userData": []byte(`{"a": 1}`)}},
		{name: "vendor data", sent: json.RawMessage(`{"vendor_data": {}}`), err: "configdrive/vendor_data is not supported"},
		{name: "number", sent: json.RawMessage(`7`), err: "no JSON object"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := driveSecret(tc.sent)
			if tc.err != "" {
				if !contains(refused(t, err), tc.err) {
					t.Error(err)
				}
				return
			}
			if diff := cmp.Diff(tc.want, got); err != nil || diff != "" {
				t.Error(err, diff)
			}
		})
	}
}

func FuzzConfigDrive(f *testing.F) {
	f.Add([]byte(`{"meta_data": {}}`))
	f.Add([]byte(`"H4sI"`))
	f.Fuzz(func(t *testing.T, sent []byte) {
		if data, err := driveSecret(sent); err == nil {
			for _, v := range data {
				if len(v) > maxSecret && len(sent) <= maxSecret {
					t.Errorf("%d bytes", len(v))
				}
			}
		}
	})
}

func TestVerbs(t *testing.T) {
	raid := ironic.Object{"logical_disks": []any{map[string]any{"size_gb": 10.0, "raid_level": "1"}}}
	step := func(iface, name string, args ironic.Object) ironic.Step {
		return ironic.Step{Interface: iface, Step: name, Args: args}
	}
	for _, tc := range []struct {
		name  string
		from  ironic.State
		is    metal3.ProvisioningState
		ask   Asked
		want  v1alpha1.Ask
		err   string
		check func(*world) bool
	}{
		{name: "manage", from: ironic.Enroll, is: "registering", ask: Asked{Verb: ironic.VerbManage}, want: v1alpha1.Ask{N: 1, Verb: "manage"}},
		{name: "provide", from: ironic.Manageable, is: "registering", ask: Asked{Verb: ironic.VerbProvide}, want: v1alpha1.Ask{N: 1, Verb: "provide"}},
		{
			name: "adopt", from: ironic.Manageable, is: "registering", ask: Asked{Verb: ironic.VerbAdopt}, want: v1alpha1.Ask{N: 1, Verb: "adopt"},
			check: func(w *world) bool { return w.host("n1").Spec.ExternallyProvisioned },
		},
		{
			name: "erase metadata", from: ironic.Manageable, is: "registering",
			ask: Asked{Verb: ironic.VerbClean, Steps: []ironic.Step{step("deploy", "erase_devices_metadata", nil)}}, want: v1alpha1.Ask{N: 1, Verb: "clean", Erase: "metadata"},
		},
		{
			name: "RAID", from: ironic.Manageable, is: "registering",
			ask:  Asked{Verb: ironic.VerbClean, Steps: []ironic.Step{step("raid", "delete_configuration", nil), step("raid", "create_configuration", nil)}},
			want: v1alpha1.Ask{N: 1, Verb: "clean"},
			check: func(w *world) bool {
				v := w.host("n1").Spec.RAID.HardwareRAIDVolumes
				return len(v) == 1 && v[0].Level == "1" && *v[0].SizeGibibytes == 10
			},
		},
		{
			name: "no RAID", from: ironic.Manageable, is: "registering",
			ask: Asked{Verb: ironic.VerbClean, Steps: []ironic.Step{step("raid", "delete_configuration", nil)}}, want: v1alpha1.Ask{N: 1, Verb: "clean"},
			check: func(w *world) bool { r := w.host("n1").Spec.RAID; return r != nil && len(r.HardwareRAIDVolumes) == 0 },
		},
		{
			name: "firmware", from: ironic.Manageable, is: "registering",
			ask: Asked{Verb: ironic.VerbClean, Steps: []ironic.Step{
				step("bios", "apply_configuration", ironic.Object{"settings": []any{map[string]any{"name": "Boot", "value": "Uefi"}, map[string]any{"name": "N", "value": 3.0}}}),
				step("firmware", "update", ironic.Object{"settings": []any{map[string]any{"component": "bmc", "url": "http://x/f"}}}),
			}},
			want: v1alpha1.Ask{N: 1, Verb: "clean"},
			check: func(w *world) bool {
				s, c := &metal3.HostFirmwareSettings{}, &metal3.HostFirmwareComponents{}
				w.must(w.api.Get(w.Context(), types.NamespacedName{Namespace: "default", Name: "n1"}, s))
				w.must(w.api.Get(w.Context(), types.NamespacedName{Namespace: "default", Name: "n1"}, c))
				return s.Spec.Settings["Boot"] == intstr.FromString("Uefi") && s.Spec.Settings["N"] == intstr.FromInt(3) &&
					len(c.Spec.Updates) == 1 && c.Spec.Updates[0] == metal3.FirmwareUpdate{Component: "bmc", URL: "http://x/f"}
			},
		},
		{
			name: "unknown step", from: ironic.Manageable, is: "registering",
			ask: Asked{Verb: ironic.VerbClean, Steps: []ironic.Step{step("vendor", "send_raw", nil)}}, err: "The step vendor.send_raw is not supported",
		},
		{
			name: "RAID of a machine in use", from: "", is: "provisioned",
			ask: Asked{Verb: ironic.VerbService, Steps: []ironic.Step{step("raid", "create_configuration", nil)}}, err: "raid.create_configuration",
		},
		{
			name: "an erase without the agent", from: ironic.Manageable, is: "registering",
			ask: Asked{Verb: ironic.VerbClean, DisableRamdisk: true, Steps: []ironic.Step{step("deploy", "erase_devices_metadata", nil)}},
			err: "The clean step deploy.erase_devices_metadata requires booting a ramdisk",
		},
		{
			name: "RAID of the controller without the agent", from: ironic.Manageable, is: "registering",
			ask:  Asked{Verb: ironic.VerbClean, DisableRamdisk: true, Steps: []ironic.Step{step("raid", "create_configuration", nil)}},
			want: v1alpha1.Ask{N: 1, Verb: "clean"},
		},
		{
			name: "software RAID without the agent", from: ironic.Manageable, is: "registering",
			ask: Asked{Verb: ironic.VerbClean, DisableRamdisk: true, Steps: []ironic.Step{step("raid", "create_configuration", ironic.Object{
				"raid_config": map[string]any{"logical_disks": []any{map[string]any{"size_gb": "MAX", "raid_level": "1", "controller": "software"}}},
			})}},
			err: "The clean step raid.create_configuration requires booting a ramdisk",
		},
		{
			name: "settings in use without the agent", from: "", is: "provisioned",
			ask: Asked{Verb: ironic.VerbService, DisableRamdisk: true, Steps: []ironic.Step{
				step("bios", "apply_configuration", ironic.Object{"settings": []any{map[string]any{"name": "Boot", "value": "Uefi"}}}),
			}},
			want: v1alpha1.Ask{N: 1, Verb: "service"},
		},
		{
			name: "unknown deploy step", from: "", is: "available",
			ask: Asked{Verb: ironic.VerbActive, Steps: []ironic.Step{step("deploy", "magic", nil)}}, err: "deploy.magic",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			n := w.managed("n1", tc.from, tc.is, ironic.Node{TargetRAIDConfig: raid})
			before := w.writes
			n, err := w.store.Ask(t.Context(), n, tc.ask)
			if tc.err != "" {
				if !contains(refused(t, err), tc.err) || w.writes != before {
					t.Errorf("%v, %d writes", err, w.writes-before)
				}
				return
			}
			w.must(err)
			if diff := cmp.Diff(&tc.want, w.record("n1").Spec.Ask); diff != "" {
				t.Error(diff)
			}
			if tc.check != nil && !tc.check(w) {
				t.Errorf("%+v", w.host("n1").Spec)
			}
			if to, ok := Leads(tc.from, tc.ask.Verb); tc.from != "" && (!ok || *n.ProvisionState != to) {
				t.Errorf("shown as %s, not %s", *n.ProvisionState, to)
			}
			if n.Attrs != nil && n.Attrs.Spec.Intent != nil {
				t.Error("the intent stays")
			}
		})
	}
}

// A cleaning makes the software RAID that is declared, whatever its steps are.
func TestNoAgentWhileArraysAreDue(t *testing.T) {
	arrays := &metal3.RAIDConfig{SoftwareRAIDVolumes: []metal3.SoftwareRAIDVolume{{Level: "1"}}}
	unknown := &metal3.RAIDConfig{SoftwareRAIDVolumes: []metal3.SoftwareRAIDVolume{}}
	hard := &metal3.RAIDConfig{HardwareRAIDVolumes: []metal3.HardwareRAIDVolume{{Level: "1"}}}
	for _, tc := range []struct {
		name     string
		declared *metal3.RAIDConfig
		is       *metal3.RAIDConfig
		want     bool
	}{
		{name: "none"},
		{name: "made", declared: arrays, is: arrays},
		{name: "declared", declared: arrays, want: true},
		{name: "declared beside another's", declared: arrays, is: hard, want: true},
		{name: "not declared any more", is: arrays, want: true},
		{name: "declared otherwise", declared: hard, is: arrays, want: true},
		{name: "perhaps made", declared: arrays, is: unknown, want: true},
		{name: "perhaps there", is: unknown, want: true},
		{name: "none wanted, and none there", declared: unknown, is: hard},
		{name: "the controller's", declared: hard, is: hard},
	} {
		b := &metal3.BareMetalHost{}
		b.Spec.RAID, b.Status.Provisioning.RAID = tc.declared, tc.is
		dr := &draft{host: b}
		settings := []ironic.Step{{Interface: "bios", Step: "apply_configuration"}}
		err := dr.withoutAgent(Asked{Verb: ironic.VerbClean, Steps: settings})
		if (err != nil) != tc.want || err != nil && !contains(refused(t, err), "requires booting a ramdisk") {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
		if err := dr.withoutAgent(Asked{Verb: ironic.VerbService, Steps: settings}); err != nil {
			t.Errorf("%s: no service boots the agent: %v", tc.name, err)
		}
	}
}

// What is no machine takes any step, and may be held by one.
func TestFakeTakesAnything(t *testing.T) {
	w := newWorld(t)
	w.create(ironic.Node{Name: new("n1"), Driver: DriverFake, InstanceInfo: ironic.Object{"image_source": "uuid"}})
	w.rests("n1", ironic.Manageable, "unmanaged")
	_, err := w.store.Ask(t.Context(), w.node("n1"), Asked{Verb: ironic.VerbClean, Steps: []ironic.Step{{Interface: "vendor", Step: "anything"}, {Interface: "power", Step: "hold"}}})
	w.must(err)
	if a := w.record("n1").Spec.Ask; !a.Hold {
		t.Errorf("%+v", a)
	}
	w.rests("n1", ironic.Available, "unmanaged")
	n, err := w.store.Ask(t.Context(), w.node("n1"), Asked{Verb: ironic.VerbActive, ConfigDrive: json.RawMessage(`{"user_data": "x"}`)})
	w.must(err)
	if b := w.host("n1"); b.Spec.Image != nil || b.Spec.UserData != nil || n.InstanceInfo["configdrive"] != ironic.Masked {
		t.Errorf("%+v %v", b.Spec, n.InstanceInfo)
	}
}
