// Package fault gives a failed step its diagnosis code: the codes are those of
// api/agent.StepError, and pkg/explain has a page for each.
package fault

import (
	"errors"
	"fmt"
)

// Codes of failed steps.
const (
	DiskSmall        = "disk-small"
	DiskMismatch     = "disk-mismatch"
	DiskInUse        = "disk-in-use"
	DiskIO           = "disk-io"
	DiskReadOnly     = "disk-readonly"
	Disk4K           = "disk-4k"
	ImageChunk       = "image-chunk"
	ImageUnreachable = "image-unreachable"
	ImageFormat      = "image-format"
	CleanFailed      = "clean-failed"
	DeployFailed     = "deploy-failed"
	InspectFailed    = "inspect-failed"
	RAIDFailed       = "softraid-failed"
	StepRefused      = "step-refused"
)

// Error is an error with a code.
type Error struct {
	Code string
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// New makes an Error; format is fmt.Errorf's.
func New(code, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// Code finds the code in err, or gives the fallback.
func Code(err error, fallback string) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return fallback
}
