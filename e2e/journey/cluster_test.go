package journey_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/deploy"
	"github.com/ingot-metal/ingot/e2e/rig"
	"github.com/ingot-metal/ingot/pkg/admission"
	"github.com/ingot-metal/ingot/pkg/crd"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/kubeapi"
	"github.com/ingot-metal/ingot/pkg/lab/fleet"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
	"github.com/ingot-metal/ingot/pkg/serve"
)

// Names of the manifests.
const (
	manifests       = "../../deploy/kustomize/base"
	systemNamespace = "ingot-system"
	systemAccount   = "ingot"
	hookService     = systemNamespace + "/ingot-webhook"
)

// TestManagerInACluster takes a host from enrolled to provisioned and deleted, as
// the service account of deploy/kustomize: nothing is forbidden, and no right that
// such a life needs is left over. On the way a webhook that Metal3's operator left
// behind is told of, and ours refuse one bad object of each kind.
func TestManagerInACluster(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	ports, err := rig.NewPorts()
	if err != nil {
		t.Fatal(err)
	}
	hooks := fmt.Sprintf("127.0.0.1:%d", ports.HTTPS)
	api := startAPI(t, ctx, hooks)
	scheme, err := serve.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	admin, err := client.New(api.RESTConfig(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	installBase(t, ctx, api.RESTConfig(), admin)
	leftover := leftBehind()
	if err := admin.Create(ctx, leftover); err != nil {
		t.Fatal(err)
	}

	seen := &requests{}
	m := startManager(t, ctx, as(t, ctx, api, seen), hooks)
	m.await(t, "told of the webhook that was left behind", func() bool {
		return m.logged("kubectl delete ValidatingWebhookConfiguration " + leftover.Name)
	})
	if err := admin.Delete(ctx, leftover); err != nil {
		t.Fatal(err)
	}

	life(t, ctx, m, admin)
	refusals(t, ctx, m, admin)
	m.stop(t)
	if text := m.log.String(); strings.Contains(strings.ToLower(text), "forbidden") {
		t.Errorf("something was forbidden:\n%s", text)
	}
	seen.check(t)
}

func startAPI(t *testing.T, ctx context.Context, hooks string) *kubeapi.Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "ingot") // t.TempDir's may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	api, err := kubeapi.Start(ctx, kubeapi.Options{
		DataDir: dir, Address: "127.0.0.1:0", NoFsync: true, Services: map[string]string{hookService: hooks},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop, done := context.WithTimeout(context.Background(), time.Minute)
		defer done()
		if err := api.Stop(stop); err != nil {
			t.Error(err)
		}
	})
	return api
}

// installBase does what kubectl apply -k deploy/kustomize/default would.
func installBase(t *testing.T, ctx context.Context, cfg *rest.Config, admin client.Client) {
	t.Helper()
	if err := crd.Install(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	var k struct{ Resources []string }
	text, err := os.ReadFile(filepath.Join(manifests, "kustomization.yaml"))
	if err == nil {
		err = yaml.Unmarshal(text, &k)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range k.Resources {
		text, err := os.ReadFile(filepath.Join(manifests, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, doc := range bytes.Split(text, []byte("\n---\n")) {
			o := &unstructured.Unstructured{}
			if err := yaml.Unmarshal(doc, &o.Object); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if len(o.Object) == 0 {
				continue
			}
			// This API runs no pods, and has no Services and Deployments.
			if err := admin.Create(ctx, o); err != nil && !apimeta.IsNoMatchError(err) {
				t.Fatalf("%s: %s: %v", name, o.GetName(), err)
			}
		}
	}
}

// leftBehind is what remains of Metal3's operator when it was stopped.
func leftBehind() *registrationv1.ValidatingWebhookConfiguration {
	none, path := registrationv1.SideEffectClassNone, admission.Path
	return &registrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "baremetal-operator-validating-webhook-configuration"},
		Webhooks: []registrationv1.ValidatingWebhook{{
			Name: "baremetalhost.metal3.io", SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
			ClientConfig: registrationv1.WebhookClientConfig{Service: &registrationv1.ServiceReference{
				Namespace: "baremetal-operator-system", Name: "baremetal-operator-webhook-service", Path: &path,
			}},
			Rules: []registrationv1.RuleWithOperations{{
				Operations: []registrationv1.OperationType{registrationv1.Create, registrationv1.Update},
				Rule:       registrationv1.Rule{APIGroups: []string{"metal3.io"}, APIVersions: []string{"v1alpha1"}, Resources: []string{"baremetalhosts"}},
			}},
		}},
	}
}

// as is a client configuration of the service account, as its pod would have it.
func as(t *testing.T, ctx context.Context, api *kubeapi.Server, seen *requests) *rest.Config {
	t.Helper()
	admin, err := kubernetes.NewForConfig(api.RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	hour := int64(3600)
	tr, err := admin.CoreV1().ServiceAccounts(systemNamespace).CreateToken(ctx, systemAccount,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &hour}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := &rest.Config{
		Host: api.RESTConfig().Host, BearerToken: tr.Status.Token, QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: api.CA()},
	}
	// The API learns of new roles and bindings in its own time.
	user, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	bound, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if !poll(bound, func() bool {
		if _, err = user.Discovery().ServerGroups(); err == nil {
			_, err = user.CoordinationV1().Leases("").List(ctx, metav1.ListOptions{})
		}
		if err == nil {
			_, err = user.CoordinationV1().Leases(deploy.SharedNamespace).Get(ctx, "none", metav1.GetOptions{})
		}
		return err == nil || apierrors.IsNotFound(err)
	}) {
		t.Fatal(err)
	}
	cfg.WrapTransport = func(next http.RoundTripper) http.RoundTripper { return &recorder{next, seen} }
	return cfg
}

// clusterManager is a running one.
type clusterManager struct {
	log   rig.Buffer
	ended chan error
	end   context.CancelFunc
	image *httptest.Server
	bytes []byte
}

func startManager(t *testing.T, ctx context.Context, cfg *rest.Config, hooks string) *clusterManager {
	t.Helper()
	m := &clusterManager{ended: make(chan error, 1), bytes: bytes.Repeat([]byte("an operating system\n"), 4<<10)}
	m.image = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(m.bytes))
	}))
	t.Cleanup(m.image.Close)
	dir := t.TempDir()
	boot, err := rig.Pretended(dir)
	if err != nil {
		t.Fatal(err)
	}
	machine := host.Defaults()
	machine.RetryUnit, machine.HelloTimeout = 100*time.Millisecond, 20*time.Second
	const any = "127.0.0.1:0"
	ctx, m.end = context.WithCancel(ctx)
	ready := &readyWriter{line: make(chan string, 1)}
	go func() {
		m.ended <- serve.Run(ctx, serve.Config{
			REST: cfg, DataDir: dir, APIAddress: cfg.Host, LeaderElection: true,
			Webhook:     serve.Webhook{Address: hooks, Service: hookService, Every: time.Second},
			RESTAddress: any, HTTPAddress: any, HTTPSAddress: any, MetricsAddress: "0", HealthAddress: "0",
			BootFiles: boot, Flavour: "vm", Loopback: []string{m.image.Listener.Addr().String()},
			Machine: machine, PollEvery: time.Second, Workers: 4,
			Log: slog.New(slog.NewTextHandler(&m.log, nil)), Out: ready,
		})
	}()
	t.Cleanup(func() { m.end() })
	select {
	case <-ready.line:
	case err := <-m.ended:
		t.Fatalf("before it was ready: %v\n%s", err, m.log.String())
	case <-time.After(patience):
		t.Fatalf("not ready in time:\n%s", m.log.String())
	}
	return m
}

func (m *clusterManager) logged(text string) bool { return strings.Contains(m.log.String(), text) }

func (m *clusterManager) await(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick, end := time.NewTicker(30*time.Millisecond), time.After(patience)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case err := <-m.ended:
			t.Fatalf("the manager ended: %v\n%s", err, m.log.String())
		case <-end:
			t.Fatalf("not %s in time:\n%s", what, m.log.String())
		}
	}
}

func (m *clusterManager) stop(t *testing.T) {
	t.Helper()
	m.end()
	select {
	case err := <-m.ended:
		if err != nil {
			t.Errorf("the manager ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the manager does not end")
	}
}

// life is that of one host.
func life(t *testing.T, ctx context.Context, m *clusterManager, admin client.Client) {
	t.Helper()
	doors := &corev1.ConfigMap{}
	if err := admin.Get(ctx, client.ObjectKey{Namespace: "kube-system", Name: "ingot-doors"}, doors); err != nil {
		t.Fatal(err)
	}
	journal := simbmc.NewJournal(nil, nil)
	f, err := fleet.New(fleet.Config{Count: 1, BootURL: doors.Data["http"], Journal: journal})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	machine := f.Machines()[0]
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "bmc"},
		StringData: map[string]string{"username": machine.Username, "password": machine.Password},
	}
	b := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: machine.Name}}
	b.Spec.BMC = metal3.BMCDetails{Address: machine.Address, CredentialsName: secret.Name, DisableCertificateVerification: machine.Insecure}
	b.Spec.BootMACAddress, b.Spec.Online = machine.MAC, true
	for _, o := range []client.Object{secret, b} {
		if err := admin.Create(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	key := client.ObjectKeyFromObject(b)
	state := func(want metal3.ProvisioningState) {
		t.Helper()
		m.await(t, string(want), func() bool {
			err := admin.Get(ctx, key, b)
			return err == nil && b.Status.Provisioning.State == want && b.Status.ErrorType == ""
		})
	}
	state(metal3.StateAvailable)
	sum := sha256.Sum256(m.bytes)
	raw := "raw"
	before := b.DeepCopy()
	b.Spec.Image = &metal3.Image{URL: m.image.URL, Checksum: hex.EncodeToString(sum[:]), ChecksumType: metal3.SHA256, DiskFormat: &raw}
	if err := admin.Patch(ctx, b, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	state(metal3.StateProvisioned)
	if !slices.Contains(machine.Images(), hex.EncodeToString(sum[:])) {
		t.Errorf("no disk holds the image: %v", machine.Images())
	}
	if err := admin.Delete(ctx, b); err != nil {
		t.Fatal(err)
	}
	m.await(t, "gone", func() bool { return apierrors.IsNotFound(admin.Get(ctx, key, &metal3.BareMetalHost{})) })
	if machine.On() {
		t.Error("the machine of a deleted host is on")
	}
}

// refusals holds that the webhooks behind the Service judge every kind.
func refusals(t *testing.T, ctx context.Context, m *clusterManager, admin client.Client) {
	t.Helper()
	meta := metav1.ObjectMeta{Namespace: "default", GenerateName: "bad-"}
	bad := map[string]client.Object{
		"spec.bmc.address":                      &metal3.BareMetalHost{ObjectMeta: meta, Spec: metal3.BareMetalHostSpec{BMC: metal3.BMCDetails{Address: "redfsh://x", CredentialsName: "s"}}},
		"spec.destination":                      &metal3.BMCEventSubscription{ObjectMeta: meta, Spec: metal3.BMCEventSubscriptionSpec{HostName: "h", Destination: "http://x"}},
		"spec.url":                              &metal3.DataImage{ObjectMeta: meta, Spec: metal3.DataImageSpec{URL: "file:///x"}},
		"spec.hostSelector.matchLabels":         &metal3.HostClaim{ObjectMeta: meta, Spec: metal3.HostClaimSpec{HostSelector: metal3.HostSelector{MatchLabels: map[string]string{"a b": "c"}}}},
		"spec.hostClaimNamespaces.nameMatches":  &metal3.HostDeployPolicy{ObjectMeta: meta, Spec: metal3.HostDeployPolicySpec{HostClaimNamespaces: &metal3.HostClaimNamespaces{NameMatches: "("}}},
		"spec.updates[0].url":                   &metal3.HostFirmwareComponents{ObjectMeta: meta, Spec: metal3.HostFirmwareComponentsSpec{Updates: []metal3.FirmwareUpdate{{Component: "bios", URL: "x"}}}},
		"spec.range: Invalid value: \"10.0.0.1": &v1alpha1.ProvisioningNetwork{ObjectMeta: metav1.ObjectMeta{Name: "bad"}, Spec: v1alpha1.ProvisioningNetworkSpec{Interface: "unix:/x", Address: "10.0.0.1/24", Range: &v1alpha1.AddressRange{Start: "10.0.0.1", End: "10.0.0.9"}}},
	}
	if len(bad) != len(admission.Paths()) {
		t.Errorf("%d kinds, want %d", len(bad), len(admission.Paths()))
	}
	for field, o := range bad {
		var err error
		m.await(t, fmt.Sprintf("refusing %T", o), func() bool {
			err = admin.Create(ctx, o.DeepCopyObject().(client.Object), client.DryRunAll)
			return err != nil
		})
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), field) {
			t.Errorf("%T: got %v, want it to name %s", o, err, field)
		}
	}
	// Removed by somebody, and there again.
	if err := admin.Delete(ctx, &registrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: admission.Configuration}}); err != nil {
		t.Fatal(err)
	}
	m.await(t, "pointing at its webhooks again", func() bool {
		return admin.Get(ctx, client.ObjectKey{Name: admission.Configuration}, &registrationv1.ValidatingWebhookConfiguration{}) == nil
	})
}

// requests are what the manager asked of the API.
type requests struct {
	mu      sync.Mutex
	used    []*request.RequestInfo
	refused sets.Set[string]
}

type recorder struct {
	next http.RoundTripper
	to   *requests
}

// RoundTrip is part of http.RoundTripper.
func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	f := request.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}
	info, e := f.NewRequestInfo(req)
	if e != nil {
		return resp, nil
	}
	r.to.mu.Lock()
	defer r.to.mu.Unlock()
	if resp.StatusCode == http.StatusForbidden {
		r.to.refused = r.to.refused.Union(sets.New(fmt.Sprintf("%s %s/%s.%s %s/%s", info.Verb, info.Resource, info.Subresource, info.APIGroup, info.Namespace, info.Name)))
	}
	if info.IsResourceRequest {
		r.to.used = append(r.to.used, info)
	}
	return resp, nil
}

// check compares with the table of rights.
func (r *requests) check(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, what := range sets.List(r.refused) {
		t.Errorf("forbidden: %s", what)
	}
	rules, err := deploy.Rules()
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range rules {
		if rule.Seldom {
			continue
		}
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				if !slices.ContainsFunc(r.used, func(i *request.RequestInfo) bool {
					name := i.Resource
					if i.Subresource != "" {
						name += "/" + i.Subresource
					}
					at := !rule.Shared || i.Namespace == deploy.SharedNamespace
					return at && i.APIGroup == rule.Group && name == resource && i.Verb == verb
				}) && !implied(rule, verb) {
					t.Errorf("the right to %s %s.%s (%s) was not needed", verb, resource, rule.Group, rule.For)
				}
			}
		}
	}
}

// implied rights are asked about by the API itself: an apply that makes an object
// needs create as well as patch.
func implied(r deploy.Rule, verb string) bool {
	return verb == "create" && slices.Contains(r.Resources, "validatingwebhookconfigurations")
}
