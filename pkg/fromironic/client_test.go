package fromironic

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadPages(t *testing.T) {
	r := newRecorded(t)
	s := r.site()
	kinds := map[string]int{}
	for _, thing := range s.Things {
		kinds[thing.Kind]++
	}
	want := map[string]int{"port": 3, "portgroup": 1, "chassis": 1, "allocation": 1, "deploy_template": 1}
	if diff := cmp.Diff(want, kinds); diff != "" || len(s.Nodes) != 5 || s.Version != 82 {
		t.Errorf("%d nodes in version %s; things -want +got:\n%s", len(s.Nodes), s.Version, diff)
	}
}

// TestOldIronic: what its version does not have is not asked for.
func TestOldIronic(t *testing.T) {
	r := newRecorded(t)
	r.maximum = "1.22"
	r.site()
	for _, asked := range r.asked {
		if strings.Contains(asked, "portgroups") || strings.Contains(asked, "allocations") || strings.Contains(asked, "deploy_templates") {
			t.Errorf("%s came later than 1.22", asked)
		}
	}
}

func TestHostileAnswers(t *testing.T) {
	const id = "33333333-0000-4000-8000-000000000001"
	tests := []struct {
		name   string
		answer func(w http.ResponseWriter, r *http.Request)
		want   string // in the error
	}{
		{name: "no versions", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-OpenStack-Ironic-API-Maximum-Version", "2.4 or so")
		}, want: "is no Ironic"},
		{name: "sends us elsewhere", answer: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://elsewhere.example/", http.StatusFound)
		}, want: "sends us elsewhere"},
		{name: "no JSON", answer: func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, want: "no JSON"},
		{name: "no list", answer: func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"nodes": {}}`) }, want: "no list of nodes"},
		{name: "the same page for ever", answer: func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"nodes": [{"uuid": %q}], "next": "x"}`, id)
		}, want: "gives the same again"},
		{name: "more, and nothing", answer: func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"nodes": [], "next": "x"}`) }, want: "gives the same again"},
		{name: "endless", answer: func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"nodes": [`)
			blank := strings.Repeat(" ", 1<<20)
			for range maxAnswer>>20 + 1 {
				if _, err := fmt.Fprint(w, blank); err != nil {
					return
				}
			}
		}, want: "longer than 64 MiB"},
		{name: "an error with control characters", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			inner, _ := json.Marshal(map[string]any{"faultstring": "no \x1b[2Jluck"})
			_ = json.NewEncoder(w).Encode(map[string]string{"error_message": string(inner)})
		}, want: "answers 500: no  [2Jluck"},
		{name: "401", answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, want: "--basic-user"},
		{name: "403", answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, want: "administrator"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-OpenStack-Ironic-API-Maximum-Version", "1.82")
				if r.URL.Path == "/v1" && tt.name != "no versions" && tt.name != "sends us elsewhere" {
					return
				}
				tt.answer(w, r)
			}))
			defer s.Close()
			c, err := NewClient(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = c.Read(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestURLs(t *testing.T) {
	for text, want := range map[string]string{
		"http://h:6385": "http://h:6385", "http://h:6385/": "http://h:6385", "https://h/baremetal/v1/": "https://h/baremetal",
	} {
		if c, err := NewClient(text); err != nil || c.base != want {
			t.Errorf("%s: %v, %v; want %s", text, c, err, want)
		}
	}
	for _, text := range []string{"", "h:6385", "ftp://h", "http://", "http://u:p@h", "http://h/?x=y", "http://\x00"} {
		if c, err := NewClient(text); err == nil {
			t.Errorf("%q is taken: %+v", text, c)
		} else if strings.Contains(err.Error(), "u:p") {
			t.Errorf("%q: the error shows the password: %v", text, err)
		}
	}
}

func TestBasicLogin(t *testing.T) {
	for name, l := range map[string]Login{
		"flags":     {BasicUser: "admin", BasicPassword: "hunter2", Env: env(nil)},
		"variables": {Env: env(map[string]string{"OS_AUTH_TYPE": "http_basic", "OS_USERNAME": "admin", "OS_PASSWORD": "hunter2"})},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRecorded(t)
			r.check = func(req *http.Request) bool {
				user, password, ok := req.BasicAuth()
				return ok && user == "admin" && password == "hunter2"
			}
			c := r.client()
			if err := l.Apply(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Read(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestKeystoneLogin(t *testing.T) {
	keystone := newKeystone(t)
	dir := t.TempDir()
	cloudsFile := filepath.Join(dir, "clouds.yaml")
	text := fmt.Sprintf("clouds: {site: {auth: {auth_url: %q, username: admin, password: hunter2, project_name: service, user_domain_name: Default, project_domain_name: Default}}}\n", keystone.URL+"/v3")
	if err := os.WriteFile(cloudsFile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	openrc := map[string]string{
		"OS_AUTH_URL": keystone.URL + "/v3", "OS_USERNAME": "admin", "OS_PASSWORD": "hunter2", "OS_PROJECT_NAME": "service",
		"OS_USER_DOMAIN_NAME": "Default", "OS_PROJECT_DOMAIN_NAME": "Default",
	}
	wrong := map[string]string{}
	for k, v := range openrc {
		wrong[k] = v
	}
	wrong["OS_PASSWORD"] = "hunter3"
	tests := []struct {
		name string
		env  map[string]string
		want string // in the error
	}{
		{name: "variables", env: openrc},
		{name: "clouds.yaml", env: map[string]string{"OS_CLOUD": "site", "OS_CLIENT_CONFIG_FILE": cloudsFile}},
		{name: "clouds.yaml where it lies", env: map[string]string{"OS_CLOUD": "site"}},
		{name: "wrong password", env: wrong, want: "does not let us in"},
		{name: "no such cloud", env: map[string]string{"OS_CLOUD": "nowhere"}, want: "nowhere"},
		{name: "no such file", env: map[string]string{"OS_CLOUD": "site", "OS_CLIENT_CONFIG_FILE": filepath.Join(dir, "none")}, want: "not found"},
		{name: "no such authority", env: map[string]string{"OS_CACERT": filepath.Join(dir, "none")}, want: "OS_CACERT"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRecorded(t)
			r.check = func(req *http.Request) bool { return req.Header.Get("X-Auth-Token") == "token-of-admin" }
			c := r.client()
			err := Login{Env: env(tt.env), Dir: dir}.Apply(t.Context(), c)
			if err == nil {
				_, err = c.Read(t.Context())
			}
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

func env(m map[string]string) func(string) string { return func(k string) string { return m[k] } }

// newKeystone knows one user, as Keystone's v3 does.
func newKeystone(t *testing.T) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/v3/auth/tokens" {
			http.NotFound(w, r)
			return
		}
		var body struct {
			Auth struct {
				Identity struct {
					Password struct {
						User struct {
							Name, Password string
							Domain         struct{ Name string }
						}
					}
				}
				Scope struct {
					Project struct {
						Name   string
						Domain struct{ Name string }
					}
				}
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		u, p := body.Auth.Identity.Password.User, body.Auth.Scope.Project
		if u.Name != "admin" || u.Password != "hunter2" || u.Domain.Name != "Default" || p.Name != "service" || p.Domain.Name != "Default" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("X-Subject-Token", "token-of-admin")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, `{"token": {"expires_at": "2099-01-01T00:00:00.000000Z", "catalog": []}}`)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestReadCredentials(t *testing.T) {
	got, err := ReadCredentials(strings.NewReader("password,Name,username\n\" a,b\",w1,root\nx,33333333-0000-4000-8000-00000000000A,admin\n"))
	want := Credentials{"w1": {"root", " a,b"}, "33333333-0000-4000-8000-00000000000a": {"admin", "x"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v; -want +got:\n%s", err, diff)
	}
	for text, want := range map[string]string{
		"":                                       "line",
		"name,password\n":                        "name, username and password",
		"name,username,secret\n":                 "line 1",
		"name,username,password\nw1,root\n":      "line 2",
		"name,username,password\nw1,,hunter2\n":  "line 2: name, username and password",
		"name,username,password\nw,r,x\nw,r,y\n": "line 3: w is there twice",
		"name,username,password\nw,r,hun\"ter\n": "line 2",
	} {
		if _, err := ReadCredentials(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hun") {
			t.Errorf("%q: %v, want %q in it", text, err, want)
		}
	}
}

// FuzzNode: whatever a node looks like, it is read, refused or made, and shows nothing
// that moves a cursor.
func FuzzNode(f *testing.F) {
	text, err := os.ReadFile("testdata/nodes.json")
	if err != nil {
		f.Fatal(err)
	}
	var doc struct{ Nodes []json.RawMessage }
	if err := json.Unmarshal(text, &doc); err != nil {
		f.Fatal(err)
	}
	for _, n := range doc.Nodes {
		f.Add([]byte(n))
	}
	f.Add([]byte(`{"uuid": "33333333-0000-4000-8000-000000000001", "driver": "redfish", "provision_state": "active", "driver_info": {"redfish_address": 5}}`))
	f.Add([]byte(`{"uuid": "33333333-0000-4000-8000-000000000001", "driver": "redfish\u001b[2J", "provision_state": "available", "properties": {"root_device": {"size": {}}}}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		n := readNode(text)
		p := Convert(&Site{Nodes: []Node{n}}, Options{Namespace: "n", Secret: "s"})
		v := p.Nodes[0]
		for _, shown := range append([]string{v.Name, v.UUID, v.State, v.Refused, v.Driver, v.Power}, v.Notes...) {
			if strings.ContainsAny(shown, "\x1b\n\r\x00") {
				t.Errorf("shows %q", shown)
			}
		}
		if v.Refused == "" && v.Host == "" {
			t.Errorf("neither taken nor refused: %+v", v)
		}
	})
}
