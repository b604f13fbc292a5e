package serve

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ingot-metal/ingot/pkg/auth"
	"github.com/ingot-metal/ingot/pkg/httpboot"
	"github.com/ingot-metal/ingot/pkg/rest"
)

// The ways by which the REST door finds out who asks.
const (
	NoAuth         = "noauth"
	HTTPBasic      = "http_basic"
	KeystoneAuth   = "keystone"
	KubernetesAuth = "kubernetes"
)

// RESTDoor says who is let in at the REST door, and how it is reached.
type RESTDoor struct {
	Auth string // one of the above; empty: NoAuth
	// ForceNoAuth lets anybody in who reaches an address other than loopback.
	ForceNoAuth bool
	// Hosts are more names by which the door is known, where there is no login.
	Hosts []string

	TLS               bool   // with a certificate of our own authority
	CertFile, KeyFile string // or with this one

	Htpasswd string // of HTTPBasic

	Clouds, Cloud  string // clouds.yaml and which of its clouds
	KeystoneURI    string // that clients are told of; empty: the cloud's auth_url
	ServiceProject string // whose services are trusted with all nodes; empty: none
}

// Check says what is wrong with it.
func (d RESTDoor) Check() error {
	need := map[string][2]string{HTTPBasic: {"--rest-htpasswd-file", d.Htpasswd}, KeystoneAuth: {"--rest-clouds-file", d.Clouds}}
	switch {
	case !slices.Contains([]string{"", NoAuth, HTTPBasic, KeystoneAuth, KubernetesAuth}, d.Auth):
		return fmt.Errorf("--rest-auth %q: want noauth, http_basic, keystone or kubernetes", d.Auth)
	case need[d.Auth][0] != "" && need[d.Auth][1] == "":
		return fmt.Errorf("--rest-auth %s: %s is wanted too", d.Auth, need[d.Auth][0])
	case (d.CertFile == "") != (d.KeyFile == ""):
		return errors.New("--rest-tls-cert-file and --rest-tls-private-key-file go together: give both")
	}
	for _, h := range d.Hosts {
		if h == "" || strings.ContainsAny(h, "/:* ") {
			return fmt.Errorf("--rest-allowed-hosts %q: want a name or an address, without a port", h)
		}
	}
	if u, err := url.Parse(d.KeystoneURI); d.KeystoneURI != "" && (err != nil || u.Scheme == "" || u.Host == "" || strings.ContainsAny(d.KeystoneURI, "\"\r\n")) {
		return errors.New("--rest-keystone-uri: want https://host[:port][/path]")
	}
	return nil
}

// names by which the door is known, beside localhost and its addresses.
func (d RESTDoor) names() []string {
	var out []string
	if name, err := os.Hostname(); err == nil {
		out = append(out, strings.ToLower(name))
	}
	for _, h := range d.Hosts {
		out = append(out, strings.ToLower(h))
	}
	return out
}

func (d RESTDoor) noAuth() bool { return d.Auth == "" || d.Auth == NoAuth }

func (d RESTDoor) tls() bool { return d.TLS || d.CertFile != "" }

// allowed refuses what would hand the machines to whoever comes by, or a password to
// whoever listens.
func (d RESTDoor) allowed(addr net.Addr) error {
	at, ok := addr.(*net.TCPAddr)
	switch {
	case ok && at.IP.IsLoopback():
		return nil
	case d.noAuth() && !d.ForceNoAuth:
		return fmt.Errorf("--rest-address %s: with --rest-auth noauth whoever reaches it has all machines: choose http_basic, keystone or kubernetes, a loopback address, or, behind something else that asks who comes, --rest-force-noauth", addr)
	case !d.noAuth() && !d.tls():
		return fmt.Errorf("--rest-address %s: --rest-auth %s sends passwords or tokens, which need TLS on any address but loopback: give --rest-tls, or --rest-tls-cert-file and --rest-tls-private-key-file", addr, d.Auth)
	}
	return nil
}

// authenticate is how the door finds out who asks; nil: everybody is the
// administrator.
func (s *service) authenticate() (rest.Authenticate, error) {
	switch d := s.RESTDoor; d.Auth {
	case HTTPBasic:
		b, err := auth.NewBasic(d.Htpasswd, time.Now, s.Log)
		if err != nil {
			return nil, err
		}
		return rest.Basic(b, s.Log), nil
	case KeystoneAuth:
		k, err := auth.NewKeystone(d.Clouds, d.Cloud, time.Now, s.Log)
		if err != nil {
			return nil, err
		}
		return rest.Keystone(k, d.KeystoneURI, d.ServiceProject, s.Log), nil
	case KubernetesAuth:
		return rest.Kubernetes(auth.NewReviews(s.direct, time.Now), s.Log), nil
	}
	return nil, nil
}

// restServer puts what guards the door before it, and returns on what it listens.
func (s *service) restServer(door http.Handler) (*http.Server, net.Listener, error) {
	d := s.RESTDoor
	switch {
	case d.noAuth():
		door = rest.Guard{Hosts: d.names()}.Wrap(door)
	case d.Auth == HTTPBasic: // a browser remembers it
		door = rest.Guard{AnyHost: true}.Wrap(door)
	}
	srv := httpboot.NewServer(door, s.Log)
	srv.ReadTimeout = restReadTimeout
	srv.MaxHeaderBytes = restHeaders
	if !d.tls() {
		return srv, s.l.rest, nil
	}
	certs := &certCache{ca: s.ca, names: d.names(), byIP: map[string]*tls.Certificate{}}
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certs.get}
	if d.CertFile != "" {
		pair, err := auth.NewKeyPair(d.CertFile, d.KeyFile, time.Now, s.Log)
		if err != nil {
			return nil, nil, err
		}
		config.GetCertificate = pair.Get
	}
	return srv, tls.NewListener(s.l.rest, s.TLS.apply(config)), nil
}

const (
	restReadTimeout = time.Minute // config drives have up to 64 MiB
	restHeaders     = 32 << 10    // tokens
)

func (s *service) restURL() string {
	scheme := "http://"
	if s.RESTDoor.tls() {
		scheme = "https://"
	}
	return scheme + s.l.rest.Addr().String()
}
