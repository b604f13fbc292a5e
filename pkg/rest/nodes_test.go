package rest

import (
	"net/http"
	"testing"
)

func TestNodeIsMadeShownPatchedAndDeleted(t *testing.T) {
	d := newDoor(t)
	made := d.want(http.StatusCreated, http.MethodPost, "/v1/nodes", map[string]any{"driver": "fake-hardware", "name": "n1", "extra": map[string]any{"rack": "r4"}})
	id, _ := made["uuid"].(string)
	for _, path := range []string{"/v1/nodes/" + id, "/v1/nodes/n1", "/nodes/n1/"} {
		if got := d.want(http.StatusOK, http.MethodGet, path, nil); got["name"] != "n1" || got["provision_state"] != "enroll" {
			t.Errorf("%s: %v", path, got)
		}
	}
	got := d.want(http.StatusOK, http.MethodPatch, "/v1/nodes/n1", []map[string]any{{"op": "add", "path": "/extra/unit", "value": 7}, {"op": "remove", "path": "/extra/rack"}})
	if extra, _ := got["extra"].(map[string]any); extra["unit"] != 7.0 || extra["rack"] != nil {
		t.Errorf("extra %v", extra)
	}
	list := d.want(http.StatusOK, http.MethodGet, "/v1/nodes", nil)
	if nodes, _ := list["nodes"].([]any); len(nodes) != 1 {
		t.Errorf("list %v", list)
	}
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/nodes/n1", nil)
}
