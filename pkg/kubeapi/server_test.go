package kubeapi_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metal3api "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	ingotv1 "github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/crd"
	"github.com/ingot-metal/ingot/pkg/kubeapi"
)

// shared is one server for all tests that do not stop it.
var shared *kubeapi.Server

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	kubeapi.RouteLogs(log)
	dir, err := os.MkdirTemp("", "kubeapi") // t.TempDir's may be too long for a socket
	if err != nil {
		log.Error("make a directory", "err", err)
		return 1
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	shared, err = kubeapi.Start(ctx, kubeapi.Options{DataDir: dir, Address: "127.0.0.1:0", NoFsync: true, Log: log})
	if err != nil {
		log.Error("start", "err", err)
		return 1
	}
	defer func() { _ = shared.Stop(ctx) }()
	if err := crd.Install(ctx, shared.RESTConfig()); err != nil {
		log.Error("install", "err", err)
		return 1
	}
	return m.Run()
}

// start gives a test a server of its own.
func start(t *testing.T, o kubeapi.Options) *kubeapi.Server {
	t.Helper()
	o.NoFsync = true
	if o.Address == "" {
		o.Address = "127.0.0.1:0"
	}
	s, err := kubeapi.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	return s
}

func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kubeapi")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func typed(t *testing.T, cfg *rest.Config) *kubernetes.Clientset {
	t.Helper()
	c, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func objects(t *testing.T, cfg *rest.Config) client.Client {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{metal3api.AddToScheme, ingotv1.AddToScheme, corev1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(cfg, client.Options{Scheme: s})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func namespace(t *testing.T, c client.Client) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	if err := c.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

// eventually waits, bounded, until check holds.
func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !check() {
		select {
		case <-deadline:
			t.Fatalf("%s: not within a minute", what)
		case <-tick.C:
		}
	}
}

func kubeconfig(t *testing.T, s *kubeapi.Server) *rest.Config {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", s.AdminKubeconfigPath)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestKubeconfig(t *testing.T) {
	info, err := os.Stat(shared.AdminKubeconfigPath)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode().Perm(), fs.FileMode(0o600); got != want {
		t.Errorf("mode %v, want %v", got, want)
	}
	file, err := clientcmd.LoadFromFile(shared.AdminKubeconfigPath)
	if err != nil {
		t.Fatal(err)
	}
	if file.CurrentContext != "ingot" {
		t.Errorf("context %q, want ingot", file.CurrentContext)
	}
	ns, err := typed(t, kubeconfig(t, shared)).CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := ns.Labels["ingot.dev/embedded"]; got != "true" {
		t.Errorf("label ingot.dev/embedded is %q, want true", got)
	}
}

func TestVersion(t *testing.T) {
	v, err := typed(t, kubeconfig(t, shared)).Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	if v.GitVersion != "v1.37.1" || v.Major != "1" || v.Minor != "37" {
		t.Errorf("version %s (%s.%s), want v1.37.1 (1.37)", v.GitVersion, v.Major, v.Minor)
	}
}

func TestAnonymousIsRefused(t *testing.T) {
	cfg := rest.AnonymousClientConfig(kubeconfig(t, shared))
	h, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/api/v1/namespaces", "/readyz", "/version"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, shared.URL()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := h.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %s, want 401", path, answer.Status)
		}
	}
}

// A service account's token is known, may do nothing, and may do what a role says.
func TestServiceAccount(t *testing.T) {
	admin := typed(t, shared.RESTConfig())
	ns := namespace(t, objects(t, shared.RESTConfig()))
	var token string
	eventually(t, "the default service account", func() bool {
		r, err := admin.CoreV1().ServiceAccounts(ns).CreateToken(t.Context(), "default", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
		if err == nil {
			token = r.Status.Token
		}
		return err == nil
	})
	cfg := rest.AnonymousClientConfig(kubeconfig(t, shared))
	cfg.BearerToken = token
	var err error
	eventually(t, "the token to be known", func() bool {
		_, err = typed(t, cfg).CoreV1().Secrets(ns).List(t.Context(), metav1.ListOptions{})
		return !apierrors.IsUnauthorized(err)
	})
	if !apierrors.IsForbidden(err) {
		t.Errorf("list Secrets: %v, want forbidden", err)
	}
}

func TestCustomResources(t *testing.T) {
	c := objects(t, shared.RESTConfig())
	ns := namespace(t, c)

	host := &metal3api.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "worker-1"}}
	if err := c.Create(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	host.Status.ErrorType = metal3api.DetachError // missing in Metal3's own schema
	host.Status.OperationalStatus = metal3api.OperationalStatusError
	if err := c.Status().Update(t.Context(), host); err != nil {
		t.Errorf("the overlay does not work: %v", err)
	}

	record := &ingotv1.HostRecord{ObjectMeta: metav1.ObjectMeta{
		Namespace: ns, Name: "worker-1",
		OwnerReferences: []metav1.OwnerReference{{APIVersion: metal3api.GroupVersion.String(), Kind: "BareMetalHost", Name: host.Name, UID: host.UID}},
	}}
	record.Spec.ID = "6c2a3f2e-6f0e-4b52-8a5b-0d9e2d1b7a11"
	if err := c.Create(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	record.Status.WaitsFor = "the Secret s1"
	if err := c.Status().Update(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	record.Spec.ID = "00000000-0000-4000-8000-000000000000"
	if err := c.Update(t.Context(), record); err == nil || !strings.Contains(err.Error(), "never changes") {
		t.Errorf("changed the id: %v", err)
	}

	// The garbage collector takes the record away with its host.
	if err := c.Delete(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	eventually(t, "garbage collection", func() bool {
		return apierrors.IsNotFound(c.Get(t.Context(), client.ObjectKeyFromObject(record), record))
	})
}

func TestProvisioningNetworkSchema(t *testing.T) {
	c := objects(t, shared.RESTConfig())
	good := ingotv1.ProvisioningNetworkSpec{
		Interface: "eth0", Address: "10.77.0.1/24", Gateway: "10.77.0.254",
		Range: &ingotv1.AddressRange{Start: "10.77.0.100", End: "10.77.0.200"},
		DNS:   []string{"10.77.0.1"},
	}
	for _, tc := range []struct {
		name   string
		change func(*ingotv1.ProvisioningNetworkSpec)
		want   string // part of the message; empty: accepted
	}{
		{name: "good", change: func(*ingotv1.ProvisioningNetworkSpec) {}},
		{name: "userspace", change: func(s *ingotv1.ProvisioningNetworkSpec) { s.Interface = "unix:/tmp/lab/switch.sock" }},
		{name: "proxy-needs-no-range", change: func(s *ingotv1.ProvisioningNetworkSpec) { s.Mode, s.Range = "proxy", nil }},
		{name: "ipv6", change: func(s *ingotv1.ProvisioningNetworkSpec) {
			s.Address, s.Gateway = "fd00:77::1/64", ""
			s.Range = &ingotv1.AddressRange{Start: "fd00:77::100", End: "fd00:77::200"}
		}},
		{name: "dhcp-needs-range", change: func(s *ingotv1.ProvisioningNetworkSpec) { s.Range = nil }, want: "give range.start and range.end"},
		{name: "address-without-prefix", change: func(s *ingotv1.ProvisioningNetworkSpec) { s.Address = "10.77.0.1" }, want: "prefix length"},
		{name: "range-elsewhere", change: func(s *ingotv1.ProvisioningNetworkSpec) { s.Range.Start = "10.78.0.1" }, want: "range.start must lie"},
		{name: "range-no-address", change: func(s *ingotv1.ProvisioningNetworkSpec) { s.Range.End = "x" }, want: "range.end is an IP"},
		{name: "gateway-elsewhere", change: func(s *ingotv1.ProvisioningNetworkSpec) { s.Gateway = "192.168.0.1" }, want: "gateway must lie"},
		{name: "dns-name", change: func(s *ingotv1.ProvisioningNetworkSpec) { s.DNS = []string{"ns.example"} }, want: "dns is a list"},
		{name: "long-interface", change: func(s *ingotv1.ProvisioningNetworkSpec) { s.Interface = "sixteen-letters1" }, want: "at most 15"},
		{name: "mode", change: func(s *ingotv1.ProvisioningNetworkSpec) { s.Mode = "pxe" }, want: "Unsupported value"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := &ingotv1.ProvisioningNetwork{ObjectMeta: metav1.ObjectMeta{Name: tc.name}}
			good.DeepCopyInto(&n.Spec)
			tc.change(&n.Spec)
			err := c.Create(t.Context(), n)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want %q", err, tc.want)
			case tc.want == "" && n.Spec.Flavour != ingotv1.FlavourServer:
				t.Errorf("flavour %q, want server", n.Spec.Flavour)
			}
		})
	}
}

// What a Secret holds is not readable in the database; a ConfigMap's content
// shows that the search would find it.
func TestSecretsAreEncrypted(t *testing.T) {
	c := objects(t, shared.RESTConfig())
	ns := namespace(t, c)
	const secret, plain = "correct-horse-battery-staple", "a-plain-config-value-to-find"
	if err := c.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "bmc"},
		Data:       map[string][]byte{"password": []byte(secret)},
	}); err != nil {
		t.Fatal(err)
	}
	if err := c.Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "plain"},
		Data:       map[string]string{"value": plain},
	}); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(filepath.Dir(shared.AdminKubeconfigPath), "etcd")
	if found(t, dir, secret) {
		t.Error("the Secret is in the database in the clear")
	}
	if !found(t, dir, plain) {
		t.Error("the search finds nothing")
	}
}

func found(t *testing.T, dir, text string) bool {
	t.Helper()
	hit := false
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		hit = hit || bytes.Contains(content, []byte(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return hit
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := filepath.Dir(shared.AdminKubeconfigPath)
	_, err := kubeapi.Start(t.Context(), kubeapi.Options{DataDir: dir, Address: "127.0.0.1:0"})
	var locked *kubeapi.LockedError
	if !errors.As(err, &locked) {
		t.Fatalf("got %v, want a LockedError", err)
	}
	if locked.Dir != dir || locked.PID != os.Getpid() {
		t.Errorf("got %+v, want %s and %d", locked, dir, os.Getpid())
	}
}

// A server beside the shared one, on a path too long for a socket, ends in time
// though a foreign watcher stays, and keeps its objects.
func TestStopAndRestart(t *testing.T) {
	dir := filepath.Join(tempDir(t), strings.Repeat("long-", 20), "data")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, kubeapi.Options{DataDir: dir, Listener: l})
	if want := "https://" + l.Addr().String(); s.URL() != want {
		t.Errorf("url %s, want %s", s.URL(), want)
	}
	before := kubeconfig(t, s)
	c := typed(t, before)
	made, err := c.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "kept"}, Data: map[string]string{"k": "v"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := c.CoreV1().Secrets("default").Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "kept"}, Data: map[string][]byte{"k": []byte("v")},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		w, err := c.CoreV1().ConfigMaps("default").Watch(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
	}

	began := time.Now()
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}
	took := time.Since(began)
	t.Logf("stopped in %v", took)
	if took > time.Minute {
		t.Errorf("stopping took %v, want at most 20 s", took)
	}
	select {
	case <-s.Done():
	case <-time.After(time.Minute):
		t.Error("Done is not closed after Stop")
	}
	if s.Err() != nil {
		t.Errorf("Err after Stop: %v", s.Err())
	}

	began = time.Now()
	s = start(t, kubeapi.Options{DataDir: dir})
	t.Logf("started again in %v", time.Since(began))
	after := kubeconfig(t, s)
	if !bytes.Equal(before.CAData, after.CAData) {
		t.Error("the CA changed")
	}
	got, err := typed(t, after).CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{})
	if err != nil || got.UID != made.UID {
		t.Errorf("the object is not the same: %v", err)
	}
	gotSecret, err := typed(t, after).CoreV1().Secrets("default").Get(t.Context(), "kept", metav1.GetOptions{})
	if err != nil || gotSecret.UID != secret.UID || string(gotSecret.Data["k"]) != "v" {
		t.Errorf("the Secret is not the same: %v", err)
	}
}
