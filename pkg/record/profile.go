package record

import (
	"encoding/json"
	"strings"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1/profile"

	"github.com/ingot-metal/ingot/pkg/host"
)

// profileOf is the host's hardware profile by Metal3's order: the one that was
// set once, the declared one, one by the kind of BMC. A name that Metal3 does not
// know is a problem.
func profileOf(b *metal3.BareMetalHost) (string, *host.Problem) {
	name := b.Status.HardwareProfile
	switch {
	case name != "":
	case b.Spec.HardwareProfile != "":
		name = b.Spec.HardwareProfile
	case strings.HasPrefix(b.Spec.BMC.Address, "libvirt"):
		name = "libvirt"
	default:
		name = profile.DefaultProfileName
	}
	if _, err := profile.GetProfile(name); err != nil {
		return name, &host.Problem{
			Code: "hardware-profile", Class: host.Wait, Seen: []string{"spec.hardwareProfile is " + clip(name, 80)},
			Facts: map[string]string{"host": b.Name, "profile": clip(name, 80)},
		}
	}
	return name, nil
}

// wantedHints are the root device hints that are declared: the spec's, or those
// of a hardware profile that the spec names. Metal3's default profile would have
// every host without hints boot from /dev/sda, even one that has none; nobody has
// asked for that.
func wantedHints(b *metal3.BareMetalHost) *metal3.RootDeviceHints {
	if h := b.Spec.RootDeviceHints; h != nil {
		return h
	}
	if b.Spec.HardwareProfile == "" {
		return nil
	}
	name, _ := profileOf(b)
	p, err := profile.GetProfile(name)
	if err != nil || p.RootDeviceHints == (metal3.RootDeviceHints{}) {
		return nil
	}
	return &p.RootDeviceHints
}

// Hints are the root device hints that choose a host's disk. Those that were
// recorded hold until others are declared.
func Hints(b *metal3.BareMetalHost) *metal3.RootDeviceHints {
	if h := wantedHints(b); h != nil {
		return h
	}
	return b.Status.Provisioning.RootDeviceHints
}

// hintsID is another text for other hints, and empty for none.
func hintsID(h *metal3.RootDeviceHints) string {
	if h == nil || *h == (metal3.RootDeviceHints{}) {
		return ""
	}
	text, err := json.Marshal(h)
	if err != nil {
		return "" // cannot be: they came as JSON
	}
	return string(text)
}
