package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"
	"time"
)

func csr(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"evil"}, IPAddresses: []net.IP{{1, 2, 3, 4}}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestAgentCertificate(t *testing.T) {
	ca, err := NewCA(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.PEM()
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := LoadCA(cert, key, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if loaded.Pin() != ca.Pin() {
		t.Error("the pin changed on the way to disk and back")
	}
	der, keyHash, err := loaded.Agent(csr(t), "default/a", "boot/1%x")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if len(leaf.DNSNames) != 0 || len(leaf.IPAddresses) != 0 || leaf.IsCA {
		t.Errorf("the CSR's names were taken over: %v %v", leaf.DNSNames, leaf.IPAddresses)
	}
	state := &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf, ca.Certificate()}}}
	id, kh, ok := ca.AgentOf(state)
	if !ok || id != "boot/1%x" || kh != keyHash {
		t.Errorf("AgentOf = %q %q %v", id, kh, ok)
	}
	other, err := NewCA(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := other.AgentOf(state); ok {
		t.Error("another authority's agent was believed")
	}
	srv, err := ca.Server([]net.IP{net.IPv4(127, 0, 0, 1)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	state = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{srv.Leaf, ca.Certificate()}}}
	if _, _, ok := ca.AgentOf(state); ok {
		t.Error("the door's own certificate passed as an agent's")
	}
}

func FuzzAgentCSR(f *testing.F) {
	ca, err := NewCA(time.Now)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{})
	f.Add([]byte("0\x82"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if der, _, err := ca.Agent(b, "a/b", "x"); err == nil {
			if _, err := x509.ParseCertificate(der); err != nil {
				t.Errorf("signed what does not parse: %v", err)
			}
		}
	})
}
