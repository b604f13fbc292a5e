package redfish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
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
	if e.classifyTLS(out, err) {
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
	case errors.Is(err, errRedirect), errors.Is(err, errTooLong), errors.Is(err, errEncoding):
		out.Class, out.Code = bmc.Protocol, ""
	case isDial(err):
		out.Detail = "no connection"
	case errors.Is(err, errSilent), errors.As(err, &network) && network.Timeout(), errors.Is(err, context.DeadlineExceeded):
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
			e.Class, e.Code = bmc.Auth, bmc.CodePasswordChange // DSP0266 §13.3.7: the account's password has expired
		case m.has("licen"):
			e.Code = bmc.CodeLicence
		}
	case http.StatusNotFound, http.StatusGone, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		e.Class = bmc.Unsupported
	case http.StatusConflict, http.StatusTooManyRequests, http.StatusServiceUnavailable:
		e.Class, e.RetryAfter = bmc.Busy, retryAfter(a.header)
	case http.StatusPreconditionFailed, http.StatusPreconditionRequired:
		e.Class = bmc.Precondition
	default:
		switch {
		case m.notReady():
			e.Class, e.RetryAfter = bmc.Busy, retryAfter(a.header)
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

// retryAfter reads a delay in seconds (RFC 9110 §10.2.3), at most an hour. A date
// is measured against the BMC's own clock, which seldom agrees with ours.
func retryAfter(h http.Header) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	n, err := strconv.Atoi(value)
	d := time.Duration(min(n, 3600)) * time.Second
	if err != nil {
		at, err1 := http.ParseTime(value)
		now, err2 := http.ParseTime(h.Get("Date"))
		if err1 != nil || err2 != nil {
			return 0
		}
		d = min(at.Sub(now), time.Hour)
	}
	return max(d, 0)
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
	case m.inPOST(), m.has("resourceinuse"), m.has("resourcenotreadyretry"):
		return bmc.Busy
	case m.has("preconditionheadermissing"):
		return bmc.Precondition
	case m.has("actionnotsupported"), m.has("actionparameternotsupported"):
		return bmc.Unsupported
	}
	return bmc.BadRequest
}

// inPOST reports whether the BMC refuses because the machine, or the BMC itself,
// is still starting: iLO with a 400, iDRAC (SYS518) with a 500 or 503.
func (m messages) inPOST() bool {
	return m.has("invalidoperationforsystemstate") || m.has("unabletomodifyduringsystempost") || m.has("sys518")
}

// notReady reports whether an iDRAC refuses for now, by a 400 or a 5xx: SWC0700 "iDRAC
// is not ready. The configuration values cannot be accessed. Please retry after a
// few minutes." (badfish #129: 400), SYS011 of settings that a job is yet to apply.
func (m messages) notReady() bool { return m.has("swc0700") || m.has("sys011") }

// postPause is how long to wait when a BMC says that its machine is in POST, and
// not how long: POST takes minutes, and its end is worth noticing.
const postPause = 15 * time.Second

// judge is statusError, with what is known of this BMC.
func (e *Endpoint) judge(op string, a *answer) error {
	err := statusError(op, a)
	var be *bmc.Error
	if !errors.As(err, &be) || !e.has(quirk.PostBusy) || !parseMessages(a.body).inPOST() {
		return err
	}
	if be.Class == bmc.Busy || be.Class == bmc.Transient {
		be.Class = bmc.Busy
		be.RetryAfter = max(be.RetryAfter, postPause)
		be.Detail = "the machine is in POST, or the BMC still starting (" + be.Detail + ")"
	}
	return err
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
	doc.Error.Extended = append(doc.Error.Extended, annotated(body)...)
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

// maxAnnotated bounds the properties of which messages are read.
const maxAnnotated = 16

// annotated are the messages that stand beside the error, or in its place: bmcweb
// has those of a property at the top, as "Destination@Message.ExtendedInfo"
// (DSP0266 §9.10, the same within a resource).
func annotated(body []byte) []extendedI {
	const annotation = "@Message.ExtendedInfo"
	var top map[string]json.RawMessage
	if json.Unmarshal(body, &top) != nil {
		return nil
	}
	var out []extendedI
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(top)), func(name string) bool { return !strings.HasSuffix(name, annotation) })
	for _, name := range names[:min(len(names), maxAnnotated)] {
		var l list[extendedI]
		if lenient(json.Unmarshal(top[name], &l)) == nil {
			out = append(out, l...)
		}
	}
	return out
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
