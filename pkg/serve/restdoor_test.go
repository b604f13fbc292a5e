package serve

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/pkg/auth"
)

func TestRESTDoorCheck(t *testing.T) {
	for _, tc := range []struct {
		name string
		door RESTDoor
		err  string // empty: none
	}{
		{"as it comes", RESTDoor{}, ""},
		{"noauth", RESTDoor{Auth: "noauth", Hosts: []string{"metal.example", "10.0.0.1"}}, ""},
		{"unknown", RESTDoor{Auth: "basic"}, "want noauth, http_basic"},
		{"no file", RESTDoor{Auth: HTTPBasic}, "--rest-htpasswd-file"},
		{"no cloud", RESTDoor{Auth: KeystoneAuth}, "--rest-clouds-file"},
		{"kubernetes", RESTDoor{Auth: KubernetesAuth}, ""},
		{"half a pair", RESTDoor{CertFile: "x"}, "go together"},
		{"host with a port", RESTDoor{Hosts: []string{"a:80"}}, "without a port"},
		{"any host", RESTDoor{Hosts: []string{"*"}}, "--rest-allowed-hosts"},
		{"uri", RESTDoor{Auth: KeystoneAuth, Clouds: "c", KeystoneURI: "keystone"}, "--rest-keystone-uri"},
		{"uri that breaks out", RESTDoor{Auth: KeystoneAuth, Clouds: "c", KeystoneURI: `https://k/"x`}, "--rest-keystone-uri"},
	} {
		err := tc.door.Check()
		if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.err)
		}
	}
}

// What would hand over machines or passwords does not start.
func TestRESTDoorAllowed(t *testing.T) {
	local, wide := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, &net.TCPAddr{IP: net.IPv6unspecified, Port: 1}
	own, files := RESTDoor{TLS: true}, RESTDoor{CertFile: "c", KeyFile: "k"}
	for _, tc := range []struct {
		name string
		door RESTDoor
		addr net.Addr
		err  string
	}{
		{"noauth here", RESTDoor{}, local, ""},
		{"noauth there", RESTDoor{}, wide, "--rest-force-noauth"},
		{"noauth there, with TLS", own, wide, "--rest-force-noauth"},
		{"noauth there, forced", RESTDoor{ForceNoAuth: true}, wide, ""},
		{"basic here", RESTDoor{Auth: HTTPBasic}, local, ""},
		{"basic there", RESTDoor{Auth: HTTPBasic}, wide, "--rest-tls"},
		{"basic there, forced noauth is none", RESTDoor{Auth: HTTPBasic, ForceNoAuth: true}, wide, "--rest-tls"},
		{"basic there, own authority", RESTDoor{Auth: HTTPBasic, TLS: own.TLS}, wide, ""},
		{"keystone there", RESTDoor{Auth: KeystoneAuth}, wide, "--rest-tls"},
		{"keystone there, files", RESTDoor{Auth: KeystoneAuth, CertFile: files.CertFile, KeyFile: files.KeyFile}, wide, ""},
		{"kubernetes there", RESTDoor{Auth: KubernetesAuth}, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}, "--rest-tls"},
	} {
		err := tc.door.allowed(tc.addr)
		if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.err)
		}
	}
	c := Config{RESTAddress: "0.0.0.0:0", HTTPAddress: "127.0.0.1:0", HTTPSAddress: "127.0.0.1:0", DataDir: filepath.Join(t.TempDir(), "none")}
	if err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "--rest-force-noauth") {
		t.Errorf("an open door: %v", err)
	}
	if _, err := os.Stat(c.DataDir); err == nil {
		t.Error("something was written before")
	}
}

// With TLS the door shows our authority's certificate, or the one that it was given.
func TestRESTDoorTLS(t *testing.T) {
	ca, err := auth.NewCA(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	other, err := auth.NewCA(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "c"), filepath.Join(dir, "k")
	pair, err := other.Server(nil, []string{"metal.example"})
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for path, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name string
		door RESTDoor
		ca   *auth.CA
		as   string
	}{
		{"own", RESTDoor{TLS: true, Hosts: []string{"ironic.example"}}, ca, "ironic.example"},
		{"own, by address", RESTDoor{TLS: true}, ca, "127.0.0.1"},
		{"files", RESTDoor{CertFile: cert, KeyFile: key, Hosts: []string{"metal.example"}}, other, "metal.example"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			s := &service{Config: Config{RESTDoor: tc.door, Log: slog.New(slog.DiscardHandler)}, ca: ca, l: listeners{rest: l}}
			srv, tl, err := s.restServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
			if err != nil {
				t.Fatal(err)
			}
			go srv.Serve(tl)
			t.Cleanup(func() { srv.Close() })
			if want := "https://" + l.Addr().String(); s.restURL() != want {
				t.Errorf("the door is said to be at %s", s.restURL())
			}
			roots := x509.NewCertPool()
			roots.AddCert(tc.ca.Certificate())
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: tc.as}}}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.restURL(), http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = tc.as
			w, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Body.Close()
			if text, _ := io.ReadAll(w.Body); w.StatusCode != http.StatusTeapot {
				t.Errorf("%d %s", w.StatusCode, text)
			}
		})
	}
}
