package admission

import (
	"net/url"
	"reflect"
	"regexp"
	"slices"

	metal3api "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// checkSubscription judges a BMCEventSubscription.
func checkSubscription(s *metal3api.BMCEventSubscription) field.ErrorList {
	spec := field.NewPath("spec")
	var errs field.ErrorList
	if s.Spec.HostName == "" {
		errs = append(errs, field.Required(spec.Child("hostName"), "name the BareMetalHost whose BMC is to push events"))
	}
	errs = append(errs, checkSecret(s.Spec.HTTPHeadersRef, s.Namespace, spec.Child("httpHeadersRef"))...)
	at := spec.Child("destination")
	bad := checkURL(s.Spec.Destination, at, "http", "https")
	if u, err := url.Parse(s.Spec.Destination); len(bad) == 0 && err == nil && u.Path == "" {
		// BMCs differ in what they make of a URL without a path.
		bad = append(bad, field.Invalid(at, shown(s.Spec.Destination), "has no path: put a slash after the server's name"))
	}
	return append(errs, bad...)
}

// fixedSubscription: a BMC cannot change a subscription either.
func fixedSubscription(s, old *metal3api.BMCEventSubscription) field.ErrorList {
	if reflect.DeepEqual(s.Spec, old.Spec) {
		return nil
	}
	return field.ErrorList{field.Forbidden(field.NewPath("spec"), "a subscription cannot change: delete it and make it anew")}
}

// checkDataImage judges a DataImage.
func checkDataImage(d *metal3api.DataImage) field.ErrorList {
	return checkURL(d.Spec.URL, field.NewPath("spec", "url"), "http", "https", "oci")
}

// checkComponents judges a host's HostFirmwareComponents.
func checkComponents(c *metal3api.HostFirmwareComponents) field.ErrorList {
	var errs field.ErrorList
	for i, u := range c.Spec.Updates {
		errs = append(errs, checkURL(u.URL, field.NewPath("spec", "updates").Index(i).Child("url"), "http", "https", "oci")...)
	}
	return errs
}

// checkClaim judges a HostClaim.
func checkClaim(c *metal3api.HostClaim) field.ErrorList {
	spec := field.NewPath("spec")
	var errs field.ErrorList
	errs = append(errs, checkSecret(c.Spec.UserData, c.Namespace, spec.Child("userData"))...)
	errs = append(errs, checkSecret(c.Spec.NetworkData, c.Namespace, spec.Child("networkData"))...)
	errs = append(errs, checkSecret(c.Spec.MetaData, c.Namespace, spec.Child("metaData"))...)
	errs = append(errs, checkSelector(c.Spec.HostSelector, spec.Child("hostSelector"))...)
	errs = append(errs, checkImage(c.Spec.Image, spec.Child("image"))...)
	path := field.NewPath("metadata", "annotations")
	for _, key := range sorted(c.Annotations) {
		if !isReboot(key) {
			continue
		}
		if err := checkReboot(c.Annotations[key]); err != nil {
			errs = append(errs, field.Invalid(path.Key(key), cut(c.Annotations[key]), err.Error()))
		}
	}
	return errs
}

func checkSelector(s metal3api.HostSelector, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, key := range sorted(s.MatchLabels) {
		at := path.Child("matchLabels").Key(key)
		errs = append(errs, checkLabelKey(key, at)...)
		errs = append(errs, checkLabelValue(s.MatchLabels[key], at)...)
	}
	for i, r := range s.MatchExpressions {
		at := path.Child("matchExpressions").Index(i)
		errs = append(errs, checkLabelKey(r.Key, at.Child("key"))...)
		values := at.Child("values")
		switch r.Operator {
		case selection.Equals, selection.DoubleEquals, selection.NotEquals:
			if len(r.Values) != 1 {
				errs = append(errs, field.Invalid(values, r.Values, "operator "+string(r.Operator)+" takes exactly one value"))
			}
		case selection.In, selection.NotIn:
			if len(r.Values) == 0 {
				errs = append(errs, field.Required(values, "operator "+string(r.Operator)+" takes at least one value"))
			}
		case selection.Exists, selection.DoesNotExist:
			if len(r.Values) != 0 {
				errs = append(errs, field.Invalid(values, r.Values, "operator "+string(r.Operator)+" takes no values: leave them out"))
			}
		default:
			errs = append(errs, field.NotSupported(at.Child("operator"), r.Operator, []selection.Operator{
				selection.Equals, selection.DoubleEquals, selection.NotEquals, selection.In, selection.NotIn, selection.Exists, selection.DoesNotExist,
			}))
		}
		for j, v := range r.Values {
			errs = append(errs, checkLabelValue(v, values.Index(j))...)
		}
	}
	return errs
}

func checkLabelKey(key string, path *field.Path) (errs field.ErrorList) {
	for _, text := range validation.IsQualifiedName(key) {
		errs = append(errs, field.Invalid(path, key, text))
	}
	return errs
}

func checkLabelValue(value string, path *field.Path) (errs field.ErrorList) {
	for _, text := range validation.IsValidLabelValue(value) {
		errs = append(errs, field.Invalid(path, value, text))
	}
	return errs
}

// checkPolicy judges a HostDeployPolicy: one that does not parse would let nobody
// in, and say nothing.
func checkPolicy(p *metal3api.HostDeployPolicy) field.ErrorList {
	n := p.Spec.HostClaimNamespaces
	if n == nil {
		return nil
	}
	path := field.NewPath("spec", "hostClaimNamespaces")
	var errs field.ErrorList
	if _, err := regexp.Compile(n.NameMatches); err != nil {
		errs = append(errs, field.Invalid(path.Child("nameMatches"), n.NameMatches, "write a regular expression of Go (RE2): "+err.Error()))
	}
	for i, l := range n.HasLabels {
		at := path.Child("hasLabels").Index(i)
		errs = append(errs, checkLabelKey(l.Name, at.Child("name"))...)
		errs = append(errs, checkLabelValue(l.Value, at.Child("value"))...)
	}
	return errs
}

func sorted(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
