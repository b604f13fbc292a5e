package redfish

import (
	"context"
	"net/http"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// patch reads uri for its ETag, then writes body there.
func (s *System) patch(ctx context.Context, op, uri string, body any) (*answer, error) {
	etag, err := s.readTag(ctx, op, uri)
	if err != nil {
		return nil, err
	}
	return s.patchTagged(ctx, op, uri, etag, body)
}

// patchTagged writes body to uri, whose ETag the caller has read.
func (s *System) patchTagged(ctx context.Context, op, uri, etag string, body any) (*answer, error) {
	return s.tagged(ctx, call{op: op, method: http.MethodPatch, uri: uri, body: body}, etag)
}

func (s *System) readTag(ctx context.Context, op, uri string) (string, error) {
	var current struct {
		ETag text `json:"@odata.etag"`
	}
	a, err := s.e.get(ctx, op, uri, &current)
	if err != nil {
		return "", err
	}
	return a.etag(current.ETag), nil
}

// tagged sends a write on the condition that its resource has not changed
// (DSP0266 §6.5, RFC 9110 §13.1.1). If the BMC says that it has, the ETag is read
// again, once: either somebody else wrote, or the BMC does not know its own, and
// then quirk.ETagLadder finds what it takes. What was taken is remembered, so that
// the ladder is climbed once.
func (s *System) tagged(ctx context.Context, c call, etag string) (*answer, error) {
	known := spelling(s.e.spelling.Load())
	if known == asSent {
		a, err := s.under(ctx, c, etag, asSent)
		if bmc.ClassOf(err) != bmc.Precondition {
			return a, err
		}
		fresh, readErr := s.readTag(ctx, c.op, c.uri)
		if readErr == nil && fresh != etag {
			etag = fresh
			if a, err = s.under(ctx, c, etag, asSent); bmc.ClassOf(err) != bmc.Precondition {
				return a, err
			}
		}
		if !s.has(quirk.ETagLadder) {
			return a, err
		}
		known++
	}
	sent := etag
	var a *answer
	var err error
	for w := known; w <= without; w++ {
		match := w.of(etag)
		if match == sent && w > known || match == "" && w != without {
			continue // tried, or not to be had
		}
		sent = match
		if a, err = s.under(ctx, c, etag, w); bmc.ClassOf(err) != bmc.Precondition {
			if err == nil {
				s.e.spelling.Store(int32(w))
			}
			return a, err
		}
	}
	s.e.spelling.Store(int32(asSent))
	return a, err
}

// under sends c with the ETag spelt one way.
func (s *System) under(ctx context.Context, c call, etag string, w spelling) (*answer, error) {
	c.match = w.of(etag)
	if c.match == "" && w == asSent && s.has(quirk.ETagRequired) {
		c.match = "*" // it gives no ETag, and wants one
	}
	return s.e.do(ctx, c)
}

// spelling is a way to write an ETag into If-Match.
type spelling int32

const (
	asSent   spelling = iota
	strong            // without W/ and without what a web server's compression put in
	unquoted          // BMCs that compare with the bare value in @odata.etag
	anything          // *
	without           // no If-Match at all
)

func (w spelling) of(etag string) string {
	switch w {
	case asSent:
		return etag
	case anything:
		return "*"
	case without:
		return ""
	}
	bare := strings.TrimSpace(etag)
	if len(bare) >= 2 && strings.EqualFold(bare[:2], "W/") {
		bare = bare[2:]
	}
	bare = strings.TrimSuffix(strings.Trim(bare, `"`), "-gzip")
	if bare == "" {
		return ""
	}
	if w == unquoted {
		return bare
	}
	return `"` + bare + `"`
}
