package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// admin is the bootstrapped administrator of a Keystone.
type admin struct {
	*testing.T
	url, token string
}

// call sends a request as the administrator, and decodes the answer.
func (a *admin) call(method, path string, body any) (map[string]any, http.Header) {
	a.Helper()
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			a.Fatal(err)
		}
	}
	r, err := http.NewRequestWithContext(a.Context(), method, a.url+"/v3"+path, bytes.NewReader(text))
	if err != nil {
		a.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Auth-Token", a.token)
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		a.Fatal(err)
	}
	defer w.Body.Close()
	all, err := io.ReadAll(w.Body)
	if err != nil || w.StatusCode >= 300 {
		a.Fatalf("%s %s: %d %s %v", method, path, w.StatusCode, all, err)
	}
	var out map[string]any
	if len(all) > 0 {
		if err := json.Unmarshal(all, &out); err != nil {
			a.Fatal(err)
		}
	}
	return out, w.Header
}

// make creates something and returns its id.
func (a *admin) make(path, kind string, fields map[string]any) string {
	a.Helper()
	out, _ := a.call(http.MethodPost, path, map[string]any{kind: fields})
	return out[kind].(map[string]any)["id"].(string)
}

// login returns a token by a cloud's credential.
func (a *admin) login(c *Cloud) string {
	a.Helper()
	_, h := (&admin{a.T, a.url, ""}).call(http.MethodPost, "/auth/tokens", c.request())
	return h.Get("X-Subject-Token")
}

// TestRealKeystone validates tokens of a Keystone that runs: INGOT_KEYSTONE is its
// URL, INGOT_KEYSTONE_PASSWORD the password of the user admin that keystone-manage
// bootstrap made. docs/howto/rest-auth.md's commands are what it does.
func TestRealKeystone(t *testing.T) {
	url, password := os.Getenv("INGOT_KEYSTONE"), os.Getenv("INGOT_KEYSTONE_PASSWORD")
	if url == "" {
		t.Skip("INGOT_KEYSTONE names no Keystone")
	}
	cloud := func(text string) *Cloud {
		t.Helper()
		c, err := parseCloud([]byte("clouds: {x: {auth: {auth_url: '"+url+"', "+text+"}}}"), "")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a := &admin{t, url, ""}
	system := cloud("username: admin, password: '" + password + "', system_scope: all")
	a.token = a.login(system)
	tag := uuid.NewString()[:8]
	user := a.make("/users", "user", map[string]any{"name": "ingot-" + tag, "password": "pw-" + tag, "domain_id": "default"})
	project := a.make("/projects", "project", map[string]any{"name": "service-" + tag, "domain_id": "default"})
	role := func(name string) string {
		out, _ := a.call(http.MethodGet, "/roles?name="+name, nil)
		if list := out["roles"].([]any); len(list) > 0 {
			return list[0].(map[string]any)["id"].(string)
		}
		return a.make("/roles", "role", map[string]any{"name": name})
	}
	a.call(http.MethodPut, "/projects/"+project+"/users/"+user+"/roles/"+role("service"), nil)
	ada := a.make("/users", "user", map[string]any{"name": "ada-" + tag, "password": "pw", "domain_id": "default"})
	a.call(http.MethodPut, "/projects/"+project+"/users/"+ada+"/roles/"+role("member"), nil)

	own := cloud(fmt.Sprintf("username: ingot-%s, password: pw-%s, project_name: service-%s, user_domain_name: Default", tag, tag, tag))
	credential, _ := (&admin{t, url, a.login(own)}).call(http.MethodPost, "/users/"+user+"/application_credentials", map[string]any{"application_credential": map[string]any{"name": tag}})
	cred := credential["application_credential"].(map[string]any)
	for name, auth := range map[string]string{
		"password":               fmt.Sprintf("username: ingot-%s, password: pw-%s, project_name: service-%s, user_domain_name: Default", tag, tag, tag),
		"application credential": fmt.Sprintf("application_credential_id: %v, application_credential_secret: '%v'", cred["id"], cred["secret"]),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "clouds.yaml")
			if err := os.WriteFile(path, []byte("clouds: {x: {auth: {auth_url: '"+url+"/v3', "+auth+"}}}"), 0o600); err != nil {
				t.Fatal(err)
			}
			clock, log := &clock{at: time.Now()}, &bytes.Buffer{}
			k, err := NewKeystone(path, "", clock.now, slog.New(slog.NewTextHandler(log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			refused := func(token string) {
				t.Helper()
				var r Refused
				if who, err := k.Validate(t.Context(), token); !errors.As(err, &r) {
					t.Errorf("%+v, %v, log %s", who, err, log)
				}
			}
			token := a.login(system)
			if got, err := k.Validate(t.Context(), token); err != nil || !got.System || got.User != "admin" || !slices.Contains(got.Roles, "admin") || !slices.Contains(got.Roles, "reader") || got.ProjectID != "" {
				t.Errorf("the administrator: %+v, %v, log %s", got, err, log)
			}
			member := a.login(cloud(fmt.Sprintf("username: ada-%s, password: pw, project_id: %s", tag, project)))
			got, err := k.Validate(t.Context(), member)
			if err != nil || got.System || got.User != "ada-"+tag || got.UserID != ada || got.ProjectID != project || got.Project != "service-"+tag || !slices.Contains(got.Roles, "member") {
				t.Errorf("ada: %+v, %v, log %s", got, err, log)
			}
			refused("gAAAAABmade-up")
			refused("x")
			// A revoked token is known until the answer is five minutes old.
			r, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, url+"/v3/auth/tokens", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-Auth-Token", a.token)
			r.Header.Set("X-Subject-Token", member)
			w, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			w.Body.Close()
			if _, err := k.Validate(t.Context(), member); err != nil {
				t.Error(err)
			}
			clock.pass(tokenFor)
			refused(member)
			if text := log.String(); strings.Contains(text, "pw") || strings.Contains(text, member) {
				t.Errorf("a secret is in the log: %s", text)
			}
		})
	}
}
