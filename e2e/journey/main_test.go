package journey_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/e2e/rig"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/kubeapi"
	"github.com/ingot-metal/ingot/pkg/serve"
)

// service is the one that all tests share; each has a namespace of its own.
type service struct {
	client.Client
	kubeconfig string
	doors      map[string]string // of the ConfigMap that tells where the service is
	images     *imageServer
	racks      atomic.Int32
	log        rig.Buffer // everything that the service logged
	metrics    string     // address of the metrics
	health     string     // address of /healthz and /readyz
	// restart ends the service and starts it with what it has recorded. Only a test
	// that runs before the parallel ones may call it.
	restart func() error

	mu        sync.Mutex
	passwords []string // of all BMCs
}

var shared service

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	// Tests wait more than they work: more of them run side by side than there are
	// processors, unless somebody says otherwise.
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", "12"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	fail := func(what string, err error) int {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		return 1
	}
	log := slog.New(slog.NewTextHandler(&shared.log, &slog.HandlerOptions{Level: slog.LevelInfo}))
	kubeapi.RouteLogs(log)
	ctrl.SetLogger(logr.Discard())
	dir, err := os.MkdirTemp("", "ingot") // t.TempDir's may be too long for a socket
	if err != nil {
		return fail("make a directory", err)
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	api, err := kubeapi.Start(ctx, kubeapi.Options{DataDir: dir, Address: "127.0.0.1:0", NoFsync: true, Log: log})
	if err != nil {
		return fail("start the API", err)
	}
	defer api.Stop(ctx)
	shared.kubeconfig = api.AdminKubeconfigPath
	shared.images = newImageServer()
	defer shared.images.server.Close()
	stop, err := startService(ctx, api, dir, log)
	if err != nil {
		return fail("start the service\n"+shared.log.String(), err)
	}
	shared.restart = func() error {
		err := stop()
		stop = func() error { return nil }
		if err != nil {
			return err
		}
		again, err := startService(ctx, api, dir, log)
		if err == nil {
			stop = again
		}
		return err
	}
	code := m.Run()
	if err := stop(); err != nil {
		return fail("the service ended", err)
	}
	if err := shared.secretInLog(); err != nil {
		return fail("the service's log", err)
	}
	return code
}

// startService runs what `ingot serve` runs, with limits for machines that start
// in milliseconds.
func startService(ctx context.Context, api *kubeapi.Server, dir string, log *slog.Logger) (stop func() error, err error) {
	block, _ := pem.Decode(api.CA())
	if block == nil {
		return nil, errors.New("the API's authority is no PEM")
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	boot := filepath.Join(dir, "boot")
	if err := os.MkdirAll(boot, 0o700); err != nil {
		return nil, err
	}
	for _, name := range []string{"vmlinuz-vm", "initrd-vm.img"} {
		if err := os.WriteFile(filepath.Join(boot, name), []byte("pretended\n"), 0o600); err != nil {
			return nil, err
		}
	}
	machine := host.Defaults()
	machine.RetryUnit, machine.HelloTimeout, machine.MaxTries = 100*time.Millisecond, 15*time.Second, 0
	machine.RamdiskTimeout = 2 * time.Second
	const any = "127.0.0.1:0"
	if shared.metrics, err = ownPort(); err == nil {
		shared.health, err = ownPort()
	}
	if err != nil {
		return nil, err
	}
	ready := &readyWriter{line: make(chan string, 1)}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- serve.Run(ctx, serve.Config{
			REST: api.RESTConfig(), ClientCA: ca, DataDir: dir, Embedded: true, APIAddress: api.RESTConfig().Host,
			RESTAddress: any, HTTPAddress: any, HTTPSAddress: any, MetricsAddress: shared.metrics, HealthAddress: shared.health,
			BootFiles: boot, Flavour: "vm", Loopback: []string{shared.images.server.Listener.Addr().String()},
			Machine: machine, PollEvery: time.Second, AgentSilence: 35 * time.Second, Workers: 16, BuildPreprovImage: os.Getenv(withBuilder) != "",
			Log: log, Out: ready, HostClaims: true,
		})
	}()
	stop = func() error { cancel(); return <-ended }
	select {
	case <-ready.line:
	case err := <-ended:
		return nil, fmt.Errorf("before it was ready: %w", err)
	case <-time.After(time.Minute):
		return nil, errors.Join(errors.New("not ready after a minute"), stop())
	}
	scheme, err := serve.Scheme()
	if err == nil {
		shared.Client, err = client.New(api.RESTConfig(), client.Options{Scheme: scheme})
	}
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	cm := &corev1.ConfigMap{}
	if err := shared.Get(ctx, client.ObjectKey{Namespace: "kube-system", Name: "ingot-doors"}, cm); err != nil {
		return nil, errors.Join(err, stop())
	}
	shared.doors = cm.Data
	return stop, nil
}

// ownPort is an address for a listener that does not say which port it got. It is
// outside the range that the kernel gives to whoever asks for any.
func ownPort() (string, error) {
	var err error
	for range 100 {
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(10000))); err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", err
}

// secretInLog finds a BMC's password in what the service logged.
func (s *service) secretInLog() error {
	text := s.log.String()
	for _, p := range s.passwords {
		if i := strings.Index(text, p); i >= 0 {
			return fmt.Errorf("a password is in it, after %q", text[max(0, i-200):i])
		}
	}
	return nil
}

// readyWriter waits for the one line that the service prints.
type readyWriter struct{ line chan string }

func (w *readyWriter) Write(p []byte) (int, error) {
	if bytes.HasPrefix(p, []byte("ingot is ready")) {
		w.line <- string(p)
	}
	return len(p), nil
}

// imageServer answers for every path with what a test put there; anything else
// is 404.
type imageServer struct {
	server *httptest.Server
	mu     sync.Mutex
	paths  map[string]http.HandlerFunc
}

func newImageServer() *imageServer {
	s := &imageServer{paths: map[string]http.HandlerFunc{}}
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		h := s.paths[r.URL.Path]
		s.mu.Unlock()
		if h == nil {
			http.NotFound(w, r)
			return
		}
		h(w, r)
	}))
	return s
}

// put serves h at path and returns its URL.
func (s *imageServer) put(path string, h http.HandlerFunc) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paths[path] = h
	return s.server.URL + path
}

func content(b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
	}
}

// cut promises all of b and sends half of it.
func cut(b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		if r.Method != http.MethodHead {
			_, _ = w.Write(b[:len(b)/2]) // the client hangs up, or does not
		}
	}
}

func sha(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// closedPort is an address where nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}
