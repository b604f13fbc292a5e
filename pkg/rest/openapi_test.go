package rest

import (
	"encoding/json"
	stdflag "flag"
	"net/http"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/openapi"
)

var updateOpenAPI = stdflag.Bool("update-openapi", false, "rewrite docs/reference/openapi.json")

// TestOpenAPIIsFresh: what is served is a valid document that names every route, and the one
// in docs is the same.
func TestOpenAPIIsFresh(t *testing.T) {
	d := newDoor(t)
	served := d.want(http.StatusOK, http.MethodGet, "/v1/openapi.json", nil)
	text, err := json.MarshalIndent(served, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	const path = "../../docs/reference/openapi.json"
	if *updateOpenAPI {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(kept), string(text)); diff != "" {
		t.Errorf("docs/reference/openapi.json is stale, run make generate (-docs +served):\n%s", diff)
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Error(err)
	}
	seen := map[string]string{}
	for pattern, methods := range d.s.routes {
		for method, r := range methods {
			item := doc.Paths.Value(documented(pattern))
			if item == nil || item.GetOperation(method) == nil {
				t.Errorf("%s %s is not in the document", method, pattern)
				continue
			}
			op := item.GetOperation(method)
			if other, twice := seen[op.OperationID]; twice {
				t.Errorf("%s %s and %s are both called %s", method, pattern, other, op.OperationID)
			}
			seen[op.OperationID] = method + " " + pattern
			if since, _ := op.Extensions[openapi.MinVersion].(string); r.since > 0 && since != r.since.String() {
				t.Errorf("%s %s came with %q, want %s", method, pattern, since, r.since)
			}
			if public := op.Security != nil && len(*op.Security) == 0; public != (r.action == "") {
				t.Errorf("%s %s: public is %v", method, pattern, public)
			}
		}
	}
}

// TestOpenAPINodes holds the schema to what is answered: each field of a real answer is
// in it, and has a type that it allows.
func TestOpenAPINodes(t *testing.T) {
	d := newDoor(t)
	text, err := json.Marshal(d.want(http.StatusOK, http.MethodGet, "/v1/openapi.json", nil))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	made := d.want(http.StatusCreated, http.MethodPost, "/v1/nodes", map[string]any{"name": "n1", "driver": "fake-hardware"})
	schema := doc.Components.Schemas["Node"].Value
	if err := schema.VisitJSON(made); err != nil {
		t.Error(err)
	}
	for name := range made {
		_, known := schema.Properties[name]
		if links := []string{"links", "ports", "portgroups", "states", "volume"}; !known && !slices.Contains(links, name) {
			t.Errorf("the field %s of an answer is not in the document", name)
		}
	}
	if _, secret := schema.Properties["driver_info"]; !secret {
		t.Error("driver_info is missing")
	}
	for name, p := range doc.Components.Schemas["NodeCreate"].Value.Properties {
		if f := nodes.field(name); f == nil || f.write != always && f.write != onCreate || p.Value == nil {
			t.Errorf("%s may not be given to a new node", name)
		}
	}
}

// TestActionsAreOfRoutes: a body in openapi_bodies.go that no route has is a slip.
func TestActionsAreOfRoutes(t *testing.T) {
	have, params := map[string]bool{}, regexp.MustCompile(`\{[^}]*\}`)
	for pattern, methods := range newDoor(t).s.routes {
		for method := range methods {
			have[method+" "+params.ReplaceAllString(documented(pattern), "{}")] = true
		}
	}
	for _, what := range openapi.Actions() {
		if !have[what] {
			t.Errorf("%s: there is no such route", what)
		}
	}
}
