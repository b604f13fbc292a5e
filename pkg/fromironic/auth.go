package fromironic

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
	"sigs.k8s.io/yaml"
)

// Login is who asks Ironic.
type Login struct {
	// BasicUser and BasicPassword are for an Ironic with http_basic.
	BasicUser, BasicPassword string
	// Env is where the openstack command line's variables are: OS_CLOUD, or
	// OS_AUTH_URL and its kin; OS_CACERT for all.
	Env func(string) string
	// Dir is where a clouds.yaml is looked for first.
	Dir string
}

// Apply has the client ask as Login says. Where it says nothing, it asks as nobody.
func (l Login) Apply(ctx context.Context, c *Client) error {
	cloud := l.Env("OS_CLOUD") != ""
	authType := l.Env("OS_AUTH_TYPE")
	config, err := l.tls()
	if err != nil {
		return err
	}
	c.HTTP = NewHTTP(transport(config))
	switch {
	case l.BasicUser != "":
		c.Sign = basic(l.BasicUser, l.BasicPassword)
		return nil
	case authType == "none", authType == "" && !cloud && l.Env("OS_AUTH_URL") == "":
		return nil
	case authType == "http_basic":
		if l.Env("OS_USERNAME") == "" {
			return errors.New("OS_AUTH_TYPE is http_basic, and there is no OS_USERNAME")
		}
		c.Sign = basic(l.Env("OS_USERNAME"), l.Env("OS_PASSWORD"))
		return nil
	}
	return l.keystone(ctx, c, config)
}

// keystone logs in as the openstack command line would.
func (l Login) keystone(ctx context.Context, c *Client, config *tls.Config) error {
	options, found, err := l.cloud()
	if err != nil {
		return err
	}
	if found != nil && config == nil {
		c.HTTP = NewHTTP(transport(found))
	}
	provider, err := openstack.NewClient(options.IdentityEndpoint)
	if err != nil {
		return fmt.Errorf("the URL of Keystone: %w", err)
	}
	login := *c.HTTP
	login.Transport = limited{c.HTTP.Transport}
	provider.HTTPClient = login
	if err := openstack.Authenticate(ctx, provider, options); err != nil {
		if gophercloud.ResponseCodeIs(err, http.StatusUnauthorized) {
			// The library's text repeats what was sent.
			return fmt.Errorf("Keystone at %s does not let us in (401): correct OS_USERNAME, OS_PASSWORD and its kin, or the entry in clouds.yaml", options.IdentityEndpoint) //nolint:staticcheck // a name
		}
		return fmt.Errorf("logging in to Keystone at %s: %s", options.IdentityEndpoint, clip(err.Error()))
	}
	c.Sign = func(r *http.Request) error {
		r.Header.Set("X-Auth-Token", provider.Token())
		return nil
	}
	return nil
}

// cloud is the entry of clouds.yaml that OS_CLOUD names, or one made of OS_*.
func (l Login) cloud() (gophercloud.AuthOptions, *tls.Config, error) {
	name := l.Env("OS_CLOUD")
	var more []clouds.ParseOption
	if name != "" {
		path, err := l.cloudsFile()
		if err != nil {
			return gophercloud.AuthOptions{}, nil, err
		}
		more = append(more, clouds.WithLocations(path))
	} else {
		name = "environment"
		text, err := yaml.Marshal(map[string]any{"clouds": map[string]any{name: l.entry()}})
		if err != nil {
			return gophercloud.AuthOptions{}, nil, err
		}
		more = append(more, clouds.WithCloudsYAML(strings.NewReader(string(text))))
	}
	options, _, config, err := clouds.Parse(append(more, clouds.WithCloudName(name), clouds.WithRegion(l.Env("OS_REGION_NAME")))...)
	if err != nil {
		return options, nil, fmt.Errorf("the cloud %s: %w", name, err)
	}
	if options.IdentityEndpoint == "" {
		return options, nil, fmt.Errorf("the cloud %s has no auth_url", name)
	}
	return options, config, nil
}

// cloudsFile looks where the openstack command line looks.
func (l Login) cloudsFile() (string, error) {
	if path := l.Env("OS_CLIENT_CONFIG_FILE"); path != "" {
		return path, nil
	}
	home := l.Env("XDG_CONFIG_HOME")
	if home == "" {
		home = filepath.Join(l.Env("HOME"), ".config")
	}
	places := []string{filepath.Join(l.Dir, "clouds.yaml"), filepath.Join(home, "openstack", "clouds.yaml"), "/etc/openstack/clouds.yaml"}
	for _, path := range places {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("OS_CLOUD is %s, and there is no clouds.yaml; looked for %s", l.Env("OS_CLOUD"), strings.Join(places, ", "))
}

// entry is an entry of clouds.yaml made of variables.
func (l Login) entry() map[string]any {
	auth := map[string]any{}
	for _, key := range []string{
		"auth_url", "token", "username", "user_id", "password", "application_credential_id", "application_credential_name",
		"application_credential_secret", "system_scope", "project_name", "project_id", "user_domain_name", "user_domain_id",
		"project_domain_name", "project_domain_id", "domain_name", "domain_id", "trust_id",
	} {
		if v := l.Env("OS_" + strings.ToUpper(key)); v != "" {
			auth[key] = v
		}
	}
	return map[string]any{"auth": auth}
}

// tls is the configuration that OS_CACERT asks for; nil: none.
func (l Login) tls() (*tls.Config, error) {
	path := l.Env("OS_CACERT")
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("OS_CACERT: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("OS_CACERT: %s holds no certificate", path)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

func transport(config *tls.Config) http.RoundTripper {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true,
		MaxIdleConns: 4, ResponseHeaderTimeout: requestTimeout, MaxResponseHeaderBytes: 1 << 20,
	}
}

func basic(user, password string) func(*http.Request) error {
	return func(r *http.Request) error {
		r.SetBasicAuth(user, password)
		return nil
	}
}

// limited bounds what Keystone may answer to a library that reads all of it.
type limited struct{ http.RoundTripper }

func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := l.RoundTripper.RoundTrip(r)
	if err == nil {
		res.Body = &bounded{ReadCloser: res.Body, left: 4 << 20}
	}
	return res, err
}
