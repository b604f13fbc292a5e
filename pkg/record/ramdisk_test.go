package record

import (
	"strings"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ingot-metal/ingot/pkg/host"
)

func TestRamdiskWanted(t *testing.T) {
	for _, tc := range []struct {
		name, address, arch, found string
		want                       metal3.PreprovisioningImageSpec
	}{
		{name: "IPMI", address: "ipmi://10.0.0.1", want: metal3.PreprovisioningImageSpec{Architecture: "x86_64", AcceptFormats: []metal3.ImageFormat{"initrd"}}},
		{name: "Redfish", address: "redfish://10.0.0.1", found: "aarch64", want: metal3.PreprovisioningImageSpec{Architecture: "aarch64", AcceptFormats: []metal3.ImageFormat{"initrd"}}},
		{name: "virtual media", address: "idrac-virtualmedia://10.0.0.1", arch: "x86_64", found: "aarch64", want: metal3.PreprovisioningImageSpec{Architecture: "x86_64", AcceptFormats: []metal3.ImageFormat{"iso", "initrd"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := &metal3.BareMetalHost{}
			b.Spec.BMC.Address, b.Spec.Architecture = tc.address, tc.arch
			if tc.found != "" {
				b.Status.HardwareDetails = &metal3.HardwareDetails{CPU: metal3.CPU{Arch: tc.found}}
			}
			if got := RamdiskWanted(b); !SameRamdisk(got, tc.want) {
				t.Errorf("%+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestRamdiskAnswer(t *testing.T) {
	want := metal3.PreprovisioningImageSpec{NetworkDataName: "net", Architecture: "x86_64", AcceptFormats: []metal3.ImageFormat{"initrd"}}
	said := func(kind metal3.ImageStatusConditionType, status metav1.ConditionStatus, generation int64) metav1.Condition {
		return metav1.Condition{Type: string(kind), Status: status, ObservedGeneration: generation, Reason: "R", Message: "said"}
	}
	for _, tc := range []struct {
		name   string
		change func(*metal3.PreprovisioningImage)
		code   string // of the problem
		none   bool   // it is no answer yet
		says   string
	}{
		{name: "ready", change: func(*metal3.PreprovisioningImage) {}},
		{name: "nothing said", change: func(p *metal3.PreprovisioningImage) { p.Status.Conditions = nil }, none: true},
		{name: "not ready", change: func(p *metal3.PreprovisioningImage) {
			p.Status.Conditions = []metav1.Condition{said(metal3.ConditionImageReady, metav1.ConditionFalse, 3)}
		}, none: true},
		{name: "of an earlier generation", change: func(p *metal3.PreprovisioningImage) { p.Generation = 4 }, none: true},
		{name: "to another question", change: func(p *metal3.PreprovisioningImage) { p.Spec.Architecture = "aarch64" }, none: true},
		{name: "of another architecture", change: func(p *metal3.PreprovisioningImage) { p.Status.Architecture = "aarch64" }, none: true},
		{name: "of older network data", change: func(p *metal3.PreprovisioningImage) { p.Status.NetworkData.Version = "6" }, none: true},
		{name: "of other network data", change: func(p *metal3.PreprovisioningImage) { p.Status.NetworkData.Name = "x" }, none: true},
		{name: "error", change: func(p *metal3.PreprovisioningImage) {
			p.Status.Conditions = append(p.Status.Conditions, said(metal3.ConditionImageError, metav1.ConditionTrue, 3))
		}, code: "ramdisk-build", says: "said"},
		{name: "error of an earlier generation", change: func(p *metal3.PreprovisioningImage) {
			p.Status.Conditions = append(p.Status.Conditions, said(metal3.ConditionImageError, metav1.ConditionTrue, 2))
		}},
		{name: "a format that was not asked for", change: func(p *metal3.PreprovisioningImage) { p.Status.Format = "iso" }, code: "ramdisk-unusable", says: "iso"},
		{name: "no URL", change: func(p *metal3.PreprovisioningImage) { p.Status.ImageUrl = "" }, code: "ramdisk-unusable", says: "imageUrl"},
		{name: "too long", change: func(p *metal3.PreprovisioningImage) { p.Status.ExtraKernelParams = strings.Repeat("a ", 600) }, code: "ramdisk-unusable", says: "1024"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := &metal3.PreprovisioningImage{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "h", Generation: 3}, Spec: want}
			p.Status = metal3.PreprovisioningImageStatus{
				ImageUrl: "http://b/i", KernelUrl: "http://b/k", ExtraKernelParams: "a=b", Format: "initrd", Architecture: "x86_64",
				NetworkData: metal3.SecretStatus{Name: "net", Version: "7"},
				Conditions:  []metav1.Condition{said(metal3.ConditionImageReady, metav1.ConditionTrue, 3)},
			}
			tc.change(p)
			r, problem := RamdiskAnswer(p, want, "7")
			switch {
			case tc.none:
				if r != nil || problem != nil {
					t.Errorf("%+v, %+v", r, problem)
				}
			case tc.code != "":
				if r != nil || problem == nil || problem.Code != tc.code || !strings.Contains(problem.Seen[0], tc.says) {
					t.Errorf("%+v, %+v", r, problem)
				}
			case r == nil || *r != host.Ramdisk{Kernel: "http://b/k", Initrd: "http://b/i", Params: "a=b"}:
				t.Errorf("%+v, %+v", r, problem)
			}
		})
	}
}

// What an object says of media comes back from the record as it was.
func TestMediaSurvivesARestart(t *testing.T) {
	m := host.Media{URL: "http://i/a.iso", Use: host.MediaData, In: true}
	if got := fromMedia(toMedia(&m)); *got != m {
		t.Errorf("%+v", got)
	}
	r := host.Ramdisk{Kernel: "k", Initrd: "i", Params: "p", ISO: "s"}
	if got := fromRamdisk(toRamdisk(&r)); *got != r {
		t.Errorf("%+v", got)
	}
	i := host.Image{URL: "u", Checksum: "c", ChecksumType: "t", Format: "f", Method: "m"}
	if got := fromProvisioned(toProvisioned(&i)); *got != i {
		t.Errorf("%+v", got)
	}
}

// A live ISO that Metal3 left in the drive is taken out when its host is
// deprovisioned; that of a disk image is nothing of the kind.
func TestTakeoverOfALiveISO(t *testing.T) {
	live := "live-iso"
	b := &metal3.BareMetalHost{}
	b.Status.Provisioning.State = metal3.StateProvisioned
	b.Status.Provisioning.Image = metal3.Image{URL: "http://i/a.iso", DiskFormat: &live}
	h := Load(b, nil, host.Wants{})
	if h.Media == nil || h.Media.URL != "http://i/a.iso" || h.Media.Use != host.MediaLive || !h.Media.In {
		t.Errorf("media %+v", h.Media)
	}
	h.Wants.DataImage = "http://i/data.iso"
	if st := DataImageStatus(h); st.AttachedImage.URL != "" || !strings.Contains(st.Error.Message, "live ISO") {
		t.Errorf("DataImage of a live host: %+v", st)
	}
	b.Status.Provisioning.Image.DiskFormat = nil
	b.Status.Provisioning.CustomDeploy = &metal3.CustomDeploy{Method: "m"}
	if h := Load(b, nil, host.Wants{}); h.Media != nil || h.Provisioned.Method != "m" {
		t.Errorf("media %+v, provisioned %+v", h.Media, h.Provisioned)
	}
}
