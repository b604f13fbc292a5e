package node

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// edit is the change of one value of an object: a field of its spec, or one
// annotation.
type edit struct {
	Path []string `json:"path"`
	From any      `json:"from,omitempty"` // null: it is not there
	To   any      `json:"to,omitempty"`
}

// editsOf are the edits that make of one version of an object another.
func editsOf(was, is client.Object) ([]edit, error) {
	a, err := leaves(was)
	if err != nil {
		return nil, err
	}
	b, err := leaves(is)
	if err != nil {
		return nil, err
	}
	for path := range a {
		if _, ok := b[path]; !ok {
			b[path] = nil
		}
	}
	var out []edit
	for _, path := range slices.Sorted(maps.Keys(b)) {
		if !reflect.DeepEqual(a[path], b[path]) {
			out = append(out, edit{Path: strings.Split(path, "\x00"), From: a[path], To: b[path]})
		}
	}
	return out, nil
}

// leaves are the values that edits are about, by their paths.
func leaves(o client.Object) (map[string]any, error) {
	doc, err := document(o)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	meta, _ := doc["metadata"].(map[string]any)
	annotations, _ := meta["annotations"].(map[string]any)
	for k, v := range annotations {
		out["metadata\x00annotations\x00"+k] = v
	}
	spec, _ := doc["spec"].(map[string]any)
	for k, v := range spec {
		// What is one thing is one value: an image and its checksum never part.
		if inner, ok := v.(map[string]any); ok && (k == "bmc" || k == "settings") {
			for kk, vv := range inner {
				out["spec\x00"+k+"\x00"+kk] = vv
			}
			continue
		}
		out["spec\x00"+k] = v
	}
	return out, nil
}

func document(o client.Object) (map[string]any, error) {
	raw, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	var doc map[string]any
	return doc, json.Unmarshal(raw, &doc)
}

func at(doc map[string]any, path []string) any {
	var v any = doc
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[p]
	}
	return v
}

// patch is what edits make of an object, as a merge patch under the object's
// version; nil: nothing. A value that somebody else has changed since is an error, or,
// where a change that was interrupted is carried on, the newer one and left alone.
func patch(o client.Object, edits []edit, carryOn bool) ([]byte, error) {
	doc, err := document(o)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	for _, e := range edits {
		is := at(doc, e.Path)
		switch {
		case e.same(is, e.To):
			continue
		case e.same(is, e.From):
		case carryOn:
			continue
		default:
			return nil, ErrChanged
		}
		m := out
		for _, p := range e.Path[:len(e.Path)-1] {
			next, ok := m[p].(map[string]any)
			if !ok {
				next = map[string]any{}
				m[p] = next
			}
			m = next
		}
		m[e.Path[len(e.Path)-1]] = replacing(is, e.To)
	}
	if len(out) == 0 {
		return nil, nil
	}
	if spec, ok := out["spec"].(map[string]any); ok {
		if b, ok := spec["bmc"].(map[string]any); ok { // what the schema requires beside
			for _, k := range []string{"address", "credentialsName"} {
				if _, said := b[k]; !said {
					b[k] = at(doc, []string{"spec", "bmc", k})
				}
			}
		}
	}
	meta, ok := out["metadata"].(map[string]any)
	if !ok {
		meta = map[string]any{}
		out["metadata"] = meta
	}
	meta["resourceVersion"] = o.GetResourceVersion()
	return json.Marshal(out)
}

// same compares two values of JSON. An empty value of a spec is one that is not there;
// an annotation may be empty.
func (e edit) same(a, b any) bool {
	if e.Path[0] == "spec" {
		a, b = orNull(a), orNull(b)
	}
	return reflect.DeepEqual(a, b)
}

func orNull(v any) any {
	switch v := v.(type) {
	case string:
		if v == "" {
			return nil
		}
	case []any:
		if len(v) == 0 {
			return nil
		}
	}
	return v
}

// replacing is a value as a merge patch that leaves nothing behind of the one before.
func replacing(was, is any) any {
	a, okA := was.(map[string]any)
	b, okB := is.(map[string]any)
	if !okA || !okB {
		return is
	}
	out := map[string]any{}
	for k := range a {
		out[k] = nil
	}
	for k, v := range b {
		out[k] = replacing(a[k], v)
	}
	return out
}

// undone are the edits that take edits back.
func undone(edits []edit) []edit {
	out := make([]edit, len(edits))
	for i, e := range edits {
		out[i] = edit{Path: e.Path, From: e.To, To: e.From}
	}
	return out
}
