package enroll

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Action is what applying an object does.
type Action string

// The actions.
const (
	Create    Action = "create"
	Update    Action = "change"
	Unchanged Action = "unchanged"
	Refused   Action = "refused" // by the API; see Change.Refusal
)

// Change is what applying one object would do.
type Change struct {
	Object  Object
	Action  Action
	Fields  []Field // what differs; for a new object what it is made with
	Refusal string  // the API's words
	Warning string  // something a person should know, though the API takes it
}

// Field is one value that differs. Secret values are shown as "(hidden)".
type Field struct{ Path, From, To string }

// Diff is what applying a list would do, in the order of the list.
type Diff []Change

// Count of the changes with one of the actions.
func (d Diff) Count(actions ...Action) int {
	n := 0
	for _, c := range d {
		if slices.Contains(actions, c.Action) {
			n++
		}
	}
	return n
}

// Pending tells whether applying would write anything.
func (d Diff) Pending() bool { return d.Count(Create, Update) > 0 }

// Write renders the diff for a person:
//
//   - BareMetalHost worker-1
//     spec.bmc.address  redfish://10.0.0.3
//     ~ BareMetalHost worker-2
//     metadata.labels.ingot.dev/rack  r1 → r2
//     1 to create, 1 to change, 18 unchanged
func (d Diff) Write(w io.Writer) error {
	var b strings.Builder
	for _, c := range d {
		sign, ok := map[Action]string{Create: "+", Update: "~", Refused: "!"}[c.Action]
		if !ok && c.Warning == "" {
			continue
		}
		if !ok {
			sign = "="
		}
		fmt.Fprintf(&b, "%s %s %s", sign, c.Object.GetKind(), c.Object.GetName())
		if c.Action == Refused {
			if c.Object.Line > 0 {
				fmt.Fprintf(&b, "  (line %d)", c.Object.Line)
			}
			fmt.Fprintf(&b, "\n    refused: %s\n", c.Refusal)
			continue
		}
		b.WriteByte('\n')
		width := 0
		for _, f := range c.Fields {
			width = max(width, len(f.Path))
		}
		for _, f := range c.Fields {
			switch {
			case c.Action == Create:
				fmt.Fprintf(&b, "    %-*s  %s\n", width, f.Path, f.To)
			case f.From == "":
				fmt.Fprintf(&b, "    %-*s  + %s\n", width, f.Path, f.To)
			case f.To == "":
				fmt.Fprintf(&b, "    %-*s  - %s\n", width, f.Path, f.From)
			default:
				fmt.Fprintf(&b, "    %-*s  %s → %s\n", width, f.Path, f.From, f.To)
			}
		}
		if c.Warning != "" {
			fmt.Fprintf(&b, "    note: %s\n", c.Warning)
		}
	}
	fmt.Fprintf(&b, "%d to create, %d to change, %d unchanged", d.Count(Create), d.Count(Update), d.Count(Unchanged))
	if n := d.Count(Refused); n > 0 {
		fmt.Fprintf(&b, ", %d refused", n)
	}
	b.WriteByte('\n')
	_, err := io.WriteString(w, b.String())
	return err
}

const hidden = "(hidden)"

// compare lists what differs between two states of an object; either may be nil.
func compare(before, after *unstructured.Unstructured) []Field {
	secret := after.GetKind() == kindSecret
	old := map[string]any{}
	if before != nil {
		old = content(before)
	}
	var fields []Field
	walk("", old, content(after), func(path string, from, to any) {
		f := Field{Path: path, From: text(from), To: text(to)}
		if secret && strings.HasPrefix(path, "data") {
			if f.From != "" {
				f.From = hidden
			}
			if f.To != "" {
				f.To = hidden
			}
		}
		fields = append(fields, f)
	})
	return fields
}

// content is the part of an object that people write.
func content(u *unstructured.Unstructured) map[string]any {
	c := map[string]any{}
	for k, v := range u.Object {
		switch k {
		case "apiVersion", "kind", "status", "metadata":
		default:
			c[k] = v
		}
	}
	meta := map[string]any{}
	for _, k := range []string{"labels", "annotations"} {
		if v, found, _ := unstructured.NestedFieldNoCopy(u.Object, "metadata", k); found {
			meta[k] = v
		}
	}
	c["metadata"] = meta
	return c
}

// walk reports the leaves that differ, in the order of their paths. A list is a
// leaf.
func walk(path string, from, to any, report func(path string, from, to any)) {
	a, aIsMap := from.(map[string]any)
	b, bIsMap := to.(map[string]any)
	if (aIsMap || from == nil) && (bIsMap || to == nil) && (aIsMap || bIsMap) {
		keys := map[string]bool{}
		for k := range a {
			keys[k] = true
		}
		for k := range b {
			keys[k] = true
		}
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			walk(strings.TrimPrefix(path+"."+k, "."), a[k], b[k], report)
		}
		return
	}
	if !reflect.DeepEqual(from, to) {
		report(path, from, to)
	}
}

// text shows a value of an object in one line.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return oneLine(shorten(v))
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return oneLine(shorten(string(raw)))
}
