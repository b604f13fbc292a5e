package record

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/host"
)

// Unknown reports whether a record tells nothing of what was done to its host.
func Unknown(rec *v1alpha1.HostRecord) bool {
	return rec == nil || equality.Semantic.DeepEqual(rec.Status, v1alpha1.HostRecordStatus{})
}

// takeOver reads a host that this record's status knows nothing of: Metal3's
// operator left it, it was moved from another cluster, or our record was lost.
func takeOver(h *host.Host, b *metal3.BareMetalHost, rec *v1alpha1.HostRecord) {
	if h.State == host.None && b.Status.LastUpdated == nil && rec != nil && rec.Spec.Provisioned != "" {
		// The status was lost, what is on the disk was not: a machine in use is not
		// inspected as if it were new.
		h.State, h.Provisioned = host.Provisioned, fromProvisionedText(rec.Spec.Provisioned)
	}
	if h.SoftRAID == host.RAIDUnknown {
		h.SoftRAID = "" // ours means that nobody knows; Metal3's, that there are none
	}
	if h.Provisioned.Live() { // Metal3 left it in the drive
		h.Media = &host.Media{URL: h.Provisioned.URL, Use: host.MediaLive, In: true}
	}
	switch h.State {
	case host.Provisioning:
		// Nobody knows how far the write came. A failed one is undone first.
		h.Dirty = true
		if b.Status.ErrorType == "" {
			h.LastTried = h.Wants.Image
		}
	case host.Provisioned, host.Deprovisioning:
		h.Dirty = true
	}
}

// byMethod opens the text of what a deploy method installed, which may have had no
// image.
const byMethod = "customDeploy:"

// provisionedText is what is on a disk as a record's spec has it: an image's URL,
// or a deploy method's name and the URL that it was given, if any.
func provisionedText(i host.Image) string {
	if i.Method == "" {
		return i.URL
	}
	return strings.TrimSpace(byMethod + i.Method + " " + i.URL)
}

func fromProvisionedText(text string) *host.Image {
	rest, ok := strings.CutPrefix(text, byMethod)
	if !ok {
		return &host.Image{URL: text}
	}
	method, url, _ := strings.Cut(rest, " ")
	return &host.Image{Method: method, URL: url}
}

// Inherit gives a host that was taken over what its status says in fields that
// Load does not see.
func Inherit(h host.Host, n Newer) host.Host {
	h.FailCount = n.FailCount
	switch {
	case h.State == host.Provisioning && h.LastTried == nil:
		h.FailCount++ // Metal3 counts it on the way to deprovisioning
	case h.LastTried == nil && n.LastAttempted != nil:
		h.LastTried = image(*n.LastAttempted)
	}
	return h
}

// Restored is the status that the annotation baremetalhost.metal3.io/status
// brings along when Cluster API moves a host, as a merge patch. What the inspection
// found has an object of its own that moves too, and is newer: details wins. An
// error is one of the annotation: the host must not go on as if it were new, or a
// machine in use would be inspected.
func Restored(annotation string, details *metal3.HardwareDetails, now string) ([]byte, error) {
	var typed metal3.BareMetalHostStatus
	if err := json.Unmarshal([]byte(annotation), &typed); err != nil {
		return nil, fmt.Errorf("it is no status: %w", err)
	}
	if s := state(typed.Provisioning.State); !slices.Contains(knownStates(), s) {
		return nil, fmt.Errorf("provisioning.state %q is not known", clip(string(s), 80))
	}
	// Raw, so that fields of newer versions come along.
	var st map[string]any
	if err := json.Unmarshal([]byte(annotation), &st); err != nil {
		return nil, fmt.Errorf("it is no status: %w", err)
	}
	if !slices.Contains(errorTypesAllowed(), typed.ErrorType) {
		delete(st, "errorType") // "detach error": Metal3 makes it, its own schema refuses it
		typed.ErrorType = ""
	}
	if typed.ErrorType == "" {
		st["errorMessage"] = ""
		if typed.OperationalStatus == metal3.OperationalStatusError {
			st["operationalStatus"] = string(metal3.OperationalStatusOK)
		}
	}
	if !slices.Contains(operationalAllowed(), typed.OperationalStatus) {
		st["operationalStatus"] = string(metal3.OperationalStatusOK)
	}
	if details != nil {
		st["hardware"] = details
	}
	if typed.LastUpdated.IsZero() {
		st["lastUpdated"] = now
	}
	for key, zero := range map[string]any{"operationalStatus": "", "errorMessage": "", "poweredOn": false, "errorCount": 0} {
		if st[key] == nil {
			st[key] = zero // required
		}
	}
	p, ok := st["provisioning"].(map[string]any)
	if !ok {
		p = map[string]any{}
		st["provisioning"] = p
	}
	for _, key := range []string{"state", "ID"} {
		if p[key] == nil {
			p[key] = ""
		}
	}
	return json.Marshal(map[string]any{"status": st})
}

func knownStates() []host.State {
	return []host.State{
		host.None, host.Unmanaged, host.Registering, host.Inspecting, host.Preparing, host.Available, host.Provisioning,
		host.Provisioned, host.ExternallyProvisioned, host.Deprovisioning, host.PoweringOffBeforeDelete, host.Deleting,
	}
}

func operationalAllowed() []metal3.OperationalStatus {
	return []metal3.OperationalStatus{
		"", metal3.OperationalStatusOK, metal3.OperationalStatusDiscovered, metal3.OperationalStatusError,
		metal3.OperationalStatusDelayed, metal3.OperationalStatusDetached, metal3.OperationalStatusServicing,
	}
}

func errorTypesAllowed() []metal3.ErrorType {
	return []metal3.ErrorType{
		"", metal3.ProvisionedRegistrationError, metal3.RegistrationError, metal3.InspectionError, metal3.PreparationError,
		metal3.ProvisioningError, metal3.PowerManagementError, metal3.ServicingError,
	}
}
