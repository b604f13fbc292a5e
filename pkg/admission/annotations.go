package admission

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	metal3api "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/open"
	"github.com/ingot-metal/ingot/pkg/console"
	"github.com/ingot-metal/ingot/pkg/record"
)

const (
	// strictHints makes several disks that match the hints an error.
	strictHints = "ingot.dev/strict-root-device-hints"
	// bmcPrefix begins those that say how to speak to the BMC.
	bmcPrefix = "ingot.dev/bmc-"
)

// checkAnnotations reads those that are orders, in the order of their keys.
func checkAnnotations(h *Host) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("metadata", "annotations")
	for _, key := range sorted(h.Annotations) {
		value := h.Annotations[key]
		shown := cut(value)
		var err error
		switch {
		case key == metal3api.StatusAnnotation:
			// Its URLs may hold passwords.
			shown, err = fmt.Sprintf("(%d bytes)", len(value)), checkStatus(value)
		case key == metal3api.DetachedAnnotation:
			err = checkDetached(value)
		case isReboot(key):
			err = checkReboot(value)
		case key == metal3api.InspectAnnotationPrefix:
			if value != "" && value != inspectDisabled {
				err = errors.New(`may be "" (inspect again) or "disabled"`)
			}
		case key == console.AnnotationMode:
			_, err = console.ParseMode(value)
		case key == strictHints:
			if !slices.Contains([]string{"", "true", "false"}, value) {
				err = errors.New("may be true or false")
			}
		case key == metal3api.HardwareDetailsAnnotation:
			shown = fmt.Sprintf("(%d bytes)", len(value))
			err = checkHardware(value, h.InspectionDisabled())
		}
		if err == nil && strings.HasPrefix(key, bmcPrefix) {
			err = checkBMCOption(h.Spec.BMC.Address, key, value)
		}
		if err != nil {
			errs = append(errs, field.Invalid(path.Key(key), shown, err.Error()))
		}
	}
	return errs
}

// checkBMCOption reads one of the annotations that say how to speak to the BMC,
// alone, so that the error is shown at its key.
func checkBMCOption(address, key, value string) error {
	addr, err := bmc.ParseAddress(address)
	if err != nil {
		return nil // said at the address, or there is none yet
	}
	_, err = open.HostOptions(addr, map[string]string{key: value})
	var e *bmc.Error
	if errors.As(err, &e) {
		return errors.New(e.Detail)
	}
	return err
}

// cut keeps a message readable: these values may be whole objects.
func cut(s string) string {
	const enough = 80
	if len(s) > enough {
		return s[:enough] + "…"
	}
	return s
}

func isReboot(key string) bool {
	return key == metal3api.RebootAnnotationPrefix || strings.HasPrefix(key, metal3api.RebootAnnotationPrefix+"/")
}

func checkReboot(value string) error {
	if value == "" {
		return nil
	}
	var args metal3api.RebootAnnotationArguments
	if err := json.Unmarshal([]byte(value), &args); err != nil {
		return fmt.Errorf(`leave it empty, or write JSON like {"mode":"soft"}: %w`, err)
	}
	switch args.Mode {
	case "", metal3api.RebootModeHard, metal3api.RebootModeSoft:
		return nil
	}
	return fmt.Errorf("mode %q is not known: use hard or soft", args.Mode)
}

// checkDetached reads how a host is detached. What is no JSON object is a plain
// detach, as Metal3 has it; an object that is written wrong would be one too, and
// its deletion would not be delayed.
func checkDetached(value string) error {
	if !strings.HasPrefix(strings.TrimSpace(value), "{") {
		return nil
	}
	var args metal3api.DetachedAnnotationArguments
	if err := json.Unmarshal([]byte(value), &args); err != nil {
		return fmt.Errorf(`leave it empty, or write JSON like {"deleteAction":"delay"}: %w`, err)
	}
	switch args.DeleteAction {
	case "", metal3api.DetachedDeleteActionDelay, metal3api.DetachedDeleteActionDelete:
		return nil
	}
	return fmt.Errorf("deleteAction %q is not known: use delay or delete", args.DeleteAction)
}

// checkStatus reads the status that a move carries along. It may come from a
// newer Metal3 than our types are, and from hosts in every state: upstream's own
// lists lack "servicing" and two error types that it writes.
func checkStatus(value string) error {
	if value == "" {
		return nil
	}
	var status struct {
		metal3api.BareMetalHostStatus
		ProvisioningFailCount json.RawMessage `json:"provisioningFailCount"`
		LastAttemptedImage    json.RawMessage `json:"lastAttemptedImage"`
	}
	if err := record.Strict(value, &status); err != nil {
		return err
	}
	operational := append(slices.Clone(metal3api.OperationalStatusAllowed), string(metal3api.OperationalStatusServicing))
	if !slices.Contains(operational, string(status.OperationalStatus)) {
		return fmt.Errorf("operationalStatus %q is not known", status.OperationalStatus)
	}
	kinds := append(slices.Clone(metal3api.ErrorTypeAllowed), string(metal3api.ServicingError), string(metal3api.DetachError))
	if !slices.Contains(kinds, string(status.ErrorType)) {
		return fmt.Errorf("errorType %q is not known", status.ErrorType)
	}
	return nil
}

func checkHardware(value string, inspectionDisabled bool) error {
	if value == "" {
		return nil
	}
	if !inspectionDisabled {
		return errors.New("hardware details can be given only for a host that is not inspected: set spec.inspectionMode to disabled")
	}
	return record.Strict(value, &metal3api.HardwareDetails{})
}
