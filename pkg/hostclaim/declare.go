package hostclaim

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PausedBy is the value of the paused annotation of a host that is paused because
// its claim is.
const PausedBy = "metal3.io/hostclaim"

// CopyOf is the annotation of a Secret that was copied to a host's namespace; its
// value is the namespace and name of the one that a claim names.
const CopyOf = "ingot.dev/copy-of"

// declaredBy is the annotation of a host whose spec is its claim's, and says whose.
const declaredBy = "ingot.dev/declared-by"

// reboot is the annotation that has a machine restarted; with a suffix it is held
// off. holdSuffix begins the suffixes of those that a claim put at its host.
const (
	reboot     = "reboot.metal3.io"
	holdSuffix = "hostclaim."
	maxSuffix  = 63 // of an annotation's name
)

// Part is one of the Secrets that a config drive is made of.
type Part struct {
	Field  string // of both specs
	Suffix string // of a copy's name, after the host's
	Reason string // of the condition if it cannot be had
	Claim  func(*metal3.HostClaim) *corev1.SecretReference
	Host   func(*metal3.BareMetalHost) **corev1.SecretReference
}

// Parts of a config drive, under upstream's names.
func Parts() []Part {
	return []Part{
		{
			Field: "userData", Suffix: "userdata", Reason: metal3.BadUserDataSecretReason,
			Claim: func(c *metal3.HostClaim) *corev1.SecretReference { return c.Spec.UserData },
			Host:  func(b *metal3.BareMetalHost) **corev1.SecretReference { return &b.Spec.UserData },
		},
		{
			Field: "metaData", Suffix: "metadata", Reason: metal3.BadMetaDataSecretReason,
			Claim: func(c *metal3.HostClaim) *corev1.SecretReference { return c.Spec.MetaData },
			Host:  func(b *metal3.BareMetalHost) **corev1.SecretReference { return &b.Spec.MetaData },
		},
		{
			Field: "networkData", Suffix: "networkdata", Reason: metal3.BadNetworkDataSecretReason,
			Claim: func(c *metal3.HostClaim) *corev1.SecretReference { return c.Spec.NetworkData },
			Host:  func(b *metal3.BareMetalHost) **corev1.SecretReference { return &b.Spec.NetworkData },
		},
	}
}

// Foreign names what a claim's host was told to run by somebody else; empty:
// nothing. Upstream's v0.13 takes hosts and declares nothing at them, so what is
// there was declared by hand, and must not be undone by a claim that does not
// mention it.
func Foreign(c *metal3.HostClaim, b *metal3.BareMetalHost) string {
	switch {
	case b.Annotations[declaredBy] == c.Namespace+"/"+c.Name:
	case b.Spec.Image != nil && !equality.Semantic.DeepEqual(b.Spec.Image, c.Spec.Image):
		return "image"
	case b.Spec.CustomDeploy != nil && !equality.Semantic.DeepEqual(b.Spec.CustomDeploy, c.Spec.CustomDeploy):
		return "customDeploy"
	}
	return ""
}

// Declare writes what a claim wants into its host, but for the Secrets.
func Declare(c *metal3.HostClaim, b *metal3.BareMetalHost) {
	b.Spec.Online = c.Spec.PoweredOn
	b.Spec.Image = c.Spec.Image.DeepCopy()
	b.Spec.CustomDeploy = c.Spec.CustomDeploy.DeepCopy()
	reboots(c.Annotations, b)
	metav1.SetMetaDataAnnotation(&b.ObjectMeta, declaredBy, c.Namespace+"/"+c.Name)
}

// reboots carries reboot annotations over. Those that others put at the host stay.
func reboots(want map[string]string, b *metal3.BareMetalHost) {
	holds := map[string]string{}
	for key, value := range want {
		if key == reboot {
			metav1.SetMetaDataAnnotation(&b.ObjectMeta, reboot, value)
		} else if suffix, ok := strings.CutPrefix(key, reboot+"/"); ok {
			holds[holdKey(suffix)] = value
		}
	}
	for key := range b.Annotations {
		if _, wanted := holds[key]; !wanted && strings.HasPrefix(key, reboot+"/"+holdSuffix) {
			delete(b.Annotations, key)
		}
	}
	for key, value := range holds {
		metav1.SetMetaDataAnnotation(&b.ObjectMeta, key, value)
	}
}

func holdKey(suffix string) string {
	if len(holdSuffix)+len(suffix) > maxSuffix {
		sum := sha256.Sum256([]byte(suffix))
		suffix = hex.EncodeToString(sum[:16])
	}
	return reboot + "/" + holdSuffix + suffix
}

// Clear takes away what was declared at a host, and has it switched off, as
// Cluster API's provider does.
func Clear(b *metal3.BareMetalHost) {
	b.Spec.Image, b.Spec.CustomDeploy = nil, nil
	b.Spec.UserData, b.Spec.MetaData, b.Spec.NetworkData = nil, nil, nil
	b.Spec.Online = b.Spec.DisablePowerOff
	reboots(nil, b)
	delete(b.Annotations, declaredBy)
	Resume(b)
}

// Cleared says what is waited for until a host may be given to another; empty:
// nothing. The states are those that Cluster API's provider lets go of hosts in.
func Cleared(b *metal3.BareMetalHost) string {
	state := b.Status.Provisioning.State
	switch state {
	case metal3.StateNone, metal3.StateUnmanaged, metal3.StateRegistering, metal3.StateMatchProfile,
		metal3.StateInspecting, metal3.StateReady, metal3.StateAvailable:
		return ""
	case metal3.StateExternallyProvisioned:
		if !b.Status.PoweredOn {
			return ""
		}
		return fmt.Sprintf("waits for BareMetalHost %s/%s to be off", b.Namespace, b.Name)
	}
	text := fmt.Sprintf("waits for BareMetalHost %s/%s, which is %s, to become available", b.Namespace, b.Name, state)
	if b.Status.ErrorType != "" {
		text += "; it is in trouble: " + string(b.Status.ErrorType)
	}
	for key, what := range map[string]string{metal3.PausedAnnotation: "paused", metal3.DetachedAnnotation: "detached"} {
		if _, ok := b.Annotations[key]; ok {
			text += "; it is " + what
		}
	}
	return text
}

// Pause leaves a host as it is, with its status where a move finds it, unless it is
// paused already.
func Pause(b *metal3.BareMetalHost) error {
	if _, paused := b.Annotations[metal3.PausedAnnotation]; paused {
		return nil
	}
	text, err := json.Marshal(b.Status)
	if err != nil {
		return err
	}
	var status map[string]any
	if err := json.Unmarshal(text, &status); err != nil {
		return err
	}
	delete(status, "hardware") // it is in the HardwareData, and long
	if text, err = json.Marshal(status); err != nil {
		return err
	}
	metav1.SetMetaDataAnnotation(&b.ObjectMeta, metal3.PausedAnnotation, PausedBy)
	metav1.SetMetaDataAnnotation(&b.ObjectMeta, metal3.StatusAnnotation, string(text))
	return nil
}

// Resume ends a pause that is its claim's. The status that was left beside it is the
// host's to take up.
func Resume(b *metal3.BareMetalHost) {
	if b.Annotations[metal3.PausedAnnotation] == PausedBy {
		delete(b.Annotations, metal3.PausedAnnotation)
	}
}
