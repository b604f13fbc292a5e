package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ingot-metal/ingot/pkg/node"
)

// object is one with its body taken apart.
type object struct {
	id     string
	node   string // UUID
	name   string
	fields map[string]any // the rest; numbers are json.Number
}

func (o *object) text(field string) string {
	s, _ := o.fields[field].(string)
	return s
}

func (o *object) flag(field string) bool {
	b, _ := o.fields[field].(bool)
	return b
}

func (o *object) object(field string) map[string]any {
	m, _ := o.fields[field].(map[string]any)
	return m
}

// toStore is the object as the store takes it.
func (o *object) toStore(r *resource) (node.Object, error) {
	body := maps.Clone(o.fields)
	for _, name := range append([]string{"uuid", "node_uuid", "created_at", "updated_at", "links"}, r.takes...) {
		delete(body, name)
	}
	text, err := json.Marshal(body)
	return node.Object{Kind: r.of, UUID: o.id, Name: o.name, Node: o.node, Body: text}, err
}

// open takes a stored object apart.
func (r *resource) open(c *call, o *node.Object) (*object, error) {
	d, err := c.s.kept.doc(r, o)
	if err != nil {
		return nil, err
	}
	raw := map[string]json.RawMessage{}
	for i, f := range r.fields {
		if d[i] != nil {
			raw[f.name] = d[i]
		}
	}
	return &object{id: o.UUID, node: o.Node, name: o.Name, fields: decodeFields(raw)}, nil
}

// accepts checks a body that is to make an object.
func (r *resource) accepts(c *call, body map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(body)) {
		f := r.field(name)
		switch {
		case slices.Contains(r.takes, name):
			continue
		case f == nil || f.write == never || f.write == onPatch:
			return badRequest("Schema error for %s: Additional properties are not allowed ('%s' was unexpected)", r.arg, name)
		case f.since > c.version:
			return notAcceptable("The field %s came with 1.%d.", name, f.since)
		case f.check == nil || body[name] == nil:
			continue
		}
		if err := f.check(body[name]); err != nil {
			var said *fault
			if errors.As(err, &said) {
				return said
			}
			return badRequest("Schema error for %s: %s: %v", r.arg, name, err)
		}
	}
	if err := r.requires(body, r.arg); err != nil {
		return err
	}
	for name, text := range r.unset {
		if body[name] == nil {
			body[name] = decodeField(json.RawMessage(text))
		}
	}
	return nil
}

func (r *resource) requires(body map[string]any, arg string) error {
	for _, name := range r.required {
		if _, ok := body[name]; !ok {
			return badRequest("Schema error for %s: '%s' is a required property", arg, name)
		}
		if body[name] == nil {
			return badRequest("Schema error for %s: None is not of type '%s'", arg, r.typeOf(name))
		}
	}
	return nil
}

func (r *resource) typeOf(name string) string {
	if r.field(name).object {
		return "array"
	}
	return "string"
}

// complete finds the node and settles the name, which are the store's to know.
func (r *resource) complete(c *call, was, is *object) error {
	if r.field("node_uuid") != nil && r.field("node_uuid").write != never {
		text := is.text("node_uuid")
		id, ok := canonical(text)
		if !ok {
			return badRequest("Expected UUID for node_uuid: %s", text)
		}
		action := r.policy + ":create"
		if was != nil {
			action = r.policy + ":update"
		}
		n, err := c.nodeFor(action, id)
		if err != nil {
			return err
		}
		is.node = n.UUID
		is.fields["node_uuid"] = n.UUID
	} else if was != nil {
		is.node = was.node
	}
	if r.field("name") == nil {
		return nil
	}
	is.name = is.text("name")
	if is.name == "" || was != nil && is.name == was.name {
		return nil
	}
	if r.names != nil {
		if err := r.names(c, is.name); err != nil {
			return err
		}
	} else if !isLogicalName(is.name) {
		if was != nil {
			return badRequest("%s %s: Cannot change name to invalid name '%s'", r.noun, was.id, is.name)
		}
		return badRequest("Cannot create %s with invalid name '%s'", r.arg, is.name)
	}
	if other, taken := c.s.Nodes.Object(r.of, is.name); taken && other.Name == is.name && other.UUID != is.id {
		return conflict("%s with name %s already exists.", r.one(), is.name)
	}
	return nil
}

// knows refuses parameters other than those named.
func (c *call) knows(names ...string) error {
	if c.URL.RawQuery == "" {
		return nil
	}
	var more []string
	for name := range c.URL.Query() {
		if !slices.Contains(names, name) {
			more = append(more, name)
		}
	}
	if len(more) == 0 {
		return nil
	}
	slices.Sort(more)
	return badRequest("Unexpected arguments: %s", strings.Join(more, ", "))
}

// render is an object field by field.
func (r *resource) render(o *node.Object) (doc, error) {
	var body map[string]json.RawMessage
	if len(o.Body) > 0 {
		if err := json.Unmarshal(o.Body, &body); err != nil {
			return nil, err
		}
	}
	d := make(doc, len(r.fields))
	for i, f := range r.fields {
		d[i] = body[f.name]
		switch {
		case f.name == "uuid":
			d[i] = quote(o.UUID)
		case f.name == "node_uuid" && o.Node != "":
			d[i] = quote(o.Node)
		case f.name == "name" && o.Name != "":
			d[i] = quote(o.Name)
		case f.name == "created_at":
			d[i] = quote(o.Created.UTC().Format(time.RFC3339))
		case f.name == "updated_at" && !o.Updated.IsZero():
			d[i] = quote(o.Updated.UTC().Format(time.RFC3339))
		case isNull(d[i]) && r.unset[f.name] != "":
			d[i] = json.RawMessage(r.unset[f.name])
		}
	}
	return d, nil
}

func isNull(text json.RawMessage) bool { return text == nil || bytes.Equal(text, []byte("null")) }

// at is d's value of a field.
func (r *resource) at(d doc, name string) json.RawMessage {
	i := slices.IndexFunc(r.fields, func(f field) bool { return f.name == name })
	if i < 0 {
		return nil
	}
	return d[i]
}

// put sets d's value of a field.
func (r *resource) put(d doc, name string, value json.RawMessage) {
	if i := slices.IndexFunc(r.fields, func(f field) bool { return f.name == name }); i >= 0 {
		d[i] = value
	}
}

// decodeFields decodes values without loss: numbers stay as they were written.
func decodeFields(raw map[string]json.RawMessage) map[string]any {
	all := make(map[string]any, len(raw))
	for name, text := range raw {
		all[name] = decodeField(text)
	}
	return all
}

func decodeField(text json.RawMessage) any {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil // cannot be: it was decoded before
	}
	return v
}
