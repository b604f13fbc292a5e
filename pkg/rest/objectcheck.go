package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/ingot-metal/ingot/pkg/node"
)

// Checks of what clients send of objects. They speak as Ironic's JSON schemas do; an
// error that is a fault is answered as it is. Null unsets a field, and is always let
// through.

// unlessNull is a check of what is not null.
func unlessNull(check func(any) error) func(any) error {
	return func(v any) error {
		if v == nil {
			return nil
		}
		return check(v)
	}
}

func textField(most int) func(any) error {
	return unlessNull(func(v any) error {
		s, ok := v.(string)
		switch {
		case !ok:
			return fmt.Errorf("%s is not of type 'string'", python(v))
		case len([]rune(s)) > most:
			return fmt.Errorf("'%s' is too long", s)
		}
		return nil
	})
}

func objectField(v any) error {
	if v == nil {
		return nil
	}
	if _, ok := v.(map[string]any); !ok {
		return fmt.Errorf("%s is not of type 'object'", python(v))
	}
	return nil
}

func boolField(v any) error {
	if v == nil {
		return nil
	}
	if _, ok := truthOf(v); !ok {
		return fmt.Errorf("%s is not true or false", python(v))
	}
	return nil
}

func intField(v any) error {
	if v == nil {
		return nil
	}
	if _, ok := integer(v); !ok {
		return fmt.Errorf("%s is not of type 'integer'", python(v))
	}
	return nil
}

func macField(name string) func(any) error {
	return unlessNull(func(v any) error {
		if s, ok := v.(string); !ok {
			return fmt.Errorf("%s is not of type 'string'", python(v))
		} else if _, ok := normalMAC(s); !ok {
			return badRequest("Expected valid MAC address for %s: %s", name, s)
		}
		return nil
	})
}

func uuidField(name string) func(any) error {
	return unlessNull(func(v any) error {
		if s, ok := v.(string); !ok {
			return fmt.Errorf("%s is not of type 'string'", python(v))
		} else if _, err := uuid.Parse(s); err != nil {
			return badRequest("Expected UUID for %s: %s", name, s)
		}
		return nil
	})
}

// canonical is a UUID in its usual form.
func canonical(text string) (string, bool) {
	id, err := uuid.Parse(text)
	return id.String(), err == nil
}

// truthOf reads what Ironic takes for true or false.
func truthOf(v any) (value, ok bool) {
	switch v := v.(type) {
	case bool:
		return v, true
	case string:
		switch strings.ToLower(strings.TrimSpace(v)) {
		case "1", "t", "true", "on", "y", "yes":
			return true, true
		case "0", "f", "false", "off", "n", "no":
			return false, true
		}
	}
	return false, false
}

// truths makes true or false of fields that may be sent as texts.
func (o *object) truths(names ...string) {
	for _, name := range names {
		if b, ok := truthOf(o.fields[name]); ok {
			o.fields[name] = b
		}
	}
}

func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case json.Number:
		n, err := strconv.ParseInt(v.String(), 10, 64)
		return n, err == nil
	case float64:
		return int64(v), v == float64(int64(v))
	}
	return 0, false
}

// python is a value as Ironic's messages show it, cut short.
func python(v any) string {
	var text string
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case string:
		text = "'" + v + "'"
	default:
		b, _ := json.Marshal(v)
		text = string(b)
	}
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "…"
	}
	return text
}

var macForm = regexp.MustCompile(`^[0-9a-f]{2}(:[0-9a-f]{2}){5}$`)

// normalMAC is a MAC address in lower case.
func normalMAC(s string) (string, bool) {
	s = strings.ToLower(s)
	return s, macForm.MatchString(s)
}

var unreservedForm = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,255}$`)

// isLogicalName reports whether s may be the name of an object: RFC 3986's unreserved
// characters, and no UUID.
func isLogicalName(s string) bool {
	_, err := uuid.Parse(s)
	return err != nil && unreservedForm.MatchString(s)
}

var (
	customTrait   = regexp.MustCompile(`^CUSTOM_[A-Z0-9_]+$`)
	standardTrait = regexp.MustCompile(`^(COMPUTE|HW|MISC|OWNER|STORAGE)_[A-Z0-9_]+$`)
)

// isTraitName reports whether s is a trait. Of the standard ones the families are
// checked; their list grows with every release of os-traits.
func isTraitName(s string) bool {
	return len(s) <= 255 && (customTrait.MatchString(s) || standardTrait.MatchString(s))
}

// traitList reads a list of traits.
func traitList(v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("%s is not of type 'array'", python(v))
	}
	if len(list) > 50 {
		return nil, errors.New("there are more than 50 traits")
	}
	names := make([]string, 0, len(list))
	for _, e := range list {
		s, ok := e.(string)
		if !ok || !isTraitName(s) {
			return nil, fmt.Errorf("%s is not valid under any of the given schemas. Possible root cause: it is neither a standard trait nor matches '^CUSTOM_[A-Z0-9_]+$'", python(e))
		}
		if !slices.Contains(names, s) {
			names = append(names, s)
		}
	}
	return names, nil
}

func traitsField(v any) error {
	if v == nil {
		return nil
	}
	_, err := traitList(v)
	return err
}

func textsField(v any) error {
	if v == nil {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		return fmt.Errorf("%s is not of type 'array'", python(v))
	}
	for _, e := range list {
		if _, ok := e.(string); !ok {
			return fmt.Errorf("%s is not of type 'string'", python(e))
		}
	}
	return nil
}

// texts are the strings of a list.
func texts(v any) []string {
	list, _ := v.([]any)
	all := make([]string, 0, len(list))
	for _, e := range list {
		if s, ok := e.(string); ok {
			all = append(all, s)
		}
	}
	return all
}

// maskSecrets is v with what its keys say is secret masked.
func maskSecrets(v any, masked string) any {
	switch v := v.(type) {
	case map[string]any:
		all := make(map[string]any, len(v))
		for key, value := range v {
			switch {
			case value != nil && (node.Secretive(key) || strings.Contains(strings.ToLower(key), "configdrive")):
				all[key] = masked
			default:
				all[key] = maskSecrets(value, masked)
			}
		}
		return all
	case []any:
		all := make([]any, len(v))
		for i, value := range v {
			all[i] = maskSecrets(value, masked)
		}
		return all
	}
	return v
}
