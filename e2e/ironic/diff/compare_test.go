package diff

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	const script = `
# A comment.
at 1.82
POST /v1/nodes {"driver": "x", "name": "a b"}
save n uuid
GET /v1/nodes/$n @1.1,none
PATCH /v1/nodes/$n @1.5 [{"op": "remove"}]
wait /v1/nodes/$n provision_state clean failed
`
	steps, err := parse(strings.NewReader(script))
	if err != nil {
		t.Fatal(err)
	}
	want := []step{
		{name: `POST /v1/nodes @1.82 {"driver": "x", "name": "a b"}`, method: "POST", path: "/v1/nodes", version: "1.82", body: `{"driver": "x", "name": "a b"}`, save: map[string]string{"n": "uuid"}},
		{name: "GET /v1/nodes/$n @1.1", method: "GET", path: "/v1/nodes/$n", version: "1.1"},
		{name: "GET /v1/nodes/$n @none", method: "GET", path: "/v1/nodes/$n"},
		{name: `PATCH /v1/nodes/$n @1.5 [{"op": "remove"}]`, method: "PATCH", path: "/v1/nodes/$n", version: "1.5", body: `[{"op": "remove"}]`},
		{name: "wait /v1/nodes/$n provision_state clean failed", method: "wait", path: "/v1/nodes/$n", version: "1.82", field: "provision_state", value: "clean failed"},
	}
	if d := cmp.Diff(want, steps, cmp.AllowUnexported(step{})); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{"NOSUCH /x", "save n uuid", "GET /x\nsave n", "wait /x y"} {
		if _, err := parse(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestCompare(t *testing.T) {
	body := func(s string) any {
		var v any
		if err := json.Unmarshal([]byte(s), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct {
		name         string
		ironic, ours answer
		want         []string
	}{
		{"alike", answer{Status: 200, Body: body(`{"a": [1, {"b": null}]}`)}, answer{Status: 200, Body: body(`{"a": [1, {"b": null}]}`)}, nil},
		{"a status hides the rest", answer{Status: 200, Body: body(`{"a": 1}`)}, answer{Status: 404, Body: body(`{}`)}, []string{"status"}},
		{"members", answer{Status: 200, Body: body(`{"a": 1, "b": {"c": 2}, "d": 0}`)}, answer{Status: 200, Body: body(`{"a": 2, "b": {}, "d": 0, "e": 1}`)}, []string{"body.a", "body.b.c", "body.e"}},
		{"a list's length", answer{Status: 200, Body: body(`[1]`)}, answer{Status: 200, Body: body(`[1, 2]`)}, []string{"body"}},
		{"an element", answer{Status: 200, Body: body(`[1, 2]`)}, answer{Status: 200, Body: body(`[1, 3]`)}, []string{"body.1"}},
		{"words of an error", answer{Status: 400, Error: body(`{"faultcode": "Client", "faultstring": "a"}`)}, answer{Status: 400, Error: body(`{"faultcode": "Client", "faultstring": "b"}`)}, nil},
		{"form of an error", answer{Status: 404, Error: body(`{"faultcode": "Client", "faultstring": "a"}`)}, answer{Status: 404, Error: body(`{"code": 404, "title": "Not Found", "description": "b"}`)}, []string{"error.code", "error.description", "error.faultcode", "error.faultstring", "error.title"}},
		{"headers", answer{Status: 405, Headers: map[string]string{"Allow": "GET"}}, answer{Status: 405}, []string{"headers.Allow"}},
		{"names that are shown", answer{Status: 200, Keys: "a b"}, answer{Status: 200, Keys: "a c"}, []string{"shows.b", "shows.c"}},
		{"what could not be asked", answer{Status: 200, Note: "reached"}, answer{Note: "not asked: there is no n"}, []string{"note"}},
	} {
		var got []string
		for _, d := range compare(c.ironic, c.ours) {
			got = append(got, d.Path)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"GET /v1", "GET /v1", true},
		{"GET /v1", "GET /v1/x", false},
		{"GET *@1.1", "GET /v1/nodes @1.1", true},
		{"*@1.1", "GET /v1/nodes @1.12", false},
		{"P*/nodes*", "PATCH /v1/nodes/$n @1.82 []", true},
		{"P*/nodes*", "GET /v1/nodes", false},
	} {
		if got := matches(c.pattern, c.text); got != c.want {
			t.Errorf("%q on %q: %v", c.pattern, c.text, got)
		}
	}
}

// TestRun takes a script through a door that is made up, and back.
func TestRun(t *testing.T) {
	const id = "0f0f0f0f-1111-4222-8333-444444444444"
	deleted := false
	var base string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-OpenStack-Ironic-API-Version", r.Header.Get("X-OpenStack-Ironic-API-Version"))
		w.Header().Set("X-OpenStack-Ironic-API-Minimum-Version", "1.1")
		switch r.Method + " " + r.URL.Path {
		case "POST /v1/nodes":
			w.Header().Set("Location", base+"/v1/nodes/"+id)
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(`{"uuid": "` + id + `", "created_at": "2026-11-21T18:55:48.186267+00:00", "empty": null, "links": [{"href": "` + base + `/v1/nodes/` + id + `", "rel": "self"}]}`))
		case "GET /v1/nodes/" + id:
			_, _ = w.Write([]byte(`{"state": "ready", "conductor": "me"}`))
		case "DELETE /v1/nodes/" + id:
			deleted = true
			w.WriteHeader(http.StatusNoContent)
		case "PUT /v1/nodes/" + id + "/maintenance":
			w.WriteHeader(http.StatusAccepted)
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"error_message": "{\"faultcode\": \"Client\", \"faultstring\": \"no ` + id + `\"}"}`))
		}
	}))
	defer s.Close()
	base = s.URL
	steps, err := parse(strings.NewReader("at 1.82\nPOST /v1/nodes {}\nsave n uuid\nGET /v1/nodes/$n\nwait /v1/nodes/$n state ready\nKEYS /v1/nodes/$n\nGET /v1/nosuch\nGET /v1/$other\n"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := newDoor(s.URL).run(t.Context(), steps)
	if err != nil {
		t.Fatal(err)
	}
	want := []answer{
		{Do: "POST /v1/nodes @1.82 {}", Status: 201, Headers: map[string]string{"Location": "$base/v1/nodes/$n"}, Body: map[string]any{"uuid": "$n", "created_at": "TIME"}},
		{Do: "GET /v1/nodes/$n @1.82", Status: 200, Body: map[string]any{"state": "ready", "conductor": "HOST"}},
		{Do: "wait /v1/nodes/$n state ready", Status: 200, Note: "reached"},
		{Do: "KEYS /v1/nodes/$n @1.82", Status: 200, Keys: "conductor state"},
		{Do: "GET /v1/nosuch @1.82", Status: 404, Error: map[string]any{"faultcode": "Client", "faultstring": "no $n"}},
		{Do: "GET /v1/$other @1.82", Note: "not asked: there is no other"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if !deleted {
		t.Error("what the script made is left")
	}
}
