package firmware

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// Reasons of conditions of HostFirmwareComponents, Metal3's.
const (
	ReasonOK               = "OK"
	ReasonInvalidComponent = "InvalidComponent"
)

// maxUpdate bounds the name of an update, which is recorded.
const maxUpdate = 1900

// maxComponents bounds what is shown of a BMC's inventory.
const maxComponents = 64

// Components are those that Metal3 names (bios, bmc, nic:…), with what is on
// record of each.
func Components(old []metal3.FirmwareComponentStatus, inventory []bmc.FirmwareComponent, flashed *metal3.FirmwareUpdate, now time.Time) []metal3.FirmwareComponentStatus {
	was := map[string]metal3.FirmwareComponentStatus{}
	for _, c := range old {
		was[c.Component] = c
	}
	var out []metal3.FirmwareComponentStatus
	seen := map[string]bool{}
	for _, c := range inventory {
		if c.Component == "" || c.Version == "" || seen[c.Component] || len(out) == maxComponents {
			continue
		}
		seen[c.Component] = true
		st, known := was[c.Component]
		if !known {
			st = metal3.FirmwareComponentStatus{Component: c.Component, InitialVersion: c.Version}
		}
		st.CurrentVersion = c.Version
		if flashed != nil && flashed.Component == c.Component {
			st.LastVersionFlashed, st.UpdatedAt = c.Version, metav1.NewTime(now.Truncate(time.Second))
		}
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b metal3.FirmwareComponentStatus) int { return cmp.Compare(a.Component, b.Component) })
	return out
}

// Todo are the updates that are declared and were not carried out. An update is
// known by its component and URL: to carry one out again it has to be taken out of
// spec.updates first.
func Todo(hfc *metal3.HostFirmwareComponents) []metal3.FirmwareUpdate {
	if hfc == nil {
		return nil
	}
	var out []metal3.FirmwareUpdate
	for _, u := range hfc.Spec.Updates {
		if !slices.Contains(hfc.Status.Updates, u) && !slices.Contains(out, u) {
			out = append(out, u)
		}
	}
	return out
}

// InvalidUpdates says what is wrong with the declared updates and what to do.
// known are the machine's components; none, if that is not known.
func InvalidUpdates(updates []metal3.FirmwareUpdate, known []metal3.FirmwareComponentStatus) []string {
	var names []string
	for _, c := range known {
		names = append(names, c.Component)
	}
	var out []string
	for i, u := range updates {
		at := fmt.Sprintf("spec.updates[%d]", i)
		where, err := url.Parse(u.URL)
		switch {
		case u.Component != "bmc" && u.Component != "bios" && !strings.HasPrefix(u.Component, metal3.NICComponentPrefix):
			out = append(out, fmt.Sprintf("%s.component %q: give bios, bmc or a name that begins with %s", at, u.Component, metal3.NICComponentPrefix))
		case len(names) > 0 && !slices.Contains(names, u.Component):
			out = append(out, fmt.Sprintf("%s.component %q: this machine has none of that name; give one of %s", at, u.Component, strings.Join(names, ", ")))
		case err != nil || where.Scheme == "" || where.Host == "":
			out = append(out, at+".url: it is no URL of the form http://host/path")
		case len(u.Component)+len(u.URL) > maxUpdate:
			out = append(out, fmt.Sprintf("%s.url: it has %d characters; serve the image under a shorter one", at, len(u.URL)))
		case where.User != nil:
			out = append(out, at+".url: it holds credentials, which everybody can read here; serve the image without")
		}
	}
	return out
}

// ComponentsStatus is the status of a HostFirmwareComponents for the components of
// the machine, and after flashed was carried out.
func ComponentsStatus(hfc *metal3.HostFirmwareComponents, components []metal3.FirmwareComponentStatus, none string, flashed *metal3.FirmwareUpdate) (metal3.HostFirmwareComponentsStatus, []string) {
	st := *hfc.Status.DeepCopy()
	st.Components = components
	var done []metal3.FirmwareUpdate
	for _, u := range hfc.Spec.Updates {
		if slices.Contains(st.Updates, u) || flashed != nil && u == *flashed {
			done = append(done, u)
		}
	}
	st.Updates = done
	differs := len(done) != len(hfc.Spec.Updates)
	wrong := []string(nil)
	if differs {
		if wrong = InvalidUpdates(hfc.Spec.Updates, components); len(components) == 0 && none != "" {
			wrong = []string{"the BMC tells no firmware of this machine: " + none + "; take spec.updates out"}
		}
	}
	set := func(kind metal3.UpdatesConditionType, ok bool, reason, message string) {
		setCondition(&st.Conditions, string(kind), ok, hfc.Generation, reason, message)
	}
	set(metal3.HostFirmwareComponentsChangeDetected, differs, ReasonOK, "")
	if len(wrong) == 0 {
		set(metal3.HostFirmwareComponentsValid, true, ReasonOK, "")
	} else {
		set(metal3.HostFirmwareComponentsValid, false, ReasonInvalidComponent, clip(InvalidComponents(strings.Join(wrong, "; ")), 1024))
	}
	return st, wrong
}

// InvalidComponents is the text of the event that tells of wrong updates.
func InvalidComponents(wrong string) string { return "Invalid Firmware Components: " + wrong }

// UpdatesDue reports whether updates are declared that are valid and were not
// carried out, as SettingsDue does for settings.
func UpdatesDue(hfc *metal3.HostFirmwareComponents) bool {
	switch {
	case len(Todo(hfc)) == 0:
		return false
	case hfc.Status.LastUpdated == nil:
		return true
	}
	return due(hfc.Status.Conditions, string(metal3.HostFirmwareComponentsChangeDetected), string(metal3.HostFirmwareComponentsValid), hfc.Generation)
}
