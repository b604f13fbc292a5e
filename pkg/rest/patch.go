package rest

import (
	"encoding/json"
	"slices"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
)

// change is one operation of a patch (RFC 6902).
type change struct {
	Op    string           `json:"op"`
	Path  string           `json:"path"`
	Value *json.RawMessage `json:"value,omitempty"`
}

// root is the field that a change is about.
func (ch change) root() string {
	name, _, _ := strings.Cut(strings.TrimPrefix(ch.Path, "/"), "/")
	return name
}

// readPatch reads a patch, of which Ironic takes add, replace and remove.
func (c *call) readPatch(k *kind) ([]change, error) {
	var changes []change
	if err := c.read(&changes); err != nil {
		return nil, err
	}
	if len(changes) > 1000 {
		return nil, badRequest("A patch has at most 1000 operations.")
	}
	for _, ch := range changes {
		if !slices.Contains([]string{"add", "replace", "remove"}, ch.Op) {
			return nil, badRequest("Invalid operation %q of %q: it has to be add, replace or remove.", ch.Op, ch.Path)
		}
		if !strings.HasPrefix(ch.Path, "/") || ch.root() == "" {
			return nil, badRequest("Invalid path %q: it begins with a slash and names a field.", ch.Path)
		}
		if ch.Op != "remove" && ch.Value == nil {
			return nil, badRequest("The operation %s of %s has no value.", ch.Op, ch.Path)
		}
		if strings.Contains(ch.Path, "~") && c.version < 98 {
			return nil, badRequest("Invalid path %q: ~0 and ~1 came with 1.98.", ch.Path)
		}
		f := k.field(ch.root())
		switch {
		case f == nil && ch.Op == "add" && strings.Count(ch.Path, "/") == 1:
			return nil, badRequest("Adding a new attribute (%s) to the root of the resource is not allowed.", ch.Path)
		case f == nil:
			return nil, badRequest("%s is not a field of a %s.", ch.Path, k.name)
		case f.since > c.version:
			return nil, notAcceptable("The field %s came with 1.%d.", f.name, f.since)
		case f.write != always && f.write != onPatch:
			return nil, badRequest("'%s' is an internal attribute and can not be updated", ch.Path)
		}
	}
	return changes, nil
}

// patched is what a patch makes of v, decoded into into, which is empty.
func (k *kind) patched(v any, changes []change, into any) error {
	d, err := k.docOf(v)
	if err != nil {
		return err
	}
	before := map[string]json.RawMessage{}
	for i, f := range k.fields {
		if f.write == always || f.write == onPatch {
			before[f.name] = d[i]
		}
	}
	text, err := json.Marshal(before)
	if err != nil {
		return err
	}
	ops, err := json.Marshal(changes)
	if err != nil {
		return err
	}
	p, err := jsonpatch.DecodePatch(ops)
	if err != nil {
		return badRequest("Couldn't apply patch: %v", err)
	}
	after, err := p.Apply(text)
	if err != nil {
		return badRequest("Couldn't apply patch '%s'. Reason: %v", ops, err)
	}
	var all map[string]any
	if err := json.Unmarshal(after, &all); err != nil {
		return badRequest("Couldn't apply patch: %v", err)
	}
	for name, value := range all {
		f := k.field(name)
		changed := slices.ContainsFunc(changes, func(ch change) bool { return ch.root() == name })
		if f != nil && f.check != nil && changed && value != nil {
			if err := f.check(value); err != nil {
				return badRequest("Invalid input for field/attribute %s. Value: '%v'. %v", name, value, err)
			}
		}
	}
	whole := map[string]any{} // a field that was removed is as if it had never been set
	for i, f := range k.fields {
		if value, patchable := all[f.name]; patchable {
			whole[f.name] = value
		} else if f.write == never || f.write == onCreate {
			whole[f.name] = d[i]
		}
	}
	if after, err = json.Marshal(whole); err != nil {
		return err
	}
	if err := json.Unmarshal(after, into); err != nil {
		return badRequest("Couldn't apply patch: %v", err)
	}
	return nil
}
