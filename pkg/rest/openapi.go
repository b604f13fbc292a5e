package rest

import (
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/openapi"
)

//go:generate go test . -run TestOpenAPIIsFresh -update-openapi

// documentedKinds are the resources whose fields the OpenAPI document shows.
func documentedKinds() []openapi.Kind {
	var all []openapi.Kind
	for _, k := range []*kind{
		&nodes, &portKind, &portgroupKind, &chassisKind, &allocationKind, &connectorKind, &volumeTargetKind, &templateKind, &runbookKind,
		&conductorKind, &historyKind,
	} {
		d := describe(k)
		if k == &nodes {
			d.Go = reflect.TypeFor[ironic.Node]()
			for _, f := range nodeFilters {
				d.Filters = append(d.Filters, openapi.Filter{Name: f.name, Since: f.since})
			}
		}
		all = append(all, d)
	}
	return all
}

func (s *Server) openAPIRoutes() []route {
	return []route{{method: http.MethodGet, path: "/openapi.json", action: "baremetal:openapi:get", do: s.showOpenAPI}}
}

// openAPICache keeps the document, which does not change while we run.
type openAPICache struct {
	once sync.Once
	text []byte
	err  error
}

func (s *Server) showOpenAPI(*call) (*reply, error) {
	s.openAPI.once.Do(func() {
		s.openAPI.text, s.openAPI.err = json.Marshal(openapi.Document(s.documentedRoutes(), documentedKinds()))
	})
	return &reply{status: http.StatusOK, raw: s.openAPI.text}, s.openAPI.err
}

func (s *Server) documentedRoutes() []openapi.Route {
	var all []openapi.Route
	for _, pattern := range slices.Sorted(maps.Keys(s.routes)) {
		for _, method := range slices.Sorted(maps.Keys(s.routes[pattern])) {
			r := s.routes[pattern][method]
			all = append(all, openapi.Route{Method: method, Path: documented(pattern), Since: r.since, Action: r.action})
		}
	}
	return all
}

// documented is the path of a pattern of the multiplexer.
func documented(pattern string) string {
	switch pattern {
	case "/{$}":
		return "/"
	case "/v1":
		return pattern
	}
	return "/v1" + strings.ReplaceAll(pattern, "...}", "}")
}

func describe(k *kind) openapi.Kind {
	out := openapi.Kind{Name: k.name, Plural: k.plural, Filters: k.filters}
	for _, f := range k.fields {
		out.Fields = append(out.Fields, openapi.Field{
			Name: f.name, Since: f.since, Create: f.write == onCreate || f.write == always, Shown: f.write == never, Types: f.takes(),
		})
	}
	return out
}

// takes asks a field's check which types of JSON it lets through; none: any.
func (f field) takes() []string {
	switch {
	case f.check != nil:
	case f.object:
		return []string{"object", "array", "null"}
	default:
		return nil
	}
	probes := []struct {
		name   string
		values []any
	}{
		{"string", []any{"x", "00000000-0000-4000-8000-000000000000", "52:54:00:00:00:01", "CUSTOM_X", "1", "ip", "http://h/"}},
		{"boolean", []any{true, false}},
		{"number", []any{1.0, json.Number("1")}},
		{"object", []any{map[string]any{}}},
		{"array", []any{[]any{}, []any{"CUSTOM_X"}, []any{map[string]any{}}}},
		{"null", []any{nil}},
	}
	var types []string
	for _, t := range probes {
		if slices.ContainsFunc(t.values, func(v any) bool { return f.check(v) == nil }) {
			types = append(types, t.name)
		}
	}
	if len(types) == len(probes) {
		return nil
	}
	return types
}
