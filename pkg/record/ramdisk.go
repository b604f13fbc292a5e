package record

import (
	"fmt"
	"slices"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/host"
)

// defaultArch is what Metal3 asks for where nothing is known.
const defaultArch = "x86_64"

// RamdiskWanted is what an external builder is asked for: what we can boot the
// host with.
func RamdiskWanted(b *metal3.BareMetalHost) metal3.PreprovisioningImageSpec {
	s := metal3.PreprovisioningImageSpec{
		NetworkDataName: b.Spec.PreprovisioningNetworkDataName,
		Architecture:    b.Spec.Architecture,
		AcceptFormats:   []metal3.ImageFormat{metal3.ImageFormatInitRD},
	}
	if hw := b.Status.HardwareDetails; s.Architecture == "" && hw != nil {
		s.Architecture = hw.CPU.Arch
	}
	if s.Architecture == "" {
		s.Architecture = defaultArch
	}
	if a, err := bmc.ParseAddress(b.Spec.BMC.Address); err == nil && a.Boot == bmc.BootViaMedia {
		s.AcceptFormats = []metal3.ImageFormat{metal3.ImageFormatISO, metal3.ImageFormatInitRD}
	}
	return s
}

// SameRamdisk reports whether a builder is asked for this.
func SameRamdisk(a, b metal3.PreprovisioningImageSpec) bool {
	return a.NetworkDataName == b.NetworkDataName && a.Architecture == b.Architecture && slices.Equal(a.AcceptFormats, b.AcceptFormats)
}

// RamdiskAnswer reads a builder's answer to what is wanted now. All nil: there is
// none yet, or it is to an earlier question. secretVersion is that of the Secret
// with the ramdisk's network data.
func RamdiskAnswer(p *metal3.PreprovisioningImage, want metal3.PreprovisioningImageSpec, secretVersion string) (*host.Ramdisk, *host.Problem) {
	st := p.Status
	if !SameRamdisk(p.Spec, want) || !p.DeletionTimestamp.IsZero() {
		return nil, nil
	}
	said := func(kind metal3.ImageStatusConditionType) *metav1.Condition {
		c := apimeta.FindStatusCondition(st.Conditions, string(kind))
		if c == nil || c.Status != metav1.ConditionTrue || c.ObservedGeneration != p.Generation {
			return nil
		}
		return c
	}
	facts := map[string]string{"image": p.Name, "namespace": p.Namespace}
	if c := said(metal3.ConditionImageError); c != nil {
		return nil, &host.Problem{Code: "ramdisk-build", Class: host.Retry, Facts: facts, Seen: []string{
			fmt.Sprintf("PreprovisioningImage %s/%s: %s: %s", p.Namespace, p.Name, c.Reason, c.Message),
		}}
	}
	switch {
	case said(metal3.ConditionImageReady) == nil,
		st.Architecture != want.Architecture,
		want.NetworkDataName != "" && (st.NetworkData.Name != want.NetworkDataName || st.NetworkData.Version != secretVersion):
		return nil, nil
	}
	useless := func(format string, args ...any) (*host.Ramdisk, *host.Problem) {
		return nil, &host.Problem{Code: "ramdisk-unusable", Class: host.Wait, Facts: facts, Seen: []string{
			fmt.Sprintf("PreprovisioningImage %s/%s: ", p.Namespace, p.Name) + fmt.Sprintf(format, args...),
		}}
	}
	switch {
	case !slices.Contains(want.AcceptFormats, st.Format):
		return useless("its format is %q, asked for was %v", st.Format, want.AcceptFormats)
	case st.ImageUrl == "":
		return useless("it is Ready and has no imageUrl")
	case len(st.ImageUrl)+len(st.KernelUrl) > 1024 || len(st.ExtraKernelParams) > 1024:
		return useless("its URLs or extraKernelParams are longer than 1024 characters")
	case st.Format == metal3.ImageFormatISO:
		return &host.Ramdisk{ISO: st.ImageUrl}, nil
	}
	return &host.Ramdisk{Kernel: st.KernelUrl, Initrd: st.ImageUrl, Params: st.ExtraKernelParams}, nil
}
