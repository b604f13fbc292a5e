package vendorextra

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"unicode"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

var (
	errTooLong = errors.New("the answer is longer than a megabyte")
	errPin     = errors.New("the BMC has another public key than the one pinned")
)

// classify makes a *bmc.Error of what went wrong in op. The texts of bmclib's
// own errors are kept, bounded: they hold parts of answers, and nothing of
// requests.
func classify(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	var done *bmc.Error
	if errors.As(err, &done) {
		if done.Op == "" {
			done.Op = op
		}
		return done
	}
	if ctx.Err() != nil {
		return late(op, ctx.Err())
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // the URL says nothing that op does not
	}
	out := &bmc.Error{Class: bmc.Protocol, Op: op, Detail: "the BMC's answer is not what bmclib expects", Err: errors.New(clip(err.Error()))}
	var verify *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	var remote *net.OpError
	var dns *net.DNSError
	switch {
	case errors.As(err, &verify):
		out.Class, out.Code, out.Detail = bmc.TLSIdentity, bmc.CodeTLSUntrusted, "the certificate is not trusted"
		if len(verify.UnverifiedCertificates) > 0 {
			sum := sha256.Sum256(verify.UnverifiedCertificates[0].RawSubjectPublicKeyInfo)
			out.Detail += fmt.Sprintf(" (public key SHA-256 %s, which can be pinned)", hex.EncodeToString(sum[:]))
		}
	case errors.Is(err, errPin):
		out.Class, out.Code, out.Detail = bmc.TLSIdentity, bmc.CodeTLSUntrusted, "pin the new key if it was replaced on purpose"
	case errors.As(err, &header), strings.Contains(err.Error(), "HTTP response to HTTPS"):
		out.Detail = "the port does not speak TLS"
	case errors.As(err, &remote) && remote.Op == "remote error", strings.Contains(err.Error(), "tls: server selected unsupported protocol version"):
		out.Class, out.Code, out.Detail = bmc.TLSIdentity, bmc.CodeTLSLegacy, "no TLS version or cipher in common"
	case errors.Is(err, errTooLong):
		out.Detail = "the BMC does not keep to a measure"
	case errors.As(err, &dns):
		out.Class, out.Code, out.Detail = bmc.Unreachable, bmc.CodeNameUnresolved, fmt.Sprintf("the name %q does not resolve", dns.Name)
	case errors.Is(err, syscall.ECONNREFUSED):
		out.Class, out.Code, out.Detail = bmc.Unreachable, bmc.CodeRefused, "the BMC refused the connection"
	case isNetwork(err):
		out.Class, out.Code, out.Detail = bmc.Unreachable, bmc.CodeUnreachable, "no answer"
	}
	return out
}

func isNetwork(err error) bool {
	var network net.Error
	return errors.As(err, &network) || strings.HasSuffix(err.Error(), "EOF")
}

// statusError sorts an HTTP status that is no success.
func statusError(status int, text string) *bmc.Error {
	e := &bmc.Error{Class: bmc.Protocol, Detail: fmt.Sprintf("HTTP %d", status)}
	if text = clip(text); text != "" {
		e.Detail += ": " + text
	}
	switch {
	case status == 401:
		e.Class, e.Code, e.Detail = bmc.Auth, bmc.CodeAuth, "the BMC refused the user name or the password"
	case status == 403:
		e.Class = bmc.Forbidden
	case status == 404, status == 405, status == 501:
		e.Class = bmc.Unsupported
	case status == 409, status == 429, status == 503:
		e.Class = bmc.Busy
	case status >= 500:
		e.Class = bmc.Transient
	case status >= 400:
		e.Class = bmc.BadRequest
	}
	return e
}

// clip bounds what a BMC says before it is shown.
func clip(s string) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s))
	if runes := []rune(s); len(runes) > 200 {
		return string(runes[:200]) + "…"
	}
	return s
}
