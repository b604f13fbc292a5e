package openapi

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// TestDocument: routes of every sort make a valid document.
func TestDocument(t *testing.T) {
	kinds := []Kind{{Name: "volume target", Plural: "targets", Filters: []Filter{{Name: "node"}}, Fields: []Field{
		{Name: "uuid", Create: true, Types: []string{"string"}},
		{Name: "boot_index", Create: true, Types: []string{"string", "number"}},
		{Name: "created_at", Shown: true},
		{Name: "extra", Since: 40},
	}}}
	routes := []Route{
		{Method: http.MethodGet, Path: "/"},
		{Method: http.MethodGet, Path: "/v1/volume/targets", Since: 32, Action: "a"},
		{Method: http.MethodPost, Path: "/v1/volume/targets", Since: 32, Action: "a"},
		{Method: http.MethodGet, Path: "/v1/volume/targets/{id}", Since: 32, Action: "a"},
		{Method: http.MethodPatch, Path: "/v1/volume/targets/{id}", Since: 32, Action: "a"},
		{Method: http.MethodDelete, Path: "/v1/volume/targets/{id}", Since: 32, Action: "a"},
		{Method: http.MethodGet, Path: "/v1/nodes/{node}/volume/targets/detail", Since: 32, Action: "a"},
		{Method: http.MethodPut, Path: "/v1/nodes/{node}/states/provision", Action: "a"},
		{Method: http.MethodPost, Path: "/v1/nodes/{node}/vendor_passthru/{method}", Action: "a"},
		{Method: http.MethodPut, Path: "/v1/tomorrow/{x}/{y}", Action: "a"},
	}
	text, err := json.Marshal(Document(routes, kinds))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Error(err)
	}
	op := func(method, path string) *openapi3.Operation {
		t.Helper()
		item := doc.Paths.Value(path)
		if item == nil || item.GetOperation(method) == nil {
			t.Fatalf("%s %s is missing", method, path)
		}
		return item.GetOperation(method)
	}
	for _, tt := range []struct{ method, path, status, id string }{
		{http.MethodGet, "/", "200", "get"},
		{http.MethodPost, "/v1/volume/targets", "201", "postV1VolumeTargets"},
		{http.MethodDelete, "/v1/volume/targets/{id}", "204", "deleteV1VolumeTargetsId"},
		{http.MethodPut, "/v1/nodes/{node}/states/provision", "202", "putV1NodesNodeStatesProvision"},
		{http.MethodPost, "/v1/nodes/{node}/vendor_passthru/{method}", "2XX", "postV1NodesNodeVendorPassthruMethod"},
		{http.MethodPut, "/v1/tomorrow/{x}/{y}", "204", "putV1TomorrowXY"},
	} {
		o := op(tt.method, tt.path)
		if o.Responses.Value(tt.status) == nil || o.OperationID != tt.id {
			t.Errorf("%s %s is called %s and does not answer %s", tt.method, tt.path, o.OperationID, tt.status)
		}
	}
	list := op(http.MethodGet, "/v1/nodes/{node}/volume/targets/detail")
	if list.Parameters.GetByInAndName("query", "node") == nil || list.Extensions[MinVersion] != "1.32" {
		t.Errorf("the list has parameters %v, extensions %v", list.Parameters, list.Extensions)
	}
	create := doc.Components.Schemas["VolumeTargetCreate"].Value.Properties
	if create["created_at"] != nil || create["uuid"] == nil {
		t.Errorf("a new one may be given %v", create)
	}
	if extra := doc.Components.Schemas["VolumeTarget"].Value.Properties["extra"].Value; extra.Extensions[MinVersion] != "1.40" {
		t.Errorf("extra came with %v", extra.Extensions[MinVersion])
	}
}
