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

// gather reads the members of a collection: expanded where the BMC offers it and
// keeps to it, else one by one, of which at most single. No more than most are
// kept. A member that cannot be read does not cost the others.
func (e *Endpoint) gather(ctx context.Context, op, uri string, most, single int) (gathered, error) {
	var out gathered
	p, err := e.firstPage(ctx, op, uri)
	if err != nil {
		return out, err
	}
	all, more, err := p.all(most, func(uri string, out *page) (bool, error) {
		_, err := e.get(ctx, op, uri, out)
		if err != nil && passable(err) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return out, err
	}
	if more {
		out.left++
	}
	size := 0
	for _, raw := range all {
		r := refOf(raw)
		m := member{uri: r.id, body: raw}
		if len(out.members) >= most || size > maxGathered {
			out.left++
			continue
		}
		if !r.full() {
			if m.uri == "" || single == 0 {
				out.left++
				continue
			}
			single--
			a, err := e.do(ctx, call{op: op, method: http.MethodGet, uri: m.uri})
			if err != nil && !passable(err) {
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
	return out, nil
}

// readMembers reads the members of a collection, at most so many, into T: of all
// of them or, with an error, those before it. empty tells of a member that is to be
// read by itself, being but a link, and where.
func readMembers[T any](ctx context.Context, e *Endpoint, op, uri string, most int, empty func(T) (string, bool)) ([]T, error) {
	p, err := e.firstPage(ctx, op, uri)
	if err != nil {
		return nil, err
	}
	all, _, err := p.all(most, func(uri string, out *page) (bool, error) {
		_, err := e.get(ctx, op, uri, out)
		return err == nil, err
	})
	if err != nil {
		return nil, err
	}
	var out []T
	for _, m := range decodeAll[T](all[:min(len(all), most)]) {
		if at, is := empty(m); is {
			if at == "" {
				continue
			}
			if _, err := e.get(ctx, op, at, &m); unsupported(err) {
				continue // gone since
			} else if err != nil {
				return out, err
			}
		}
		out = append(out, m)
	}
	return out, nil
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
		if err == nil || !passable(err) {
			return p, err
		}
		p = page{} // offered, but not kept
	}
	_, err = e.get(ctx, op, uri, &p)
	return p, err
}

// passable reports whether a failed read says something of its resource alone,
// so that there is a point in reading others. What the BMC answered stands though
// the caller has gone since: the next read tells of that.
func passable(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
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
