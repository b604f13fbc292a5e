package redfish

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/bmc"
)

const (
	// walkGoal is what a walk may cost on a BMC that expands collections; what is
	// merely nice to have is left out beyond it.
	walkGoal = 17
	// walkMost bounds a walk on a BMC that must be asked for each member.
	walkMost = 400
	// maxMembers bounds what is kept of one collection.
	maxMembers = 512
	// maxSkipped bounds the notes of what could not be read.
	maxSkipped = 64
)

// treeWalk is one reading of a part of the tree. It counts its requests and notes
// what it could not read: one bad resource does not cost the rest.
type treeWalk struct {
	s       *System
	op      string
	expand  bool // the BMC expands, as far as is known
	spent   int
	skipped []agent.Skipped
}

func (s *System) startWalk(ctx context.Context, op string) (*treeWalk, error) {
	root, err := s.e.serviceRoot(ctx)
	if err != nil {
		return nil, err
	}
	return &treeWalk{s: s, op: op, expand: root.Features.Expand.NoLinks}, nil
}

// room reports whether n more requests stay within the goal. Where the BMC does
// not expand there is none to keep.
func (w *treeWalk) room(n int) bool { return !w.expand || w.spent+n <= walkGoal }

func (w *treeWalk) skip(what, reason string) {
	if len(w.skipped) < maxSkipped {
		w.skipped = append(w.skipped, agent.Skipped{What: what, Reason: reason})
	}
}

// get reads uri into out. It returns false for what is not there or not fit to
// read, and an error where going on makes no sense.
func (w *treeWalk) get(ctx context.Context, what, uri string, out any) (bool, error) {
	if uri == "" {
		return false, nil
	}
	if w.spent >= walkMost {
		w.skip(what, fmt.Sprintf("the walk had taken %d requests", walkMost))
		return false, nil
	}
	w.spent++
	_, err := w.s.e.get(ctx, w.op, uri, out)
	if err == nil {
		return true, nil
	}
	if !passable(err) {
		return false, err
	}
	w.skip(what, reasonOf(err))
	return false, nil
}

// getExpanded reads uri with its subordinates in place, where the BMC does
// that. What expands badly is read plain, and expanding is not tried again.
func (w *treeWalk) getExpanded(ctx context.Context, what, uri string, out any) (bool, error) {
	if w.expand && uri != "" && !strings.Contains(uri, "?") && w.spent < walkMost {
		w.spent++
		_, err := w.s.e.get(ctx, w.op, uri+expandOne, out)
		if err == nil {
			return true, nil
		}
		if !passable(err) {
			return false, err
		}
		if notFound(err) {
			w.skip(what, reasonOf(err)) // it is missing with or without the query
			return false, nil
		}
		ok, err := w.get(ctx, what, uri, out)
		if ok {
			w.expand = false
		}
		return ok, err
	}
	return w.get(ctx, what, uri, out)
}

// notFound tells a resource that is not there from the other ways of not
// supporting something: an unknown query is answered with 501 or 400 (DSP0266
// §7.3), a method with 405.
func notFound(err error) bool {
	var e *bmc.Error
	return errors.As(err, &e) && (strings.HasPrefix(e.Detail, "HTTP 404") || strings.HasPrefix(e.Detail, "HTTP 410"))
}

func reasonOf(err error) string {
	var e *bmc.Error
	if errors.As(err, &e) && e.Detail != "" {
		return clip(e.Detail)
	}
	return clip(err.Error())
}

// collection reads the members of a collection, which at may name or, expanded,
// already hold.
func (w *treeWalk) collection(ctx context.Context, what string, at resourceRef) ([]json.RawMessage, error) {
	var p page
	switch {
	case at.full():
		if lenient(json.Unmarshal(at.raw, &p)) != nil {
			return nil, nil
		}
		if onlyLinks(refsOf(p.Members)) && at.id != "" { // expanded to its links alone
			return w.collection(ctx, what, resourceRef{id: at.id})
		}
	default:
		if ok, err := w.getExpanded(ctx, what, at.id, &p); !ok {
			return nil, err
		}
	}
	all, _, err := p.all(maxMembers, func(uri string, out *page) (bool, error) { return w.get(ctx, what, uri, out) })
	if err != nil {
		return nil, err
	}
	return w.each(ctx, what, refsOf(all))
}

// each reads what is only linked to.
func (w *treeWalk) each(ctx context.Context, what string, refs []resourceRef) ([]json.RawMessage, error) {
	var out []json.RawMessage
	seen := map[string]bool{}
	for _, r := range refs {
		if r.id != "" && seen[r.id] {
			continue // Dell lists a device once per function
		}
		seen[r.id] = true
		if len(out) == maxMembers {
			w.skip(what, fmt.Sprintf("there are more than %d", maxMembers))
			break
		}
		if r.full() {
			out = append(out, r.raw)
			continue
		}
		var raw json.RawMessage
		ok, err := w.get(ctx, what, r.id, &raw)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, raw)
		}
	}
	return out, nil
}

func onlyLinks(refs []resourceRef) bool {
	return len(refs) > 0 && !slices.ContainsFunc(refs, resourceRef.full)
}

// decodeAll decodes resources leniently; what is no object is left out.
func decodeAll[T any](raws []json.RawMessage) []T {
	var out []T
	for _, raw := range raws {
		var v T
		if trimmed := bytes.TrimSpace(raw); len(trimmed) > 0 && trimmed[0] == '{' && lenient(json.Unmarshal(trimmed, &v)) == nil {
			out = append(out, v)
		}
	}
	return out
}

// resourceRef is a link, or, where the BMC expanded it, the resource itself.
type resourceRef struct {
	id  string
	raw json.RawMessage // nil for a mere link
}

func (r resourceRef) full() bool { return r.raw != nil }

func (r *resourceRef) UnmarshalJSON(b []byte) error {
	*r = resourceRef{}
	var l link
	if err := l.UnmarshalJSON(b); err != nil {
		return err
	}
	r.id = string(l)
	var keys map[string]json.RawMessage
	if json.Unmarshal(b, &keys) != nil {
		return nil
	}
	for k := range keys {
		// A link may carry annotations (DSP0266 §9.7), nothing else.
		if !strings.HasPrefix(k, "@") {
			r.raw = bytes.Clone(b)
			return nil
		}
	}
	return nil
}

// amount is a JSON number, or a string that holds one.
type amount float64

func (n *amount) UnmarshalJSON(b []byte) error {
	var q quantity
	err := q.UnmarshalJSON(b)
	*n = amount(q.value)
	return err
}

// count is the number as a count: negative or absurd ones are none.
func (n amount) count() int {
	if n < 0 || n > 1<<30 {
		return 0
	}
	return int(n)
}

// bytes is the number as a size.
func (n amount) bytes() int64 {
	if n < 0 || n > 1<<62 {
		return 0
	}
	return int64(n)
}

// resourceStatus is DSP0268 Resource.Status.
type resourceStatus struct {
	State  text `json:"State"`
	Health text `json:"Health"`
}

// absent reports a slot with nothing in it.
func (s resourceStatus) absent() bool { return strings.EqualFold(string(s.State), "Absent") }

// tailOf is the end of a URI, which most BMCs give the resource as its Id.
func tailOf(uri string) string {
	uri = strings.TrimRight(uri, "/")
	return uri[strings.LastIndex(uri, "/")+1:]
}

// sameURI compares URIs as BMCs need it: HPE's links differ from its @odata.id in
// case, and a trailing slash means nothing (DSP0266 §6.3).
func sameURI(a, b string) bool {
	return strings.EqualFold(strings.TrimRight(a, "/"), strings.TrimRight(b, "/"))
}
