package redfish

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// tlsConfig is how the BMC at host proves who it is: by a certificate authority,
// by its public key (pinned, or the first that was seen), or not at all.
func tlsConfig(host string, o Options, k *keyring, now func() time.Time) *tls.Config {
	c := &tls.Config{
		ServerName:         host,
		RootCAs:            o.RootCAs,
		InsecureSkipVerify: o.Insecure, //nolint:gosec // by explicit choice
		ClientSessionCache: tls.NewLRUClientSessionCache(2),
		// No hybrid with ML-KEM, which no BMC is known to speak: it costs a poll a
		// third of its CPU, and its ClientHello no longer fits into one packet.
		CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521},
		Time:             now,
		VerifyConnection: k.check,
	}
	byKey := len(o.PinSPKI) > 0 || o.TrustOnFirstUse
	if byKey {
		c.InsecureSkipVerify = true //nolint:gosec // the keyring looks at the key instead
	}
	if !o.Legacy {
		return c
	}
	c.MinVersion = tls.VersionTLS10
	c.CipherSuites = legacySuites()
	if !byKey && !o.Insecure {
		c.InsecureSkipVerify = true //nolint:gosec // verifyLegacy does it, and the name its own way
		c.VerifyConnection = func(s tls.ConnectionState) error {
			if err := verifyLegacy(s, host, o.RootCAs, now()); err != nil {
				return err
			}
			return k.check(s)
		}
	}
	return c
}

// legacySuites are the suites of TLS 1.2 and before that are no worse than
// forward secrecy's lack: RSA key exchange is what BMCs of before 2015 know. Go
// offers it only to who lists it.
func legacySuites() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
		tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA,
	}
}

// verifyLegacy checks a chain as crypto/tls does, but accepts the common name of
// a certificate that has no other names (RFC 2818 §3.1; RFC 9110 §4.3.4 ended it).
func verifyLegacy(s tls.ConnectionState, host string, roots *x509.CertPool, now time.Time) error {
	if len(s.PeerCertificates) == 0 {
		return &pinError{}
	}
	leaf, between := s.PeerCertificates[0], x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now})
	if err == nil {
		err = checkName(leaf, host)
	}
	if err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
	}
	return nil
}

func checkName(c *x509.Certificate, host string) error {
	if named(c) {
		return c.VerifyHostname(host)
	}
	want, name := strings.TrimSuffix(host, "."), c.Subject.CommonName
	if ip, err := netip.ParseAddr(want); err == nil {
		if got, err := netip.ParseAddr(name); err == nil && got == ip {
			return nil
		}
	} else if strings.EqualFold(name, want) {
		return nil
	} else if label, rest, found := strings.Cut(want, "."); found && label != "" && strings.EqualFold(name, "*."+rest) {
		return nil
	}
	return x509.HostnameError{Certificate: c, Host: host}
}

// named reports whether a certificate has subject alternative names.
func named(c *x509.Certificate) bool {
	return len(c.DNSNames)+len(c.IPAddresses)+len(c.EmailAddresses)+len(c.URIs) > 0
}

// keyring compares the BMC's public key with the one pinned, or with the first
// that was seen.
type keyring struct {
	first bool // trust on first use

	mu   sync.Mutex
	pin  []byte
	seen []byte // accepted last
}

func newKeyring(o Options) *keyring {
	return &keyring{pin: bytes.Clone(o.PinSPKI), first: o.TrustOnFirstUse && len(o.PinSPKI) == 0}
}

func (k *keyring) check(s tls.ConnectionState) error {
	if len(s.PeerCertificates) == 0 {
		return &pinError{}
	}
	got := sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.first && k.pin == nil {
		k.pin = got[:]
	}
	if len(k.pin) > 0 && !bytes.Equal(got[:], k.pin) {
		return &pinError{want: k.pin, got: got[:]}
	}
	k.seen = got[:]
	return nil
}

// SPKI is the SHA-256 of the public key (SubjectPublicKeyInfo) with which the BMC
// proved itself; nil before the first connection, and without TLS. Under
// TrustOnFirstUse the caller records it, and pins it from then on.
func (e *Endpoint) SPKI() []byte {
	e.keys.mu.Lock()
	defer e.keys.mu.Unlock()
	return bytes.Clone(e.keys.seen)
}

// pinError is a BMC with another key than the one pinned.
type pinError struct{ want, got []byte }

func (e *pinError) Error() string {
	return fmt.Sprintf("pinned SHA-256 %s, seen %s", hex.EncodeToString(e.want), hex.EncodeToString(e.got))
}

// classifyTLS recognises a certificate that is not trusted and a BMC too old to
// agree on a version. Each detail says what to do.
func (e *Endpoint) classifyTLS(out *bmc.Error, err error) bool {
	var verify *tls.CertificateVerificationError
	var pin *pinError
	var header tls.RecordHeaderError
	var remote *net.OpError
	switch {
	case errors.As(err, &verify):
		out.Class, out.Code, out.Detail = bmc.TLSIdentity, bmc.CodeTLSUntrusted, "the certificate is not trusted: "
		if len(verify.UnverifiedCertificates) == 0 {
			out.Detail += "there is none"
			return true
		}
		leaf := verify.UnverifiedCertificates[0]
		sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
		out.Detail += fmt.Sprintf("%s (valid %s to %s; public key SHA-256 %s, which can be pinned)", e.reason(leaf, verify.Err),
			leaf.NotBefore.UTC().Format(time.DateOnly), leaf.NotAfter.UTC().Format(time.DateOnly), hex.EncodeToString(sum[:]))
	case errors.As(err, &pin):
		out.Class, out.Code = bmc.TLSIdentity, bmc.CodeTLSUntrusted
		out.Detail = "the BMC has another public key than before (if it was replaced, or given a new certificate, on purpose: pin the new key)"
	case errors.As(err, &header):
		out.Class, out.Code, out.Detail = bmc.Protocol, "", "the port does not speak TLS (write +http in the address if it is meant so)"
	case errors.As(err, &remote) && remote.Op == "remote error", strings.Contains(err.Error(), "tls: server selected unsupported protocol version"),
		strings.Contains(err.Error(), "tls: server chose an unconfigured cipher suite"), strings.Contains(err.Error(), "RSA key"):
		out.Class, out.Code = bmc.TLSIdentity, bmc.CodeTLSLegacy
		out.Detail = "no TLS version or cipher in common"
		if !e.legacy {
			out.Detail += " (an old BMC may need the legacy profile)"
		}
	default:
		return false
	}
	return true
}

// reason says in one sentence what is wrong with a certificate.
func (e *Endpoint) reason(leaf *x509.Certificate, err error) string {
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	clock := e.now().UTC().Format(time.RFC3339)
	switch {
	case errors.As(err, &name) && named(leaf):
		return fmt.Sprintf("made out to another name: to %s, not to %s", some(names(leaf)), clip(name.Host))
	case errors.As(err, &name):
		return fmt.Sprintf("made out to another name: it has no alternative names, and its common name is %q, not %s (the legacy profile compares that)",
			clip(leaf.Subject.CommonName), clip(name.Host))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && e.now().Before(leaf.NotBefore):
		return fmt.Sprintf("outside its dates: valid only from %s, and our clock says %s; one of the two clocks is wrong",
			leaf.NotBefore.UTC().Format(time.RFC3339), clock)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("outside its dates: it ended at %s, and our clock says %s; renew it on the BMC",
			leaf.NotAfter.UTC().Format(time.RFC3339), clock)
	case errors.As(err, &authority) && bytes.Equal(leaf.RawIssuer, leaf.RawSubject):
		return "self-signed, and not known"
	case errors.As(err, &authority):
		return "unknown authority: issued by " + clip(leaf.Issuer.String())
	}
	return "invalid"
}

func names(c *x509.Certificate) []string {
	out := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		out = append(out, ip.String())
	}
	return out
}
