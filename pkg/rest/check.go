package rest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// Checks of values that clients send; null is always let through: it unsets.

// refusal is what a check says where Ironic has a sentence for it, with places for the
// field's name and for the value.
type refusal string

func (r refusal) Error() string { return fmt.Sprintf(string(r), "it", "that") }

func isText(v any) error {
	if v == nil {
		return nil
	}
	if s, ok := v.(string); !ok || len(s) > 4096 {
		return errors.New("It has to be a text of at most 4096 bytes.") //nolint:staticcheck,revive // an answer's sentence
	}
	return nil
}

// isTextOf is isText with a limit of its own.
func isTextOf(limit int) func(any) error {
	return func(v any) error {
		if s, ok := v.(string); v != nil && (!ok || len([]rune(s)) > limit) {
			return fmt.Errorf("It has to be a text of at most %d characters.", limit) //nolint:staticcheck,revive // an answer's sentence
		}
		return nil
	}
}

// isUUID is what a UUID has to be; toUUID is how it is kept.
func isUUID(v any) error {
	if v == nil {
		return nil
	}
	if s, ok := v.(string); ok && uuidLike(s) {
		return nil
	}
	return refusal("Expected UUID for %[1]s: %[2]s")
}

// uuidLike reports whether a text is a UUID in the form with dashes.
func uuidLike(s string) bool {
	_, err := uuid.Parse(s)
	return err == nil && len(s) == 36
}

func toUUID(v any) any { return strings.ToLower(v.(string)) }

// isBool takes what Ironic takes for a truth value, words among them.
func isBool(v any) error {
	switch v := v.(type) {
	case nil, bool:
		return nil
	case string:
		if _, ok := truth(v); ok {
			return nil
		}
	}
	return refusal("Invalid %[1]s: Unrecognized value '%[2]s', acceptable values are: " + truthWords) //nolint:misspell // Ironic's spelling
}

func toBool(v any) any {
	if s, ok := v.(string); ok {
		b, _ := truth(s)
		return b
	}
	return v
}

// truth reads a word as oslo's bool_from_string does.
func truth(text string) (value, ok bool) {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true", "1", "yes", "on", "t", "y":
		return true, true
	case "false", "0", "no", "off", "f", "n":
		return false, true
	}
	return false, false
}

const truthWords = "'0', '1', 'f', 'false', 'n', 'no', 'off', 'on', 't', 'true', 'y', 'yes'"

// notBool refuses a parameter that is no truth value.
func notBool(name, text string) error {
	return badRequest("Invalid %s: Unrecognized value '%s', acceptable values are: %s", name, clip([]byte(text)), truthWords) //nolint:misspell // Ironic's spelling
}

func isObject(v any) error {
	switch v.(type) {
	case nil, map[string]any:
		return nil
	}
	return refusal("Schema error for %[1]s: '%[2]s' is not of type 'object', 'null'")
}
