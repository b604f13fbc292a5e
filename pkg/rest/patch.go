package rest

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// change is one operation of a patch (RFC 6902).
type change struct {
	Op    string           `json:"op"`
	Path  string           `json:"path"`
	Value *json.RawMessage `json:"value,omitempty"` // null is a value, too
}

// root is the field that a change is about.
func (ch change) root() string {
	name, _, _ := strings.Cut(strings.TrimPrefix(ch.Path, "/"), "/")
	return name
}

// maxChanges bounds a patch; Ironic's clients send a handful.
const maxChanges = 1000

// Paths as Ironic takes them (ironic/common/args.py); ~0 and ~1 came with 1.98.
var (
	patchPath      = regexp.MustCompile(`^(/[\pL\pN_-]+)+$`)
	patchPathTilde = regexp.MustCompile(`^(/([\pL\pN_-]|~[01])+)+$`)
)

// readPatch reads a patch, of which Ironic takes add, replace and remove.
func (c *call) readPatch(k *kind) ([]change, error) {
	text, err := c.body()
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(strings.TrimSpace(string(text)), "[") && json.Valid(text) {
		return nil, badRequest("Schema error for patch: %s is not of type 'array'", clip(text))
	}
	var raw []map[string]json.RawMessage
	if err := decode(text, &raw); err != nil {
		return nil, err
	}
	if len(raw) > maxChanges {
		return nil, badRequest("A patch has at most %d operations.", maxChanges)
	}
	changes := make([]change, 0, len(raw))
	for _, members := range raw {
		ch, err := c.readChange(k, members)
		if err != nil {
			return nil, err
		}
		changes = append(changes, ch)
	}
	return changes, nil
}

func (c *call) readChange(k *kind, members map[string]json.RawMessage) (change, error) {
	var ch change
	for _, name := range slices.Sorted(maps.Keys(members)) {
		value := members[name]
		into := map[string]*string{"op": &ch.Op, "path": &ch.Path}[name]
		switch {
		case name == "value":
			ch.Value = &value
		case into == nil:
			return ch, badRequest("Schema error for patch: Additional properties are not allowed ('%s' was unexpected)", clip([]byte(name)))
		case json.Unmarshal(value, into) != nil || string(value) == "null":
			return ch, badRequest("Schema error for patch: %s is not of type 'string'", clip(value))
		}
	}
	for _, name := range []string{"op", "path"} {
		if members[name] == nil {
			return ch, badRequest("Schema error for patch: '%s' is a required property", name)
		}
	}
	if !slices.Contains([]string{"add", "replace", "remove"}, ch.Op) {
		return ch, badRequest("Schema error for patch: '%s' is not one of ['add', 'replace', 'remove']", clip([]byte(ch.Op)))
	}
	form := patchPath
	if c.version >= 98 {
		form = patchPathTilde
	}
	if !form.MatchString(ch.Path) {
		return ch, badRequest("Schema error for patch: '%s' does not match '%s'", clip([]byte(ch.Path)), `^(/[\\w-]+)+$`)
	}
	f := k.field(ch.root())
	switch {
	case f == nil || f.write != always && f.write != onPatch:
		return ch, badRequest("Cannot patch %s. Only the following can be updated: %s", clip([]byte(ch.Path)), strings.Join(c.patchable(k), ", "))
	case f.since > c.version:
		return ch, notAcceptable("")
	case ch.Op != "remove" && ch.Value == nil:
		text, _ := json.Marshal(ch)
		return ch, badRequest("Couldn't apply patch '%s'. Reason: The operation does not contain a 'value' member", clip(text))
	}
	return ch, nil
}

// patchable are the fields that a patch of the version may be about.
func (c *call) patchable(k *kind) []string {
	var names []string
	for _, f := range k.fields {
		if f.since <= c.version && (f.write == always || f.write == onPatch) {
			names = append(names, f.name)
		}
	}
	return names
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
	all, err := apply(before, changes)
	if err != nil {
		return err
	}
	whole := map[string]any{} // a field that was removed is as if it had never been set
	for i, f := range k.fields {
		value, patchable := all[f.name]
		switch {
		case patchable && slices.ContainsFunc(changes, func(ch change) bool { return ch.root() == f.name }):
			if value, err = f.taken(value); err != nil {
				return err
			}
			whole[f.name] = value
		case f.write == always || f.write == onPatch:
			if patchable {
				whole[f.name] = d[i]
			}
		default:
			whole[f.name] = d[i]
		}
	}
	after, err := json.Marshal(whole)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(after, into); err != nil {
		return badRequest("Couldn't apply patch: %v", err)
	}
	return nil
}

// apply makes changes to the members of an object.
func apply(before map[string]json.RawMessage, changes []change) (map[string]any, error) {
	text, err := json.Marshal(before)
	if err != nil {
		return nil, err
	}
	var all map[string]any
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	for _, ch := range changes {
		if err := ch.apply(all); err != nil {
			text, _ := json.Marshal(ch)
			return nil, badRequest("Couldn't apply patch '%s'. Reason: %v", clip(text), err)
		}
	}
	if text, err = json.Marshal(all); err != nil {
		return nil, err
	}
	if !shallow(text) {
		return nil, badRequest("Couldn't apply patch: its result is nested deeper than %d levels.", maxDepth)
	}
	return all, nil
}

var unescape = strings.NewReplacer("~1", "/", "~0", "~")

// apply makes one change (RFC 6902 §4.1 to §4.3).
func (ch change) apply(doc map[string]any) error {
	var value any
	if ch.Value != nil {
		if err := json.Unmarshal(*ch.Value, &value); err != nil {
			return err
		}
	}
	keys := strings.Split(ch.Path, "/")[1:]
	for i := range keys {
		keys[i] = unescape.Replace(keys[i])
	}
	_, err := ch.at(doc, keys, value)
	return err
}

// at makes the change at keys below node, and returns what node is then: a list that
// grew is another one.
func (ch change) at(node any, keys []string, value any) (any, error) {
	key, last := keys[0], len(keys) == 1
	switch node := node.(type) {
	case map[string]any:
		inner, there := node[key]
		switch {
		case !last && !there:
			return nil, fmt.Errorf("member '%s' not found", key)
		case !last:
			to, err := ch.at(inner, keys[1:], value)
			if err != nil {
				return nil, err
			}
			node[key] = to
		case ch.Op == "add" || ch.Op == "replace" && there:
			node[key] = value
		case !there:
			return nil, fmt.Errorf("can't %s a non-existent object '%s'", ch.Op, key)
		default:
			delete(node, key)
		}
		return node, nil
	case []any:
		i, err := strconv.Atoi(key)
		if key == "-" && last && ch.Op == "add" {
			i, err = len(node), nil
		}
		switch {
		case err != nil || i < 0 || i > len(node) || i == len(node) && (!last || ch.Op != "add"):
			return nil, fmt.Errorf("can't %s outside of list: '%s'", ch.Op, key)
		case !last:
			node[i], err = ch.at(node[i], keys[1:], value)
			return node, err
		case ch.Op == "add":
			return slices.Insert(node, i, value), nil
		case ch.Op == "replace":
			node[i] = value
			return node, nil
		}
		return slices.Delete(node, i, i+1), nil
	}
	return nil, fmt.Errorf("'%s' is looked for in what is neither an object nor a list", key)
}
