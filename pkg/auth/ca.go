package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strings"
	"time"
)

// Lifetimes. An agent's certificate outlives the longest image write, not the
// day after.
const (
	caLife     = 10 * 365 * 24 * time.Hour
	serverLife = 90 * 24 * time.Hour
	agentLife  = 24 * time.Hour
	// skew is how far into the past certificates reach, for clocks that lag.
	skew = time.Hour
)

// CA is the authority that signs the HTTPS door and the agents. Boot media carry
// its Pin.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	raw  []byte // of key: what tokens are made with
	now  func() time.Time
}

func newCA(cert *x509.Certificate, key *ecdsa.PrivateKey, now func() time.Time) (*CA, error) {
	raw, err := key.Bytes()
	if err != nil {
		return nil, fmt.Errorf("reading the certificate authority's key: %w", err)
	}
	return &CA{cert: cert, key: key, raw: raw, now: now}, nil
}

// NewCA makes an authority.
func NewCA(now func() time.Time) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t, err := template("ingot", now(), caLife)
	if err != nil {
		return nil, err
	}
	t.IsCA, t.BasicConstraintsValid, t.MaxPathLenZero = true, true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return newCA(cert, key, now)
}

// LoadCA reads what PEM wrote.
func LoadCA(certPEM, keyPEM []byte, now func() time.Time) (*CA, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate authority: %w", err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return nil, errors.New("reading the certificate authority: want a CA certificate with an ECDSA key")
	}
	return newCA(pair.Leaf, key, now)
}

// PEM encodes the authority for LoadCA. The second part is secret.
func (c *CA) PEM() (cert, key []byte, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		return nil, nil, err
	}
	return c.CertPEM(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// CertPEM is the public part.
func (c *CA) CertPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})
}

// Pin is the lower-case hex SHA-256 of the CA certificate, as kernel arguments
// carry it (api/agent.ArgCA).
func (c *CA) Pin() string {
	sum := sha256.Sum256(c.cert.Raw)
	return hex.EncodeToString(sum[:])
}

// Token is a secret for one purpose that nobody can make without the
// authority's key, and that is the same whenever it is asked for.
func (c *CA) Token(purpose string) string {
	mac := hmac.New(sha256.New, c.raw)
	mac.Write([]byte(purpose))
	return hex.EncodeToString(mac.Sum(nil))
}

// Certificate of the authority itself.
func (c *CA) Certificate() *x509.Certificate { return c.cert }

// Server makes a certificate for the door under the given addresses. The CA's
// certificate is part of the chain, since agents know it by its hash only.
func (c *CA) Server(ips []net.IP, names []string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t, err := template("ingot door", c.now(), serverLife)
	if err != nil {
		return nil, err
	}
	t.IPAddresses, t.DNSNames = ips, names
	t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, t, c.cert, key.Public(), c.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, c.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// bootScheme marks the URI that names an agent's boot.
const bootScheme = "ingot-boot"

// hostScheme makes a URI of a host in the same certificate.
const hostScheme = "ingot-host"

// Agent signs the key of a CSR for one boot of one host. Nothing of the CSR but
// its key is taken over. It returns the certificate and the key's hash.
func (c *CA) Agent(csrDER []byte, host, bootID string) (der []byte, keyHash string, err error) {
	csr, err := x509.ParseCertificateRequest(csrDER)
	if err != nil {
		return nil, "", fmt.Errorf("csr: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, "", fmt.Errorf("csr: %w", err)
	}
	pub, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || pub.Curve != elliptic.P256() {
		return nil, "", errors.New("csr: want an ECDSA P-256 key")
	}
	t, err := template("agent of "+host, c.now(), agentLife)
	if err != nil {
		return nil, "", err
	}
	t.URIs = []*url.URL{{Scheme: bootScheme, Opaque: url.PathEscape(bootID)}, {Scheme: hostScheme, Opaque: url.PathEscape(host)}}
	t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	der, err = x509.CreateCertificate(rand.Reader, t, c.cert, pub, c.key)
	if err != nil {
		return nil, "", err
	}
	return der, hash(csr.RawSubjectPublicKeyInfo), nil
}

// KeyHash of a CSR's key, without signing anything.
func KeyHash(csrDER []byte) (string, error) {
	csr, err := x509.ParseCertificateRequest(csrDER)
	if err != nil {
		return "", fmt.Errorf("csr: %w", err)
	}
	return hash(csr.RawSubjectPublicKeyInfo), nil
}

// AgentHost is the host, as namespace/name, that an agent's certificate was made
// for; empty: it is no agent's.
func (c *CA) AgentHost(state *tls.ConnectionState) string {
	leaf, root, ok := verified(state)
	if !ok || !root.Equal(c.cert) {
		return ""
	}
	for _, u := range leaf.URIs {
		if u.Scheme == hostScheme {
			host, err := url.PathUnescape(u.Opaque)
			if err != nil {
				return ""
			}
			return host
		}
	}
	return ""
}

// AgentOf names the boot that a verified client certificate stands for, and the
// hash of its key.
func (c *CA) AgentOf(state *tls.ConnectionState) (bootID, keyHash string, ok bool) {
	leaf, root, ok := verified(state)
	if !ok || !root.Equal(c.cert) {
		return "", "", false
	}
	for _, u := range leaf.URIs {
		if u.Scheme == bootScheme {
			id, err := url.PathUnescape(u.Opaque)
			return id, hash(leaf.RawSubjectPublicKeyInfo), err == nil && id != ""
		}
	}
	return "", "", false
}

// verified returns the leaf and the root of the chain that crypto/tls verified.
func verified(state *tls.ConnectionState) (leaf, root *x509.Certificate, ok bool) {
	if state == nil || len(state.VerifiedChains) == 0 {
		return nil, nil, false
	}
	chain := state.VerifiedChains[0]
	return chain[0], chain[len(chain)-1], true
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func template(name string, now time.Time, life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	// X.520 allows 64 characters.
	name = strings.ToValidUTF8(name[:min(len(name), 64)], "")
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-skew),
		NotAfter:     now.Add(life),
	}, nil
}
