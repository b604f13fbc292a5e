package rest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/openapi"
)

// field is one row of what a resource has.
type field struct {
	name    string
	since   ironic.Version // below it the field is neither shown nor taken; 0: always there
	write   writes
	summary bool            // shown in lists without detail
	object  bool            // a JSON object or list: nothing can be sorted by it
	check   func(any) error // of a value that a client sends; nil: any of its Go type
	fix     func(any) any   // of a value that passed: how it is kept; nil: as it came
}

// writes says when a client may send a field.
type writes int

const (
	never    writes = iota
	onCreate        // in POST alone
	onPatch         // in PATCH alone
	always
)

// kind is a resource: its names and its fields, in the order in which they are shown.
type kind struct {
	name   string // node
	plural string // nodes: its path and the key of its lists
	fields []field
	detail ironic.Version // that brought ?detail= to its lists; 0: 1.43
	// filters are the parameters of its lists, beside those of all lists; of nodes,
	// nodeFilters are.
	filters []openapi.Filter
}

func (k *kind) field(name string) *field {
	i := slices.IndexFunc(k.fields, func(f field) bool { return f.name == name })
	if i < 0 {
		return nil
	}
	return &k.fields[i]
}

// doc is a resource as JSON, field by field in its kind's order; nil: not there.
type doc []json.RawMessage

// docOf takes apart what v, the Go form of a resource, looks like in JSON.
func (k *kind) docOf(v any) (doc, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	d := make(doc, len(k.fields))
	for i, f := range k.fields {
		d[i] = all[f.name]
	}
	return d, nil
}

// view is which fields a client gets to see.
type view struct {
	k      *kind
	shows  []bool // by the kind's order
	chosen bool   // a selection: links to what belongs to the resource are left out
}

// view finds out what is to be shown: ?fields= (1.8) or ?detail= (1.43), else all, or
// of a list that is asked for without detail the summary.
func (c *call) view(k *kind, detail bool) (view, error) {
	v := view{k: k, shows: make([]bool, len(k.fields))}
	if c.URL.RawQuery == "" {
		return v.all(c.version, detail), nil
	}
	q := c.URL.Query()
	wanted, given, err := flag(q, "detail")
	if err != nil {
		return v, err
	}
	if given && c.version < cmp.Or(k.detail, 43) {
		return v, badRequest("Invalid query parameter ?detail=%s received.", q.Get("detail"))
	}
	if !q.Has("fields") {
		return v.all(c.version, detail || wanted), nil
	}
	if c.version < 8 {
		return v, notAcceptable("")
	}
	if wanted {
		return v, badRequest("Can not specify ?detail=True and fields in the same request.")
	}
	var unknown []string
	for name := range strings.SplitSeq(strings.Join(q["fields"], ","), ",") {
		name = strings.ToLower(strings.TrimSpace(name))
		i := slices.IndexFunc(k.fields, func(f field) bool { return f.name == name })
		switch {
		case name == "" || name == "links":
		case i < 0:
			unknown = append(unknown, name)
		case k.fields[i].since > c.version:
			return v, notAcceptable("")
		default:
			v.shows[i] = true
		}
	}
	if len(unknown) > 0 {
		return v, badRequest("Field(s) \"%s\" are not valid", strings.Join(unknown, ", "))
	}
	v.chosen = true
	return v, nil
}

// all is every field of a version, or the summary of it.
func (v view) all(at ironic.Version, detail bool) view {
	for i, f := range v.k.fields {
		v.shows[i] = f.since <= at && (detail || f.summary)
	}
	v.chosen = !detail
	return v
}

// append writes d as an object: the fields that are shown, and more (links …), which
// is JSON members without braces.
func (v view) append(out []byte, d doc, more ...byte) []byte {
	out = append(out, '{')
	first := true
	for i, f := range v.k.fields {
		if !v.shows[i] {
			continue
		}
		if !first {
			out = append(out, ',', ' ')
		}
		first = false
		out = append(append(append(out, '"'), f.name...), '"', ':', ' ')
		if d[i] == nil {
			out = append(out, "null"...)
		} else {
			out = append(out, d[i]...)
		}
	}
	if len(more) > 0 {
		if !first {
			out = append(out, ',', ' ')
		}
		out = append(out, more...)
	}
	return append(out, '}')
}

// linkMembers are the links of a resource as JSON members.
func (c *call) linkMembers(name, path string) []byte {
	return appendLinks(nil, name, base(c.Request), path)
}

// appendLinks is linkMembers for those who write many; the path may come in parts.
func appendLinks(out []byte, name, at string, path ...string) []byte {
	out = append(append(out, '"'), name...)
	out = append(out, `": [{"href": "`...)
	out = appendText(append(appendText(out, at), "/v1/"...), path...)
	out = append(out, `", "rel": "self"}, {"href": "`...)
	out = appendText(append(appendText(out, at), '/'), path...)
	return append(out, `", "rel": "bookmark"}]`...)
}

// appendText appends what is inside of a JSON string.
func appendText(out []byte, parts ...string) []byte {
	for _, s := range parts {
		if plain(s) {
			out = append(out, s...)
			continue
		}
		text := quote(s)
		out = append(out, text[1:len(text)-1]...)
	}
	return out
}

// plain reports whether encoding/json would leave a text as it is.
func plain(s string) bool {
	for i := range len(s) {
		switch b := s[i]; {
		case b < ' ', b >= utf8.RuneSelf, b == '"', b == '\\', b == '<', b == '>', b == '&':
			return false
		}
	}
	return true
}

func quote(s string) []byte {
	text, _ := json.Marshal(s) // a string can always be
	return text
}

// sent checks the members of a body that a client sent: that they are known, that
// the version has them, and that they may be written now. A null of a field that
// the version does not have is let go, as Ironic does.
func (c *call) sent(k *kind, body map[string]any, now writes) error {
	var others []string
	for name := range body {
		if f := k.field(name); f == nil || f.write != always && f.write != now {
			others = append(others, name)
		}
	}
	if len(others) > 0 {
		return badRequest("Schema error for %s: %s", k.name, additional(others))
	}
	for _, name := range slices.Sorted(maps.Keys(body)) {
		f, value := k.field(name), body[name]
		switch {
		case f.since > c.version && (value == nil || value == "" && name == "conductor_group"):
			delete(body, name)
			continue
		case f.since > c.version:
			return notAcceptable("")
		}
		fixed, err := f.taken(value)
		if err != nil {
			return err
		}
		body[name] = fixed
	}
	return nil
}

// additional is what a JSON schema says of members that it does not know.
func additional(names []string) string {
	slices.Sort(names)
	verb := "was"
	if len(names) > 1 {
		verb = "were"
	}
	text := strings.Join(names, "', '")
	return "Additional properties are not allowed ('" + string(clip([]byte(text))) + "' " + verb + " unexpected)"
}

// taken is a client's value as it is kept.
func (f *field) taken(value any) (any, error) {
	if f.check != nil {
		if err := f.check(value); err != nil {
			text, _ := json.Marshal(value)
			var r refusal
			if errors.As(err, &r) {
				return nil, badRequest(string(r), f.name, clip(bytes.Trim(text, `"`)))
			}
			return nil, badRequest("Invalid input for field/attribute %s. Value: '%s'. %v", f.name, clip(text), err)
		}
	}
	if f.fix != nil && value != nil {
		value = f.fix(value)
	}
	return value, nil
}

// docCache keeps each node's JSON for as long as its version is the same.
type docCache struct {
	mu   sync.RWMutex
	docs map[string]cached
}

type cached struct {
	version string
	doc     doc
}

// get returns the document of id in a version, made by render unless it is known.
func (c *docCache) get(id, version string, render func() (doc, error)) (doc, error) {
	c.mu.RLock()
	e, ok := c.docs[id]
	c.mu.RUnlock()
	if ok && e.version == version {
		return e.doc, nil
	}
	d, err := render()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	if c.docs == nil {
		c.docs = map[string]cached{}
	}
	c.docs[id] = cached{version, d}
	c.mu.Unlock()
	return d, nil
}

// keep lets go of what is not among n resources any more, once that is most of it.
func (c *docCache) keep(n int) {
	c.mu.Lock()
	if len(c.docs) > 2*n+100 {
		c.docs = nil
	}
	c.mu.Unlock()
}

// flag reads a parameter that is true or false.
func flag(q url.Values, name string) (value, given bool, err error) {
	text := q.Get(name)
	if text == "" {
		return false, false, nil
	}
	if value, ok := truth(text); ok {
		return value, true, nil
	}
	return false, true, notBool(name, text)
}
