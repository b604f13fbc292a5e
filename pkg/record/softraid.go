package record

import (
	"context"
	"encoding/json"
	"fmt"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/pkg/host"
)

// softRAID is the software RAID of a configuration as one text: empty where there
// is none, host.RAIDUnknown where the list is there and empty.
func softRAID(c *metal3.RAIDConfig) string {
	if c == nil || c.SoftwareRAIDVolumes == nil {
		return ""
	}
	text, err := json.Marshal(c.SoftwareRAIDVolumes)
	if err != nil {
		return ""
	}
	return string(text)
}

// wantedSoftRAID is softRAID of what is declared: an empty list declares none.
func wantedSoftRAID(c *metal3.RAIDConfig) string {
	if text := softRAID(c); text != host.RAIDUnknown {
		return text
	}
	return ""
}

// SoftRAIDDue reports whether a preparation has the agent make or delete arrays.
func SoftRAIDDue(b *metal3.BareMetalHost) bool {
	return wantedSoftRAID(b.Spec.RAID) != softRAID(b.Status.Provisioning.RAID)
}

// SoftVolumes reads what softRAID wrote.
func SoftVolumes(text string) ([]metal3.SoftwareRAIDVolume, error) {
	if text == "" {
		return nil, nil
	}
	var out []metal3.SoftwareRAIDVolume
	err := json.Unmarshal([]byte(text), &out)
	return out, err
}

// RootVolume is the number of the software RAID volume that an image goes to: the
// one that is marked rootVolume, a field of Metal3 v0.14 that our Go types lack,
// or else the first.
func RootVolume(ctx context.Context, r client.Reader, key types.NamespacedName) (int, error) {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(metal3.GroupVersion.WithKind("BareMetalHost"))
	if err := r.Get(ctx, key, u); err != nil {
		return 0, fmt.Errorf("reading rootVolume of %s: %w", key, err)
	}
	volumes, _, _ := unstructured.NestedSlice(u.Object, "spec", "raid", "softwareRAIDVolumes")
	for i, v := range volumes {
		if fields, ok := v.(map[string]any); ok && fields["rootVolume"] == true {
			return i, nil
		}
	}
	return 0, nil
}

// showSoftRAID shows the arrays that are on the disks: an empty list while that is
// not known. What is shown of hardware RAID stays.
func showSoftRAID(st *metal3.BareMetalHostStatus, h host.Host) {
	if softRAID(st.Provisioning.RAID) == h.SoftRAID {
		return
	}
	c := &metal3.RAIDConfig{}
	if st.Provisioning.RAID != nil {
		c = st.Provisioning.RAID.DeepCopy()
	}
	var err error
	if c.SoftwareRAIDVolumes, err = SoftVolumes(h.SoftRAID); err != nil {
		return
	}
	if c.SoftwareRAIDVolumes == nil && c.HardwareRAIDVolumes == nil {
		c = nil
	}
	st.Provisioning.RAID = c
}
