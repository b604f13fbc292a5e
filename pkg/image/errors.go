package image

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/ingot-metal/ingot/pkg/blob"
)

// Codes of Error. All but the last two are diagnoses of pkg/explain's chapter
// "Image and first boot".
const (
	CodeUnreachable  = "image-unreachable"
	CodeChecksum     = "image-checksum"
	CodeChecksumFile = "image-checksum-file"
	CodeTruncated    = "image-truncated"
	CodeFormat       = "image-format"
	CodeTooLarge     = "image-too-large" // over a limit of this server
	CodeDiskFull     = "disk-full"       // no room in the blob store
)

// Error says why an image cannot be had.
type Error struct {
	Code      string
	Message   string
	Retryable bool // false: the same request will fail until something is changed
	Err       error
	Facts     map[string]string // what the diagnosis's remedy speaks of; nil: nothing is known
}

// Error is the message; it holds no query string and no password of a URL.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.Err }

func terminal(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func retryable(code string, err error, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Retryable: true, Err: err}
}

// storeError classifies a failure to write to the blob store.
func storeError(err error) error {
	if errors.Is(err, blob.ErrQuota) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return retryable(CodeDiskFull, err, "no room to prepare the image: %v", err)
	}
	return err
}

// isCancel reports whether the work was given up rather than failed.
func isCancel(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }
