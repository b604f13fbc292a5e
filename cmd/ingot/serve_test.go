package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// One life of a service: two side by side, a second on the same data refused, the
// doors, a manager on its API, a lab in it, its end, and a second start.
func TestServe(t *testing.T) {
	dirA, dirB := dataDir(t), dataDir(t)
	a, b := start(t, anywhere("serve", dirA)...), start(t, anywhere("serve", dirB)...)
	doors := a.ready()
	if other := b.ready(); strings.Join(other, " ") == strings.Join(doors, " ") {
		t.Errorf("both are at %v", doors)
	}
	b.signal(syscall.SIGTERM)

	t.Run("twice on one data directory", func(t *testing.T) {
		twice := start(t, anywhere("serve", dirA)...)
		if code := twice.code(); code != 1 {
			t.Errorf("exit code %d, want 1", code)
		}
		if want := fmt.Sprint(a.cmd.Process.Pid); !strings.Contains(twice.output(), want) {
			t.Errorf("it does not name process %s:\n%s", want, twice.output())
		}
	})
	t.Run("address in use", func(t *testing.T) {
		rest := strings.TrimPrefix(doors[1], "http://")
		p := start(t, anywhere("serve", dataDir(t), "--rest-address", rest)...)
		if code := p.code(); code != 1 || !strings.Contains(p.output(), "--rest-address "+rest) {
			t.Errorf("exit code %d:\n%s", code, p.output())
		}
	})
	cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(dirA, "kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	k, err := labClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("doors", func(t *testing.T) {
		cm := &corev1.ConfigMap{}
		if err := k.Get(t.Context(), client.ObjectKey{Namespace: "kube-system", Name: "ingot-doors"}, cm); err != nil {
			t.Fatal(err)
		}
		if cm.Data["rest"] != doors[1] || cm.Data["http"] != doors[2] || cm.Data["https"] != doors[3] {
			t.Errorf("published %v, printed %v", cm.Data, doors)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM([]byte(cm.Data["ca"]))
		anonymous := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
		stranger := &http.Client{Transport: &http.Transport{TLSClientConfig: anonymous}}
		defer stranger.CloseIdleConnections()
		cert, err := tls.X509KeyPair(cfg.CertData, cfg.KeyData)
		if err != nil {
			t.Fatal(err)
		}
		known := anonymous.Clone()
		known.Certificates = []tls.Certificate{cert}
		admin := &http.Client{Transport: &http.Transport{TLSClientConfig: known}}
		defer admin.CloseIdleConnections()
		for _, tc := range []struct {
			name, method, url string
			client            *http.Client
			want              int
		}{
			{name: "REST needs no login", method: http.MethodGet, url: doors[1] + "/v1", client: stranger, want: http.StatusOK},
			{name: "an unknown machine", method: http.MethodGet, url: doors[2] + "/boot/ipxe?mac=52:54:00:00:00:01", client: stranger, want: http.StatusNotFound},
			{name: "upload by a stranger", method: http.MethodPost, url: doors[3] + "/blobs/v1", client: stranger, want: http.StatusUnauthorized},
			{name: "progress for a stranger", method: http.MethodGet, url: doors[3] + "/progress/v1", client: stranger, want: http.StatusUnauthorized},
			{name: "an agent without a certificate", method: http.MethodPost, url: doors[3] + "/agent/v1/next", client: stranger, want: http.StatusBadRequest},
			{name: "upload by the admin", method: http.MethodPost, url: doors[3] + "/blobs/v1", client: admin, want: http.StatusCreated},
		} {
			if got, body := status(t, tc.client, tc.method, tc.url); got != tc.want {
				t.Errorf("%s: %d %s, want %d", tc.name, got, body, tc.want)
			}
		}
	})
	t.Run("manager", func(t *testing.T) {
		m := start(t, anywhere("manager", dataDir(t), "--kubeconfig", filepath.Join(dirA, "kubeconfig"), "--leader-elect=false")...)
		if got := m.ready(); got[0] != doors[0] {
			t.Errorf("the manager works on %s, want %s", got[0], doors[0])
		}
		m.signal(syscall.SIGTERM)
		if code := m.code(); code != 0 {
			t.Errorf("exit code %d after SIGTERM", code)
		}
	})
	t.Run("restart", func(t *testing.T) {
		a.signal(syscall.SIGTERM)
		if code := a.code(); code != 0 {
			t.Errorf("exit code %d after SIGTERM", code)
		}
		again := start(t, anywhere("serve", dirA)...)
		again.ready()
		// The API is at another port now, and knows what it knew.
		cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(dirA, "kubeconfig"))
		if err != nil {
			t.Fatal(err)
		}
		k, err := labClient(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Get(t.Context(), client.ObjectKey{Namespace: "kube-system", Name: "ingot-doors"}, &corev1.ConfigMap{}); err != nil {
			t.Error(err)
		}
		t.Run("lab", func(t *testing.T) { testLab(t, dirA) })
	})
	if code := b.code(); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
}

// testLab runs a lab into an API that is there, until lab down.
func testLab(t *testing.T, dir string) {
	home := dataDir(t)
	args := []string{"lab", "up", "--simulated", "--machines", "2", "--data-dir", home, "--kubeconfig", filepath.Join(dir, "kubeconfig")}
	lab := start(t, args...)
	state := filepath.Join(home, "lab", "lab.json")
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		if raw, err := os.ReadFile(state); err == nil && len(raw) > 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the lab does not start")
		}
	}
	ls := start(t, "lab", "ls", "--data-dir", home)
	if code := ls.code(); code != 0 || strings.Count(ls.output(), "\nsim-") != 2 {
		t.Errorf("lab ls: code %d\n%s", code, ls.output())
	}
	if p := start(t, args...); p.code() != 1 || !strings.Contains(p.output(), "ingot lab down") {
		t.Errorf("a second lab on one directory:\n%s", p.output())
	}
	if p := start(t, "lab", "down", "--data-dir", home); p.code() != 0 {
		t.Errorf("lab down:\n%s", p.output())
	}
	if code := lab.code(); code != 0 {
		t.Errorf("the lab ended with code %d", code)
	}
	if _, err := os.Stat(state); err == nil {
		t.Error("the lab left its state behind")
	}
	if p := start(t, "lab", "down", "--data-dir", home); p.code() != 1 || !strings.Contains(p.output(), "ingot lab up") {
		t.Errorf("lab down without a lab:\n%s", p.output())
	}
}
