package journey_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/pkg/cli"
	"github.com/ingot-metal/ingot/pkg/explain"
	"github.com/ingot-metal/ingot/pkg/lab/fleet"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// patience bounds every wait; on a quiet machine nothing takes a tenth of it.
const patience = 2 * time.Minute

// rack is a test's machines and the namespace they are enrolled in.
type rack struct {
	t       *testing.T
	ctx     context.Context
	ns      string
	fleet   *fleet.Fleet
	journal *simbmc.Journal
}

// newRack starts machines that are off and not enrolled. Tests run beside each
// other.
func newRack(t *testing.T, count int, protocols ...fleet.Protocol) *rack {
	t.Helper()
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	n := shared.racks.Add(1)
	r := &rack{t: t, ctx: ctx, ns: fmt.Sprintf("rack-%d", n), journal: simbmc.NewJournal(nil, nil)}
	r.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: r.ns}})
	f, err := fleet.New(fleet.Config{
		// The seed is part of every MAC, and all racks are known to one service.
		Count: count, Seed: uint64(n), BootURL: shared.doors["http"], Journal: r.journal, Protocols: protocols, Events: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.fleet = f
	t.Cleanup(f.Close)
	t.Cleanup(r.clear)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	for _, m := range f.Machines() {
		shared.passwords = append(shared.passwords, m.Password)
	}
	return r
}

// clear lets go of all hosts, so that nobody polls BMCs that are gone.
func (r *rack) clear() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var hosts metal3.BareMetalHostList
	if err := shared.List(ctx, &hosts, client.InNamespace(r.ns)); err != nil {
		r.t.Error(err)
	}
	for _, b := range hosts.Items {
		before := b.DeepCopy()
		delete(b.Annotations, metal3.PausedAnnotation)
		metav1.SetMetaDataAnnotation(&b.ObjectMeta, metal3.DetachedAnnotation, `{"force":true}`)
		err := shared.Patch(ctx, &b, client.MergeFrom(before))
		if err == nil {
			err = shared.Delete(ctx, &b)
		}
		if client.IgnoreNotFound(err) != nil {
			r.t.Error(err)
		}
	}
	for _, b := range hosts.Items {
		key := client.ObjectKeyFromObject(&b)
		if !poll(ctx, func() bool { return apierrors.IsNotFound(shared.Get(ctx, key, &metal3.BareMetalHost{})) }) {
			r.t.Errorf("%s is not let go of", key)
		}
	}
}

func poll(ctx context.Context, done func() bool) bool {
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

func (r *rack) create(o client.Object) {
	r.t.Helper()
	if err := shared.Create(r.ctx, o); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rack) secret(name string, data map[string]string) {
	r.t.Helper()
	r.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.ns, Name: name}, StringData: data})
}

// machine is one of the rack's, under the name of its host.
type machine struct {
	*fleet.Machine
	r    *rack
	host string
}

func (r *rack) machine(i int) *machine {
	m := r.fleet.Machines()[i]
	return &machine{Machine: m, r: r, host: m.Name}
}

// object is the host that a rack's list would make.
func (m *machine) object() *metal3.BareMetalHost {
	b := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: m.r.ns, Name: m.host}}
	b.Spec.BMC = metal3.BMCDetails{Address: m.Address, CredentialsName: m.secretName(), DisableCertificateVerification: m.Insecure}
	b.Spec.BootMACAddress, b.Spec.Online = m.MAC, true
	return b
}

func (m *machine) secretName() string { return m.host + "-bmc" }

func (m *machine) credentials() {
	m.r.t.Helper()
	m.r.secret(m.secretName(), map[string]string{"username": m.Username, "password": m.Password})
}

// enrol makes the Secret and the host, as change wants it.
func (m *machine) enrol(change ...func(*metal3.BareMetalHost)) {
	m.r.t.Helper()
	m.credentials()
	m.enrolOnly(change...)
}

func (m *machine) enrolOnly(change ...func(*metal3.BareMetalHost)) {
	m.r.t.Helper()
	b := m.object()
	for _, f := range change {
		f(b)
	}
	m.r.create(b)
}

func (m *machine) key() client.ObjectKey { return client.ObjectKey{Namespace: m.r.ns, Name: m.host} }

func (m *machine) read() *metal3.BareMetalHost {
	m.r.t.Helper()
	b := &metal3.BareMetalHost{}
	if err := shared.Get(m.r.ctx, m.key(), b); err != nil {
		m.r.t.Fatal(err)
	}
	return b
}

// change edits the host as kubectl would.
func (m *machine) change(f func(*metal3.BareMetalHost)) {
	m.r.t.Helper()
	b := m.read()
	before := b.DeepCopy()
	f(b)
	if err := shared.Patch(m.r.ctx, b, client.MergeFrom(before)); err != nil {
		m.r.t.Fatal(err)
	}
}

func (m *machine) annotate(key, value string) {
	m.r.t.Helper()
	m.change(func(b *metal3.BareMetalHost) { metav1.SetMetaDataAnnotation(&b.ObjectMeta, key, value) })
}

func (m *machine) unannotate(key string) {
	m.r.t.Helper()
	m.change(func(b *metal3.BareMetalHost) { delete(b.Annotations, key) })
}

func (m *machine) delete() {
	m.r.t.Helper()
	if err := shared.Delete(m.r.ctx, m.object()); err != nil {
		m.r.t.Fatal(err)
	}
}

func (m *machine) awaitGone() {
	m.r.t.Helper()
	m.await("gone", func() bool {
		return apierrors.IsNotFound(shared.Get(m.r.ctx, m.key(), &metal3.BareMetalHost{}))
	})
}

// await waits for a condition, and says where the host stands if it does not come.
func (m *machine) await(what string, done func() bool) {
	m.r.t.Helper()
	ctx, cancel := context.WithTimeout(m.r.ctx, patience)
	defer cancel()
	if poll(ctx, done) {
		return
	}
	text, _ := m.r.cli("explain", m.host)
	m.r.t.Fatalf("%s/%s is not %s:\n%s\njournal: %s", m.r.ns, m.host, what, text, strings.Join(m.log(), "\n         "))
}

// awaitState waits until the host rests in a state, with nothing wrong.
func (m *machine) awaitState(s metal3.ProvisioningState) *metal3.BareMetalHost {
	m.r.t.Helper()
	var b *metal3.BareMetalHost
	m.await(string(s), func() bool {
		b = m.read()
		return b.Status.Provisioning.State == s && b.Status.ErrorType == ""
	})
	return b
}

// cli runs a verb as a person would and returns what it printed.
func (r *rack) cli(args ...string) (string, int) {
	r.t.Helper()
	var out, errOut bytes.Buffer
	env := func(k string) string {
		return map[string]string{"KUBECONFIG": shared.kubeconfig, "HOME": "/nonexistent"}[k]
	}
	code := cli.Run(r.ctx, append([]string{"--namespace", r.ns}, args...), env, cli.Stdio{In: strings.NewReader(""), Out: &out, Err: &errOut})
	return out.String() + errOut.String(), code
}

// explain is the answer of `ingot explain -o json`.
func (m *machine) explain() explain.Report {
	m.r.t.Helper()
	text, code := m.r.cli("explain", m.host, "-o", "json")
	var rep explain.Report
	if err := json.Unmarshal([]byte(text), &rep); err != nil || code != 0 {
		m.r.t.Fatalf("explain: exit code %d, %v\n%s", code, err, text)
	}
	return rep
}

// awaitCode waits for a diagnosis, and holds what every diagnosis promises: the
// error type and message at the object, evidence, a remedy, and what comes next.
func (m *machine) awaitCode(code string, kind metal3.ErrorType) explain.Report {
	m.r.t.Helper()
	var rep explain.Report
	var b *metal3.BareMetalHost
	m.await("explained by "+code, func() bool {
		// Between two tries there is none; what is read must belong together.
		b, rep = m.read(), m.explain()
		whole := rep.Class != explain.Retry || !rep.NextAt.IsZero()
		return rep.Code == code && whole && strings.HasPrefix(b.Status.ErrorMessage, code+": ")
	})
	t := m.r.t
	if b.Status.ErrorType != kind {
		t.Errorf("%s: errorType %q, want %q", code, b.Status.ErrorType, kind)
	}
	if b.Status.OperationalStatus != metal3.OperationalStatusError || b.Status.ErrorCount < 1 {
		t.Errorf("%s: operationalStatus %q, errorCount %d", code, b.Status.OperationalStatus, b.Status.ErrorCount)
	}
	if len(rep.Do) == 0 || rep.So == "" || len(rep.Seen) == 0 || rep.Next == "" || rep.WaitsFor == "" || rep.Docs == "" {
		t.Errorf("%s: the report lacks something: %+v", code, rep)
	}
	for _, s := range rep.Do {
		if strings.ContainsAny(s, "{}") {
			t.Errorf("%s: the remedy has a blank: %q", code, s)
		}
	}
	if retried := rep.Class == explain.Retry; retried == rep.NextAt.IsZero() {
		t.Errorf("%s: class %q, but the next try is at %v", code, rep.Class, rep.NextAt)
	}
	return rep
}

// explainAny waits for any problem of that type.
func (m *machine) explainAny(kind metal3.ErrorType) explain.Report {
	m.r.t.Helper()
	var rep explain.Report
	m.await("in trouble", func() bool {
		rep = m.explain()
		return rep.Code != "" && m.read().Status.ErrorType == kind
	})
	return m.awaitCode(rep.Code, kind)
}

// log is the machine's journal.
func (m *machine) log(kinds ...string) []string {
	var out []string
	for _, e := range m.r.journal.Entries(m.Name, kinds...) {
		out = append(out, e.Kind+" "+e.Detail)
	}
	return out
}

// disks is what was ever done to the machine's disks.
func (m *machine) disks() []string {
	return m.log(fleet.KindErase, fleet.KindWriteBegin, fleet.KindWrite, fleet.KindConfig)
}

// unchanged fails unless the machine's disks are as they were.
func (m *machine) unchanged(before []string) {
	m.r.t.Helper()
	if after := m.disks(); !slices.Equal(before, after) {
		m.r.t.Errorf("%s: its disks were touched: %v", m.Name, after[min(len(before), len(after)):])
	}
}

// holds fails unless exactly one disk holds the image.
func (m *machine) holds(digest string) {
	m.r.t.Helper()
	n := 0
	for _, d := range m.Images() {
		if d == digest {
			n++
		} else if d != "" {
			m.r.t.Errorf("%s: a disk holds %s", m.Name, d)
		}
	}
	if n != 1 {
		m.r.t.Errorf("%s: %d disks hold the image, want 1", m.Name, n)
	}
}

// awaitUp waits until the system on the machine's disk runs.
func (m *machine) awaitUp(digest string) {
	m.r.t.Helper()
	m.await("running its own system", func() bool {
		return slices.ContainsFunc(m.log(fleet.KindOSUp), func(s string) bool { return strings.HasSuffix(s, digest) })
	})
}

// events are what `kubectl describe` would show of the host.
func (m *machine) events() []corev1.Event {
	m.r.t.Helper()
	var list corev1.EventList
	if err := shared.List(m.r.ctx, &list, client.InNamespace(m.r.ns)); err != nil {
		m.r.t.Fatal(err)
	}
	return slices.DeleteFunc(list.Items, func(e corev1.Event) bool { return e.InvolvedObject.Name != m.host })
}

// awaitEvent waits for an event: they are written in the background.
func (m *machine) awaitEvent(reason, text string) corev1.Event {
	m.r.t.Helper()
	var found corev1.Event
	m.await("told about by an event "+reason+" "+text, func() bool {
		for _, e := range m.events() {
			if e.Reason == reason && strings.Contains(e.Message, text) {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

// image is an operating system, as far as a pretended machine can tell.
type image struct {
	path  string // at the image server
	url   string
	bytes []byte
}

func (r *rack) image(name string, size int) image {
	b := make([]byte, size)
	var seed [32]byte
	copy(seed[:], r.ns+name)
	_, _ = rand.NewChaCha8(seed).Read(b) // never fails (math/rand/v2)
	return r.serve(name, b)
}

func (r *rack) serve(name string, b []byte) image {
	i := image{path: "/" + r.ns + "/" + name, bytes: b}
	i.url = shared.images.put(i.path, content(b))
	return i
}

func (i image) digest() string { return sha(i.bytes) }

func (i image) spec() *metal3.Image {
	return &metal3.Image{URL: i.url, Checksum: i.digest(), ChecksumType: metal3.SHA256, DiskFormat: ptr("raw")}
}

func (i image) answer(h http.HandlerFunc) { shared.images.put(i.path, h) }

func ptr[T any](v T) *T { return &v }

// provision declares the image.
func (m *machine) provision(i image) {
	m.r.t.Helper()
	m.change(func(b *metal3.BareMetalHost) { b.Spec.Image = i.spec() })
}

// awaitProvisioned waits for the end of the road and reads the disk from outside.
func (m *machine) awaitProvisioned(i image) *metal3.BareMetalHost {
	m.r.t.Helper()
	b := m.awaitState(metal3.StateProvisioned)
	m.awaitUp(i.digest())
	m.holds(i.digest())
	return b
}

const small = 64 << 10
