package auth

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Cloud is what OpenStack's clouds.yaml says of one cloud, as far as it is needed to
// ask its Keystone.
type Cloud struct {
	Auth struct {
		AuthURL           string `json:"auth_url"`
		Username          string `json:"username"`
		UserID            string `json:"user_id"`
		Password          string `json:"password"`
		UserDomainID      string `json:"user_domain_id"`
		UserDomainName    string `json:"user_domain_name"`
		ProjectID         string `json:"project_id"`
		ProjectName       string `json:"project_name"`
		ProjectDomainID   string `json:"project_domain_id"`
		ProjectDomainName string `json:"project_domain_name"`
		SystemScope       string `json:"system_scope"`
		CredentialID      string `json:"application_credential_id"`
		CredentialSecret  string `json:"application_credential_secret"`
	} `json:"auth"`
	CACert string `json:"cacert"`
	Verify *bool  `json:"verify"`
}

// ReadCloud reads one cloud of a clouds.yaml; without a name, the only one.
func ReadCloud(path, name string) (*Cloud, error) {
	text, err := readSmall(path, 1<<20)
	if err != nil {
		return nil, err
	}
	c, err := parseCloud(text, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func parseCloud(text []byte, name string) (*Cloud, error) {
	var file struct {
		Clouds map[string]*Cloud `json:"clouds"`
	}
	// The file has secrets in it, and errors of the parser quote.
	if yaml.Unmarshal(text, &file) != nil {
		return nil, errors.New("not a clouds.yaml")
	}
	if name == "" && len(file.Clouds) == 1 {
		name = slices.Collect(maps.Keys(file.Clouds))[0]
	}
	c := file.Clouds[name]
	if c == nil {
		return nil, fmt.Errorf("there is no cloud %q: name one of %s", name, strings.Join(slices.Sorted(maps.Keys(file.Clouds)), ", "))
	}
	a := &c.Auth
	u, err := url.Parse(a.AuthURL)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "":
		return nil, fmt.Errorf("cloud %q: auth_url: want https://host[:port][/path]", name)
	case c.Verify != nil && !*c.Verify:
		return nil, fmt.Errorf("cloud %q: verify: false is not heeded: name the authority of Keystone's certificate as cacert", name)
	case a.CredentialID != "" && a.CredentialSecret == "", a.CredentialID == "" && (a.Password == "" || a.Username == "" && a.UserID == ""):
		return nil, fmt.Errorf("cloud %q: want a user with a password, or an application credential's id and secret", name)
	}
	a.AuthURL = strings.TrimSuffix(strings.TrimRight(a.AuthURL, "/"), "/v3")
	if a.UserID == "" && a.UserDomainID == "" && a.UserDomainName == "" {
		a.UserDomainID = "default"
	}
	if a.ProjectName != "" && a.ProjectDomainID == "" && a.ProjectDomainName == "" {
		a.ProjectDomainID, a.ProjectDomainName = a.UserDomainID, a.UserDomainName
	}
	return c, nil
}

// request is the body that asks for a token (Keystone's API v3, "Authentication and
// token management").
func (c *Cloud) request() map[string]any {
	type object = map[string]any
	a := &c.Auth
	if a.CredentialID != "" {
		// It has its scope in itself.
		return object{"auth": object{"identity": object{
			"methods":                []string{"application_credential"},
			"application_credential": object{"id": a.CredentialID, "secret": a.CredentialSecret},
		}}}
	}
	user := object{"password": a.Password}
	if a.UserID != "" {
		user["id"] = a.UserID
	} else {
		user["name"], user["domain"] = a.Username, domain(a.UserDomainID, a.UserDomainName)
	}
	auth := object{"identity": object{"methods": []string{"password"}, "password": object{"user": user}}}
	switch {
	case a.SystemScope != "":
		auth["scope"] = object{"system": object{"all": true}}
	case a.ProjectID != "":
		auth["scope"] = object{"project": object{"id": a.ProjectID}}
	case a.ProjectName != "":
		auth["scope"] = object{"project": object{"name": a.ProjectName, "domain": domain(a.ProjectDomainID, a.ProjectDomainName)}}
	}
	return object{"auth": auth}
}

func domain(id, name string) map[string]any {
	if id != "" {
		return map[string]any{"id": id}
	}
	return map[string]any{"name": name}
}

// client reaches Keystone. Redirects are not followed: a token would go with them.
func (c *Cloud) client() (*http.Client, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	t.MaxIdleConnsPerHost = validationsAtOnce
	if c.CACert != "" {
		text, err := readSmall(c.CACert, 1<<20)
		if err != nil {
			return nil, fmt.Errorf("cacert: %w", err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("cacert %s has no certificate in it", c.CACert)
		}
	}
	return &http.Client{
		Transport: t, Timeout: keystoneWait,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}
