package diff

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// difference is one place where ingot answers otherwise than Ironic.
type difference struct {
	Do          string
	Path        string // status, headers.X, body.a.b
	Ironic, Our string
}

func (d difference) String() string {
	return fmt.Sprintf("%s\n\t%s\n\t\tIronic %s\n\t\tingot  %s", d.Do, d.Path, d.Ironic, d.Our)
}

// compare lists where ours differs from Ironic's. What could not be asked of one
// differs in that alone.
func compare(ironic, ours answer) []difference {
	c := comparison{do: ironic.Do}
	switch {
	case ironic.Note != ours.Note:
		c.add("note", short(ironic), short(ours))
	case ironic.Status != ours.Status:
		c.add("status", short(ironic), short(ours))
	default:
		c.walk("headers", generic(ironic.Headers), generic(ours.Headers))
		c.walk("error", form(ironic.Error), form(ours.Error))
		c.walk("body", ironic.Body, ours.Body)
		c.walk("shows", set(ironic.Keys), set(ours.Keys))
	}
	return c.found
}

// short is an answer in a line.
func short(a answer) string {
	s := a.Note
	if a.Status != 0 {
		s = strings.TrimSpace(fmt.Sprint(a.Status, " ", s))
	}
	if m, ok := a.Error.(map[string]any); ok {
		for _, key := range []string{"faultstring", "description"} {
			if text, ok := m[key].(string); ok {
				s += " " + text
			}
		}
	}
	return s
}

// form is what counts of an error: not its words.
func form(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	m = maps.Clone(m)
	for _, key := range []string{"faultstring", "description"} {
		if text, ok := m[key].(string); ok && text != "" {
			m[key] = "some text"
		}
	}
	return m
}

func set(names string) any {
	out := map[string]any{}
	for _, n := range strings.Fields(names) {
		out[n] = true
	}
	return out
}

func generic(m map[string]string) any {
	out := map[string]any{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

type comparison struct {
	do    string
	found []difference
}

func (c *comparison) add(path, ironic, our string) {
	c.found = append(c.found, difference{c.do, path, ironic, our})
}

func (c *comparison) walk(path string, ironic, our any) {
	switch want := ironic.(type) {
	case map[string]any:
		got, ok := our.(map[string]any)
		if !ok {
			break
		}
		keys := maps.Clone(want)
		maps.Copy(keys, got)
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			a, inWant := want[k]
			b, inGot := got[k]
			switch {
			case !inWant:
				c.add(path+"."+k, "has it not", clip(b))
			case !inGot:
				c.add(path+"."+k, clip(a), "has it not")
			default:
				c.walk(path+"."+k, a, b)
			}
		}
		return
	case []any:
		got, ok := our.([]any)
		if !ok || len(got) != len(want) {
			break
		}
		for i := range want {
			c.walk(fmt.Sprintf("%s.%d", path, i), want[i], got[i])
		}
		return
	}
	if !reflect.DeepEqual(ironic, our) {
		c.add(path, clip(ironic), clip(our))
	}
}

func clip(v any) string {
	s := fmt.Sprintf("%#v", v)
	s = strings.NewReplacer("map[string]interface {}", "", "[]interface {}", "", "interface {}", "").Replace(s)
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return s
}
