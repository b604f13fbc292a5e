package treebmc_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/ingot-metal/ingot/pkg/lab/treebmc"
)

// client speaks bare HTTP to a BMC made of the small tree.
type client struct {
	t     *testing.T
	bmc   *treebmc.Server
	base  string
	token string
	http  *http.Client
}

func small(t *testing.T, o treebmc.Options) *client {
	t.Helper()
	b, err := treebmc.New(treebmc.Small(), o)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(b)
	t.Cleanup(srv.Close)
	return &client{t: t, bmc: b, base: srv.URL, http: &http.Client{
		Transport:     &http.Transport{DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answer of a request; status 0 stands for a connection that was cut.
type answer struct {
	status int
	header http.Header
	body   map[string]any
}

// do sends body: nil for none, a string as it is, anything else as JSON. Headers
// come in pairs.
func (c *client) do(method, path string, body any, headers ...string) answer {
	c.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = bytes.NewReader([]byte(b))
	case io.Reader:
		reader = b
	default:
		data, err := json.Marshal(b)
		if err != nil {
			c.t.Fatal(err)
		}
		reader = bytes.NewReader(data)
	}
	req, err := http.NewRequest(method, c.base+path, reader)
	if err != nil {
		c.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("X-Auth-Token", c.token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header}
	_ = json.NewDecoder(resp.Body).Decode(&a.body)
	return a
}

func (c *client) get(path string) map[string]any { return c.do("GET", path, nil).body }

// at walks into nested objects.
func at(doc map[string]any, names ...string) any {
	var v any = doc
	for _, name := range names {
		o, _ := v.(map[string]any)
		v = o[name]
	}
	return v
}

type obj = map[string]any
