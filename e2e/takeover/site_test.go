package takeover

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"text/template"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/ingot-metal/ingot/e2e/rig"
	"github.com/ingot-metal/ingot/pkg/crd"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/kubeapi"
	"github.com/ingot-metal/ingot/pkg/lab/fleet"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
	"github.com/ingot-metal/ingot/pkg/serve"
)

const (
	namespace = "metal"
	patience  = 3 * time.Minute // on a quiet machine nothing takes a tenth of it
)

// site is an API with Metal3's objects, and machines, of which nobody takes care
// until serve.
type site struct {
	client.Client
	t       *testing.T
	ctx     context.Context
	api     *kubeapi.Server
	dir     string
	fleet   *fleet.Fleet
	journal *simbmc.Journal
	door    atomic.Pointer[url.URL] // the boot door, once it is there
	images  *httptest.Server
	image   string // URL
	sum     string
	was     map[string]was
}

// was is what a host must keep.
type was struct {
	id       string
	hardware bool
}

func newSite(t *testing.T, machines int) *site {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	s := &site{t: t, ctx: ctx, journal: simbmc.NewJournal(nil, nil), was: map[string]was{}}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	kubeapi.RouteLogs(log)
	ctrl.SetLogger(logr.Discard())
	dir, err := os.MkdirTemp("", "ingot") // t.TempDir's may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	s.dir = dir
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if s.api, err = kubeapi.Start(ctx, kubeapi.Options{DataDir: dir, Address: "127.0.0.1:0", NoFsync: true, Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.api.Stop(context.WithoutCancel(ctx)) })
	if err := crd.Install(ctx, s.api.RESTConfig()); err != nil {
		t.Fatal(err)
	}
	scheme, err := serve.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	if s.Client, err = client.New(s.api.RESTConfig(), client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	s.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})

	content := bytes.Repeat([]byte("an operating system\n"), 4096)
	sum := sha256.Sum256(content)
	s.sum = hex.EncodeToString(sum[:])
	s.images = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "os.raw", time.Time{}, bytes.NewReader(content))
	}))
	t.Cleanup(s.images.Close)
	s.image = s.images.URL + "/os.raw"

	boot := httptest.NewServer(http.HandlerFunc(s.boot))
	t.Cleanup(boot.Close)
	if s.fleet, err = fleet.New(fleet.Config{Count: machines, Seed: 77, BootURL: boot.URL, Journal: s.journal}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.fleet.Close)
	return s
}

// boot passes on to the boot door.
func (s *site) boot(w http.ResponseWriter, r *http.Request) {
	to := s.door.Load()
	if to == nil {
		http.Error(w, "not yet", http.StatusServiceUnavailable)
		return
	}
	httputil.NewSingleHostReverseProxy(to).ServeHTTP(w, r)
}

func (s *site) create(o client.Object) {
	s.t.Helper()
	if err := s.Create(s.ctx, o); err != nil {
		s.t.Fatalf("%T %s: %v", o, o.GetName(), err)
	}
}

// leave makes a host's objects as Metal3 leaves them, and its machine likewise.
func (s *site) leave(h left, m *fleet.Machine) {
	s.t.Helper()
	if !h.off {
		s.press(m, simbmc.PowerOn)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: h.name + "-bmc",
			Labels: map[string]string{"environment.metal3.io": "baremetal"}, Finalizers: []string{"baremetalhost.metal3.io/secret"},
		},
		StringData: map[string]string{"username": m.Username, "password": m.Password},
	}
	s.create(secret)
	fields := map[string]any{
		"Address": m.Address, "MAC": m.MAC, "ID": uuid.NewString(), "Image": s.image, "Checksum": s.sum,
		"Namespace": namespace, "SecretVersion": secret.ResourceVersion, "UID": "not known yet",
	}
	docs := s.render(h.name, fields)
	b := docs[0].DeepCopy()
	unstructured.RemoveNestedField(b.Object, "status")
	s.create(b)
	fields["UID"] = string(b.GetUID())
	if st, has, _ := unstructured.NestedMap(docs[0].Object, "status"); has {
		next := b.DeepCopy()
		next.Object["status"] = st
		if err := s.Status().Update(s.ctx, next); err != nil {
			s.t.Fatalf("%s: %v", h.name, err)
		}
		id, _, _ := unstructured.NestedString(st, "provisioning", "ID")
		s.was[h.name] = was{id: id, hardware: st["hardware"] != nil}
	} else {
		s.was[h.name] = was{id: fields["ID"].(string), hardware: true}
	}
	for _, doc := range s.render(h.name, fields)[1:] {
		s.create(doc)
	}
	before := secret.DeepCopy()
	secret.OwnerReferences = []metav1.OwnerReference{{APIVersion: "metal3.io/v1alpha1", Kind: "BareMetalHost", Name: h.name, UID: b.GetUID()}}
	if err := s.Patch(s.ctx, secret, client.MergeFrom(before)); err != nil {
		s.t.Fatal(err)
	}
	if h.deleted {
		if err := s.Delete(s.ctx, b); err != nil {
			s.t.Fatal(err)
		}
	}
}

// render reads the documents of testdata/NAME.yaml.
func (s *site) render(name string, fields map[string]any) []*unstructured.Unstructured {
	s.t.Helper()
	tpl, err := template.New(name + ".yaml").Option("missingkey=error").ParseFiles(filepath.Join("testdata", name+".yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	var text bytes.Buffer
	if err := tpl.Execute(&text, fields); err != nil {
		s.t.Fatal(err)
	}
	var docs []*unstructured.Unstructured
	for doc := range strings.SplitSeq(text.String(), "\n---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
			s.t.Fatalf("%s: %v", name, err)
		}
		u.SetNamespace(namespace)
		docs = append(docs, u)
	}
	return docs
}

// press switches power as another user of the BMC.
func (s *site) press(m *fleet.Machine, a simbmc.PowerAction) {
	s.t.Helper()
	target := strings.Replace(m.Address, "redfish+http://", "http://", 1) + "/Actions/ComputerSystem.Reset"
	req, err := http.NewRequestWithContext(s.ctx, http.MethodPost, target, strings.NewReader(`{"ResetType":"`+string(a)+`"}`))
	if err != nil {
		s.t.Fatal(err)
	}
	req.SetBasicAuth(m.Username, m.Password)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode >= 300 {
		s.t.Fatalf("%s: %s", a, res.Status)
	}
}

// serve starts what `ingot serve` runs, with limits for machines that start in
// milliseconds.
func (s *site) serve() {
	t := s.t
	t.Helper()
	block, _ := pem.Decode(s.api.CA())
	if block == nil {
		t.Fatal("the API's authority is no PEM")
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	boot := filepath.Join(s.dir, "boot")
	if err := os.Mkdir(boot, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"vmlinuz-vm", "initrd-vm.img"} {
		if err := os.WriteFile(filepath.Join(boot, name), []byte("pretended\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	machine := host.Defaults()
	machine.RetryUnit, machine.HelloTimeout = 100*time.Millisecond, 20*time.Second
	const free = "127.0.0.1:0"
	var log rig.Buffer
	ready := make(chan string, 1)
	ctx, cancel := context.WithCancel(s.ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- serve.Run(ctx, serve.Config{
			REST: s.api.RESTConfig(), ClientCA: ca, DataDir: s.dir, Embedded: true, APIAddress: s.api.RESTConfig().Host,
			RESTAddress: free, HTTPAddress: free, HTTPSAddress: free, MetricsAddress: "0", HealthAddress: "0",
			BootFiles: boot, Flavour: "vm", Loopback: []string{s.images.Listener.Addr().String()},
			Machine: machine, PollEvery: time.Second, Workers: 16,
			Log: slog.New(slog.NewTextHandler(&log, nil)), Out: readyLine(ready),
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the service ended: %v", err)
		}
		if t.Failed() {
			t.Log(log.String())
		}
		for _, m := range s.fleet.Machines() {
			if strings.Contains(log.String(), m.Password) {
				t.Errorf("the log shows the password of %s", m.Name)
			}
		}
	})
	select {
	case <-ready:
	case err := <-ended:
		ended <- err
		t.Fatalf("before it was ready: %v", err)
	case <-time.After(patience):
		t.Fatal("not ready in time")
	}
	cm := &corev1.ConfigMap{}
	if err := s.Get(s.ctx, client.ObjectKey{Namespace: "kube-system", Name: "ingot-doors"}, cm); err != nil {
		t.Fatal(err)
	}
	door, err := url.Parse(cm.Data["http"])
	if err != nil {
		t.Fatal(err)
	}
	s.door.Store(door)
}

// await waits for a condition.
func (s *site) await(what string, done func() bool) {
	s.t.Helper()
	end := time.NewTimer(patience)
	defer end.Stop()
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-end.C:
			s.t.Fatalf("waited for %s\n%s", what, s.states())
		case <-tick.C:
		}
	}
}

// states is what `kubectl get bmh` would print.
func (s *site) states() string {
	list := &unstructured.UnstructuredList{}
	list.SetAPIVersion("metal3.io/v1alpha1")
	list.SetKind("BareMetalHostList")
	if err := s.List(s.ctx, list, client.InNamespace(namespace)); err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, o := range list.Items {
		state, _, _ := unstructured.NestedString(o.Object, "status", "provisioning", "state")
		status, _, _ := unstructured.NestedString(o.Object, "status", "operationalStatus")
		message, _, _ := unstructured.NestedString(o.Object, "status", "errorMessage")
		fmt.Fprintf(&b, "%-32s %-24s %-12s %s\n", o.GetName(), state, status, message)
	}
	return b.String()
}

// readyLine waits for the one line that the service prints.
type readyLine chan string

func (c readyLine) Write(p []byte) (int, error) {
	if bytes.HasPrefix(p, []byte("ingot is ready")) {
		c <- string(p)
	}
	return len(p), nil
}
