package serve

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/metric"
)

// TLS bounds what the HTTPS door and the metrics' speak. The zero value leaves
// Go's choice from TLS 1.2 on.
type TLS struct {
	Min, Max uint16
	Suites   []uint16 // of TLS 1.2
	Curves   []tls.CurveID
}

// apply sets the bounds in c, and returns it.
func (t TLS) apply(c *tls.Config) *tls.Config {
	c.MinVersion = max(c.MinVersion, t.Min, tls.VersionTLS12)
	c.MaxVersion, c.CipherSuites, c.CurvePreferences = t.Max, t.Suites, t.Curves
	return c
}

// webhookTimeout bounds the check whether the webhooks' door answers.
const webhookTimeout = 5 * time.Second

// webhookAnswers is ready once the door that has the webhooks completes a TLS
// handshake: until then the API's calls would fail, and with them every write of a
// BareMetalHost.
func (s *service) webhookAnswers(r *http.Request) error {
	roots := x509.NewCertPool()
	roots.AddCert(s.ca.Certificate())
	d := tls.Dialer{
		NetDialer: &net.Dialer{Timeout: webhookTimeout},
		Config:    &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}
	at := s.l.https
	if s.l.webhook != nil {
		at = s.l.webhook
	}
	c, err := d.DialContext(r.Context(), "tcp", net.JoinHostPort(reachable(at), strconv.Itoa(port(at))))
	if err != nil {
		return fmt.Errorf("the webhooks do not answer: %w", err)
	}
	return c.Close()
}

// bmcClass is the class of a BMC's error for the metrics; empty: none.
func bmcClass(err error) string {
	if err == nil {
		return ""
	}
	return string(bmc.ClassOf(err))
}

// countWrites counts what is written to the Kubernetes API on the wire.
func countWrites(counts *metric.Set) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			resp, err := next.RoundTrip(r)
			if r.Method == http.MethodGet || r.Method == http.MethodHead {
				return resp, err
			}
			result := "ok"
			switch {
			case err != nil:
				result = "error"
			case resp.StatusCode == http.StatusConflict:
				result = "conflict"
			case resp.StatusCode >= http.StatusBadRequest:
				result = "error"
			}
			counts.APIWrite(resource(r.URL.Path), result)
			return resp, err
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// resource is what a path of the Kubernetes API names: baremetalhosts, or
// baremetalhosts/status. It is one of the few that we write, never an object's
// name.
func resource(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case len(parts) > 2 && parts[0] == "api": // api/v1/…
		parts = parts[2:]
	case len(parts) > 3 && parts[0] == "apis": // apis/GROUP/VERSION/…
		parts = parts[3:]
	default:
		return "other"
	}
	if len(parts) > 2 && parts[0] == "namespaces" {
		parts = parts[2:]
	}
	if !slices.Contains(written, parts[0]) {
		return "other"
	}
	if len(parts) > 2 && parts[2] == "status" {
		return parts[0] + "/status"
	}
	return parts[0]
}

// written are the resources that have a count of their own.
var written = []string{
	"baremetalhosts", "hostrecords", "hosttimelines", "hardwaredata", "hostfirmwaresettings", "firmwareschemas",
	"hostfirmwarecomponents", "hostupdatepolicies", "dataimages", "preprovisioningimages", "bmceventsubscriptions",
	"hostclaims", "provisioningnetworks", "secrets", "events", "leases", "configmaps",
	"tokenreviews", "subjectaccessreviews",
}
