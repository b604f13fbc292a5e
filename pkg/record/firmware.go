package record

import (
	"encoding/json"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/host"
)

// raid is the hardware RAID of a configuration as one text: empty where it says
// nothing of it, which leaves it alone, and [] where there is to be none.
func raid(c *metal3.RAIDConfig) string {
	if c == nil || c.HardwareRAIDVolumes == nil {
		return ""
	}
	text, err := json.Marshal(c.HardwareRAIDVolumes)
	if err != nil {
		return ""
	}
	return string(text)
}

// Volumes reads what raid wrote.
func Volumes(text string) ([]metal3.HardwareRAIDVolume, error) {
	var out []metal3.HardwareRAIDVolume
	err := json.Unmarshal([]byte(text), &out)
	return out, err
}

// showRAID shows the RAID that was last found to be as declared. What Metal3 left
// there stays until it is looked at.
func showRAID(st *metal3.BareMetalHostStatus, h host.Host) {
	if raid(st.Provisioning.RAID) == h.RAID {
		return
	}
	st.Provisioning.RAID = nil
	if volumes, err := Volumes(h.RAID); err == nil && volumes != nil {
		st.Provisioning.RAID = &metal3.RAIDConfig{HardwareRAIDVolumes: volumes}
	}
}

func toChange(c *host.Change) *v1alpha1.Change {
	if c == nil {
		return nil
	}
	return &v1alpha1.Change{
		What: string(c.What), Target: clip(c.Target, 2048), For: c.For, Before: clip(c.Before, 256), Op: c.Op, Reset: c.Reset,
	}
}

func fromChange(c *v1alpha1.Change) *host.Change {
	if c == nil {
		return nil
	}
	return &host.Change{
		What: host.ChangeKind(c.What), Target: c.Target, For: c.For, Before: c.Before, Op: c.Op, Reset: c.Reset,
	}
}
