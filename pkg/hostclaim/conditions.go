package hostclaim

import (
	"strings"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Reasons of conditions that are made of others, as Cluster API's package of
// conditions gives them.
const (
	notYetReported = "NotYetReported"
	issues         = "IssuesReported"
	unknowns       = "UnknownReported"
	infos          = "InfoReported"
)

// Condition of a claim, or nil.
func Condition(c *metal3.HostClaim, kind string) *metav1.Condition {
	return apimeta.FindStatusCondition(c.Status.Conditions, kind)
}

// IsTrue reports whether a condition of a claim holds.
func IsTrue(c *metal3.HostClaim, kind string) bool {
	return apimeta.IsStatusConditionTrue(c.Status.Conditions, kind)
}

// Set sets a condition of a claim.
func Set(c *metal3.HostClaim, kind string, ok bool, reason, message string) {
	status := metav1.ConditionFalse
	if ok {
		status = metav1.ConditionTrue
	}
	set(c, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message})
}

func set(c *metal3.HostClaim, k metav1.Condition) {
	k.ObservedGeneration = c.Generation
	apimeta.SetStatusCondition(&c.Status.Conditions, k)
}

// Mirror shows in a claim what its host says. Messages stay at the host: they may
// tell of its BMC, which is no concern of a tenant's.
func Mirror(c *metal3.HostClaim, b *metal3.BareMetalHost) {
	c.Status.PoweredOn = b.Status.PoweredOn
	at := metal3.ObjectReference{Namespace: b.Namespace, Name: b.Name}
	c.Status.BareMetalHost, c.Status.HardwareData = &at, &at
	for _, kind := range []string{metal3.AvailableForProvisioningCondition, metal3.ProvisionedCondition} {
		k := metav1.Condition{Type: kind, Status: metav1.ConditionUnknown, Reason: notYetReported}
		if at := apimeta.FindStatusCondition(b.Status.Conditions, kind); at != nil {
			k.Status, k.Reason = at.Status, at.Reason
		}
		set(c, k)
	}
}

// Lose forgets a claim's host.
func Lose(c *metal3.HostClaim) {
	c.Status.BareMetalHost, c.Status.HardwareData, c.Status.PoweredOn = nil, nil, false
	for _, kind := range []string{metal3.SynchronizedCondition, metal3.ProvisionedCondition, metal3.AvailableForProvisioningCondition} {
		apimeta.RemoveStatusCondition(&c.Status.Conditions, kind)
	}
}

// SetReady sets Ready: whatever is false makes it so, then whatever is unknown.
func SetReady(c *metal3.HostClaim) {
	var bad, unknown []string
	for _, kind := range []string{metal3.AssociatedCondition, metal3.SynchronizedCondition, metal3.ProvisionedCondition} {
		k := Condition(c, kind)
		switch {
		case k == nil:
			unknown = append(unknown, "* "+kind+": Condition "+kind+" not yet reported")
		case k.Status == metav1.ConditionFalse:
			bad = append(bad, "* "+kind+": "+said(k))
		case k.Status != metav1.ConditionTrue:
			unknown = append(unknown, "* "+kind+": "+said(k))
		}
	}
	ready := metav1.Condition{Type: metal3.ReadyCondition, Status: metav1.ConditionTrue, Reason: infos, Message: strings.Join(append(bad, unknown...), "\n")}
	switch {
	case len(bad) > 0:
		ready.Status, ready.Reason = metav1.ConditionFalse, issues
	case len(unknown) > 0:
		ready.Status, ready.Reason = metav1.ConditionUnknown, unknowns
	}
	set(c, ready)
}

func said(k *metav1.Condition) string {
	if k.Message != "" {
		return k.Message
	}
	return k.Reason
}
