package journey_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/pkg/cli"
	"github.com/ingot-metal/ingot/pkg/explain"
	"github.com/ingot-metal/ingot/pkg/lab/fleet"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// builder is one machine, its host, and who answers for the ramdisk: the server that
// it is fetched from, and the client that writes what a builder would.
type builder struct {
	*fleet.Machine
	t       *testing.T
	ctx     context.Context
	key     client.ObjectKey
	journal *simbmc.Journal
	server  *httptest.Server

	mu     sync.Mutex
	served []string
	files  map[string]string
}

func newBuilder(t *testing.T, ns string, seed uint64) *builder {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	r := &builder{t: t, ctx: ctx, journal: simbmc.NewJournal(nil, nil), files: map[string]string{}}
	r.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		r.served = append(r.served, q.URL.Path)
		text, ok := r.files[q.URL.Path]
		r.mu.Unlock()
		if !ok {
			http.NotFound(w, q)
			return
		}
		http.ServeContent(w, q, "", time.Time{}, strings.NewReader(text))
	}))
	t.Cleanup(r.server.Close)
	f, err := fleet.New(fleet.Config{Count: 1, Seed: seed, BootURL: shared.doors["http"], Journal: r.journal})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	r.Machine = f.Machines()[0]
	r.key = client.ObjectKey{Namespace: ns, Name: r.Name}
	r.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})
	t.Cleanup(r.clear)
	return r
}

func (r *builder) create(o client.Object) {
	r.t.Helper()
	if err := shared.Create(r.ctx, o); err != nil {
		r.t.Fatal(err)
	}
}

func (r *builder) enrol(change ...func(*metal3.BareMetalHost)) {
	r.t.Helper()
	r.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.key.Namespace, Name: "bmc"},
		StringData: map[string]string{"username": r.Username, "password": r.Password},
	})
	b := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: r.key.Namespace, Name: r.key.Name, Labels: map[string]string{"rack": "r1"}}}
	b.Spec.BMC = metal3.BMCDetails{Address: r.Address, CredentialsName: "bmc"}
	b.Spec.BootMACAddress, b.Spec.Online = r.MAC, true
	for _, f := range change {
		f(b)
	}
	r.create(b)
}

func (r *builder) clear() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	b := &metal3.BareMetalHost{}
	if shared.Get(ctx, r.key, b) != nil {
		return
	}
	before := b.DeepCopy()
	metav1.SetMetaDataAnnotation(&b.ObjectMeta, metal3.DetachedAnnotation, `{"force":true}`)
	if err := shared.Patch(ctx, b, client.MergeFrom(before)); err != nil {
		r.t.Error(err)
	}
	if err := shared.Delete(ctx, b); client.IgnoreNotFound(err) != nil {
		r.t.Error(err)
	}
	if !poll(ctx, func() bool { return apierrors.IsNotFound(shared.Get(ctx, r.key, b)) }) {
		r.t.Errorf("%s is not let go of", r.key)
	}
}

func (r *builder) await(what string, done func() bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, patience)
	defer cancel()
	if poll(ctx, done) {
		return
	}
	var got []string
	for _, e := range r.journal.Entries(r.Name) {
		got = append(got, e.Kind+" "+e.Detail)
	}
	r.t.Fatalf("%s is not %s: %+v\njournal:\n%s", r.key, what, r.explain(), strings.Join(got, "\n"))
}

func (r *builder) awaitState(s metal3.ProvisioningState) {
	r.t.Helper()
	r.await(string(s), func() bool {
		b := &metal3.BareMetalHost{}
		return shared.Get(r.ctx, r.key, b) == nil && b.Status.Provisioning.State == s && b.Status.ErrorType == ""
	})
}

// awaitCode waits for a diagnosis that `ingot explain` gives.
func (r *builder) awaitCode(code string) explain.Report {
	r.t.Helper()
	var rep explain.Report
	r.await("explained by "+code, func() bool {
		// Host and record are written one after the other: both must say it.
		rep = r.explain()
		return rep.Code == code && (rep.Class != explain.Retry || !rep.NextAt.IsZero())
	})
	return rep
}

func (r *builder) explain() explain.Report {
	var out, errOut bytes.Buffer
	env := func(k string) string {
		return map[string]string{"KUBECONFIG": shared.kubeconfig, "HOME": "/nonexistent"}[k]
	}
	cli.Run(r.ctx, []string{"--namespace", r.key.Namespace, "explain", r.key.Name, "-o", "json"}, env,
		cli.Stdio{In: strings.NewReader(""), Out: &out, Err: &errOut})
	var rep explain.Report
	if err := json.Unmarshal(out.Bytes(), &rep); err != nil {
		r.t.Logf("explain: %v: %s%s", err, out.String(), errOut.String())
	}
	return rep
}

// asked waits for the question.
func (r *builder) asked() *metal3.PreprovisioningImage {
	r.t.Helper()
	p := &metal3.PreprovisioningImage{}
	r.await("asking", func() bool { return shared.Get(r.ctx, r.key, p) == nil })
	return p
}

// answer is what a builder writes.
func (r *builder) answer(kind metal3.ImageStatusConditionType, change func(*metal3.PreprovisioningImage)) {
	r.t.Helper()
	p := r.asked()
	before := p.DeepCopy()
	p.Status.Conditions = nil
	p.Status.Architecture = p.Spec.Architecture
	change(p)
	c := metav1.Condition{Type: string(kind), Status: metav1.ConditionTrue, Reason: "Built", Message: "by a test", ObservedGeneration: p.Generation}
	for _, given := range p.Status.Conditions {
		c.Message, c.ObservedGeneration = given.Message, given.ObservedGeneration
	}
	p.Status.Conditions = nil
	apimeta.SetStatusCondition(&p.Status.Conditions, c)
	if err := shared.Status().Patch(r.ctx, p, client.MergeFrom(before)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *builder) serve(path, text string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files[path] = text
	return r.server.URL + path
}

func (r *builder) fetched(path string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.served, path)
}

// withBuilder is set where the service asks an external builder for every ramdisk.
const withBuilder = "INGOT_JOURNEY_BUILDER"

// TestExternalBuilder runs itself in a process of its own, whose service was started
// with --build-preprov-image: every host of such a service waits for a builder.
func TestExternalBuilder(t *testing.T) {
	if os.Getenv(withBuilder) != "" {
		t.Run("initrd", ramdiskFromABuilder)
		t.Run("iso", isoFromABuilder)
		return
	}
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 6*patience)
	defer cancel()
	c := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestExternalBuilder$", "-test.v", "-test.count=1")
	c.Env = append(os.Environ(), withBuilder+"=yes")
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestExternalBuilder/iso") {
		t.Errorf("%v\n%s", err, out)
	}
}

// The question is asked as Metal3 asks it, the machine is not touched before the
// answer, and boots what was answered.
func ramdiskFromABuilder(t *testing.T) {
	r := newBuilder(t, "initrd", 1)
	r.enrol(func(b *metal3.BareMetalHost) {
		b.Spec.PreprovisioningNetworkDataName = "net"
		b.Spec.Architecture = "x86_64"
	})
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.key.Namespace, Name: "net"}, StringData: map[string]string{"networkData": "{}"}}
	r.create(secret)
	p := r.asked()
	if s := p.Spec; s.NetworkDataName != "net" || s.Architecture != "x86_64" || !slices.Equal(s.AcceptFormats, []metal3.ImageFormat{metal3.ImageFormatInitRD}) {
		t.Errorf("asked for %+v", s)
	}
	if !slices.Contains(p.Finalizers, "baremetalhost.metal3.io/preprovisioningImage") || p.Labels["rack"] != "r1" || len(p.OwnerReferences) != 1 || p.OwnerReferences[0].Name != r.key.Name {
		t.Errorf("metadata %+v", p.ObjectMeta)
	}

	rep := r.awaitCode("ramdisk-waiting")
	if !strings.Contains(strings.Join(rep.Do, " "), r.key.Name) || rep.NextAt.IsZero() {
		t.Errorf("explain %+v", rep)
	}
	if got := r.journal.Entries(r.Name, simbmc.KindPower, simbmc.KindBoot); len(got) != 0 {
		t.Errorf("before an answer: %+v", got)
	}

	r.answer(metal3.ConditionImageError, func(p *metal3.PreprovisioningImage) {
		p.Status.Conditions = []metav1.Condition{{Message: "no kernel for this machine", ObservedGeneration: p.Generation}}
	})
	rep = r.awaitCode("ramdisk-build")
	if !strings.Contains(strings.Join(rep.Seen, " "), "no kernel for this machine") {
		t.Errorf("seen %q", rep.Seen)
	}

	// The Secret has another version once the host has claimed it.
	r.await("claimed, the Secret net", func() bool {
		return shared.Get(r.ctx, client.ObjectKeyFromObject(secret), secret) == nil && len(secret.Finalizers) > 0
	})
	ready := func(change func(*metal3.PreprovisioningImage)) {
		r.answer(metal3.ConditionImageReady, func(p *metal3.PreprovisioningImage) {
			p.Status.Format = metal3.ImageFormatInitRD
			p.Status.ImageUrl, p.Status.KernelUrl = r.serve("/built/initrd", "initrd"), r.serve("/built/kernel", "kernel")
			p.Status.ExtraKernelParams = "builder.says=hello nomodeset"
			p.Status.NetworkData = metal3.SecretStatus{Name: "net", Version: secret.ResourceVersion}
			change(p)
		})
	}
	// What cannot be booted is said before the machine is touched.
	ready(func(p *metal3.PreprovisioningImage) { p.Status.ImageUrl = "https://builder/initrd" })
	rep = r.awaitCode("ramdisk-unusable")
	if !strings.Contains(strings.Join(rep.Seen, " "), "https") {
		t.Errorf("seen %q", rep.Seen)
	}
	// An answer for network data of another version is none yet.
	ready(func(p *metal3.PreprovisioningImage) { p.Status.NetworkData.Version = "1" })
	r.awaitCode("ramdisk-waiting")
	if got := r.journal.Entries(r.Name, simbmc.KindPower, simbmc.KindBoot); len(got) != 0 {
		t.Errorf("before an answer that is of use: %+v", got)
	}
	ready(func(*metal3.PreprovisioningImage) {})
	r.awaitState(metal3.StateAvailable)
	if !r.fetched("/built/kernel") || !r.fetched("/built/initrd") {
		t.Errorf("fetched from the builder: %v", r.served)
	}

	b := &metal3.BareMetalHost{}
	if err := shared.Get(r.ctx, r.key, b); err != nil {
		t.Fatal(err)
	}
	if err := shared.Delete(r.ctx, b); err != nil {
		t.Fatal(err)
	}
	r.await("let go of", func() bool { return apierrors.IsNotFound(shared.Get(r.ctx, r.key, &metal3.BareMetalHost{})) })
	r.await("rid of its PreprovisioningImage's finalizer", func() bool {
		err := shared.Get(r.ctx, r.key, p)
		return apierrors.IsNotFound(err) || err == nil && len(p.Finalizers) == 0
	})
}

// An ISO comes through the virtual drive. It cannot name its boot: it is known by
// the machine's MACs, and only where an ISO was ordered.
func isoFromABuilder(t *testing.T) {
	r := newBuilder(t, "iso", 2)
	r.enrol(func(b *metal3.BareMetalHost) {
		b.Spec.BMC.Address = strings.Replace(r.Address, "redfish+http:", "redfish-virtualmedia+http:", 1)
	})
	p := r.asked()
	if s := p.Spec; s.Architecture != "x86_64" || !slices.Equal(s.AcceptFormats, []metal3.ImageFormat{metal3.ImageFormatISO, metal3.ImageFormatInitRD}) {
		t.Errorf("asked for %+v", s)
	}
	block, _ := pem.Decode([]byte(shared.doors["ca"]))
	pin := sha256.Sum256(block.Bytes)
	iso := r.serve("/built/agent.iso", fleet.RamdiskISO+"ingot.url="+shared.doors["https"]+" ingot.ca="+hex.EncodeToString(pin[:]))
	r.answer(metal3.ConditionImageReady, func(p *metal3.PreprovisioningImage) {
		p.Status.Format, p.Status.ImageUrl = metal3.ImageFormatISO, iso
	})
	r.awaitState(metal3.StateAvailable)
	var got []string
	for _, e := range r.journal.Entries(r.Name, simbmc.KindMedia, simbmc.KindBoot) {
		got = append(got, e.Kind+" "+e.Detail)
	}
	if want := []string{"media insert " + iso, "boot Cd Once UEFI"}; !slices.Equal(got, want) {
		t.Errorf("journal %q, want %q", got, want)
	}
}
