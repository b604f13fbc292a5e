package rest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// maxLimit is the length of a list when no other is asked for, and its greatest
// (Ironic's [api]max_limit).
const maxLimit = 1000

// item is one resource of a list.
type item struct {
	id   string // that markers name
	doc  doc
	more []byte // links and such, as JSON members
}

// list answers a page of items, which come in the order of their creation: from
// after ?marker=, sorted by ?sort_key= and ?sort_dir=, at most ?limit=.
func (c *call) list(k *kind, v view, items []item, link func(item) []byte) (*reply, error) {
	q := c.URL.Query()
	limit := maxLimit
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n <= 0 {
			return nil, badRequest("Limit must be positive: %q", text)
		}
		limit = min(n, maxLimit)
	}
	down := false
	switch text := q.Get("sort_dir"); text {
	case "", "asc":
	case "desc":
		down = true
	default:
		return nil, badRequest("Invalid sort direction: %s. Acceptable values are 'asc' or 'desc'", text)
	}
	if key := q.Get("sort_key"); key != "" && key != "id" {
		i := slices.IndexFunc(k.fields, func(f field) bool { return f.name == key })
		if i < 0 || k.fields[i].object {
			return nil, badRequest("The sort_key value %q is an invalid field for sorting", key)
		}
		if k.fields[i].since > c.version {
			return nil, notAcceptable("The field %s came with 1.%d.", key, k.fields[i].since)
		}
		items = slices.Clone(items)
		slices.SortStableFunc(items, func(a, b item) int { return compare(a.doc[i], b.doc[i]) })
	}
	if down {
		items = slices.Clone(items)
		slices.Reverse(items)
	}
	if marker := q.Get("marker"); marker != "" {
		i := slices.IndexFunc(items, func(it item) bool { return strings.EqualFold(it.id, marker) })
		if i < 0 {
			return nil, badRequest("Marker %s could not be found.", marker)
		}
		items = items[i+1:]
	}
	full := len(items) >= limit
	items = items[:min(limit, len(items))]
	out := append([]byte(`{"`), k.plural...)
	out = append(out, `": [`...)
	for i, it := range items {
		if i > 0 {
			out = append(out, ',', ' ')
		}
		out = v.append(out, it.doc, link(it)...)
	}
	out = append(out, ']')
	if full && len(items) > 0 {
		next := *c.URL
		q.Set("limit", strconv.Itoa(limit))
		q.Set("marker", items[len(items)-1].id)
		next.RawQuery = q.Encode()
		out = append(out, `, "next": `...)
		out = append(out, quote(base(c.Request)+"/v1"+next.String())...)
	}
	return &reply{status: http.StatusOK, raw: append(out, '}')}, nil
}

// compare orders two JSON values as a database would: null first, then by number or
// text.
func compare(a, b json.RawMessage) int {
	null := []byte("null")
	switch x, y := a == nil || bytes.Equal(a, null), b == nil || bytes.Equal(b, null); {
	case x && y:
		return 0
	case x:
		return -1
	case y:
		return 1
	}
	m, errA := strconv.ParseFloat(string(a), 64)
	n, errB := strconv.ParseFloat(string(b), 64)
	if errA == nil && errB == nil {
		return cmp.Compare(m, n)
	}
	return bytes.Compare(a, b)
}
