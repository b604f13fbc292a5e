package firmware

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// Reading is what a BMC told of its machine's firmware.
type Reading struct {
	BIOS   *bmc.BIOS
	NoBIOS string // why it told no settings, if it never will
	// Components are the firmware inventory, if it was read.
	Components   []bmc.FirmwareComponent
	NoComponents string
	// Flashed is the update that was just carried out.
	Flashed *metal3.FirmwareUpdate
}

// Reasons of conditions of HostFirmwareSettings, Metal3's.
const (
	ReasonSuccess            = "Success"
	ReasonConfigurationError = "ConfigurationError"
)

// invalidSetting begins every message about one.
const invalidSetting = "Invalid BIOS setting"

// unshown reports whether a setting is kept out of every object: Metal3 drops what
// is called a password, and a registry may say so of others.
func unshown(name string, b bmc.BIOS) bool {
	return strings.Contains(name, "Password") || b.Registry[name].Type == "Password" || b.Attributes[name] == hidden
}

// hidden is what pkg/bmc shows for a value that is secret.
const hidden = "(hidden)"

// Settings are the values in force, as text.
func Settings(b bmc.BIOS) metal3.SettingsMap {
	out := metal3.SettingsMap{}
	for name, v := range b.Attributes {
		if !unshown(name, b) {
			out[name] = fmt.Sprint(v)
		}
	}
	return out
}

// Schema says of each setting what it may be. Where the BMC has no registry an
// entry is empty, which allows anything.
func Schema(b bmc.BIOS) map[string]metal3.SettingSchema {
	out := map[string]metal3.SettingSchema{}
	for name := range b.Attributes {
		if unshown(name, b) {
			continue
		}
		a, known := b.Registry[name]
		s := metal3.SettingSchema{}
		switch a.Type {
		case "Enumeration", "String", "Integer", "Boolean":
			s.AttributeType = a.Type
		}
		if known {
			s.AllowableValues = slices.Clone(a.Values)
			s.LowerBound, s.UpperBound = small(a.LowerBound), small(a.UpperBound)
			s.MinLength, s.MaxLength = small(a.MinLength), small(a.MaxLength)
			s.ReadOnly = &a.ReadOnly
		}
		out[name] = s
	}
	return out
}

func small(n *int64) *int {
	if n == nil {
		return nil
	}
	i := int(*n)
	return &i
}

// SchemaName is Metal3's: machines of one model share a schema.
func SchemaName(schema map[string]metal3.SettingSchema) string {
	var words []string
	for name, s := range schema {
		words = append(words, name, s.AttributeType)
		words = append(words, s.AllowableValues...)
		for _, n := range []*int{s.LowerBound, s.UpperBound, s.MinLength, s.MaxLength} {
			if n != nil {
				words = append(words, strconv.Itoa(*n))
			}
		}
		if s.ReadOnly != nil {
			words = append(words, strconv.FormatBool(*s.ReadOnly))
		}
	}
	slices.Sort(words)
	sum := sha256.Sum256([]byte("[" + strings.Join(words, " ") + "]"))
	return fmt.Sprintf("schema-%x", sum[:4])
}

// Differing are the declared settings that are not in force, by name.
func Differing(want metal3.DesiredSettingsMap, actual metal3.SettingsMap) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		v := want[name]
		if is, ok := actual[name]; !ok || v.String() != is {
			out = append(out, name)
		}
	}
	return out
}

// Invalid says what is wrong with the declared settings and what to do about it,
// a line for each. A schema that is not known refuses nothing. As in Metal3,
// settings that are in force already are not looked at, unless another one is not.
func Invalid(want metal3.DesiredSettingsMap, actual metal3.SettingsMap, schema map[string]metal3.SettingSchema) []string {
	if len(Differing(want, actual)) == 0 {
		return nil
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		v := want[name]
		is, shown := actual[name]
		switch {
		case strings.Contains(name, "Password"):
			out = append(out, fmt.Sprintf("spec.settings.%s: passwords cannot be set here; take it out, and set it at the BMC", name))
		case !shown:
			out = append(out, fmt.Sprintf("spec.settings.%s: this machine has no such setting; take it out, or correct it to one of status.settings%s", name, alike(name, actual)))
		case v.String() == is:
		default:
			s, known := schema[name]
			if !known {
				continue
			}
			if why := refused(s, v.String(), s.Validate(name, v)); why != "" {
				out = append(out, fmt.Sprintf("spec.settings.%s: %q: %s", name, v.String(), why))
			}
		}
	}
	return out
}

// alike finds the name that may have been meant.
func alike(name string, actual metal3.SettingsMap) string {
	for other := range actual {
		if strings.EqualFold(other, name) {
			return " (" + other + "?)"
		}
	}
	return ""
}

// refused says in a remedy what err says of a value.
func refused(s metal3.SettingSchema, v string, err error) string {
	bounds := func(low, high *int) string {
		switch {
		case low != nil && high != nil:
			return fmt.Sprintf(" from %d to %d", *low, *high)
		case low != nil:
			return fmt.Sprintf(" from %d on", *low)
		case high != nil:
			return fmt.Sprintf(" up to %d", *high)
		}
		return ""
	}
	switch {
	case err == nil:
		return ""
	case s.ReadOnly != nil && *s.ReadOnly:
		return "it is read-only; take it out"
	case s.AttributeType == "Enumeration":
		const most = 12
		return "give one of " + strings.Join(s.AllowableValues[:min(most, len(s.AllowableValues))], ", ")
	case s.AttributeType == "Integer":
		return "give an integer" + bounds(s.LowerBound, s.UpperBound)
	case s.AttributeType == "String":
		return fmt.Sprintf("it has %d characters; give a text of a length%s", len(v), bounds(s.MinLength, s.MaxLength))
	case s.AttributeType == "Boolean":
		return "give true or false"
	}
	return err.Error()
}

// SettingsStatus is the status of a HostFirmwareSettings for what is in force,
// with what is wrong with its spec. lastUpdated is kept from before; the caller
// changes it when it writes.
func SettingsStatus(hfs *metal3.HostFirmwareSettings, actual metal3.SettingsMap, schema map[string]metal3.SettingSchema, ref *metal3.SchemaReference, none string) (metal3.HostFirmwareSettingsStatus, []string) {
	st := *hfs.Status.DeepCopy()
	st.Settings, st.FirmwareSchema = actual, ref
	if st.Settings == nil {
		st.Settings = metal3.SettingsMap{}
	}
	differs := len(Differing(hfs.Spec.Settings, st.Settings)) > 0
	wrong := Invalid(hfs.Spec.Settings, st.Settings, schema)
	if differs && none != "" {
		wrong = []string{"the BMC shows no settings of this machine: " + none + "; take spec.settings out"}
	}
	set := func(kind metal3.SettingsConditionType, ok bool, reason, message string) {
		setCondition(&st.Conditions, string(kind), ok, hfs.Generation, reason, message)
	}
	set(metal3.FirmwareSettingsChangeDetected, differs, ReasonSuccess, "")
	if len(wrong) == 0 {
		set(metal3.FirmwareSettingsValid, true, ReasonSuccess, "")
	} else {
		set(metal3.FirmwareSettingsValid, false, ReasonConfigurationError, clip(invalidSetting+": "+strings.Join(wrong, "; "), 1024))
	}
	return st, wrong
}

func setCondition(all *[]metav1.Condition, kind string, ok bool, generation int64, reason, message string) {
	c := metav1.Condition{Type: kind, Status: metav1.ConditionFalse, ObservedGeneration: generation, Reason: reason, Message: message}
	if ok {
		c.Status = metav1.ConditionTrue
	}
	meta.SetStatusCondition(all, c)
}

// clip makes s fit for a condition.
func clip(s string, n int) string {
	if s = strings.ToValidUTF8(s, "?"); len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-len("…")], "") + "…"
}

// ValidationMessage is the text of the event that tells of a wrong setting.
func ValidationMessage(wrong string) string { return invalidSetting + ": " + wrong }

// SettingsDue reports whether settings are declared that are valid and not in
// force, as far as its status tells. Where nothing was read yet they are: whoever
// is about to change them reads first.
func SettingsDue(hfs *metal3.HostFirmwareSettings) bool {
	switch {
	case hfs == nil || len(hfs.Spec.Settings) == 0:
		return false
	case hfs.Status.LastUpdated == nil:
		return true
	}
	return due(hfs.Status.Conditions, string(metal3.FirmwareSettingsChangeDetected), string(metal3.FirmwareSettingsValid), hfs.Generation)
}

// due reads two conditions. What they say of an older spec counts as not known.
func due(all []metav1.Condition, changed, valid string, generation int64) bool {
	c, v := meta.FindStatusCondition(all, changed), meta.FindStatusCondition(all, valid)
	if c == nil || v == nil || c.ObservedGeneration != generation || v.ObservedGeneration != generation {
		return true
	}
	return c.Status == metav1.ConditionTrue && v.Status == metav1.ConditionTrue
}
