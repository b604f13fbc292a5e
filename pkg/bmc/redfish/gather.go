package redfish

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// member of a collection, as the BMC wrote it.
type member struct {
	uri  string
	body json.RawMessage
}

// gathered is what was read of a collection.
type gathered struct {
	members []member
	left    int // members that were not read: beyond the bounds, or not to be had
}

const (
	// maxPages bounds the pages of one collection.
	maxPages = 32
	// maxGathered bounds the bytes that are kept of one collection.
	maxGathered = 32 << 20
	// expandOne asks for the members in place of links to them (DSP0266 §7.3).
	expandOne = "?$expand=.($levels=1)"
)

// page is one answer of a collection (DSP0266 §9.6: the rest is at nextLink).
type page struct {
	Members list[json.RawMessage] `json:"Members"`
	Next    text                  `json:"Members@odata.nextLink"`
	Count   quantity              `json:"Members@odata.count"`
}

// gather reads the members of a collection: expanded where the BMC offers it and
// keeps to it, else one by one, of which at most single. No more than most are
// kept. A member that cannot be read does not cost the others.
func (e *Endpoint) gather(ctx context.Context, op, uri string, most, single int) (gathered, error) {
	var out gathered
	p, err := e.firstPage(ctx, op, uri)
	if err != nil {
		return out, err
	}
	for n, size := 1, 0; ; n++ {
		for _, raw := range p.Members {
			m := member{uri: memberLink(raw), body: raw}
			if len(out.members) >= most || size > maxGathered {
				out.left++
				continue
			}
			if bare(raw) {
				if m.uri == "" || single == 0 {
					out.left++
					continue
				}
				single--
				a, err := e.do(ctx, call{op: op, method: http.MethodGet, uri: m.uri})
				if err != nil && !passable(ctx, err) {
					return out, err
				}
				if err != nil {
					out.left++
					continue
				}
				m.body = a.body
			}
			size += len(m.body)
			out.members = append(out.members, m)
		}
		next := string(p.Next)
		if next == "" {
			return out, nil
		}
		if n == maxPages || len(out.members) >= most {
			out.left++
			return out, nil
		}
		p = page{}
		if _, err := e.get(ctx, op, next, &p); err != nil {
			out.left++
			if passable(ctx, err) {
				err = nil
			}
			return out, err
		}
	}
}

// firstPage reads the first page of a collection, expanded if the BMC can.
func (e *Endpoint) firstPage(ctx context.Context, op, uri string) (page, error) {
	var p page
	root, err := e.serviceRoot(ctx)
	if err != nil {
		return p, err
	}
	if root.Features.Expand.NoLinks && !strings.Contains(uri, "?") {
		_, err = e.get(ctx, op, uri+expandOne, &p)
		if err == nil || !passable(ctx, err) {
			return p, err
		}
		p = page{} // offered, but not kept
	}
	_, err = e.get(ctx, op, uri, &p)
	return p, err
}

// memberLink is where a member is, whether it is expanded or not.
func memberLink(raw json.RawMessage) string {
	var l link
	_ = json.Unmarshal(raw, &l) // what does not parse is no link
	return string(l)
}

// bare reports whether a member is a mere link: nothing but annotations.
func bare(raw json.RawMessage) bool {
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return true
	}
	for k := range m {
		if !strings.HasPrefix(k, "@") {
			return false
		}
	}
	return true
}

// passable reports whether a failed read says something of its resource alone,
// so that there is a point in reading others.
func passable(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	switch bmc.ClassOf(err) {
	case bmc.Unsupported, bmc.Protocol, bmc.Transient, bmc.BadRequest, bmc.Forbidden:
		return true
	}
	return false
}

// readInto reads the machine's resource as far as out asks.
func (s *System) readInto(ctx context.Context, op string, out any) error {
	_, err := s.e.get(ctx, op, s.uri, out)
	var be *bmc.Error
	if errors.As(err, &be) && be.Class == bmc.Unsupported {
		return s.missing(ctx, be)
	}
	return err
}

// cleanWords are words fit for a line of text.
func cleanWords(l list[text]) []string {
	out := make([]string, 0, len(l))
	for _, t := range l {
		out = append(out, clean(t))
	}
	return out
}

// quantity is a number, or a string that holds one. Anything else is no number.
type quantity struct {
	value float64
	known bool
}

func (q *quantity) UnmarshalJSON(b []byte) error {
	*q = quantity{}
	var t text
	if err := json.Unmarshal(b, &t); err != nil {
		return err
	}
	if v, err := strconv.ParseFloat(string(t), 64); err == nil && v-v == 0 { // neither infinite nor NaN
		*q = quantity{value: v, known: true}
	}
	return nil
}

// tristate is a boolean that may be absent.
type tristate struct{ value, known bool }

func (f *tristate) UnmarshalJSON(b []byte) error {
	var t text
	if err := json.Unmarshal(b, &t); err != nil {
		return err
	}
	v, err := strconv.ParseBool(strings.ToLower(string(t)))
	*f = tristate{value: v, known: err == nil}
	return nil
}

// instant reads a time as BMCs write it (DSP0266 §9.5.10 wants RFC 3339; some
// leave out a colon, or the zone). A BMC that has lost its clock writes 1970:
// that is no time.
func instant(t text) time.Time {
	s := strings.TrimSpace(string(t))
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05-0700", "2006-01-02T15:04:05"} {
		if at, err := time.Parse(layout, s); err == nil && at.Year() >= 2000 && at.Year() < 2200 {
			return at.UTC()
		}
	}
	return time.Time{}
}
