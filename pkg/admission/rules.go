package admission

import (
	"net"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"
	metal3api "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// Create judges a new host.
func Create(h *Host) field.ErrorList {
	spec := field.NewPath("spec")
	var errs field.ErrorList
	errs = append(errs, checkName(h.Name)...)
	errs = append(errs, checkBMC(h, spec)...)
	errs = append(errs, checkSecrets(h, spec)...)
	errs = append(errs, checkRAID(h, spec.Child("raid"))...)
	errs = append(errs, checkHints(h.Spec.RootDeviceHints, spec.Child("rootDeviceHints"))...)
	errs = append(errs, checkImage(h.Spec.Image, spec.Child("image"))...)
	errs = append(errs, checkAnnotations(h)...)
	errs = append(errs, checkInspection(h, spec.Child("inspectionMode"))...)
	errs = append(errs, checkInterfaces(h.Interfaces, spec.Child("networkInterfaces"))...)
	if h.Spec.Firmware != nil { //nolint:staticcheck // deprecated upstream, hence refused
		errs = append(errs, field.Forbidden(spec.Child("firmware"),
			"no driver supports it any longer: set the values in the host's HostFirmwareSettings"))
	}
	if h.Spec.DisablePowerOff && !h.Spec.Online {
		errs = append(errs, field.Invalid(spec.Child("online"), false,
			"a host with disablePowerOff cannot be powered off: set online to true, or disablePowerOff to false"))
	}
	return errs
}

// Update judges a change: what it makes worse, and what may not change.
func Update(h, old *Host) field.ErrorList { return change(h, old, Create, fixed(false)) }

// change judges a change by what it makes worse, and by what may not change. An
// object that is being deleted may lose its finalizers whatever else is wrong.
func change[T metav1.Object](now, old T, create func(T) field.ErrorList, fixed func(now, old T) field.ErrorList) field.ErrorList {
	if now.GetDeletionTimestamp() != nil {
		return nil
	}
	before := map[string]bool{}
	for _, err := range create(old) {
		before[err.Error()] = true
	}
	errs := slices.DeleteFunc(create(now), func(err *field.Error) bool { return before[err.Error()] })
	if fixed != nil {
		errs = append(errs, fixed(now, old)...)
	}
	return errs
}

// fixed is what of a host may change in some states only, or never. The REST door
// (door) knows where a node rests, and may do more.
func fixed(door bool) func(h, old *Host) field.ErrorList {
	return func(h, old *Host) field.ErrorList { return checkFixed(h, old, door) }
}

func checkFixed(h, old *Host, door bool) field.ErrorList {
	var errs field.ErrorList
	spec := field.NewPath("spec")
	errs = append(errs, checkConsumer(h, old, spec)...)
	if was, is := old.Spec.BMC.Address, h.Spec.BMC.Address; was != "" && was != is && !addressMayChange(h) && !(door && doorChangesAddress(h)) {
		errs = append(errs, field.Forbidden(spec.Child("bmc", "address"),
			"the address can change only while the host is registering or detached: detach it with the annotation "+
				metal3api.DetachedAnnotation+", or delete the host and make it anew"))
	}
	if was, is := old.Spec.BootMACAddress, h.Spec.BootMACAddress; was != "" && !strings.EqualFold(was, is) {
		errs = append(errs, field.Forbidden(spec.Child("bootMACAddress"),
			"it cannot change once it is set, from "+was+": delete the host and make it anew"))
	}
	if !old.Spec.ExternallyProvisioned && h.Spec.ExternallyProvisioned && h.Status.Provisioning.State != metal3api.StateAvailable && !(door && doorAdopts(h)) {
		errs = append(errs, field.Forbidden(spec.Child("externallyProvisioned"),
			"it can be turned on only when the host is made or while it is available; it is "+orNew(h.Status.Provisioning.State)))
	}
	return errs
}

// addressMayChange while nothing relies on which machine it is.
func addressMayChange(h *Host) bool {
	if h.Status.OperationalStatus == metal3api.OperationalStatusDetached {
		return true
	}
	switch h.Status.Provisioning.State {
	case metal3api.StateNone, metal3api.StateUnmanaged, metal3api.StateRegistering:
		return true
	}
	return false
}

func orNew(s metal3api.ProvisioningState) string {
	if s == metal3api.StateNone {
		return "new"
	}
	return string(s)
}

// checkName keeps a host from being taken for a node's UUID at the REST door.
func checkName(name string) field.ErrorList {
	path := field.NewPath("metadata", "name")
	if !regexp.MustCompile(`^[A-Za-z0-9._-]*$`).MatchString(name) {
		return field.ErrorList{field.Invalid(path, name, "only letters, digits, '.', '_' and '-' may be used")}
	}
	if _, err := uuid.Parse(name); err == nil {
		return field.ErrorList{field.Invalid(path, name, "a host's name cannot be a UUID: put something before it, like node-"+name)}
	}
	return nil
}

func checkBMC(h *Host, spec *field.Path) field.ErrorList {
	var errs field.ErrorList
	mac, macPath := h.Spec.BootMACAddress, spec.Child("bootMACAddress")
	if mac != "" {
		// The schema's pattern has no anchors.
		if hw, err := net.ParseMAC(mac); err != nil || len(hw) != 6 {
			errs = append(errs, field.Invalid(macPath, mac, "write it like 52:54:00:12:34:56"))
		}
	}
	if h.Spec.BMC.Address == "" {
		return errs
	}
	path := spec.Child("bmc", "address")
	a, err := bmc.ParseAddress(h.Spec.BMC.Address)
	if err != nil {
		detail := err.Error()
		if strings.Contains(h.Spec.BMC.Address, "@") {
			// What is wrong may be part of a password.
			detail = "user and password do not belong into the address: put them into the Secret that credentialsName names"
		}
		return append(errs, field.Invalid(path, shown(h.Spec.BMC.Address), detail))
	}
	switch {
	case mac != "":
	case a.NeedsMAC:
		errs = append(errs, field.Required(macPath, "a host with a "+a.Name+" address needs the MAC address of the interface it boots from"))
	case h.InspectionDisabled():
		errs = append(errs, field.Required(macPath, "a host that is not inspected needs the MAC address of the interface it boots from"))
	}
	if h.Spec.BootMode == metal3api.UEFISecureBoot && !a.SecureBoot {
		errs = append(errs, field.Invalid(spec.Child("bootMode"), h.Spec.BootMode,
			"a "+a.Name+" address cannot switch secure boot: use a Redfish address, or bootMode UEFI"))
	}
	if h.Spec.RAID != nil && len(h.Spec.RAID.HardwareRAIDVolumes) > 0 && !a.RAID {
		errs = append(errs, field.Forbidden(spec.Child("raid", "hardwareRAIDVolumes"),
			"a "+a.Name+" address cannot configure hardware RAID: use a Redfish address, or softwareRAIDVolumes"))
	}
	if h.Spec.InspectionMode == inspectionModeFast && !a.FastInspect {
		errs = append(errs, field.Invalid(spec.Child("inspectionMode"), h.Spec.InspectionMode,
			"a "+a.Name+" address says too little about the machine: use a Redfish address, or inspectionMode agent"))
	}
	return errs
}

func checkSecrets(h *Host, spec *field.Path) field.ErrorList {
	var errs field.ErrorList
	errs = append(errs, checkSecret(h.Spec.UserData, h.Namespace, spec.Child("userData"))...)
	errs = append(errs, checkSecret(h.Spec.NetworkData, h.Namespace, spec.Child("networkData"))...)
	return append(errs, checkSecret(h.Spec.MetaData, h.Namespace, spec.Child("metaData"))...)
}

func checkSecret(ref *corev1.SecretReference, namespace string, path *field.Path) field.ErrorList {
	if ref == nil || ref.Namespace == "" || ref.Namespace == namespace {
		return nil
	}
	return field.ErrorList{field.Forbidden(path.Child("namespace"),
		"a Secret of another namespace ("+ref.Namespace+") cannot be used: copy it into "+namespace)}
}

func checkRAID(h *Host, path *field.Path) field.ErrorList {
	r := h.Spec.RAID
	if r == nil {
		return nil
	}
	var errs field.ErrorList
	hard, soft := path.Child("hardwareRAIDVolumes"), path.Child("softwareRAIDVolumes")
	if len(r.HardwareRAIDVolumes) > 0 && len(r.SoftwareRAIDVolumes) > 0 {
		errs = append(errs, field.Forbidden(soft, "cannot be used together with hardwareRAIDVolumes: keep one of the two"))
	}
	for i, v := range r.HardwareRAIDVolumes {
		at := hard.Index(i)
		if len(v.PhysicalDisks) > 0 && v.Controller == "" {
			errs = append(errs, field.Required(at.Child("controller"), "physicalDisks are the disks of a controller: name it"))
		}
		if n := v.NumberOfPhysicalDisks; n != nil && len(v.PhysicalDisks) > 0 && *n != len(v.PhysicalDisks) {
			errs = append(errs, field.Invalid(at.Child("numberOfPhysicalDisks"), *n, "differs from the number of physicalDisks: leave it out"))
		}
	}
	roots := 0
	for i, root := range h.RootVolumes {
		if !root {
			continue
		}
		at := soft.Index(i).Child("rootVolume")
		if roots++; roots > 1 {
			errs = append(errs, field.Duplicate(at, true))
		}
		if i < len(r.SoftwareRAIDVolumes) && r.SoftwareRAIDVolumes[i].Level != "1" {
			errs = append(errs, field.Invalid(at, true, "firmware can boot a software RAID of level 1 alone: set level to \"1\""))
		}
		if h.Spec.RootDeviceHints != nil {
			errs = append(errs, field.Forbidden(at, "cannot be used together with rootDeviceHints: keep one of the two"))
		}
	}
	return errs
}

func checkHints(hints *metal3api.RootDeviceHints, path *field.Path) field.ErrorList {
	if hints == nil || hints.DeviceName == "" {
		return nil
	}
	name, ok := strings.CutPrefix(hints.DeviceName, "/dev/")
	name = strings.TrimPrefix(name, "disk/by-path/")
	if !ok || name == "" || strings.Contains(name, "/") {
		return field.ErrorList{field.Invalid(path.Child("deviceName"), hints.DeviceName, "write /dev/NAME or /dev/disk/by-path/NAME")}
	}
	return nil
}

func checkImage(image *metal3api.Image, path *field.Path) field.ErrorList {
	if image == nil {
		return nil
	}
	var errs field.ErrorList
	errs = append(errs, checkURL(image.URL, path.Child("url"), "http", "https", "ftp", "gopher", "oci")...)
	if image.IsOCI() {
		if image.Checksum != "" {
			errs = append(errs, field.Invalid(path.Child("checksum"), shown(image.Checksum), "an oci image brings its own: leave it out"))
		}
		return errs
	}
	if _, _, err := image.GetChecksum(); err != nil {
		if image.Checksum == "" && !image.IsLiveISO() {
			return append(errs, field.Required(path.Child("checksum"), "give the image's SHA-256 or SHA-512, or the URL of a file with it"))
		}
		errs = append(errs, field.Invalid(path.Child("checksumType"), image.ChecksumType, err.Error()))
	}
	return errs
}

func checkInspection(h *Host, path *field.Path) field.ErrorList {
	mode, annotation := h.Spec.InspectionMode, h.Annotations[metal3api.InspectAnnotationPrefix]
	if annotation == "" || mode == "" {
		return nil
	}
	if (annotation == inspectDisabled) != (mode == metal3api.InspectionModeDisabled) {
		return field.ErrorList{field.Invalid(path, mode,
			"the annotation "+metal3api.InspectAnnotationPrefix+": "+annotation+" says the opposite: remove the annotation")}
	}
	return nil
}
