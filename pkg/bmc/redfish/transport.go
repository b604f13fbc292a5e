package redfish

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
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
func newClient(host string, o Options) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: connectTimeout}).DialContext,
			TLSClientConfig:        tlsConfig(host, o),
			TLSHandshakeTimeout:    connectTimeout,
			ResponseHeaderTimeout:  headerTimeout,
			IdleConnTimeout:        idleTimeout,
			MaxIdleConnsPerHost:    maxInFlight,
			MaxConnsPerHost:        maxInFlight,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true,
		},
		CheckRedirect: checkRedirect,
	}
}

func tlsConfig(host string, o Options) *tls.Config {
	c := &tls.Config{
		ServerName:         host,
		RootCAs:            o.RootCAs,
		InsecureSkipVerify: o.Insecure || len(o.PinSPKI) > 0, //nolint:gosec // by explicit choice, or replaced by the pin below
		ClientSessionCache: tls.NewLRUClientSessionCache(2),
	}
	if len(o.PinSPKI) > 0 {
		c.VerifyConnection = func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return &pinError{}
			}
			got := sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo)
			if !bytes.Equal(got[:], o.PinSPKI) {
				return &pinError{got: got[:]}
			}
			return nil
		}
	}
	return c
}

// pinError is a BMC with another key than the one pinned.
type pinError struct{ got []byte }

func (e *pinError) Error() string {
	return "the public key is not the one pinned, its SHA-256 is " + hex.EncodeToString(e.got)
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
