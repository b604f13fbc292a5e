package rest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
	authn "k8s.io/api/authentication/v1"
	authz "k8s.io/api/authorization/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/pkg/auth"
	"github.com/ingot-metal/ingot/pkg/auth/keystonetest"
)

// served is a door on a socket.
type served struct {
	*testing.T
	url string
}

func serve(t *testing.T, d *door, how Authenticate) served {
	t.Helper()
	d.s.Authenticate = how
	s := httptest.NewServer(d.s)
	t.Cleanup(s.Close)
	return served{t, s.URL}
}

// ask sends a request with headers, given as name, value, …
func (s served) ask(method, path, body string, header ...string) (int, map[string]any, http.Header) {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	r.Header.Set("X-OpenStack-Ironic-API-Version", "latest")
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		} else {
			r.Header.Set(header[i], header[i+1])
		}
	}
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	if err != nil {
		s.Fatal(err)
	}
	var out map[string]any
	if len(text) > 0 {
		if err := json.Unmarshal(text, &out); err != nil {
			s.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
	}
	return w.StatusCode, out, w.Header
}

func (s served) want(status int, method, path string, header ...string) (map[string]any, http.Header) {
	s.Helper()
	code, out, h := s.ask(method, path, "", header...)
	if code != status {
		s.Errorf("%s %s %v: %d %v, want %d", method, path, header, code, out, status)
	}
	return out, h
}

// public places are open to everybody, all else is not.
func (s served) publicOnly() {
	s.Helper()
	for _, path := range []string{"/", "/v1", "/v1/"} {
		s.want(http.StatusOK, http.MethodGet, path)
	}
	for _, path := range []string{"/v1/nodes", "/nodes", "/v1/nodes/owned", "/v1/none", "/v2"} {
		s.want(http.StatusUnauthorized, http.MethodGet, path)
	}
	s.want(http.StatusUnauthorized, http.MethodPut, "/v1/nodes")
}

func TestBasicThroughTheDoor(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("pw"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(path, []byte("ada:"+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := auth.NewBasic(path, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, scene(t), Basic(b, slog.New(slog.DiscardHandler)))
	s.publicOnly()
	basic := func(pair string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair)) }
	if out, _ := s.want(http.StatusOK, http.MethodGet, "/v1/nodes", "Authorization", basic("ada:pw")); len(namesIn(out)) != 3 {
		t.Errorf("%v", out)
	}
	for header, want := range map[string]struct {
		status int
		text   string
	}{
		"":                     {401, "Authorization required"},
		basic("ada:no"):        {401, "Incorrect username or password"},
		basic("eve:pw"):        {401, "Incorrect username or password"},
		"Bearer x":             {400, `Unsupported authorization type "Bearer"`},
		"Basic":                {400, "Could not parse Authorization header"},
		"Basic *":              {400, "Could not decode authorization token"},
		basic("no-colon"):      {400, "Could not decode authorization token"},
		"Basic YTpi YTpi":      {400, "Could not parse Authorization header"},
		basic("\xff\xfe:word"): {400, "Could not decode authorization token"},
	} {
		out, h := s.want(want.status, http.MethodGet, "/v1/nodes", "Authorization", header)
		inner, _ := out["error"].(map[string]any)
		if inner["message"] != want.text || inner["code"] != float64(want.status) || h.Get("WWW-Authenticate") != `Basic realm="Baremetal API"` || h.Get("Content-Type") != "application/json" {
			t.Errorf("%q: %v %v", header, out, h)
		}
	}
}

func TestKeystoneThroughTheDoor(t *testing.T) {
	now := time.Now()
	sim := keystonetest.New(t, time.Now)
	k, err := auth.NewKeystone(sim.Cloud(t), "", time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	give := func(id, who string) {
		c := persona(who)
		sim.Give(id, keystonetest.Token{User: who, Project: c.Project, ProjectName: strings.SplitN(who, "-", 2)[0], Roles: c.Roles, System: c.System, Expires: now.Add(time.Hour)})
	}
	for _, who := range []string{"system-reader", "owner-reader", "lessee-admin", "nova-service", "third-service"} {
		give(who, who)
	}
	s := serve(t, scene(t), Keystone(k, "https://keystone.example/v3", "nova", slog.New(slog.DiscardHandler)))
	s.publicOnly()
	for who, want := range map[string]string{
		"system-reader": "owned leased nobodys", "owner-reader": "owned leased", "lessee-admin": "leased", "nova-service": "owned leased nobodys", "third-service": "",
	} {
		out, _ := s.want(http.StatusOK, http.MethodGet, "/v1/nodes", "X-Auth-Token", who)
		if got := strings.Join(namesIn(out), " "); got != want {
			t.Errorf("%s sees %q, want %q", who, got, want)
		}
	}
	s.want(http.StatusForbidden, http.MethodDelete, "/v1/nodes/owned", "X-Auth-Token", "owner-reader")
	s.want(http.StatusNotFound, http.MethodDelete, "/v1/nodes/owned", "X-Auth-Token", "lessee-admin")
	out, h := s.want(http.StatusUnauthorized, http.MethodGet, "/v1/nodes", "X-Auth-Token", "made-up")
	if inner, _ := out["error"].(map[string]any); inner["code"] != 401.0 || h.Get("WWW-Authenticate") != `Keystone uri="https://keystone.example/v3"` {
		t.Errorf("%v %v", out, h)
	}
	sim.Fail(http.StatusServiceUnavailable)
	s.want(http.StatusOK, http.MethodGet, "/v1/nodes", "X-Auth-Token", "system-reader")
	out, h = s.want(http.StatusServiceUnavailable, http.MethodGet, "/v1/nodes", "X-Auth-Token", "unseen")
	if text, _ := out["error_message"].(string); !strings.Contains(text, "faultstring") || h.Get("Retry-After") == "" {
		t.Errorf("%v %v", out, h)
	}
	s.want(http.StatusOK, http.MethodGet, "/v1/")
}

// rbac answers reviews as a cluster with a few roles would.
type rbac struct {
	client.Client
	rules map[string][]string // by user: verb resource.group [namespace[/name]]
	down  bool
	asked []string
}

func (c *rbac) Create(_ context.Context, o client.Object, _ ...client.CreateOption) error {
	if c.down {
		return errors.New("connection refused")
	}
	switch o := o.(type) {
	case *authn.TokenReview:
		_, ok := c.rules[o.Spec.Token]
		o.Status = authn.TokenReviewStatus{Authenticated: ok, User: authn.UserInfo{Username: o.Spec.Token}}
	case *authz.SubjectAccessReview:
		a := o.Spec.ResourceAttributes
		what := a.Verb + " " + a.Resource + "." + a.Group
		c.asked = append(c.asked, strings.TrimRight(what+" "+a.Namespace+"/"+a.Name, " /"))
		all := c.rules[o.Spec.User]
		o.Status.Allowed = slices.Contains(all, what) || slices.Contains(all, what+" "+a.Namespace) && a.Namespace != "" || slices.Contains(all, what+" "+a.Namespace+"/"+a.Name)
	}
	return nil
}

func TestKubernetesThroughTheDoor(t *testing.T) {
	d := scene(t)
	n, _ := d.nodes.Get("owned")
	const host = "baremetalhosts.metal3.io"
	c := &rbac{rules: map[string][]string{
		"root":   {"list " + host, "get " + host, "update " + host, "patch " + host, "delete " + host, "create " + host},
		"viewer": {"list " + host + " default", "get " + host + " default"},
		"one":    {"get " + host + " default/" + n.Key.Name, "patch " + host + " default/" + n.Key.Name},
		"other":  {"list " + host + " elsewhere", "create " + host + " elsewhere"},
		"nobody": nil,
	}}
	now := time.Now()
	s := serve(t, d, Kubernetes(auth.NewReviews(c, func() time.Time { return now }), slog.New(slog.DiscardHandler)))
	s.publicOnly()
	for _, tc := range []struct {
		who, method, path, body string
		want                    int
	}{
		{"root", "GET", "/v1/nodes", "", 200},
		{"viewer", "GET", "/v1/nodes/owned", "", 200},
		{"viewer", "DELETE", "/v1/nodes/owned", "", 403},
		{"viewer", "PATCH", "/v1/nodes/owned", `[{"op": "add", "path": "/extra", "value": {"a": 1}}]`, 403},
		{"one", "GET", "/v1/nodes/owned", "", 200},
		{"one", "GET", "/v1/nodes/leased", "", 404},
		{"one", "PATCH", "/v1/nodes/owned", `[{"op": "add", "path": "/extra", "value": {"a": 1}}]`, 200},
		{"other", "GET", "/v1/nodes/owned", "", 404},
		{"other", "POST", "/v1/nodes", `{"driver": "fake-hardware", "name": "x"}`, 403},
		{"other", "POST", "/v1/nodes", `{"driver": "fake-hardware", "name": "elsewhere~"}`, 403},
		{"nobody", "GET", "/v1/nodes/owned", "", 404},
		{"nobody", "POST", "/v1/nodes", `{"driver": "fake-hardware"}`, 403},
		{"root", "DELETE", "/v1/nodes/leased", "", 204},
		{"stranger", "GET", "/v1/nodes", "", 401},
	} {
		if code, out, h := s.ask(tc.method, tc.path, tc.body, "Authorization", "Bearer "+tc.who); code != tc.want || code == 401 && h.Get("WWW-Authenticate") == "" {
			t.Errorf("%s %s %s: %d %v, want %d", tc.who, tc.method, tc.path, code, out, tc.want)
		}
	}
	for who, want := range map[string]int{"root": 3, "viewer": 3, "one": 0, "other": 0, "nobody": 0} {
		c.asked = nil
		out, _ := s.want(http.StatusOK, http.MethodGet, "/v1/nodes", "Authorization", "Bearer "+who)
		if n := len(namesIn(out)); n != want && n != want-1 {
			t.Errorf("%s sees %d nodes", who, n)
		}
		if len(c.asked) > 2 {
			t.Errorf("%s: a list costs %d reviews: %v", who, len(c.asked), c.asked)
		}
	}
	now = now.Add(time.Minute)
	c.down = true
	s.want(http.StatusServiceUnavailable, http.MethodGet, "/v1/nodes", "Authorization", "Bearer root")
	c.down = false
	s.want(http.StatusOK, http.MethodGet, "/v1/nodes", "Authorization", "Bearer root")
	// It goes away between the one question and the next.
	c.rules["late"] = []string{"get " + host}
	s.want(http.StatusOK, http.MethodGet, "/v1/nodes/owned", "Authorization", "Bearer late")
	c.down = true
	s.want(http.StatusServiceUnavailable, http.MethodDelete, "/v1/nodes/owned", "Authorization", "Bearer late")
	d.s.Authenticate = nil
	d.want(http.StatusOK, http.MethodGet, "/v1/nodes/owned", nil)
}

func TestGuard(t *testing.T) {
	d := scene(t)
	guarded := httptest.NewServer(Guard{Hosts: []string{"metal.example"}}.Wrap(d.s))
	t.Cleanup(guarded.Close)
	open := httptest.NewServer(Guard{AnyHost: true}.Wrap(d.s))
	t.Cleanup(open.Close)
	s, o := served{t, guarded.URL}, served{t, open.URL}
	port := guarded.URL[strings.LastIndexByte(guarded.URL, ':'):]
	for _, host := range []string{"localhost", "LOCALHOST:6385", "127.0.0.1", "127.0.0.1" + port, "127.8.9.1", "[::1]:6385", "[::1]", "metal.example", "Metal.Example.:6385"} {
		s.want(http.StatusOK, http.MethodGet, "/v1/nodes", "Host", host)
	}
	for _, host := range []string{"evil.example", "evil.example:6385", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "169.254.169.254", "[fe80::1]", "2130706433", "0.0.0.0"} {
		s.want(http.StatusForbidden, http.MethodGet, "/v1/nodes", "Host", host)
		s.want(http.StatusForbidden, http.MethodGet, "/", "Host", host)
		o.want(http.StatusOK, http.MethodGet, "/v1/nodes", "Host", host)
	}
	for _, x := range []served{s, o} {
		own := x.url
		x.want(http.StatusOK, http.MethodGet, "/v1/nodes", "Origin", own)
		x.want(http.StatusOK, http.MethodGet, "/v1/nodes", "Sec-Fetch-Site", "none")
		for _, origin := range []string{"http://evil.example", "null", "https" + strings.TrimPrefix(own, "http"), "http://127.0.0.1:1", "http://127.0.0.1"} {
			x.want(http.StatusForbidden, http.MethodDelete, "/v1/nodes/owned", "Origin", origin)
		}
		x.want(http.StatusForbidden, http.MethodGet, "/v1/nodes", "Sec-Fetch-Site", "cross-site")
		x.want(http.StatusForbidden, http.MethodGet, "/v1/nodes", "Sec-Fetch-Site", "same-site")
	}
	d.want(http.StatusOK, http.MethodGet, "/v1/nodes/owned", nil)
}

func FuzzHost(f *testing.F) {
	for _, h := range []string{"", "localhost", "[::1]:1", "[::1", "a:b:c", "127.0.0.1:80", "127.0.0.1%25lo", "::ffff:127.0.0.1"} {
		f.Add(h, "http://"+h)
	}
	f.Fuzz(func(t *testing.T, host, origin string) {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		r.Host = host
		r.Header.Set("Origin", origin)
		if (Guard{}).known(r) && strings.Contains(strings.ToLower(host), "evil") {
			t.Errorf("%q is known", host)
		}
		if sameOrigin(r) && !strings.EqualFold(origin, "http://"+host) && !strings.HasPrefix(strings.ToLower(origin), "http://"+strings.ToLower(host)) {
			t.Errorf("%q is the origin of %q", origin, host)
		}
	})
}
