package diff

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

var (
	uuids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	times = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)?`)
)

// hosts are fields that name the service's own host.
var hosts = []string{"conductor", "hostname", "hosts", "reservation"}

// normaliser makes alike what differs from one service to the next.
type normaliser struct {
	base string
	ids  *strings.Replacer // what was saved, by its name
}

func (d *door) normaliser() normaliser {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(d.vars)) {
		pairs = append(pairs, d.vars[name], "$"+name)
	}
	return normaliser{base: d.base, ids: strings.NewReplacer(pairs...)}
}

func (n normaliser) header(name, value string) string {
	if name == "Allow" {
		methods := strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' })
		slices.Sort(methods)
		return strings.Join(methods, ", ")
	}
	return n.text(value)
}

func (n normaliser) text(s string) string {
	s = strings.ReplaceAll(s, n.base, "$base")
	s = n.ids.Replace(s)
	s = uuids.ReplaceAllString(s, "UUID")
	return times.ReplaceAllString(s, "TIME")
}

// value makes v, the member name of something, alike.
func (n normaliser) value(name string, v any) any {
	switch v := v.(type) {
	case string:
		if slices.Contains(hosts, name) {
			return "HOST"
		}
		return n.text(v)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = n.value(name, e)
		}
		return out
	case map[string]any:
		if self, ok := link(v); ok {
			return n.text(self)
		}
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[n.text(k)] = n.value(k, e)
		}
		return out
	}
	return v
}

// link is a link in short: {"href": …, "rel": "self"} is "self …".
func link(m map[string]any) (string, bool) {
	href, ok := m["href"].(string)
	rel, also := m["rel"].(string)
	if !ok || !also || len(m) > 2 {
		return "", false
	}
	return rel + " " + href, true
}
