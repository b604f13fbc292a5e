package clients

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// tap is a proxy that writes down which endpoints a client asks.
type tap struct {
	*httptest.Server
	mu     sync.Mutex
	client string
	step   string
	calls  []call
	failed map[string]string // why, by client and step
}

// call is one request that went through.
type call struct {
	client, step, endpoint string
	status                 int
}

// newTap begins to pass requests on to target.
func newTap(target string) (*tap, error) {
	to, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	t := &tap{failed: map[string]string{}}
	proxy := &httputil.ReverseProxy{
		// The Host stays what the client asked for, so that links lead through here too.
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host
			r.Out.Host = r.In.Host
		},
		ModifyResponse: func(r *http.Response) error {
			t.note(r.Request.Method+" "+pattern(r.Request.URL.Path), r.StatusCode)
			return nil
		},
	}
	mux := http.NewServeMux()
	mux.Handle("/", proxy)
	mux.HandleFunc("POST /_tap/begin", func(_ http.ResponseWriter, r *http.Request) { t.begin("", r.FormValue("step")) })
	mux.HandleFunc("POST /_tap/failed", func(_ http.ResponseWriter, r *http.Request) { t.fail(r.FormValue("why")) })
	mux.HandleFunc("POST /v3/auth/tokens", t.token)
	t.Server = httptest.NewServer(mux)
	return t, nil
}

// token is Keystone to a client that insists on one: its catalogue has us alone.
func (t *tap) token(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("X-Subject-Token", "of-no-use")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	endpoint := map[string]any{"id": "1", "interface": "public", "region": "lab", "region_id": "lab", "url": t.URL + "/v1"}
	_ = json.NewEncoder(w).Encode(map[string]any{"token": map[string]any{
		"expires_at": "2099-01-01T00:00:00.000000Z",
		"catalog":    []any{map[string]any{"type": "baremetal", "name": "ironic", "id": "1", "endpoints": []any{endpoint}}},
	}})
}

// begin names what the requests from here on belong to; an empty client is the one before.
func (t *tap) begin(client, step string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if client != "" {
		t.client = client
	}
	t.step = step
}

// fail says that the step that was begun last did not work.
func (t *tap) fail(why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed[t.client+"\n"+t.step] = why
}

func (t *tap) note(endpoint string, status int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls = append(t.calls, call{t.client, t.step, endpoint, status})
}

// failures are the steps of a client that did not work.
func (t *tap) failures(client string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for step, why := range t.failed {
		if name, ok := strings.CutPrefix(step, client+"\n"); ok {
			out = append(out, name+": "+why)
		}
	}
	slices.Sort(out)
	return out
}

// words are the parts of a path that are no names of things.
var words = strings.Fields(`nodes ports portgroups chassis drivers conductors allocations deploy_templates runbooks inspection_rules volume
connectors targets detail states provision power raid console boot_mode secure_boot maintenance validate management boot_device supported
inject_nmi indicators vendor_passthru methods vifs traits bios firmware inventory history children allocation vmedia properties
logical_disk_properties shards events lookup heartbeat continue_inspection`)

// pattern is a path with {} where it names a thing.
func pattern(path string) string {
	path = strings.TrimPrefix(strings.TrimRight(path, "/"), "/v1")
	if path == "" {
		return "/"
	}
	parts := strings.Split(path[1:], "/")
	for i, p := range parts {
		named := i > 0 && (parts[i-1] == "vendor_passthru" && p != "methods" || parts[i-1] == "bios")
		if named || !slices.Contains(words, p) {
			parts[i] = "{}"
		}
	}
	return "/" + strings.Join(parts, "/")
}

// table is endpoint × client × result, in Markdown.
func (t *tap) table(clients []string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	cells := map[string]map[string]string{}
	for _, c := range t.calls {
		row := cells[c.endpoint]
		if row == nil {
			row = map[string]string{}
			cells[c.endpoint] = row
		}
		// Of a step that failed, the request that was refused is what failed.
		if _, failed := t.failed[c.client+"\n"+c.step]; failed && c.status >= 400 {
			row[c.client] = fmt.Sprintf("fails: %d", c.status)
		} else if row[c.client] == "" {
			row[c.client] = "works"
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| endpoint | %s |\n|---|%s\n", strings.Join(clients, " | "), strings.Repeat("---|", len(clients)))
	var names []string
	for endpoint := range cells {
		names = append(names, endpoint)
	}
	slices.SortFunc(names, func(a, b string) int {
		am, ap, _ := strings.Cut(a, " ")
		bm, bp, _ := strings.Cut(b, " ")
		return strings.Compare(ap+" "+am, bp+" "+bm)
	})
	for _, endpoint := range names {
		fmt.Fprintf(&b, "| `%s` |", endpoint)
		for _, c := range clients {
			fmt.Fprintf(&b, " %s |", cells[endpoint][c])
		}
		b.WriteString("\n")
	}
	return b.String()
}
