package transport

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// ErrUntrusted says that the server is not the one the boot script named.
var ErrUntrusted = errors.New("the server did not prove itself by the pinned CA")

// client makes an HTTP client that accepts the pinned server alone. Each has a
// session cache of its own: a session begun without a client certificate,
// resumed, would have none.
func (t *Transport) client(host string, cert *tls.Certificate) *http.Client {
	conf := &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: host,
		// Verification is VerifyConnection's: the roots are known by digest
		// only, and the clock is not believed. It runs on resumption too.
		InsecureSkipVerify: true, //nolint:gosec // see VerifyConnection
		VerifyConnection: func(cs tls.ConnectionState) error {
			return verify(cs.PeerCertificates, t.pin, host)
		},
		ClientSessionCache: tls.NewLRUClientSessionCache(2),
	}
	if cert != nil {
		conf.Certificates = []tls.Certificate{*cert}
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:         t.dial,
			TLSClientConfig:     conf,
			TLSHandshakeTimeout: callTimeout,
			// One connection for the poll and the progress beside it; a poll
			// that is given up costs a stream, not the connection.
			ForceAttemptHTTP2: true,
			HTTP2:             &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
			IdleConnTimeout:   90 * time.Second,
		},
		CheckRedirect: noRedirect,
	}
}

// verify accepts a chain that ends in the CA with that pin and whose leaf is for
// host. The time of judgement is the latest NotBefore of the chain: a machine
// whose clock is years off must still get to hello.
func verify(chain []*x509.Certificate, pin, host string) error {
	if len(chain) == 0 {
		return ErrUntrusted
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	found := false
	at := chain[0].NotBefore
	for _, c := range chain {
		if c.NotBefore.After(at) {
			at = c.NotBefore
		}
		sum := sha256.Sum256(c.Raw)
		if hex.EncodeToString(sum[:]) == pin && c.IsCA && c.BasicConstraintsValid {
			roots.AddCert(c)
			found = true
			continue
		}
		between.AddCert(c)
	}
	if !found {
		return fmt.Errorf("%w: none of its %d certificates is that CA", ErrUntrusted, len(chain))
	}
	_, err := chain[0].Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between, CurrentTime: at})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	return nil
}
