package record

import (
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ingot-metal/ingot/pkg/explain"
	"github.com/ingot-metal/ingot/pkg/host"
)

// BMHStatus is the BareMetalHost's status for h. What the life cycle does not
// know (hardware, profile) is kept from old.
func BMHStatus(h host.Host, b *metal3.BareMetalHost, id string, now time.Time) metal3.BareMetalHostStatus {
	st := *b.Status.DeepCopy()
	prev := state(st.Provisioning.State)
	st.Provisioning.State = metal3.ProvisioningState(h.State)
	st.Provisioning.ID = id
	st.ErrorCount = h.ErrorCount
	st.ErrorType, st.ErrorMessage = "", ""
	switch {
	case h.Problem != nil:
		st.OperationalStatus = metal3.OperationalStatusError
		st.ErrorType = metal3.ErrorType(h.Problem.Type)
		st.ErrorMessage = Message(h.Problem)
	case h.Detached:
		st.OperationalStatus = metal3.OperationalStatusDetached
	case h.State == host.Unmanaged:
		st.OperationalStatus = metal3.OperationalStatusDiscovered
	case h.Op != nil && h.Op.Kind == host.OpService:
		st.OperationalStatus = metal3.OperationalStatusServicing
	default:
		st.OperationalStatus = metal3.OperationalStatusOK
	}
	st.PoweredOn = h.Power == host.PowerOn
	st.Provisioning.Image = metal3.Image{}
	if h.Provisioned != nil {
		st.Provisioning.Image = fromImage(*h.Provisioned)
	}
	st.Provisioning.CustomDeploy = customDeploy(h.Provisioned)
	if h.State != host.None && h.State != host.Unmanaged && h.State != host.Registering && st.HardwareProfile == "" {
		st.HardwareProfile, _ = profileOf(b)
	}
	if h.State == host.Provisioning || h.State == host.Preparing {
		st.Provisioning.BootMode = b.BootMode()
		st.Provisioning.RootDeviceHints = Hints(b).DeepCopy()
	}
	showRAID(&st, h)
	showSoftRAID(&st, h)
	if ref := b.Spec.BMC.CredentialsName; ref != "" && h.Wants.SecretVersion != "" {
		tried := metal3.CredentialsStatus{Version: h.Wants.SecretVersion}
		tried.Reference = &corev1.SecretReference{Name: ref, Namespace: b.Namespace}
		if h.State != host.None && h.State != host.Unmanaged {
			st.TriedCredentials = tried
		}
		if h.Good == h.Wants.SecretVersion {
			st.GoodCredentials = tried
		}
	}
	if prev != h.State {
		history(&st, prev, h.State, now)
	}
	conditions(&st, h, b.Generation)
	return st
}

// Message is a problem in one line, the same at every door.
func Message(p *host.Problem) string {
	if p == nil {
		return ""
	}
	return explain.Problem{Code: p.Code, Seen: p.Seen, Facts: p.Facts}.Message()
}

func fromImage(i host.Image) metal3.Image {
	img := metal3.Image{URL: i.URL, Checksum: i.Checksum, ChecksumType: metal3.ChecksumType(i.ChecksumType)}
	if i.Format != "" {
		img.DiskFormat = &i.Format
	}
	return img
}

// history stamps the start and the end of the four operations that Metal3 times.
func history(st *metal3.BareMetalHostStatus, from, to host.State, now time.Time) {
	of := func(s host.State) *metal3.OperationMetric {
		switch s {
		case host.Registering:
			return &st.OperationHistory.Register
		case host.Inspecting:
			return &st.OperationHistory.Inspect
		case host.Provisioning:
			return &st.OperationHistory.Provision
		case host.Deprovisioning:
			return &st.OperationHistory.Deprovision
		}
		return nil
	}
	if m := of(from); m != nil {
		m.End = metav1.NewTime(now)
	}
	if m := of(to); m != nil {
		*m = metal3.OperationMetric{Start: metav1.NewTime(now)}
	}
}

// conditions follows Metal3's six (BareMetalHost v0.13), all computed from the
// same host.
func conditions(st *metal3.BareMetalHostStatus, h host.Host, generation int64) {
	set := func(kind string, ok bool, reason string) {
		c := metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, ObservedGeneration: generation}
		if ok {
			c.Status = metav1.ConditionTrue
		}
		// Once is enough: the object is written and watched often.
		switch {
		case kind == metal3.ReadyCondition && h.Problem != nil:
			c.Message = st.ErrorMessage
		case kind == metal3.ReadyCondition || kind == metal3.ProgressingCondition && ok:
			c.Message = h.Waits()
		}
		c.Message = clip(c.Message, 1024)
		apimeta.SetStatusCondition(&st.Conditions, c)
	}
	registered := h.State != host.None && h.State != host.Unmanaged && h.State != host.Registering
	regError := st.ErrorType == metal3.RegistrationError || st.ErrorType == metal3.ProvisionedRegistrationError
	resting := h.Node.Hold != "" && h.Node.Verb == ""
	switch {
	case resting && h.Node.Hold == host.Manageable && h.State == host.Registering && h.Problem == nil:
		set(metal3.ManageableCondition, true, metal3.ManageableReason)
	case h.State == host.None || h.State == host.Unmanaged:
		set(metal3.ManageableCondition, false, metal3.NotManagedReason)
	case regError:
		set(metal3.ManageableCondition, false, metal3.RegistrationFailedReason)
	case !registered:
		set(metal3.ManageableCondition, false, metal3.RegisteringReason)
	case st.ErrorType == metal3.PowerManagementError:
		set(metal3.ManageableCondition, false, metal3.PowerFailureReason)
	default:
		set(metal3.ManageableCondition, true, metal3.ManageableReason)
	}
	used := h.State == host.Provisioned || h.State == host.ExternallyProvisioned
	switch {
	case used:
		set(metal3.ProvisionedCondition, true, metal3.ProvisionedReason)
	case h.State == host.Provisioning:
		set(metal3.ProvisionedCondition, false, metal3.ProvisioningReason)
	default:
		set(metal3.ProvisionedCondition, false, metal3.NotProvisionedReason)
	}
	switch {
	case h.Problem != nil:
		set(metal3.ReadyCondition, false, metal3.ErrorReason)
	case h.Detached:
		set(metal3.ReadyCondition, false, metal3.DetachedReason)
	case used:
		set(metal3.ReadyCondition, true, metal3.ProvisionedReason)
	default:
		set(metal3.ReadyCondition, false, metal3.NotProvisionedReason)
	}
	switch {
	case h.State == host.Available && h.Problem == nil && !h.Detached:
		set(metal3.AvailableForProvisioningCondition, true, metal3.AvailableReason)
	case !registered:
		set(metal3.AvailableForProvisioningCondition, false, metal3.NotManageableReason)
	case h.State == host.Inspecting:
		set(metal3.AvailableForProvisioningCondition, false, metal3.InspectingReason)
	default:
		set(metal3.AvailableForProvisioningCondition, false, metal3.NotAvailableReason)
	}
	progress := map[host.State]string{
		host.Registering: metal3.RegisteringReason, host.Inspecting: metal3.InspectingReason,
		host.Preparing: metal3.PreparingReason, host.Provisioning: metal3.ProvisioningReason,
		host.Deprovisioning: metal3.DeprovisioningReason, host.Deleting: metal3.DeletingReason,
		host.PoweringOffBeforeDelete: metal3.PoweringOffBeforeDeleteReason,
	}
	if r, ok := progress[h.State]; h.Detached {
		set(metal3.ProgressingCondition, false, metal3.DetachedReason)
	} else if ok && !resting {
		set(metal3.ProgressingCondition, true, r)
	} else {
		set(metal3.ProgressingCondition, false, metal3.NotProgressingReason)
	}
	apimeta.SetStatusCondition(&st.Conditions, healthy(h, registered && !regError, generation))
}

// healths are the Healthy condition for what a BMC says.
var healths = map[host.Health]metav1.Condition{
	host.Healthy:        {Status: metav1.ConditionTrue, Reason: metal3.HealthyReason},
	host.HealthWarning:  {Status: metav1.ConditionFalse, Reason: metal3.WarningHealthReason},
	host.HealthCritical: {Status: metav1.ConditionFalse, Reason: metal3.CriticalHealthReason},
}

// healthy claims nothing of a machine whose BMC does not say, or is not reached.
func healthy(h host.Host, reached bool, generation int64) metav1.Condition {
	c, said := healths[h.Health]
	if !said || !reached || h.Detached {
		c = metav1.Condition{Status: metav1.ConditionUnknown, Reason: metal3.UnknownHealthReason}
	}
	c.Type, c.ObservedGeneration = metal3.HealthyCondition, generation
	return c
}

// health reads back what the Healthy condition says.
func health(conditions []metav1.Condition) host.Health {
	if c := apimeta.FindStatusCondition(conditions, metal3.HealthyCondition); c != nil {
		for h, as := range healths {
			if c.Status == as.Status && c.Reason == as.Reason {
				return h
			}
		}
	}
	return host.HealthUnknown
}
