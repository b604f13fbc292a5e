package redfish

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// Types of attributes (DSP0268 AttributeRegistry).
const (
	typeString   = "String"
	typeInteger  = "Integer"
	typeBoolean  = "Boolean"
	typeEnum     = "Enumeration"
	typePassword = "Password"
)

// attributeRule is what the registry says of one attribute.
type attributeRule bmc.BIOSAttribute

// hiddenValue stands for the value of a password.
const hiddenValue = "(hidden)"

// secret reports whether an attribute's value is not to be seen: a password, or
// what is called one. Dell's registry has IscsiDev1Con1ChapSecret as a String, and
// without a registry the name is all there is; rather one too many is hidden.
func (r registry) secret(name string) bool {
	if a, ok := r[name]; ok && a.Type != typeString {
		return a.Type == typePassword
	}
	name = strings.ToLower(name)
	for _, s := range []string{"password", "passphrase", "secret"} {
		if strings.Contains(name, s) {
			return true
		}
	}
	return false
}

// show makes attributes fit to be seen: passwords hidden, what has no value left
// out.
func (r registry) show(a attributes) map[string]any {
	out := make(map[string]any, len(a))
	for name, v := range a {
		switch {
		case r.secret(name):
			out[name] = hiddenValue
		case v != nil:
			out[name] = v
		}
	}
	return out
}

// checkAttributes turns what was asked for into what the BMC takes, or says all
// that is wrong with it. current are the machine's attributes.
func (r registry) checkAttributes(op string, wanted map[string]any, current attributes) (attributes, error) {
	out := attributes{}
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		v, problem := r.check(name, wanted[name], current)
		switch {
		case problem != "":
			wrong = append(wrong, clip("attribute "+strconv.Quote(name)+": "+problem))
		case v != nil:
			out[name] = v
		}
	}
	if len(wrong) == 0 {
		return out, nil
	}
	const most = 5
	detail := strings.Join(wrong[:min(len(wrong), most)], "; ")
	if len(wrong) > most {
		detail += fmt.Sprintf("; and %d more", len(wrong)-most)
	}
	return nil, &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: detail}
}

// check returns the value of an attribute as the BMC takes it, nil if there is
// nothing to write, or what is wrong with it and what to do.
func (r registry) check(name string, wanted any, current attributes) (any, string) {
	now, exists := current[name]
	entry, known := r[name]
	a := attributeRule(entry)
	// A password that can only be written need not be among the attributes.
	if !exists && a.Type != typePassword {
		return nil, r.unknown(name, known, current)
	}
	in, ok := plain(wanted)
	switch {
	case !ok:
		return nil, fmt.Sprintf("a value of type %T is none; give a string, an integer or a boolean", wanted)
	case r.secret(name) && in == hiddenValue:
		return nil, "" // as it was read
	case same(now, in) && !r.secret(name):
		return now, "" // as it is, be it read-only or shorter than the registry allows
	case known && a.ReadOnly:
		return nil, "it is read-only; leave it out"
	case r.secret(name):
		return in, a.length(in, "the value")
	case !known:
		a.Type = typeOf(now)
	}
	return a.typed(in)
}

// unknown says of a name that the machine does not have what may be meant.
func (r registry) unknown(name string, known bool, current attributes) string {
	if known {
		return "this machine does not have it, though its registry does; leave it out"
	}
	for other := range current {
		if strings.EqualFold(other, name) {
			return "the BIOS has none of that name; it has " + strconv.Quote(clip(other)) + " (upper and lower case matter)"
		}
	}
	return fmt.Sprintf("the BIOS has none of that name; take one of the %d that it has", len(current))
}

// typed turns the text of a value into the attribute's type, if it is allowed.
func (a attributeRule) typed(in string) (any, string) {
	switch a.Type {
	case typeInteger:
		n, err := strconv.ParseInt(in, 10, 64)
		if err != nil {
			return nil, fmt.Sprintf("%q is no integer; give one%s", in, a.bounds())
		}
		if a.LowerBound != nil && n < *a.LowerBound || a.UpperBound != nil && n > *a.UpperBound {
			return nil, fmt.Sprintf("%d is out of bounds; give an integer%s", n, a.bounds())
		}
		return n, ""
	case typeBoolean:
		if in != "true" && in != "false" {
			return nil, fmt.Sprintf("%q is no boolean; give true or false", in)
		}
		return in == "true", ""
	case typeEnum:
		if len(a.Values) == 0 {
			return in, ""
		}
		if spelt := pick([]string{in}, a.Values); spelt != "" {
			return spelt, ""
		}
		return nil, fmt.Sprintf("%q is not among its values; give one of %s", in, some(a.Values))
	}
	return in, a.length(in, strconv.Quote(in))
}

// bounds of an integer, for people.
func (a attributeRule) bounds() string {
	switch {
	case a.LowerBound != nil && a.UpperBound != nil:
		return fmt.Sprintf(" from %d to %d", *a.LowerBound, *a.UpperBound)
	case a.LowerBound != nil:
		return fmt.Sprintf(" from %d on", *a.LowerBound)
	case a.UpperBound != nil:
		return fmt.Sprintf(" up to %d", *a.UpperBound)
	}
	return ""
}

// length checks a string; what it is called in the error may not be the value
// itself.
func (a attributeRule) length(in, called string) string {
	n := int64(utf8.RuneCountInString(in))
	switch {
	case a.MinLength != nil && n < *a.MinLength:
		return fmt.Sprintf("%s has %d characters; give at least %d", called, n, *a.MinLength)
	case a.MaxLength != nil && n > *a.MaxLength:
		return fmt.Sprintf("%s has %d characters; give at most %d", called, n, *a.MaxLength)
	}
	return ""
}

// plain is the text of a value as callers have it: from JSON, YAML or Metal3's
// integer-or-string.
func plain(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case int:
		return strconv.Itoa(v), true
	case int32:
		return strconv.FormatInt(int64(v), 10), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case json.Number:
		return v.String(), true
	case float64: // an integer beyond that may not be the one that was written
		return strconv.FormatFloat(v, 'f', -1, 64), math.Abs(v) <= 1<<53
	}
	return "", false
}

// typeOf guesses the type of an attribute that no registry describes from the
// value it has.
func typeOf(v any) string {
	switch v.(type) {
	case int64:
		return typeInteger
	case bool:
		return typeBoolean
	}
	return typeString
}

// same compares an attribute with what an Op wants of it, in the attribute's own
// type: the integer 16 is wanted as "16", which the string "016" is not.
func same(have any, want string) bool {
	switch have := have.(type) {
	case string:
		return have == want
	case int64:
		n, err := strconv.ParseInt(want, 10, 64)
		return err == nil && n == have
	case bool:
		return want == strconv.FormatBool(have)
	}
	return false
}
