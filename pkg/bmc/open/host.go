package open

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
	"github.com/ingot-metal/ingot/pkg/bmc/vendorextra"
)

// Annotations of a BareMetalHost that say how its BMC is spoken to. Metal3's spec
// has no place for it, and nothing of it is secret.
const (
	// AnnotationQuirks is an operator's word on the BMC's quirks, as
	// quirk.ParseOverride reads it: "vmedia-patch,-etag-required".
	AnnotationQuirks = "ingot.dev/bmc-quirks"
	// AnnotationTLS is TLSLegacy or nothing.
	AnnotationTLS = "ingot.dev/bmc-tls"
	// AnnotationPin is PinFirstUse, or "sha256:" and the BMC's public key's
	// (SubjectPublicKeyInfo) SHA-256 in hex.
	AnnotationPin = "ingot.dev/bmc-pin"

	// TLSLegacy admits what BMCs of before 2015 speak.
	TLSLegacy = "legacy"
	// PinFirstUse believes the key that the BMC shows first, and no other after it.
	PinFirstUse = "first-use"

	pinPrefix = "sha256:"
)

// annotations in the order in which they are looked at.
func annotations() []string {
	return []string{AnnotationQuirks, AnnotationTLS, AnnotationPin, AnnotationExtras}
}

// HostOptions reads what the annotations of a host say of the BMC at addr. An
// error is of the code bmc-options and names the annotation, what it says and what
// it should.
func HostOptions(addr bmc.Address, a map[string]string) (Options, error) {
	o := Options{Quirks: strings.TrimSpace(a[AnnotationQuirks])}
	if _, err := quirk.ParseOverride(o.Quirks); err != nil {
		return Options{}, optionError(AnnotationQuirks, o.Quirks, err.Error())
	}
	if o.Extras = strings.TrimSpace(a[AnnotationExtras]); o.Extras != "" {
		if err := vendorextra.Check(o.Extras, addr); err != nil {
			return Options{}, optionError(AnnotationExtras, o.Extras, err.Error())
		}
	}
	for _, key := range []string{AnnotationTLS, AnnotationPin} {
		if strings.TrimSpace(a[key]) != "" && !addr.TLS {
			return Options{}, optionError(key, a[key], "the BMC at this address is not spoken to over TLS: remove the annotation")
		}
	}
	switch v := strings.TrimSpace(a[AnnotationTLS]); v {
	case "":
	case TLSLegacy:
		o.Legacy = true
	default:
		return Options{}, optionError(AnnotationTLS, v, "write legacy, or remove the annotation")
	}
	switch v := strings.TrimSpace(a[AnnotationPin]); v {
	case "":
	case PinFirstUse:
		o.TrustOnFirstUse = true
	default:
		pin, err := ParsePin(v)
		if err != nil {
			return Options{}, optionError(AnnotationPin, v, err.Error())
		}
		o.PinSPKI = pin
	}
	return o, nil
}

func optionError(key, value, detail string) error {
	return &bmc.Error{Class: bmc.BadRequest, Code: bmc.CodeOptions, Op: key, Detail: fmt.Sprintf("%.80q: %s", value, detail)}
}

// ParsePin reads "sha256:HEX" into Options.PinSPKI.
func ParsePin(s string) (string, error) {
	digits, ok := strings.CutPrefix(s, pinPrefix)
	raw, err := hex.DecodeString(strings.ReplaceAll(digits, ":", ""))
	if !ok || err != nil || len(raw) != sha256.Size {
		return "", fmt.Errorf("write first-use, or %s and 64 hex digits (the error of a certificate that is not trusted shows them)", pinPrefix)
	}
	return string(raw), nil
}

// FormatPin writes what ParsePin reads; nothing for no key.
func FormatPin(spki []byte) string {
	if len(spki) == 0 {
		return ""
	}
	return pinPrefix + hex.EncodeToString(spki)
}

// OptionsID is another text whenever the annotations say something else; empty
// when they say nothing.
func OptionsID(a map[string]string) string {
	said, sum := false, sha256.New()
	for _, key := range annotations() {
		said = said || a[key] != ""
		fmt.Fprintf(sum, "%q", a[key])
	}
	if !said {
		return ""
	}
	return hex.EncodeToString(sum.Sum(nil)[:6])
}
