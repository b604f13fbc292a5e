package fromironic

import (
	"fmt"
	"strconv"
	"strings"
)

// rootHints are Metal3's words for Ironic's hints. One that has no counterpart is an
// error: without it another disk would be chosen.
func rootHints(v any) (map[string]any, error) {
	hints, _ := v.(map[string]any)
	out := map[string]any{}
	for key, value := range hints {
		bad := func() error {
			return fmt.Errorf("its root device hint %s %s has no counterpart here", clip(key), clip(fmt.Sprintf("%q", fmt.Sprint(value))))
		}
		text, isText := value.(string)
		op := ""
		if isText {
			op, text = operator(text)
		}
		name := map[string]string{
			"model": "model", "vendor": "vendor", "serial": "serialNumber", "hctl": "hctl", "name": "deviceName", "by_path": "deviceName",
			"wwn": "wwn", "wwn_with_extension": "wwnWithExtension", "wwn_vendor_extension": "wwnVendorExtension",
		}[key]
		contains := key == "model" || key == "vendor"
		switch {
		case name != "" && isText && (op == "" || op == "s==" || op == "<in>" && contains):
			out[name] = text
		case key == "rotational":
			b, err := strconv.ParseBool(strings.ToLower(fmt.Sprint(value)))
			if err != nil {
				return nil, bad()
			}
			out[key] = b
		case key == "size" && op == ">=":
			n, err := strconv.ParseInt(text, 10, 32)
			if err != nil {
				return nil, bad()
			}
			out["minSizeGigabytes"] = n
		default:
			return nil, bad()
		}
	}
	return out, nil
}

// operator cuts off what oslo.utils' specs_matcher would compare by.
func operator(text string) (op, operand string) {
	first, rest, found := strings.Cut(strings.TrimSpace(text), " ")
	switch first {
	case "=", "==", "!=", ">=", "<=", "<", ">", "s==", "s!=", "s<", "s<=", "s>", "s>=", "<in>", "<all-in>", "<or>":
		if found {
			return first, strings.TrimSpace(rest)
		}
	}
	return "", strings.TrimSpace(text)
}

// bootMode is what the capabilities say of how the machine boots.
func bootMode(capabilities any) string {
	has := map[string]string{}
	switch c := capabilities.(type) {
	case string:
		for _, pair := range strings.Split(c, ",") {
			k, v, _ := strings.Cut(pair, ":")
			has[strings.TrimSpace(k)] = strings.TrimSpace(v)
		}
	case map[string]any:
		for k, v := range c {
			has[k] = fmt.Sprint(v)
		}
	}
	switch {
	case strings.EqualFold(has["secure_boot"], "true"):
		return "UEFISecureBoot"
	case has["boot_mode"] == "uefi":
		return "UEFI"
	case has["boot_mode"] == "bios":
		return "legacy"
	}
	return ""
}
