package hostclaim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
)

// Kind of the object that a host's consumerRef names.
const Kind = "HostClaim"

// failureDomain is the label by which claims and Cluster API prefer hosts.
const failureDomain = "infrastructure.cluster.x-k8s.io/failure-domain"

// nodeReuse is the label of a host that Cluster API keeps for a successor.
const nodeReuse = "infrastructure.cluster.x-k8s.io/node-reuse"

// unhealthy are the annotations of hosts that nobody is to pick, old and new.
var unhealthy = [...]string{"capi.metal3.io/unhealthy", "capm3.metal3.io/unhealthy"}

// Free reports whether any claim may take a host.
func Free(b *metal3.BareMetalHost) bool {
	switch b.Status.Provisioning.State {
	case metal3.StateAvailable, metal3.StateReady:
	default:
		return false
	}
	switch b.Status.OperationalStatus {
	case metal3.OperationalStatusError, metal3.OperationalStatusDetached:
		return false
	}
	if b.Spec.ConsumerRef != nil || !b.DeletionTimestamp.IsZero() || b.Status.ErrorMessage != "" {
		return false
	}
	// Somebody uses it by hand, though nothing has begun.
	if b.Spec.Image != nil || b.Spec.CustomDeploy != nil || b.Spec.ExternallyProvisioned {
		return false
	}
	for _, key := range append(unhealthy[:], metal3.PausedAnnotation, metal3.DetachedAnnotation) {
		if _, ok := b.Annotations[key]; ok {
			return false
		}
	}
	_, kept := b.Labels[nodeReuse]
	return !kept
}

// Selector of the hosts that a claim wants.
func Selector(c *metal3.HostClaim) (labels.Selector, error) {
	s := labels.NewSelector()
	want := c.Spec.HostSelector
	for _, key := range slices.Sorted(maps.Keys(want.MatchLabels)) {
		r, err := labels.NewRequirement(key, selection.Equals, []string{want.MatchLabels[key]})
		if err != nil {
			return nil, fmt.Errorf("spec.hostSelector.matchLabels: %w", err)
		}
		s = s.Add(*r)
	}
	for i, e := range want.MatchExpressions {
		op := selection.Operator(strings.ToLower(string(e.Operator)))
		if op == "doesnotexist" {
			op = selection.DoesNotExist
		}
		r, err := labels.NewRequirement(e.Key, op, e.Values)
		if err != nil {
			return nil, fmt.Errorf("spec.hostSelector.matchExpressions[%d]: %w", i, err)
		}
		s = s.Add(*r)
	}
	return s, nil
}

// Choose takes one of the hosts by chance, of the claim's failure domain if there
// is one. It returns its index, or -1. pick returns a number below n.
func Choose(c *metal3.HostClaim, hosts []metal3.BareMetalHost, pick func(n int) int) int {
	var near, all []int
	for i := range hosts {
		all = append(all, i)
		if d := c.Spec.FailureDomain; d != "" && hosts[i].Labels[failureDomain] == d {
			near = append(near, i)
		}
	}
	if len(near) > 0 {
		all = near
	}
	if len(all) == 0 {
		return -1
	}
	return all[pick(len(all))]
}

// Reference is what the consumerRef of a claim's host says.
func Reference(c *metal3.HostClaim) *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: metal3.GroupVersion.String(), Kind: Kind, Namespace: c.Namespace, Name: c.Name}
}

// Holder is the claim that has a host.
func Holder(b *metal3.BareMetalHost) (types.NamespacedName, bool) {
	r := b.Spec.ConsumerRef
	if r == nil || r.Kind != Kind || schema.FromAPIVersionAndKind(r.APIVersion, r.Kind).Group != metal3.GroupVersion.Group {
		return types.NamespacedName{}, false
	}
	return types.NamespacedName{Namespace: r.Namespace, Name: r.Name}, true
}

// Holds reports whether a host is a claim's.
func Holds(c *metal3.HostClaim, b *metal3.BareMetalHost) bool {
	k, ok := Holder(b)
	return ok && k == types.NamespacedName{Namespace: c.Namespace, Name: c.Name}
}
