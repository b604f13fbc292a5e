package bmc

import (
	"errors"
	"fmt"
	"time"
)

// Class says what a failed call to a BMC means for the caller.
type Class string

// The classes, from facts measured over the field's BMCs.
const (
	Unreachable  Class = "unreachable"  // no route, silence, refused, cut: back off
	TLSIdentity  Class = "tls-identity" // the certificate is not trusted: a person decides
	Auth         Class = "auth"         // wrong credentials: nothing more is tried, so that no account locks
	Forbidden    Class = "forbidden"    // the account lacks the role, or a licence is missing
	Unsupported  Class = "unsupported"  // this BMC cannot: use another way
	Busy         Class = "busy"         // not now: see RetryAfter
	Precondition Class = "precondition" // ETag or state moved: read again
	BadRequest   Class = "bad-request"  // the BMC refused the payload
	Transient    Class = "transient"    // 5xx: retry reads; writes after a read-back
	Protocol     Class = "protocol"     // the answer breaks the protocol
)

// Error is a classed failure. Code narrows the class where a diagnosis differs
// (see pkg/explain: bmc-refused, bmc-name-unresolved, bmc-sessions-full …).
type Error struct {
	Class      Class
	Code       string        // diagnosis code, or empty for the class's own
	Op         string        // what was being done: "read power state"
	Detail     string        // what was seen, with nothing secret in it
	RetryAfter time.Duration // when to try again: of class Busy, when the BMC named it; of Unreachable, when polls are let through again
	Err        error
}

func (e *Error) Error() string {
	s := e.Op + ": " + e.Detail
	if e.Detail == "" {
		s = e.Op + ": " + string(e.Class)
	}
	if e.Err != nil {
		s = fmt.Sprintf("%s: %v", s, e.Err)
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// ClassOf returns the class of err, or Unreachable's weaker sibling Transient
// for an error that no driver classed.
func ClassOf(err error) Class {
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return Transient
}
