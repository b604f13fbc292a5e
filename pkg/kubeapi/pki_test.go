package kubeapi

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func open(t *testing.T, dir string, now time.Time, listen net.IP) *pki {
	t.Helper()
	p, err := openPKI(dir, now, listen)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func leaf(t *testing.T, file string) *x509.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(file, file)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func TestPKIRenewal(t *testing.T) {
	loopback := net.IPv4(127, 0, 0, 1)
	day := 24 * time.Hour
	for _, tc := range []struct {
		name                 string
		after                time.Duration
		listen               net.IP
		newCA, newCert, newA bool
	}{
		{name: "at once", listen: loopback},
		{name: "31 days left", after: certLife - 31*day, listen: loopback},
		{name: "29 days left", after: certLife - 29*day, listen: loopback, newCert: true, newA: true},
		{name: "other address", listen: net.IPv4(192, 0, 2, 7), newCert: true},
		{name: "CA has 29 days left", after: caLife - 29*day, listen: loopback, newCA: true, newCert: true, newA: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, now := t.TempDir(), time.Now()
			p := open(t, dir, now, loopback)
			cert, admin := leaf(t, p.servingFile), leaf(t, p.adminFile)
			q := open(t, dir, now.Add(tc.after), tc.listen)
			if got := !p.ca.Equal(q.ca); got != tc.newCA {
				t.Errorf("new CA: %v, want %v", got, tc.newCA)
			}
			if got := !cert.Equal(leaf(t, q.servingFile)); got != tc.newCert {
				t.Errorf("new serving certificate: %v, want %v", got, tc.newCert)
			}
			if got := !admin.Equal(leaf(t, q.adminFile)); got != tc.newA {
				t.Errorf("new admin certificate: %v, want %v", got, tc.newA)
			}
			if err := leaf(t, q.servingFile).VerifyHostname(tc.listen.String()); err != nil {
				t.Error(err)
			}
		})
	}
}

// Whatever subset of its files a first start had written when it was killed, the
// next one goes on from there.
func TestPKIAfterKill(t *testing.T) {
	now := time.Now()
	whole := t.TempDir()
	open(t, whole, now, net.IPv4zero)
	files, err := filepath.Glob(filepath.Join(whole, "pki", "*"))
	if err != nil || len(files) != 6 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, lost := range files {
		t.Run(filepath.Base(lost), func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(dir, "pki", filepath.Base(lost))); err != nil {
				t.Fatal(err)
			}
			left := filepath.Join(dir, "pki", "."+filepath.Base(lost)+tempMark+"123")
			if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
				t.Fatal(err)
			}
			p := open(t, dir, now, net.IPv4zero)
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(p.caPEM)
			for _, file := range []string{p.servingFile, p.adminFile} {
				if _, err := leaf(t, file).Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
					t.Errorf("%s: %v", file, err)
				}
			}
			if !missing(left) {
				t.Error("the half-written file is still there")
			}
			ca, err := os.ReadFile(p.caFile)
			if err != nil || !bytes.Equal(ca, p.caPEM) {
				t.Errorf("ca.crt is not the CA: %v", err)
			}
		})
	}
}

func TestPKIRefuses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		damage func(t *testing.T, dir string) error
		want   string
	}{
		{
			name: "damaged CA",
			damage: func(_ *testing.T, dir string) error {
				return os.WriteFile(filepath.Join(dir, "pki", "ca.pem"), []byte("x"), 0o600)
			},
			want: "is damaged: restore it",
		},
		{
			name: "lost encryption key",
			damage: func(t *testing.T, dir string) error {
				if err := os.MkdirAll(filepath.Join(dir, "etcd", "member"), 0o700); err != nil {
					t.Fatal(err)
				}
				return os.Remove(filepath.Join(dir, "pki", "encryption.yaml"))
			},
			want: "holds Secrets encrypted with it",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			open(t, dir, time.Now(), net.IPv4zero)
			if err := tc.damage(t, dir); err != nil {
				t.Fatal(err)
			}
			_, err := openPKI(dir, time.Now(), net.IPv4zero)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestPKIModes(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, time.Now(), net.IPv4zero)
	info, err := os.Stat(filepath.Join(dir, "pki"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("pki: %v %v", info.Mode(), err)
	}
	files, err := os.ReadDir(filepath.Join(dir, "pki"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", f.Name(), info.Mode(), err)
		}
	}
}
