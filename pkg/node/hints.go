package node

import (
	"encoding/json"
	"maps"
	"reflect"
	"strconv"
	"strings"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/api/ironic"
)

// hintsOf reads Ironic's root device hints, of which Metal3 has those that name one
// disk. What it has no place for is an error: a hint that is passed over could have
// another disk overwritten.
func hintsOf(v any) (*metal3.RootDeviceHints, error) {
	hints, ok := object(v)
	if !ok {
		if v == nil {
			return nil, nil
		}
		return nil, refuse("root_device has to be a JSON object.")
	}
	if len(hints) == 0 {
		return nil, nil
	}
	h := &metal3.RootDeviceHints{}
	texts := map[string]*string{
		"name": &h.DeviceName, "by_path": &h.DeviceName, "hctl": &h.HCTL, "model": &h.Model, "vendor": &h.Vendor, "serial": &h.SerialNumber,
		"wwn": &h.WWN, "wwn_with_extension": &h.WWNWithExtension, "wwn_vendor_extension": &h.WWNVendorExtension,
	}
	for name, value := range hints {
		is := text(value)
		op, operand := operator(is)
		into, known := texts[name]
		switch {
		case name == "size":
			n, err := strconv.Atoi(operand)
			if err != nil || n < 0 || op != ">=" {
				return nil, refuse(`The root device hint size %q is not supported: write ">= N" with N in GiB.`, is)
			}
			h.MinSizeGigabytes = n
		case name == "rotational":
			b, err := strconv.ParseBool(operand)
			if err != nil {
				return nil, refuse("The root device hint rotational has to be true or false.")
			}
			h.Rotational = &b
		case !known:
			return nil, refuse("The root device hint %q is not supported.", name)
		case op == "" || op == "s==" || op == "<in>" && (name == "model" || name == "vendor"):
			*into = operand
		default:
			return nil, refuse("The root device hint %s %q is not supported: its operator %s is not.", name, is, op)
		}
	}
	return h, nil
}

// operator cuts the operator off a hint (ironic-lib's utils.py).
func operator(s string) (op, operand string) {
	for _, op := range []string{"s==", "s!=", "s>=", "s<=", "s>", "s<", "<in>", "<all-in>", "<or>", ">=", "<=", "!=", "==", "=", ">", "<"} {
		if rest, ok := strings.CutPrefix(s, op+" "); ok {
			return op, strings.TrimSpace(rest)
		}
	}
	return "", s
}

// shownHints are Metal3's hints as Metal3's operator writes them for Ironic
// (pkg/provisioner/ironic/devicehints).
func shownHints(h *metal3.RootDeviceHints) map[string]any {
	if h == nil || *h == (metal3.RootDeviceHints{}) {
		return nil
	}
	out := map[string]any{}
	for name, v := range map[string]string{
		"hctl": h.HCTL, "serial": h.SerialNumber, "wwn": h.WWN, "wwn_with_extension": h.WWNWithExtension, "wwn_vendor_extension": h.WWNVendorExtension,
	} {
		if v != "" {
			out[name] = "s== " + v
		}
	}
	if n := h.DeviceName; n != "" {
		name := "name"
		if strings.HasPrefix(n, "/dev/disk/by-path/") {
			name = "by_path"
		}
		out[name] = "s== " + n
	}
	if h.Model != "" {
		out["model"] = "<in> " + h.Model
	}
	if h.Vendor != "" {
		out["vendor"] = "<in> " + h.Vendor
	}
	if h.MinSizeGigabytes > 0 {
		out["size"] = ">= " + strconv.Itoa(h.MinSizeGigabytes)
	}
	if h.Rotational != nil {
		out["rotational"] = strconv.FormatBool(*h.Rotational)
	}
	return out
}

// hintsSaid are the hints of a document: of its instance, or else of the machine.
func hintsSaid(instance, properties ironic.Object) (*metal3.RootDeviceHints, error) {
	if v, ok := instance["root_device"]; ok {
		return hintsOf(v)
	}
	return hintsOf(properties["root_device"])
}

func sameHints(a, b *metal3.RootDeviceHints) bool {
	if a == nil {
		a = &metal3.RootDeviceHints{}
	}
	if b == nil {
		b = &metal3.RootDeviceHints{}
	}
	return reflect.DeepEqual(a, b)
}

// object is a JSON object, or one that a client wrote as a text.
func object(v any) (map[string]any, bool) {
	switch v := v.(type) {
	case map[string]any:
		return v, true
	case ironic.Object:
		return v, true
	case string:
		var out map[string]any
		if json.Unmarshal([]byte(v), &out) == nil && out != nil {
			return out, true
		}
	}
	return nil, false
}

// capability reads one of capabilities, which are an object, its JSON, or a text
// like "boot_mode:uefi,secure_boot:true".
func capability(v any, name string) string {
	if o, ok := object(v); ok {
		return text(o[name])
	}
	s, _ := v.(string)
	for pair := range strings.SplitSeq(s, ",") {
		if k, v, ok := strings.Cut(strings.TrimSpace(pair), ":"); ok && k == name {
			return v
		}
	}
	return ""
}

// bootModeSaid is the boot mode of a document; empty: it says none.
func bootModeSaid(instance, properties ironic.Object) (metal3.BootMode, error) {
	of := func(name string) string {
		if v := capability(instance["capabilities"], name); v != "" {
			return v
		}
		return capability(properties["capabilities"], name)
	}
	secure := strings.EqualFold(of("secure_boot"), "true")
	switch mode := strings.ToLower(of("boot_mode")); {
	case mode == "bios" && secure:
		return "", refuse("The capabilities boot_mode:bios and secure_boot:true exclude each other.")
	case mode == "bios":
		return metal3.Legacy, nil
	case secure:
		return metal3.UEFISecureBoot, nil
	case mode == "uefi":
		return metal3.UEFI, nil
	case mode != "":
		return "", refuse("The capability boot_mode:%s is not supported: it has to be uefi or bios.", mode)
	}
	return "", nil
}

// withoutBootMode is capabilities that say nothing of it.
func withoutBootMode(capabilities any) any {
	if o, ok := object(capabilities); ok {
		out := maps.Clone(o)
		delete(out, "boot_mode")
		delete(out, "secure_boot")
		return out
	}
	return strings.Join(otherCapabilities(capabilities), ",")
}

func otherCapabilities(capabilities any) []string {
	var out []string
	if s, _ := capabilities.(string); s != "" {
		for pair := range strings.SplitSeq(s, ",") {
			if k, _, _ := strings.Cut(strings.TrimSpace(pair), ":"); k != "boot_mode" && k != "secure_boot" {
				out = append(out, pair)
			}
		}
	}
	return out
}

// withBootMode says a boot mode in capabilities that are a text, as those of
// properties are.
func withBootMode(capabilities any, mode metal3.BootMode) string {
	out := otherCapabilities(capabilities)
	switch mode {
	case metal3.Legacy:
		out = append(out, "boot_mode:bios")
	case metal3.UEFISecureBoot:
		out = append(out, "boot_mode:uefi", "secure_boot:true")
	default:
		out = append(out, "boot_mode:uefi")
	}
	return strings.Join(out, ",")
}

func sameMode(a, b metal3.BootMode) bool {
	if a == "" {
		a = metal3.DefaultBootMode
	}
	if b == "" {
		b = metal3.DefaultBootMode
	}
	return a == b
}
