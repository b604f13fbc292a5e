package redfish

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

const (
	connectTimeout = 10 * time.Second
	headerTimeout  = 60 * time.Second
	// idleTimeout keeps a connection while there is work, and no longer: some
	// BMCs cut what idles, and 10,000 open sockets are no use to anybody.
	idleTimeout  = 6 * time.Second
	maxRedirects = 3
)

// newClient makes the HTTP client of one BMC. There is no proxy from the
// environment (credentials would pass through it), no compression (ETags of
// some BMCs change with it) and no HTTP/2 (maxInFlight leaves it no point).
func newClient(security *tls.Config) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: connectTimeout}).DialContext,
			TLSClientConfig:        security,
			TLSHandshakeTimeout:    connectTimeout,
			IdleConnTimeout:        idleTimeout,
			MaxIdleConnsPerHost:    maxInFlight,
			MaxConnsPerHost:        maxInFlight,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true,
		},
		CheckRedirect: checkRedirect,
	}
}

var errRedirect = errors.New("redirect refused")

// checkRedirect follows a redirect on the same host, for the BMCs that insist on
// a trailing slash, and none that turns a write into a read (301 to 303 do).
func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0]
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("%w: more than %d in a row", errRedirect, maxRedirects)
	case req.URL.Scheme != first.URL.Scheme:
		return fmt.Errorf("%w: it leads to %s (write +%s in the address)", errRedirect, clip(req.URL.Scheme), clip(req.URL.Scheme))
	case req.URL.Host != first.URL.Host:
		return fmt.Errorf("%w: it leads to another host, %s", errRedirect, clip(req.URL.Host))
	case req.Method != first.Method:
		return fmt.Errorf("%w: it turns a %s into a %s", errRedirect, first.Method, req.Method)
	}
	return nil
}
