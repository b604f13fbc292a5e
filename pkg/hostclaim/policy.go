package hostclaim

import (
	"fmt"
	"regexp"
	"slices"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
)

// maxPattern bounds what is compiled for each claim that looks for a host. Go's
// expressions take linear time (RE2), but those that repeat take room.
const maxPattern = 1024

// Admits reports whether a policy lets claims of a namespace have hosts of its own:
// everything that it says must hold, and one that says nothing admits nobody.
// labels are the namespace's; they are asked for only if the policy names some.
//
// Like upstream's, the expression of nameMatches may match any part of the name:
// who means the whole of it writes ^ and $.
func Admits(p *metal3.HostDeployPolicy, namespace string, labels func() (map[string]string, error)) (bool, error) {
	want := p.Spec.HostClaimNamespaces
	if want == nil || want.Names != nil && !slices.Contains(want.Names, namespace) {
		return false, nil
	}
	if want.NameMatches != "" {
		if len(want.NameMatches) > maxPattern {
			return false, fmt.Errorf("spec.hostClaimNamespaces.nameMatches of HostDeployPolicy %s/%s has more than %d characters", p.Namespace, p.Name, maxPattern)
		}
		re, err := regexp.Compile(want.NameMatches)
		if err != nil {
			return false, fmt.Errorf("spec.hostClaimNamespaces.nameMatches of HostDeployPolicy %s/%s: %w", p.Namespace, p.Name, err)
		}
		if !re.MatchString(namespace) {
			return false, nil
		}
	}
	if len(want.HasLabels) == 0 {
		return true, nil
	}
	have, err := labels()
	if err != nil {
		return false, err
	}
	for _, l := range want.HasLabels {
		if v, ok := have[l.Name]; !ok || l.Value != "" && v != l.Value {
			return false, nil
		}
	}
	return true, nil
}
