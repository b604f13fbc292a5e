package admission

import (
	"strings"
	"testing"

	metal3api "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
)

func TestConsumerOfClaimedHost(t *testing.T) {
	claim := corev1.ObjectReference{APIVersion: "metal3.io/v1alpha1", Kind: "HostClaim", Namespace: "team", Name: "c1"}
	other := corev1.ObjectReference{APIVersion: "metal3.io/v1alpha1", Kind: "HostClaim", Namespace: "team", Name: "c2"}
	machine := corev1.ObjectReference{APIVersion: "infrastructure.cluster.x-k8s.io/v1beta1", Kind: "Metal3Machine", Namespace: "rack", Name: "m1"}
	cluster := corev1.ObjectReference{APIVersion: "cluster.x-k8s.io/v1beta1", Kind: "Cluster", Namespace: "rack", Name: "k"}
	for _, tc := range []struct {
		name    string
		was, is *corev1.ObjectReference
		refused bool
	}{
		{name: "taken by a claim", is: &claim},
		{name: "kept", was: &claim, is: &claim},
		{name: "given back", was: &claim},
		{name: "taken from a claim", was: &claim, is: &machine, refused: true},
		{name: "taken by another claim", was: &claim, is: &other, refused: true},
		{name: "kept for a successor (node reuse)", was: &machine, is: &cluster},
		{name: "a HostClaim of another group", was: &corev1.ObjectReference{APIVersion: "example.com/v1", Kind: "HostClaim", Name: "c1"}, is: &machine},
	} {
		t.Run(tc.name, func(t *testing.T) {
			host := func(ref *corev1.ObjectReference) *Host {
				h := &Host{BareMetalHost: metal3api.BareMetalHost{}}
				h.Name, h.Spec.ConsumerRef = "w1", ref
				return h
			}
			errs := Update(host(tc.is), host(tc.was))
			if len(errs) > 0 != tc.refused || tc.refused && !strings.Contains(errs[0].Error(), "held by HostClaim team/c1") {
				t.Errorf("got %v", errs)
			}
		})
	}
}
