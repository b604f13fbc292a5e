package ipmi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

var (
	errPassword = errors.New("the BMC's proof does not match the password")
	errSilence  = errors.New("no answer")
	// pyghmi, the server of VirtualBMC, answers an order for any suite with suite 3.
	errOtherSuite = errors.New("the BMC chose other algorithms than asked for")
)

// rmcpStatus is a status of the key exchange (chapter 13.24, table 13-15).
type rmcpStatus byte

func (s rmcpStatus) Error() string {
	switch s {
	case 0x01, 0x0b:
		return "no session left"
	case 0x09, 0x0a:
		return "the account may not have this privilege level"
	case 0x0c, 0x0d:
		return "unknown user name"
	case 0x0f:
		return "the BMC refused the password"
	case 0x04, 0x05, 0x10, 0x11:
		return "cipher suite refused"
	}
	return fmt.Sprintf("session refused, status %#02x", byte(s))
}

// outOfStep reports whether a refusal may come of two sides that speak of different
// messages of the key exchange, as well as of a wrong user or password.
func outOfStep(err error) bool {
	var s rmcpStatus
	return errors.Is(err, errPassword) || errors.As(err, &s) && (s == 0x02 || s == 0x08 || s == 0x0d || s == 0x0f)
}

// refusesSuite reports whether another cipher suite may be welcome.
func refusesSuite(err error) bool {
	var s rmcpStatus
	return errors.As(err, &s) && (s == 0x04 || s == 0x05 || s == 0x10 || s == 0x11)
}

// completion is a completion code other than 0 (chapter 5.2).
type completion byte

func (c completion) Error() string { return fmt.Sprintf("completion code %#02x", byte(c)) }

func (c completion) class() bmc.Class {
	switch c {
	case 0xc0, 0xc4, 0xd5: // node busy, out of space, not in this state
		return bmc.Busy
	case 0xd4: // insufficient privilege
		return bmc.Forbidden
	case 0x80, 0xc1, 0xc2, 0xcb, 0xd6: // no such parameter, command, LUN, record; disabled
		return bmc.Unsupported
	case 0xc3, 0xce, 0xcf, 0xd2, 0xff:
		return bmc.Transient
	}
	return bmc.BadRequest
}

// has reports whether err is one of these completion codes.
func has(err error, codes ...completion) bool {
	var c completion
	return errors.As(err, &c) && slices.Contains(codes, c)
}

// tooMuch reports whether a BMC could not answer with as many bytes as it was
// asked for: C7h and C8h (length), CAh (cannot return that many).
func tooMuch(err error) bool { return has(err, 0xc7, 0xc8, 0xca) }

// classify makes a *bmc.Error of whatever went wrong in op.
func classify(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	var done *bmc.Error
	if errors.As(err, &done) {
		return err
	}
	e := &bmc.Error{Class: bmc.Unreachable, Code: bmc.CodeUnreachable, Op: op, Err: err}
	var status rmcpStatus
	var code completion
	var dns *net.DNSError
	switch {
	case errors.Is(ctx.Err(), context.Canceled): // says nothing of the BMC
		e.Class, e.Code, e.Err = bmc.Transient, "", ctx.Err()
	case ctx.Err() != nil:
		e.Detail, e.Err = "the BMC did not answer in the time given", ctx.Err()
	case errors.Is(err, errPassword):
		e.Class, e.Code = bmc.Auth, bmc.CodeAuth
	case errors.As(err, &status):
		classifyStatus(e, status)
	case errors.As(err, &code):
		e.Class, e.Code = code.class(), ""
	case errors.As(err, &dns):
		e.Code, e.Detail = bmc.CodeNameUnresolved, fmt.Sprintf("the name %q does not resolve", dns.Name)
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Code, e.Detail = bmc.CodeRefused, "nothing listens for IPMI there (is IPMI over LAN switched on?)"
	case errors.Is(err, errPacket), errors.Is(err, errCode):
		e.Class, e.Code = bmc.Protocol, ""
	}
	return e
}

func classifyStatus(e *bmc.Error, s rmcpStatus) {
	switch s {
	case 0x01, 0x0b:
		e.Class, e.Code = bmc.Busy, bmc.CodeSessionsFull
	case 0x09, 0x0a:
		e.Class, e.Code = bmc.Forbidden, ""
		e.Detail = "ask for less with ?privilegelevel= in the address, or give the account the level"
	case 0x0c, 0x0d, 0x0f:
		e.Class, e.Code = bmc.Auth, bmc.CodeAuth
	case 0x04, 0x05, 0x10, 0x11:
		e.Class, e.Code = bmc.Unsupported, bmc.CodeIPMICipher
		e.Detail = "neither cipher suite 17 nor 3"
	default:
		e.Class, e.Code = bmc.Transient, ""
	}
}

// isCompletion reports whether the BMC answered, if with a refusal.
func isCompletion(err error) bool {
	var c completion
	return errors.As(err, &c)
}
