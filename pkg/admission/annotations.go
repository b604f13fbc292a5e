package admission

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	metal3api "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/open"
)

// consoleAnnotation says when a host's serial console is recorded.
const consoleAnnotation = "ingot.dev/console"

// checkAnnotations reads those that are orders, in the order of their keys.
func checkAnnotations(h *Host) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("metadata", "annotations")
	keys := make([]string, 0, len(h.Annotations))
	for key := range h.Annotations {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		value := h.Annotations[key]
		var err error
		switch {
		case key == metal3api.StatusAnnotation:
			err = checkStatus(value)
		case key == metal3api.RebootAnnotationPrefix, strings.HasPrefix(key, metal3api.RebootAnnotationPrefix+"/"):
			err = checkReboot(value)
		case key == metal3api.InspectAnnotationPrefix:
			if value != "" && value != inspectDisabled {
				err = errors.New(`may be "" (inspect again) or "disabled"`)
			}
		case key == consoleAnnotation:
			if !slices.Contains([]string{"operations", "always", "never"}, value) {
				err = errors.New("may be operations, always or never")
			}
		case key == metal3api.HardwareDetailsAnnotation:
			err = checkHardware(value, h.InspectionDisabled())
		}
		if err == nil && strings.HasPrefix(key, "ingot.dev/bmc-") {
			err = checkBMCOption(h.Spec.BMC.Address, key, value)
		}
		if err != nil {
			errs = append(errs, field.Invalid(path.Key(key), cut(value), err.Error()))
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
	if err := strict(value, &status); err != nil {
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
	return strict(value, &metal3api.HardwareDetails{})
}

// strict decodes JSON without unknown fields and without anything after it.
func strict(value string, into any) error {
	d := json.NewDecoder(strings.NewReader(value))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object")
	}
	return nil
}
