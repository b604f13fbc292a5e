package auth

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestKeyPairIsReadAnew(t *testing.T) {
	ca, err := NewCA(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	dir, clock := t.TempDir(), newClock()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	write := func(name string, which ...string) {
		t.Helper()
		c, err := ca.Server(nil, []string{name})
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		for path, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: der}} {
			if len(which) > 0 && which[0] != path {
				continue
			}
			if err := os.WriteFile(path+".new", pem.EncodeToMemory(b), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		}
	}
	var log bytes.Buffer
	write("one")
	k, err := NewKeyPair(cert, key, clock.now, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	is := func(want string) {
		t.Helper()
		clock.pass(lookEvery)
		got, err := k.Get(nil)
		if err != nil || got.Leaf.DNSNames[0] != want {
			t.Errorf("%v, %v, want %s", got.Leaf.DNSNames, err, want)
		}
	}
	is("one")
	write("two")
	is("two")
	write("three", cert) // its key is not there yet
	is("two")
	is("two")
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines in the log: %s", n, &log)
	}
	write("four")
	is("four")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	is("four")
	if _, err := NewKeyPair(cert, key, clock.now, nil); err == nil {
		t.Error("a key that is not there was read")
	}
}
