package redfish

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"io"
	"log"
	"math/big"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func (p pair) spki() []byte {
	sum := sha256.Sum256(p.cert.RawSubjectPublicKeyInfo)
	return sum[:]
}

func (p pair) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.cert)
	return pool
}

func key(t *testing.T) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// issue makes a certificate; without an issuer it is self-signed.
func issue(t *testing.T, k crypto.Signer, issuer *pair, edit func(*x509.Certificate)) pair {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bmc"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true,
	}
	edit(c)
	parent, signer := c, k
	if issuer != nil {
		parent, signer = issuer.cert, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, k.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return pair{out, k}
}

// secure serves a fake BMC over TLS.
func secure(t *testing.T, p pair, edit func(*tls.Config)) (bmc.Address, *tls.Config) {
	t.Helper()
	srv := httptest.NewUnstartedServer(newFake(t))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{p.cert.Raw}, PrivateKey: p.key}}, MinVersion: tls.VersionTLS10}
	if edit != nil {
		edit(srv.TLS)
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	addr, err := bmc.ParseAddress("redfish+" + srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	return addr, srv.TLS
}

func TestCertificates(t *testing.T) {
	k := key(t)
	ca := issue(t, key(t), nil, func(c *x509.Certificate) { c.IsCA, c.Subject.CommonName = true, "the CA" })
	plain := func(*x509.Certificate) {}
	for _, tc := range []struct {
		name   string
		issuer *pair
		edit   func(*x509.Certificate)
		o      Options
		class  bmc.Class
		parts  []string
	}{
		{name: "signed", issuer: &ca, edit: plain, o: Options{RootCAs: ca.pool()}},
		{name: "signed, legacy", issuer: &ca, edit: plain, o: Options{RootCAs: ca.pool(), Legacy: true}},
		{
			name: "self-signed", edit: plain, class: bmc.TLSIdentity,
			parts: []string{"the certificate is not trusted: self-signed", "public key SHA-256"},
		},
		{
			name: "unknown authority", issuer: &ca, edit: plain, class: bmc.TLSIdentity,
			parts: []string{"unknown authority: issued by CN=the CA"},
		},
		{
			name: "another name", issuer: &ca, o: Options{RootCAs: ca.pool()}, class: bmc.TLSIdentity,
			edit:  func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = []string{"idrac.example"}, nil },
			parts: []string{"made out to another name: to idrac.example, not to 127.0.0.1"},
		},
		{
			name: "another name, legacy", issuer: &ca, o: Options{RootCAs: ca.pool(), Legacy: true}, class: bmc.TLSIdentity,
			edit:  func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = []string{"idrac.example"}, nil },
			parts: []string{"made out to another name: to idrac.example, not to 127.0.0.1"},
		},
		{
			name: "common name only", issuer: &ca, o: Options{RootCAs: ca.pool()}, class: bmc.TLSIdentity,
			edit:  func(c *x509.Certificate) { c.Subject.CommonName, c.IPAddresses = "127.0.0.1", nil },
			parts: []string{`its common name is "127.0.0.1"`, "the legacy profile compares that"},
		},
		{
			name: "common name only, legacy", issuer: &ca, o: Options{RootCAs: ca.pool(), Legacy: true},
			edit: func(c *x509.Certificate) { c.Subject.CommonName, c.IPAddresses = "127.0.0.1", nil },
		},
		{
			name: "another common name, legacy", issuer: &ca, o: Options{RootCAs: ca.pool(), Legacy: true}, class: bmc.TLSIdentity,
			edit:  func(c *x509.Certificate) { c.Subject.CommonName, c.IPAddresses = "10.0.0.9", nil },
			parts: []string{`its common name is "10.0.0.9", not 127.0.0.1`},
		},
		{
			name: "self-signed, legacy", edit: plain, o: Options{Legacy: true, RootCAs: x509.NewCertPool()}, class: bmc.TLSIdentity,
			parts: []string{"self-signed"},
		},
		{
			name: "expired", issuer: &ca, o: Options{RootCAs: ca.pool()}, class: bmc.TLSIdentity,
			edit: func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = time.Date(2019, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
			},
			parts: []string{"it ended at 2020-01-01T00:00:00Z, and our clock says " + time.Now().UTC().Format("2006-01-02T")},
		},
		{
			name: "not yet valid: a clock is wrong", issuer: &ca, o: Options{RootCAs: ca.pool()}, class: bmc.TLSIdentity,
			edit: func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = time.Date(2096, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2097, 1, 1, 0, 0, 0, 0, time.UTC)
			},
			parts: []string{"valid only from 2096-01-01T00:00:00Z, and our clock says " + time.Now().UTC().Format("2006-01-02T"), "one of the two clocks is wrong"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := issue(t, k, tc.issuer, tc.edit)
			addr, _ := secure(t, p, nil)
			s, err := dial(t, addr, admin, tc.o)
			if tc.class != "" {
				for _, part := range tc.parts {
					wantError(t, err, tc.class, bmc.CodeTLSUntrusted, part)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := s.SPKI(); !slices.Equal(got, p.spki()) {
				t.Errorf("SPKI %x, want %x", got, p.spki())
			}
		})
	}
}

func TestTrustOnFirstUse(t *testing.T) {
	plain := func(*x509.Certificate) {}
	first, second := issue(t, key(t), nil, plain), issue(t, key(t), nil, plain)
	addr, served := secure(t, first, nil)
	current := first
	served.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return &tls.Certificate{Certificate: [][]byte{current.cert.Raw}, PrivateKey: current.key}, nil
	}
	served.Certificates, served.SessionTicketsDisabled = nil, true
	e := NewEndpoint(addr, admin, Options{TrustOnFirstUse: true})
	if e.SPKI() != nil {
		t.Error("there is a key before the first connection")
	}
	s, err := e.System(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	recorded := e.SPKI()
	if !slices.Equal(recorded, first.spki()) {
		t.Fatalf("SPKI %x, want %x", recorded, first.spki())
	}
	current = second // another BMC at the same address
	e.client.CloseIdleConnections()
	_, err = s.PowerState(context.Background())
	both := "pinned SHA-256 " + hex.EncodeToString(first.spki()) + ", seen " + hex.EncodeToString(second.spki())
	wantError(t, err, bmc.TLSIdentity, bmc.CodeTLSUntrusted, both)
	wantError(t, err, bmc.TLSIdentity, bmc.CodeTLSUntrusted, "pin the new key")
	if !slices.Equal(e.SPKI(), first.spki()) {
		t.Error("a key that was refused is reported")
	}
	// After a restart, with what was recorded.
	_, err = dial(t, addr, admin, Options{PinSPKI: recorded, TrustOnFirstUse: true})
	wantError(t, err, bmc.TLSIdentity, bmc.CodeTLSUntrusted, both)
	if _, err = dial(t, addr, admin, Options{PinSPKI: second.spki()}); err != nil {
		t.Errorf("with the new key pinned: %v", err)
	}
}

// Go 1.26 speaks TLS 1.0 and RSA key exchange only if both are asked for.
func TestLegacyProfile(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := issue(t, rsaKey, nil, func(c *x509.Certificate) { c.Subject.CommonName, c.IPAddresses = "127.0.0.1", nil })
	old := func(c *tls.Config) {
		c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
		c.CipherSuites = []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}
	}
	rsaOnly := func(c *tls.Config) {
		c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_256_CBC_SHA}
	}
	for _, tc := range []struct {
		name   string
		server func(*tls.Config)
		o      Options
		part   string
	}{
		{name: "TLS 1.0, legacy, by authority", server: old, o: Options{Legacy: true, RootCAs: p.pool()}},
		{name: "TLS 1.0, legacy, by pin", server: old, o: Options{Legacy: true, PinSPKI: p.spki()}},
		{name: "TLS 1.0, legacy, first use", server: old, o: Options{Legacy: true, TrustOnFirstUse: true}},
		{name: "TLS 1.0, legacy, insecure", server: old, o: Options{Legacy: true, Insecure: true}},
		{name: "RSA key exchange, legacy", server: rsaOnly, o: Options{Legacy: true, PinSPKI: p.spki()}},
		{name: "TLS 1.0", server: old, o: Options{PinSPKI: p.spki()}, part: "an old BMC may need the legacy profile"},
		{name: "RSA key exchange", server: rsaOnly, o: Options{PinSPKI: p.spki()}, part: "an old BMC may need the legacy profile"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr, _ := secure(t, p, tc.server)
			s, err := dial(t, addr, admin, tc.o)
			if tc.part != "" {
				wantError(t, err, bmc.TLSIdentity, bmc.CodeTLSLegacy, tc.part)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.PowerState(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	// What is legacy stays an exception: a good server gets TLS 1.3 all the same.
	addr, _ := secure(t, issue(t, key(t), nil, func(*x509.Certificate) {}), func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 })
	if _, err := dial(t, addr, admin, Options{Legacy: true, TrustOnFirstUse: true}); err != nil {
		t.Errorf("TLS 1.3 under the legacy profile: %v", err)
	}
}

func TestCommonNames(t *testing.T) {
	for _, tc := range []struct {
		name, cn, host string
		want           bool
	}{
		{name: "host", cn: "bmc.example", host: "BMC.example.", want: true},
		{name: "address", cn: "fd00::1", host: "fd00:0::1", want: true},
		{name: "wildcard", cn: "*.example", host: "bmc.example", want: true},
		{name: "wildcard of one label only", cn: "*.example", host: "a.bmc.example"},
		{name: "wildcard alone", cn: "*", host: "bmc"},
		{name: "wildcard for an address", cn: "*.0.0.1", host: "127.0.0.1"},
		{name: "empty", cn: "", host: "bmc"},
	} {
		c := &x509.Certificate{Subject: pkix.Name{CommonName: tc.cn}}
		if got := checkName(c, tc.host) == nil; got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
	long := issue(t, key(t), nil, func(c *x509.Certificate) { c.Subject.CommonName, c.IPAddresses = strings.Repeat("x", 1000), nil })
	e := NewEndpoint(bmc.Address{Host: "bmc"}, admin, Options{})
	if n := len(e.reason(long.cert, checkName(long.cert, "bmc"))); n > 600 {
		t.Errorf("a reason of %d bytes", n)
	}
}
