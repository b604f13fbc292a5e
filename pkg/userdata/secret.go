package userdata

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Keys of the Secrets that a BareMetalHost refers to.
const (
	KeyUserData    = "userData"
	KeyNetworkData = "networkData"
	KeyMetaData    = "metaData"
	keyFallback    = "value"
)

// Codes of Error, as pkg/explain lists them.
const (
	CodeMissing = "userdata-missing"
	CodeInvalid = "userdata-invalid"
)

// Error says what is wrong with one piece of the config drive.
type Error struct {
	Code    string // CodeMissing or CodeInvalid
	Key     string // KeyUserData, …
	Line    int    // first line is 1; 0: the whole
	Message string
}

// Error puts the place before the message.
func (e *Error) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s: line %d: %s", e.Key, e.Line, e.Message)
	}
	return fmt.Sprintf("%s: %s", e.Key, e.Message)
}

func invalid(key string, line int, format string, args ...any) *Error {
	return &Error{Code: CodeInvalid, Key: key, Line: line, Message: fmt.Sprintf(format, args...)}
}

// FromSecret picks one piece out of a Secret's data: the key itself, else
// "value". Metal3 forgives a missing networkData and nothing else. name is the
// Secret's, for the error.
func FromSecret(name string, data map[string][]byte, key string) ([]byte, error) {
	for _, k := range []string{key, keyFallback} {
		if v, ok := data[k]; ok {
			return v, nil
		}
	}
	if key == KeyNetworkData {
		return nil, nil
	}
	has := "it has no keys"
	if len(data) > 0 {
		has = "it has " + strings.Join(slices.Sorted(maps.Keys(data)), ", ")
	}
	return nil, &Error{
		Code: CodeMissing, Key: key,
		Message: fmt.Sprintf("Secret %s has neither the key %s nor %s; %s", name, key, keyFallback, has),
	}
}
