package redfish

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// broken reports whether a connection was cut, so that a read may be repeated.
func broken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// classify sorts a failure that happened before there was an answer.
func (e *Endpoint) classify(ctx context.Context, op string, err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // the URL says nothing that Op does not
	}
	out := &bmc.Error{Class: bmc.Unreachable, Code: bmc.CodeUnreachable, Op: op, Err: err}
	if errors.Is(ctx.Err(), context.Canceled) { // says nothing of the BMC
		return &bmc.Error{Class: bmc.Transient, Op: op, Err: ctx.Err()}
	}
	if ctx.Err() != nil {
		out.Err = ctx.Err() // the caller's own deadline
		out.Detail = "the BMC did not answer in the time given"
		return out
	}
	if classifyTLS(out, err) {
		return out
	}
	var dns *net.DNSError
	var network net.Error
	switch {
	case errors.As(err, &dns):
		out.Code = bmc.CodeNameUnresolved
		out.Detail = fmt.Sprintf("the name %q does not resolve", dns.Name)
		if dns.Server != "" {
			out.Detail += ", asked " + dns.Server
		}
	case errors.Is(err, syscall.ECONNREFUSED):
		out.Code, out.Detail = bmc.CodeRefused, "the BMC refused the connection"
	case errors.Is(err, errRedirect), errors.Is(err, errTooLong):
		out.Class, out.Code = bmc.Protocol, ""
	case isDial(err):
		out.Detail = "no connection"
	case errors.As(err, &network) && network.Timeout(), errors.Is(err, context.DeadlineExceeded):
		out.Code, out.Detail = bmc.CodeSlow, "the BMC took the connection, but did not answer in time"
	case broken(err):
		out.Detail = "the BMC cut the connection"
	case strings.Contains(err.Error(), "malformed HTTP"), strings.Contains(err.Error(), "HTTP response to HTTPS"):
		out.Class, out.Code, out.Detail = bmc.Protocol, "", "the port speaks no HTTP of this kind (+http and +https in the address choose)"
	}
	return out
}

func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// classifyTLS recognises a certificate that is not trusted and a BMC too old to
// agree on a version.
func classifyTLS(out *bmc.Error, err error) bool {
	var verify *tls.CertificateVerificationError
	var pin *pinError
	var header tls.RecordHeaderError
	var remote *net.OpError
	switch {
	case errors.As(err, &verify):
		out.Class, out.Code, out.Detail = bmc.TLSIdentity, bmc.CodeTLSUntrusted, "the certificate is not trusted"
		if len(verify.UnverifiedCertificates) > 0 {
			leaf := verify.UnverifiedCertificates[0]
			sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
			out.Detail += fmt.Sprintf(" (%s; valid %s to %s; public key SHA-256 %s)", reason(verify.Err),
				leaf.NotBefore.Format(time.DateOnly), leaf.NotAfter.Format(time.DateOnly), hex.EncodeToString(sum[:]))
		}
	case errors.As(err, &pin):
		out.Class, out.Code, out.Detail = bmc.TLSIdentity, bmc.CodeTLSUntrusted, "the certificate is not trusted"
	case errors.As(err, &header):
		out.Class, out.Code, out.Detail = bmc.Protocol, "", "the port does not speak TLS (write +http in the address if it is meant so)"
	case errors.As(err, &remote) && remote.Op == "remote error", strings.Contains(err.Error(), "unsupported protocol version"), strings.Contains(err.Error(), "RSA key"):
		out.Class, out.Code, out.Detail = bmc.TLSIdentity, bmc.CodeTLSLegacy, "no TLS version or cipher in common"
	default:
		return false
	}
	return true
}

func reason(err error) string {
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &authority):
		return "unknown authority"
	case errors.As(err, &name):
		return "made out to another name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "outside its dates"
	}
	return "invalid"
}

// statusError sorts an answer by its status and, where that says little, by the
// messages in its body (DSP0268 Message, in @Message.ExtendedInfo). It returns
// nil for success.
func statusError(op string, a *answer) error {
	if a.status >= 200 && a.status < 300 {
		return nil
	}
	m := parseMessages(a.body)
	e := &bmc.Error{Op: op, Detail: "HTTP " + strconv.Itoa(a.status)}
	if m.text != "" {
		e.Detail += ": " + m.text
	}
	switch a.status {
	case http.StatusUnauthorized:
		e.Class, e.Code = bmc.Auth, bmc.CodeAuth
	case http.StatusForbidden:
		e.Class = bmc.Forbidden
		switch {
		case m.has("passwordchangerequired"):
			e.Class, e.Code = bmc.Auth, bmc.CodeAuth // DSP0266 §13.3.7: the account's password has expired
		case m.has("licen"):
			e.Code = bmc.CodeLicence
		}
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		e.Class = bmc.Unsupported
	case http.StatusConflict, http.StatusTooManyRequests, http.StatusServiceUnavailable:
		e.Class, e.RetryAfter = bmc.Busy, retryAfter(a.header)
	case http.StatusPreconditionFailed, http.StatusPreconditionRequired:
		e.Class = bmc.Precondition
	default:
		switch {
		case a.status >= 500:
			e.Class = bmc.Transient
		case a.status < 400:
			e.Class = bmc.Protocol
		default:
			e.Class = m.class()
		}
	}
	return e
}

// retryAfter reads a delay in seconds (RFC 9110 §10.2.3), at most an hour. A
// date is ignored: the clocks of BMCs are not to be trusted.
func retryAfter(h http.Header) time.Duration {
	n, err := strconv.Atoi(strings.TrimSpace(h.Get("Retry-After")))
	if err != nil || n < 0 {
		return 0
	}
	return time.Duration(min(n, 3600)) * time.Second
}

// sessionsFull reports whether a refused login means that all sessions are
// taken: iDRAC says RAC0218 with 503 or 400, the standard SessionLimitExceeded.
func sessionsFull(a *answer) bool {
	if a.status == http.StatusServiceUnavailable {
		return true
	}
	m := parseMessages(a.body)
	return a.status >= 400 && (m.has("sessionlimitexceeded") || m.has("rac0218") || m.has("maximum number of") || m.has("session limit"))
}

// messages are what a body says of an error.
type messages struct {
	text  string // for people
	lower string // ids and texts, to search in
}

func (m messages) has(s string) bool { return strings.Contains(m.lower, s) }

// class tells what a 400 means: some BMCs use it for "not now".
func (m messages) class() bmc.Class {
	switch {
	case m.has("invalidoperationforsystemstate"), m.has("unabletomodifyduringsystempost"), m.has("resourceinuse"), m.has("sys518"):
		return bmc.Busy
	case m.has("preconditionheadermissing"):
		return bmc.Precondition
	case m.has("actionnotsupported"), m.has("actionparameternotsupported"):
		return bmc.Unsupported
	}
	return bmc.BadRequest
}

func parseMessages(body []byte) messages {
	var doc struct {
		Error struct {
			Code     text            `json:"code"`
			Message  text            `json:"message"`
			Extended list[extendedI] `json:"@Message.ExtendedInfo"`
		} `json:"error"`
	}
	if decode("", body, &doc) != nil {
		return messages{}
	}
	all := []string{string(doc.Error.Code), string(doc.Error.Message)}
	best := string(doc.Error.Message)
	for i, x := range doc.Error.Extended {
		all = append(all, string(x.ID), string(x.Message))
		if i == 0 && x.Message != "" {
			best = string(x.Message)
		}
	}
	return messages{text: clip(best), lower: strings.ToLower(strings.Join(all, " "))}
}

type extendedI struct {
	ID      text `json:"MessageId"`
	Message text `json:"Message"`
}

// clip makes text from a BMC fit for a line of a log.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
	if runes := []rune(s); len(runes) > 300 {
		return string(runes[:300]) + "…"
	}
	return s
}
