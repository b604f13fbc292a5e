package rest

import "errors"

// Checks of values that clients send; null is always let through: it unsets.

func isText(v any) error {
	if v == nil {
		return nil
	}
	if s, ok := v.(string); !ok || len(s) > 4096 {
		return errors.New("It has to be a text of at most 4096 bytes.") //nolint:staticcheck // an answer's sentence
	}
	return nil
}

func isBool(v any) error {
	switch v.(type) {
	case nil, bool:
		return nil
	}
	return errors.New("It has to be true or false.") //nolint:staticcheck // an answer's sentence
}

func isObject(v any) error {
	switch v.(type) {
	case nil, map[string]any:
		return nil
	}
	return errors.New("It has to be a JSON object.") //nolint:staticcheck // an answer's sentence
}
