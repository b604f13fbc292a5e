package clients

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestPattern(t *testing.T) {
	for path, want := range map[string]string{
		"/":                                   "/",
		"/v1/":                                "/",
		"/v1/nodes":                           "/nodes",
		"/nodes/default~a":                    "/nodes/{}",
		"/v1/nodes/a/states/provision":        "/nodes/{}/states/provision",
		"/v1/nodes/a/bios/nodes":              "/nodes/{}/bios/{}",
		"/v1/nodes/a/vendor_passthru/x":       "/nodes/{}/vendor_passthru/{}",
		"/v1/drivers/ipmi/properties":         "/drivers/{}/properties",
		"/v1/nodes/a/vendor_passthru/methods": "/nodes/{}/vendor_passthru/methods",
	} {
		if got := pattern(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/nosuch") {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer target.Close()
	p, err := newTap(target.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	get := func(path string) {
		res, err := http.Get(p.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	p.begin("one", "first")
	get("/v1/nodes")
	get("/v1/nodes/nosuch")
	p.begin("", "second: it has to be refused")
	get("/v1/ports/nosuch")
	p.begin("", "third")
	get("/v1/chassis/nosuch")
	p.fail("it should be there")
	p.begin("two", "first")
	get("/v1/nodes")
	want := "| endpoint | one | two |\n|---|---|---|\n| `GET /chassis/{}` | fails: 404 |  |\n| `GET /nodes` | works | works |\n| `GET /nodes/{}` | works |  |\n| `GET /ports/{}` | works |  |\n"
	if got := p.table([]string{"one", "two"}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if f := p.failures("one"); len(f) != 1 || f[0] != "third: it should be there" {
		t.Errorf("failures %v", f)
	}
}
