package rest

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/ingot-metal/ingot/api/ironic"
)

// field is one row of what a resource has.
type field struct {
	name    string
	since   ironic.Version // below it the field is neither shown nor taken; 0: always there
	write   writes
	summary bool            // shown in lists without detail
	object  bool            // a JSON object or list: nothing can be sorted by it
	check   func(any) error // of a value that a client sends; nil: any of its Go type
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
	k     *kind
	shows []bool // by the kind's order
}

// view finds out what is to be shown: ?fields= (1.8), else all, or of a list that is
// asked for without detail the summary.
func (c *call) view(k *kind, detail bool) (view, error) {
	v := view{k: k, shows: make([]bool, len(k.fields))}
	if names := c.URL.Query()["fields"]; len(names) > 0 {
		if c.version < 8 {
			return v, notAcceptable("The parameter fields came with 1.8.")
		}
		for _, name := range strings.Split(strings.Join(names, ","), ",") {
			i := slices.IndexFunc(k.fields, func(f field) bool { return f.name == name })
			switch {
			case name == "links":
			case i < 0:
				return v, badRequest("Field(s) %q are not valid: a %s has no such field.", name, k.name)
			case k.fields[i].since > c.version:
				return v, notAcceptable("The field %s came with 1.%d.", name, k.fields[i].since)
			default:
				v.shows[i] = true
			}
		}
		return v, nil
	}
	for i, f := range k.fields {
		v.shows[i] = f.since <= c.version && (detail || f.summary)
	}
	return v, nil
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
	at := base(c.Request)
	var b bytes.Buffer
	b.WriteString(`"` + name + `": [{"href": `)
	b.Write(quote(at + "/v1/" + path))
	b.WriteString(`, "rel": "self"}, {"href": `)
	b.Write(quote(at + "/" + path))
	b.WriteString(`, "rel": "bookmark"}]`)
	return b.Bytes()
}

func quote(s string) []byte {
	text, _ := json.Marshal(s) // a string can always be
	return text
}

// sent checks the members of a body that a client sent: that they are known, that
// the version has them, and that they may be written now.
func (c *call) sent(k *kind, body map[string]any, now writes) error {
	for name, value := range body {
		f := k.field(name)
		switch {
		case f == nil || f.write == never || f.write != always && f.write != now:
			return badRequest("Unknown attribute for argument %s: %s", k.name, name)
		case f.since > c.version:
			return notAcceptable("The field %s came with 1.%d.", name, f.since)
		}
		if f.check != nil {
			if err := f.check(value); err != nil {
				return badRequest("Invalid input for field/attribute %s. Value: '%v'. %v", name, value, err)
			}
		}
	}
	return nil
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

// forget lets go of a node that is gone.
func (c *docCache) forget(id string) {
	c.mu.Lock()
	delete(c.docs, id)
	c.mu.Unlock()
}

// flag reads a parameter that is true or false.
func flag(q url.Values, name string) (value, given bool, err error) {
	text := q.Get(name)
	switch strings.ToLower(text) {
	case "":
		return false, false, nil
	case "true", "1", "yes", "on", "t", "y":
		return true, true, nil
	case "false", "0", "no", "off", "f", "n":
		return false, true, nil
	}
	return false, true, badRequest("Invalid input for field/attribute %s. Value: '%s'. It has to be true or false.", name, text)
}
