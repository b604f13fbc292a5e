package record

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ingot-metal/ingot/pkg/bmc/open"
	"github.com/ingot-metal/ingot/pkg/host"
)

// declared is a host with a BMC, before a test changes it.
func declared(change func(*metal3.BareMetalHost)) *metal3.BareMetalHost {
	b := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{
		Namespace: "rack", Name: "w1", UID: "u1", Generation: 7, Annotations: map[string]string{},
	}}
	b.Spec.BMC = metal3.BMCDetails{Address: "redfish://10.0.0.3", CredentialsName: "s1"}
	if change != nil {
		change(b)
	}
	return b
}

func secret(version, user, password string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "s1", ResourceVersion: version},
		Data:       map[string][]byte{"username": []byte(user), "password": []byte(password)},
	}
}

func TestWants(t *testing.T) {
	annotate := func(pairs ...string) func(*metal3.BareMetalHost) {
		return func(b *metal3.BareMetalHost) {
			for i := 0; i < len(pairs); i += 2 {
				b.Annotations[pairs[i]] = pairs[i+1]
			}
		}
	}
	deleted := metav1.NewTime(time.Unix(1, 0))
	qcow2 := "qcow2"
	tests := []struct {
		name   string
		change func(*metal3.BareMetalHost)
		want   func(*host.Wants)
	}{
		{name: "nothing but a BMC", want: func(*host.Wants) {}},
		{
			name: "every field of the spec",
			change: func(b *metal3.BareMetalHost) {
				b.Spec.Online, b.Spec.DisablePowerOff, b.Spec.ExternallyProvisioned = true, true, true
				b.Spec.AutomatedCleaningMode, b.Spec.BootMode = metal3.CleaningModeDisabled, metal3.Legacy
				b.Spec.Image = &metal3.Image{URL: "http://i", Checksum: "c", ChecksumType: metal3.SHA512, DiskFormat: &qcow2}
				b.DeletionTimestamp = &deleted
			},
			want: func(w *host.Wants) {
				w.Online, w.DisablePowerOff, w.ExternallyProvisioned, w.CleaningDisabled = true, true, true, true
				w.Legacy, w.Deleting = true, true
				w.Image = &host.Image{URL: "http://i", Checksum: "c", ChecksumType: "sha512", Format: "qcow2"}
			},
		},
		{
			name:   "an image without a URL is none",
			change: func(b *metal3.BareMetalHost) { b.Spec.Image = &metal3.Image{Checksum: "c"} },
			want:   func(*host.Wants) {},
		},
		{name: "paused, whatever the value", change: annotate(metal3.PausedAnnotation, ""), want: func(w *host.Wants) { w.Paused = true }},
		{name: "detached, no value", change: annotate(metal3.DetachedAnnotation, ""), want: func(w *host.Wants) { w.Detach = &host.Detach{} }},
		{name: "detached, no JSON", change: annotate(metal3.DetachedAnnotation, "{nonsense"), want: func(w *host.Wants) { w.Detach = &host.Detach{} }},
		{
			name: "detached, deletion delayed", change: annotate(metal3.DetachedAnnotation, `{"deleteAction":"delay"}`),
			want: func(w *host.Wants) { w.Detach = &host.Detach{DelayDelete: true} },
		},
		{
			name: "detached by force", change: annotate(metal3.DetachedAnnotation, `{"force":true,"deleteAction":"delete"}`),
			want: func(w *host.Wants) { w.Detach = &host.Detach{Force: true} },
		},
		{name: "reboot", change: annotate("reboot.metal3.io", ""), want: func(w *host.Wants) { w.Reboot.Once = true }},
		{name: "hard reboot", change: annotate("reboot.metal3.io", `{"mode":"hard"}`), want: func(w *host.Wants) { w.Reboot.Once, w.Reboot.Hard = true, true }},
		{name: "soft reboot", change: annotate("reboot.metal3.io", `{"mode":"soft"}`), want: func(w *host.Wants) { w.Reboot.Once = true }},
		{name: "held off", change: annotate("reboot.metal3.io/mine", ""), want: func(w *host.Wants) { w.Reboot.Hold = true }},
		{
			name: "held off twice, one hard", change: annotate("reboot.metal3.io/a", `{"mode":"hard"}`, "reboot.metal3.io/b", ""),
			want: func(w *host.Wants) { w.Reboot.Hold, w.Reboot.Hard = true, true },
		},
		{name: "forced reboot", change: annotate("reboot.metal3.io", `{"force":true}`), want: func(w *host.Wants) { w.Reboot.Once, w.Reboot.Force = true, true }},
		{
			name: "held off by force, and rebooted without", change: annotate("reboot.metal3.io/a", `{"force":true}`, "reboot.metal3.io", "{nonsense"),
			want: func(w *host.Wants) { w.Reboot = host.Reboot{Once: true, Hold: true, HoldForce: true} },
		},
		{
			name: "root device hints", change: func(b *metal3.BareMetalHost) {
				b.Spec.RootDeviceHints, b.Spec.HardwareProfile = &metal3.RootDeviceHints{HCTL: "0:0:0:0"}, "libvirt"
			},
			want: func(w *host.Wants) { w.Hints = `{"hctl":"0:0:0:0"}` },
		},
		{
			name: "the hints of a profile", change: func(b *metal3.BareMetalHost) { b.Spec.HardwareProfile = "libvirt" },
			want: func(w *host.Wants) { w.Hints = `{"deviceName":"/dev/vda"}` },
		},
		{name: "the empty profile has none", change: func(b *metal3.BareMetalHost) { b.Spec.HardwareProfile = "empty" }, want: func(*host.Wants) {}},
		{
			name: "a profile that was set once stays", change: func(b *metal3.BareMetalHost) {
				b.Status.HardwareProfile, b.Spec.HardwareProfile = "libvirt", "no-such"
			},
			want: func(w *host.Wants) { w.Hints = `{"deviceName":"/dev/vda"}` },
		},
		{name: "another's annotation", change: annotate("reboot.metal3.iox", "", "xreboot.metal3.io", ""), want: func(*host.Wants) {}},
		{name: "inspect again", change: annotate("inspect.metal3.io", ""), want: func(w *host.Wants) { w.InspectAgain = true }},
		{
			name: "inspected without a boot", change: func(b *metal3.BareMetalHost) { b.Spec.InspectionMode = InspectionModeFast },
			want: func(w *host.Wants) { w.FastInspect = true },
		},
		{
			name: "not inspected at all, though fast", change: func(b *metal3.BareMetalHost) {
				b.Spec.InspectionMode, b.Annotations["inspect.metal3.io"] = InspectionModeFast, "disabled"
			},
			want: func(w *host.Wants) { w.InspectionDisabled = true },
		},
		{
			name: "a BMC with options", change: annotate(open.AnnotationPin, "first-use"),
			want: func(w *host.Wants) { w.BMCOptions = open.OptionsID(map[string]string{open.AnnotationPin: "first-use"}) },
		},
		{name: "inspection disabled", change: annotate("inspect.metal3.io", "disabled"), want: func(w *host.Wants) { w.InspectionDisabled = true }},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			want := host.Wants{Generation: 7, Address: "redfish://10.0.0.3", SecretName: "s1", SecretVersion: "42"}
			tc.want(&want)
			if diff := cmp.Diff(want, Wants(declared(tc.change), secret("42", "admin", "pw"))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestSecretProblems(t *testing.T) {
	tests := []struct {
		name   string
		change func(*metal3.BareMetalHost)
		secret *corev1.Secret
		code   string // empty: usable
		seen   string
	}{
		{name: "usable", secret: secret("42", "admin", "pw")},
		{name: "absent", code: "bmc-secret-missing", seen: "no Secret rack/s1"},
		{name: "no password", secret: secret("42", "admin", ""), code: "bmc-secret-missing", seen: "Secret rack/s1 has no value for the key password"},
		{name: "blank user", secret: secret("42", " \n", "pw"), code: "bmc-secret-missing", seen: "Secret rack/s1 has no value for the key username"},
		{
			name: "not named", secret: secret("42", "admin", "pw"), code: "bmc-secret-missing", seen: "spec.bmc.credentialsName is empty",
			change: func(b *metal3.BareMetalHost) { b.Spec.BMC.CredentialsName = "" },
		},
		{
			name: "no such profile", secret: secret("42", "admin", "pw"), code: "hardware-profile", seen: "spec.hardwareProfile is nonsense",
			change: func(b *metal3.BareMetalHost) { b.Spec.HardwareProfile = "nonsense" },
		},
		{
			name: "no address", secret: secret("42", "admin", "pw"), code: "bmc-address-syntax", seen: "spec.bmc.address is empty",
			change: func(b *metal3.BareMetalHost) { b.Spec.BMC.Address = "" },
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			w := Wants(declared(tc.change), tc.secret)
			if tc.code == "" {
				if w.SecretVersion != "42" || w.SecretProblem != nil {
					t.Errorf("version %q, problem %+v", w.SecretVersion, w.SecretProblem)
				}
				return
			}
			p := w.SecretProblem
			if w.SecretVersion != "" || p == nil || p.Code != tc.code || p.Class != host.Wait || len(p.Seen) != 1 || p.Seen[0] != tc.seen {
				t.Errorf("version %q, problem %+v", w.SecretVersion, p)
			}
		})
	}
}

// A newline at the end of a file that became a Secret is no part of a password.
func TestCredentialsAreTrimmed(t *testing.T) {
	got := Credentials(secret("1", " admin\n", "p w\n"))
	if got.Username != "admin" || got.Password != "p w" {
		t.Errorf("got %q and a password of %d bytes", got.Username, len(got.Password))
	}
}

func TestWithoutBMC(t *testing.T) {
	w := Wants(declared(func(b *metal3.BareMetalHost) { b.Spec.BMC = metal3.BMCDetails{} }), nil)
	if w.Managed() || w.SecretProblem != nil {
		t.Errorf("a host without a BMC wants %+v", w)
	}
}
