package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/open"
	"github.com/ingot-metal/ingot/pkg/host"
)

// InspectionModeFast asks for what the BMC tells without a boot (Metal3 v0.14).
const InspectionModeFast = "fast"

// rebootPrefix is the plain reboot annotation; with a suffix it holds the host
// off until it is removed.
const rebootPrefix = "reboot.metal3.io"

// Wants reads what is declared. secret is nil when it does not exist.
func Wants(b *metal3.BareMetalHost, secret *corev1.Secret) host.Wants {
	w := host.Wants{
		Generation:            b.Generation,
		Address:               b.Spec.BMC.Address,
		SecretName:            b.Spec.BMC.CredentialsName,
		Online:                b.Spec.Online,
		DisablePowerOff:       b.Spec.DisablePowerOff,
		ExternallyProvisioned: b.Spec.ExternallyProvisioned,
		InspectionDisabled:    b.InspectionDisabled(),
		FastInspect:           b.Spec.InspectionMode == InspectionModeFast && !b.InspectionDisabled(),
		BMCOptions:            open.OptionsID(b.Annotations),
		CleaningDisabled:      b.Spec.AutomatedCleaningMode == metal3.CleaningModeDisabled,
		Legacy:                b.Spec.BootMode == metal3.Legacy,
		Hints:                 hintsID(wantedHints(b)),
		Deleting:              !b.DeletionTimestamp.IsZero(),
		RAID:                  raid(b.Spec.RAID),
		SecureBoot:            b.Spec.BootMode == metal3.UEFISecureBoot,
	}
	w.Image = deployed(b.Spec.Image, b.Spec.CustomDeploy)
	w.SoftRAID = wantedSoftRAID(b.Spec.RAID)
	_, w.Paused = b.Annotations[metal3.PausedAnnotation]
	if v, ok := b.Annotations[metal3.DetachedAnnotation]; ok {
		w.Detach = detach(v)
	}
	w.Reboot = reboot(b.Annotations)
	_, w.Maintenance = b.Annotations[AnnotationMaintenance]
	w.Fake = b.Annotations[AnnotationDriver] == DriverFake
	if v, ok := b.Annotations[metal3.InspectAnnotationPrefix]; ok && v != metal3.InspectAnnotationValueDisabled { //nolint:staticcheck // Metal3 honours the old form still
		w.InspectAgain = true
	}
	if w.Managed() {
		w.SecretVersion, w.SecretProblem = credentials(b, secret)
	}
	if _, p := profileOf(b); p != nil && w.SecretVersion != "" {
		w.SecretVersion, w.SecretProblem = "", p
	}
	return w
}

// Credentials returns the user and password of a Secret that Wants found usable.
func Credentials(secret *corev1.Secret) bmc.Credentials {
	return bmc.Credentials{
		Username: strings.TrimSpace(string(secret.Data["username"])),
		Password: strings.TrimSpace(string(secret.Data["password"])),
	}
}

// credentials names the version of usable credentials, or why there are none.
func credentials(b *metal3.BareMetalHost, secret *corev1.Secret) (string, *host.Problem) {
	name := b.Spec.BMC.CredentialsName
	missing := func(seen string) (string, *host.Problem) {
		return "", &host.Problem{
			Code: "bmc-secret-missing", Class: host.Wait, Seen: []string{seen},
			Facts: map[string]string{"namespace": b.Namespace, "secret": name},
		}
	}
	switch {
	case b.Spec.BMC.Address == "":
		return "", &host.Problem{Code: "bmc-address-syntax", Class: host.Wait, Seen: []string{"spec.bmc.address is empty"}}
	case name == "":
		return missing("spec.bmc.credentialsName is empty")
	case secret == nil:
		return missing(fmt.Sprintf("no Secret %s/%s", b.Namespace, name))
	}
	for _, k := range []string{"username", "password"} {
		if strings.TrimSpace(string(secret.Data[k])) == "" {
			return missing(fmt.Sprintf("Secret %s/%s has no value for the key %s", b.Namespace, name, k))
		}
	}
	return secret.ResourceVersion, nil
}

func image(i metal3.Image) *host.Image {
	img := &host.Image{URL: i.URL, Checksum: i.Checksum, ChecksumType: string(i.ChecksumType)}
	if i.DiskFormat != nil {
		img.Format = *i.DiskFormat
	}
	return img
}

// Strict decodes JSON without unknown fields and without anything after it.
func Strict(text string, into any) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object")
	}
	return nil
}

// detach reads the annotation's value. What is no JSON is a plain detach, as
// Metal3 has it.
func detach(v string) *host.Detach {
	var args struct {
		DeleteAction string `json:"deleteAction"`
		Force        bool   `json:"force"`
	}
	if err := json.Unmarshal([]byte(v), &args); err != nil {
		return &host.Detach{}
	}
	return &host.Detach{DelayDelete: args.DeleteAction == "delay", Force: args.Force}
}

func reboot(annotations map[string]string) host.Reboot {
	var r host.Reboot
	for k, v := range annotations {
		if k != rebootPrefix && !strings.HasPrefix(k, rebootPrefix+"/") {
			continue
		}
		var args metal3.RebootAnnotationArguments
		if json.Unmarshal([]byte(v), &args) != nil {
			args = metal3.RebootAnnotationArguments{} // soft, as Metal3 has it
		}
		if k == rebootPrefix {
			r.Once, r.Force = true, args.Force
		} else {
			r.Hold, r.HoldForce = true, r.HoldForce || args.Force
		}
		r.Hard = r.Hard || args.Mode == metal3.RebootModeHard
	}
	return r
}
