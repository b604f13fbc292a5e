package kubeapi

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const (
	caLife   = 10 * 365 * 24 * time.Hour
	certLife = 2 * 365 * 24 * time.Hour
	// renewBefore is how long a certificate must still be good at start.
	renewBefore = 30 * 24 * time.Hour
	// backdate tolerates clients whose clock is behind.
	backdate = time.Hour
)

// pki is DATA/pki. A key and its certificate are one file, so that a kill cannot
// part them.
type pki struct {
	ca    *x509.Certificate
	caKey crypto.Signer
	caPEM []byte // the certificate alone

	caFile         string // ca.crt: what clients are given
	servingFile    string // serving.pem
	adminFile      string // admin.pem
	saKeyFile      string // sa.key: signs service account tokens
	encryptionFile string // encryption.yaml: encrypts Secrets at rest
}

// openPKI reads DATA/pki, makes what is missing and renews what runs out.
func openPKI(data string, now time.Time, listen net.IP) (*pki, error) {
	dir := filepath.Join(data, "pki")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the PKI directory: %w", err)
	}
	removeTemps(dir)
	removeTemps(data)
	p := &pki{
		caFile:         filepath.Join(dir, "ca.crt"),
		servingFile:    filepath.Join(dir, "serving.pem"),
		adminFile:      filepath.Join(dir, "admin.pem"),
		saKeyFile:      filepath.Join(dir, "sa.key"),
		encryptionFile: filepath.Join(dir, "encryption.yaml"),
	}
	if err := p.openCA(filepath.Join(dir, "ca.pem"), now); err != nil {
		return nil, err
	}
	if err := p.openSecrets(filepath.Join(data, "etcd")); err != nil {
		return nil, err
	}
	names, ips := servingNames(listen)
	if err := p.keepOrIssue(p.servingFile, now, servingTemplate("ingot", names, ips)); err != nil {
		return nil, err
	}
	admin := x509.Certificate{
		// The group system:masters is authorized before RBAC is asked.
		Subject:     pkix.Name{CommonName: "ingot-admin", Organization: []string{"system:masters"}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	return p, p.keepOrIssue(p.adminFile, now, admin)
}

func (p *pki) openCA(file string, now time.Time) error {
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the CA: %w", err)
	}
	if err == nil {
		// A CA that cannot be read is not replaced: agents and kubeconfigs
		// have it pinned, and a person may have a copy.
		pair, err := tls.X509KeyPair(text, text)
		if err != nil {
			return fmt.Errorf("the CA in %s is damaged: restore it, or remove the file to have a new one made: %w", file, err)
		}
		p.ca = pair.Leaf
		p.caKey, _ = pair.PrivateKey.(crypto.Signer)
	}
	if p.ca == nil || now.Add(renewBefore).After(p.ca.NotAfter) {
		if err := p.makeCA(file, now); err != nil {
			return err
		}
	}
	p.caPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.ca.Raw})
	return writeIfDifferent(p.caFile, p.caPEM)
}

func (p *pki) makeCA(file string, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make the CA's key: %w", err)
	}
	template := x509.Certificate{
		Subject:               pkix.Name{CommonName: "ingot CA " + now.UTC().Format("2006-01-02")},
		NotAfter:              now.Add(caLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	text, err := sign(template, now, key, &template, key)
	if err != nil {
		return err
	}
	if err := writeFile(file, text); err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return fmt.Errorf("read back the CA: %w", err)
	}
	p.ca, p.caKey = pair.Leaf, key
	return nil
}

// openSecrets makes the two keys that can never be renewed without losing
// something. Both are written before etcd's first start.
func (p *pki) openSecrets(etcdDir string) error {
	if missing(p.saKeyFile) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return fmt.Errorf("make the service account key: %w", err)
		}
		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			return fmt.Errorf("encode the service account key: %w", err)
		}
		if err := writeFile(p.saKeyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})); err != nil {
			return err
		}
	}
	if !missing(p.encryptionFile) {
		return nil
	}
	if !missing(filepath.Join(etcdDir, "member")) {
		return fmt.Errorf("%s is missing, but %s holds Secrets encrypted with it: restore the file", p.encryptionFile, etcdDir)
	}
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return fmt.Errorf("make the encryption key: %w", err)
	}
	// There is no identity provider: a Secret that somebody wrote into etcd in
	// the clear is refused.
	return writeFile(p.encryptionFile, fmt.Appendf(nil, `apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: ["secrets"]
  providers:
  - secretbox:
      keys:
      - name: key1
        secret: %s
`, base64.StdEncoding.EncodeToString(key[:])))
}

// keepOrIssue leaves a certificate that is signed by our CA, good for a while
// and answers for every name wanted; otherwise it makes one.
func (p *pki) keepOrIssue(file string, now time.Time, template x509.Certificate) error {
	text, err := os.ReadFile(file)
	if err == nil && p.good(text, now, template) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read a certificate: %w", err)
	}
	text, err = p.issue(template, now)
	if err != nil {
		return err
	}
	return writeFile(file, text)
}

func (p *pki) good(text []byte, now time.Time, want x509.Certificate) bool {
	pair, err := tls.X509KeyPair(text, text)
	if err != nil || now.Add(renewBefore).After(pair.Leaf.NotAfter) {
		return false
	}
	roots := x509.NewCertPool()
	roots.AddCert(p.ca)
	_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: want.ExtKeyUsage})
	if err != nil {
		return false
	}
	for _, name := range want.DNSNames {
		if pair.Leaf.VerifyHostname(name) != nil {
			return false
		}
	}
	for _, ip := range want.IPAddresses {
		if pair.Leaf.VerifyHostname(ip.String()) != nil {
			return false
		}
	}
	return true
}

func (p *pki) issueServing(names []string, ips []net.IP, now time.Time) ([]byte, error) {
	return p.issue(servingTemplate("ingot", names, ips), now)
}

func (p *pki) issue(template x509.Certificate, now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	template.NotAfter = now.Add(certLife)
	if template.NotAfter.After(p.ca.NotAfter) {
		template.NotAfter = p.ca.NotAfter
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	return sign(template, now, key, p.ca, p.caKey)
}

// sign returns the certificate and its key in one PEM.
func sign(template x509.Certificate, now time.Time, key *ecdsa.PrivateKey, parent *x509.Certificate, parentKey crypto.Signer) ([]byte, error) {
	// RFC 5280 §4.1.2.2: positive and at most 20 octets.
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	template.SerialNumber = serial.Add(serial, big.NewInt(1))
	template.NotBefore = now.Add(-backdate)
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, key.Public(), parentKey)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate: %w", err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return append(text, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})...), nil
}

func servingTemplate(name string, dns []string, ips []net.IP) x509.Certificate {
	return x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		DNSNames:    dns,
		IPAddresses: ips,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
}

// servingNames are all names under which a client may reach a server that
// listens on ip.
func servingNames(ip net.IP) (names []string, ips []net.IP) {
	names = []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	ips = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	switch {
	case ip.IsLoopback():
		if !ip.Equal(ips[0]) && !ip.Equal(ips[1]) {
			ips = append(ips, ip)
		}
	case ip.IsUnspecified():
		if host, err := os.Hostname(); err == nil {
			names = append(names, host)
		}
		addrs, _ := net.InterfaceAddrs() // none: loopback remains
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
				ips = append(ips, n.IP)
			}
		}
	default:
		ips = append(ips, ip)
	}
	return names, ips
}

// writeKubeconfig writes the administrator's way in, all in one file.
func (p *pki) writeKubeconfig(file, url string) error {
	admin, err := os.ReadFile(p.adminFile)
	if err != nil {
		return fmt.Errorf("read the administrator's certificate: %w", err)
	}
	const name = "ingot"
	c := clientcmdapi.NewConfig()
	c.Clusters[name] = &clientcmdapi.Cluster{Server: url, CertificateAuthorityData: p.caPEM}
	c.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: admin, ClientKeyData: admin}
	c.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	c.CurrentContext = name
	text, err := clientcmd.Write(*c)
	if err != nil {
		return fmt.Errorf("encode the kubeconfig: %w", err)
	}
	return writeIfDifferent(file, text)
}

func writeIfDifferent(file string, text []byte) error {
	if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, text) {
		return nil
	}
	return writeFile(file, text)
}

func missing(file string) bool {
	_, err := os.Stat(file)
	return errors.Is(err, fs.ErrNotExist)
}
