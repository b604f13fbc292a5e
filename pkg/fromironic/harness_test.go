package fromironic

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// recorded is an Ironic that gives the recorded answers, two items a page, and takes
// no request that would change anything.
type recorded struct {
	*httptest.Server
	t       *testing.T
	asked   []string
	maximum string
	// check sees each request first.
	check func(*http.Request) bool
}

func newRecorded(t *testing.T) *recorded {
	t.Helper()
	r := &recorded{t: t, maximum: "1.82"}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *recorded) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.asked = append(r.asked, req.Method+" "+req.URL.Path)
	if req.Method != http.MethodGet {
		r.t.Errorf("%s %s: an import only reads", req.Method, req.URL)
	}
	w.Header().Set("X-OpenStack-Ironic-API-Minimum-Version", "1.1")
	w.Header().Set("X-OpenStack-Ironic-API-Maximum-Version", r.maximum)
	if req.URL.Path == "/v1" {
		fmt.Fprint(w, `{"id": "v1"}`)
		return
	}
	if r.check != nil && !r.check(req) {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"error": {"message": "Authorization required", "code": 401}}`)
		return
	}
	if got := req.Header.Get("X-OpenStack-Ironic-API-Version"); got != r.maximum {
		r.t.Errorf("%s was asked in version %q, want %s", req.URL, got, r.maximum)
	}
	plural := strings.Split(strings.TrimPrefix(req.URL.Path, "/v1/"), "/")[0]
	text, err := os.ReadFile(filepath.Join("testdata", plural+".json"))
	if err != nil {
		http.NotFound(w, req)
		return
	}
	var doc map[string][]map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		r.t.Error(err)
	}
	items := doc[plural]
	if marker := req.URL.Query().Get("marker"); marker != "" {
		i := slices.IndexFunc(items, func(m map[string]any) bool { return m["uuid"] == marker })
		items = items[i+1:]
	}
	limit, err := strconv.Atoi(req.URL.Query().Get("limit"))
	if err != nil || limit < 1 {
		r.t.Errorf("%s has no limit", req.URL)
	}
	out := map[string]any{plural: items}
	if len(items) > 2 {
		out[plural] = items[:2]
		out["next"] = "http://elsewhere.example/v1/steal?marker=x"
	}
	if err := json.NewEncoder(w).Encode(out); err != nil {
		r.t.Error(err)
	}
}

func (r *recorded) client() *Client {
	r.t.Helper()
	c, err := NewClient(r.URL + "/v1/")
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func (r *recorded) site() *Site {
	r.t.Helper()
	s, err := r.client().Read(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}
