package rest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/ingot-metal/ingot/pkg/node"
)

// maxLimit is the length of a list when no other is asked for, and its greatest
// (Ironic's [api]max_limit).
const maxLimit = 1000

// pageQuery are the parameters of every list, beside its filters.
var pageQuery = []string{"limit", "marker", "sort_key", "sort_dir"}

// item is one resource of a list.
type item struct {
	id  string    // that markers name
	at  time.Time // of its creation; zero: a deleted one's place is not remembered
	doc doc
	of  *node.Node // a node whose document is made when it is shown; nil: there is a doc
}

// order is how a list is sorted: by a field, then by creation. Two items are never
// equal, so that a page begins where the last one ended, whatever was made or deleted
// in between.
type order struct {
	field int // of the kind; -1: none
	down  bool
}

func (o order) compare(a, b item) int {
	n := 0
	if o.field >= 0 {
		n = compare(a.doc[o.field], b.doc[o.field])
	}
	n = cmp.Or(n, a.at.Compare(b.at), strings.Compare(a.id, b.id))
	if o.down {
		return -n
	}
	return n
}

// ordering reads ?sort_key= and ?sort_dir=.
func (c *call) ordering(k *kind, dir, key string) (order, error) {
	o := order{field: -1, down: dir == "desc"}
	if dir != "" && dir != "asc" && dir != "desc" {
		return o, badRequest("Invalid sort direction: %s. Acceptable values are 'asc' or 'desc'", clip([]byte(dir)))
	}
	if key == "" || key == "id" {
		return o, nil
	}
	o.field = slices.IndexFunc(k.fields, func(f field) bool { return f.name == key })
	if o.field < 0 {
		return o, badRequest("The sort_key value \"%s\" is an invalid field for sorting", clip([]byte(key)))
	}
	if k.fields[o.field].object {
		return o, badRequest("The sort_key value %s is an invalid field for sorting", key)
	}
	if k.fields[o.field].since > c.version {
		return o, notAcceptable("")
	}
	return o, nil
}

// pageLimit reads ?limit=.
func pageLimit(text string) (int, error) {
	if text == "" {
		return maxLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, badRequest("Expected an integer for limit: %s", clip([]byte(text)))
	}
	if n <= 0 {
		return 0, badRequest("Limit must be positive")
	}
	return min(n, maxLimit), nil
}

// list answers a page of items, which come in the order of their creation: from
// after ?marker=, sorted by ?sort_key= and ?sort_dir=, at most ?limit=.
func (c *call) list(k *kind, v view, items []item, link func(item) []byte) (*reply, error) {
	show := func(out []byte, it item) ([]byte, error) { return v.append(out, it.doc, link(it)...), nil }
	return c.page(k, items, show, nil)
}

// page is list, where show appends an item to the answer, and find looks for a marker
// that no filter let through.
func (c *call) page(k *kind, items []item, show func([]byte, item) ([]byte, error), find func(id string) (item, bool)) (*reply, error) {
	q := c.URL.Query()
	limit, err := pageLimit(q.Get("limit"))
	if err != nil {
		return nil, err
	}
	o, err := c.ordering(k, q.Get("sort_dir"), q.Get("sort_key"))
	if err != nil {
		return nil, err
	}
	switch {
	case o.field >= 0:
		items = slices.Clone(items)
		slices.SortStableFunc(items, o.compare)
	case o.down:
		items = slices.Clone(items)
		slices.Reverse(items)
	}
	if marker := q.Get("marker"); marker != "" {
		if items, err = c.after(k, o, items, marker, find); err != nil {
			return nil, err
		}
	}
	full := len(items) >= limit && len(items) > 0
	items = items[:min(limit, len(items))]
	out := append(append([]byte(`{"`), k.plural...), `": [`...)
	for i, it := range items {
		if i > 0 {
			out = append(out, ',', ' ')
		}
		was := len(out)
		if out, err = show(out, it); err != nil {
			return nil, err
		}
		if i == 0 { // the others will be about as long
			out = slices.Grow(out, (len(out)-was+16)*len(items)+1024)
		}
	}
	out = append(out, ']')
	if full {
		last := items[len(items)-1]
		c.s.marks.put(k.name, last)
		q.Set("limit", strconv.Itoa(limit))
		q.Set("marker", last.id)
		out = append(out, `, "next": `...)
		out = append(out, quote(base(c.Request)+"/v1"+c.URL.EscapedPath()+"?"+q.Encode())...)
	}
	return &reply{status: http.StatusOK, raw: append(out, '}')}, nil
}

// after is what follows a marker: an item, one that a filter hides by now, or one that
// was deleted since a page ended with it.
func (c *call) after(k *kind, o order, items []item, marker string, find func(string) (item, bool)) ([]item, error) {
	if i := slices.IndexFunc(items, func(it item) bool { return strings.EqualFold(it.id, marker) }); i >= 0 {
		return items[i+1:], nil
	}
	place, ok := item{}, false
	if find != nil {
		place, ok = find(marker)
	}
	if !ok {
		place, ok = c.s.marks.get(k.name, marker)
	}
	if !ok {
		return nil, notFound("%s %s could not be found.", title(k.name), clip([]byte(marker)))
	}
	i, _ := slices.BinarySearchFunc(items, place, o.compare)
	return items[i:], nil
}

func title(name string) string {
	r := []rune(name)
	return string(append([]rune{unicode.ToUpper(r[0])}, r[1:]...))
}

// marks remembers where recent pages ended, for the case that what they ended with is
// deleted before the next page is asked for.
type marks struct {
	mu    sync.Mutex
	known map[string]item
	ring  []string // keys in the order of their coming
}

const maxMarks = 1024

func (m *marks) put(kind string, it item) {
	if it.at.IsZero() {
		return
	}
	key := kind + "/" + strings.ToLower(it.id)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known = map[string]item{}
	}
	if _, ok := m.known[key]; !ok {
		if len(m.ring) == maxMarks {
			delete(m.known, m.ring[0])
			m.ring = m.ring[1:]
		}
		m.ring = append(m.ring, key)
	}
	m.known[key] = item{id: it.id, at: it.at, doc: it.doc}
}

func (m *marks) get(kind, id string) (item, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	it, ok := m.known[kind+"/"+strings.ToLower(id)]
	return it, ok
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
	if a[0] == '"' && b[0] == '"' {
		return bytes.Compare(a, b)
	}
	m, errA := strconv.ParseFloat(string(a), 64)
	n, errB := strconv.ParseFloat(string(b), 64)
	if errA == nil && errB == nil {
		return cmp.Compare(m, n)
	}
	return bytes.Compare(a, b)
}
