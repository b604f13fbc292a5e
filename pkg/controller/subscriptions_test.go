package controller

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/engine"
	"github.com/ingot-metal/ingot/pkg/host"
)

// station is a BMC with an event service.
type station struct {
	mu    sync.Mutex
	subs  []bmc.Subscription
	made  int
	asked int
	room  int // how many it takes; 0: any number
	err   error
}

func (*station) Identify(context.Context) (bmc.Identity, error) { return bmc.Identity{}, nil }
func (*station) Close(context.Context) error                    { return nil }

func (s *station) Subscriptions(context.Context) ([]bmc.Subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	out := slices.Clone(s.subs)
	for i := range out {
		out[i].Headers = nil
	}
	return out, s.err
}

func (s *station) Subscribe(_ context.Context, want bmc.Subscription) (bmc.Subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.err != nil {
		return bmc.Subscription{}, s.err
	}
	for _, have := range s.subs {
		if have.Destination == want.Destination && have.Context == want.Context {
			return have, nil
		}
	}
	if s.room > 0 && len(s.subs) >= s.room {
		return bmc.Subscription{}, &bmc.Error{Class: bmc.Busy, Op: "subscribe to events", Detail: "no room"}
	}
	s.made++
	want.ID = fmt.Sprintf("/redfish/v1/EventService/Subscriptions/%d", s.made)
	s.subs = append(s.subs, want)
	return want, nil
}

func (s *station) Unsubscribe(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	s.subs = slices.DeleteFunc(s.subs, func(x bmc.Subscription) bool { return x.ID == id })
	return s.err
}

func (s *station) Conn(context.Context, *metal3.BareMetalHost, bmc.Credentials, string) (bmc.Conn, error) {
	return s, nil
}

func (s *station) destinations() (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.subs {
		out = append(out, x.Destination)
	}
	return out
}

// apiSecrets reads Secrets as serve does.
type apiSecrets struct{ client.Client }

func (a apiSecrets) Secret(ctx context.Context, ns, name string) (*corev1.Secret, error) {
	s := &corev1.Secret{}
	err := a.Get(ctx, client.ObjectKey{Namespace: ns, Name: name}, s)
	if err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	return s, nil
}

// newsroom is one host with one BMC, and what a user wants of its events.
type newsroom struct {
	t    *testing.T
	api  client.Client
	bmc  *station
	subs *Subscriptions
	log  bytes.Buffer
	now  time.Time
}

const (
	listener  = "https://listener.example/events"
	topSecret = "Bearer 8c0ffee8"
)

func newNewsroom(t *testing.T) *newsroom {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, metal3.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	b := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "w1", UID: "u1"}}
	b.Spec.BMC = metal3.BMCDetails{Address: "redfish://10.0.0.3", CredentialsName: "w1-bmc"}
	b.Status.Provisioning.State = metal3.StateAvailable
	creds := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "w1-bmc"}, Data: map[string][]byte{"username": []byte("a"), "password": []byte("b")}}
	headers := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "headers"}, Data: map[string][]byte{"Authorization": []byte(topSecret + "\n")}}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(b, creds, headers).WithStatusSubresource(b, &metal3.BMCEventSubscription{})
	for name, f := range subscriptionFields() {
		builder = builder.WithIndex(&metal3.BMCEventSubscription{}, name, f)
	}
	n := &newsroom{t: t, api: builder.Build(), bmc: &station{}, now: time.Date(2026, 11, 21, 15, 0, 0, 0, time.UTC)}
	n.start()
	n.verified()
	return n
}

// start is a start of the process: it knows nothing.
func (n *newsroom) start() {
	log := slog.New(slog.NewTextHandler(&n.log, nil))
	n.subs = &Subscriptions{
		Client: n.api, Engine: &engine.Engine{BMCs: n.bmc, Secrets: apiSecrets{n.api}, Log: log}, Log: log,
		Now: func() time.Time { return n.now },
	}
	n.subs.prepare(n.t.Context())
}

func (n *newsroom) host(change func(*metal3.BareMetalHost)) {
	n.t.Helper()
	b := &metal3.BareMetalHost{}
	if err := n.api.Get(n.t.Context(), key("w1"), b); err != nil {
		n.t.Fatal(err)
	}
	change(b)
	status := b.Status
	if err := n.api.Update(n.t.Context(), b); err != nil {
		n.t.Fatal(err)
	}
	b.Status = status
	if err := n.api.Status().Update(n.t.Context(), b); err != nil {
		n.t.Fatal(err)
	}
}

// verified has the host's credentials known to work.
func (n *newsroom) verified() {
	n.t.Helper()
	s := &corev1.Secret{}
	if err := n.api.Get(n.t.Context(), key("w1-bmc"), s); err != nil {
		n.t.Fatal(err)
	}
	n.host(func(b *metal3.BareMetalHost) { b.Status.GoodCredentials.Version = s.ResourceVersion })
}

func (n *newsroom) want(name string, change ...func(*metal3.BMCEventSubscription)) {
	n.t.Helper()
	s := &metal3.BMCEventSubscription{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: name, UID: types.UID(name)}}
	s.Spec = metal3.BMCEventSubscriptionSpec{HostName: "w1", Destination: listener, Context: "ctx"}
	for _, f := range change {
		f(s)
	}
	if err := n.api.Create(n.t.Context(), s); err != nil {
		n.t.Fatal(err)
	}
}

func (n *newsroom) reconcile() time.Duration {
	n.t.Helper()
	r, err := n.subs.reconcile(n.t.Context(), ctrl.Request{NamespacedName: key("w1")})
	if err != nil {
		n.t.Fatal(err)
	}
	return r.RequeueAfter
}

func (n *newsroom) read(name string) *metal3.BMCEventSubscription {
	n.t.Helper()
	s := &metal3.BMCEventSubscription{}
	if err := n.api.Get(n.t.Context(), key(name), s); err != nil {
		n.t.Fatal(err)
	}
	return s
}

func (n *newsroom) delete(name string) {
	n.t.Helper()
	if err := n.api.Delete(n.t.Context(), n.read(name)); err != nil {
		n.t.Fatal(err)
	}
}

func (n *newsroom) gone(name string) bool {
	return apierrors.IsNotFound(n.api.Get(n.t.Context(), key(name), &metal3.BMCEventSubscription{}))
}

func withHeaders(s *metal3.BMCEventSubscription) {
	s.Spec.HTTPHeadersRef = &corev1.SecretReference{Name: "headers", Namespace: "rack"}
}

func TestSubscriptionIsMadeAndEnded(t *testing.T) {
	n := newNewsroom(t)
	n.want("s1", withHeaders)
	n.reconcile()
	s := n.read("s1")
	want := []bmc.Subscription{{
		ID: "/redfish/v1/EventService/Subscriptions/1", Destination: listener, Context: "ctx",
		EventTypes: []string{"Alert"}, Headers: map[string]string{"Authorization": topSecret},
	}}
	if d := cmp.Diff(want, n.bmc.subs); d != "" {
		t.Errorf("at the BMC (-want +got):\n%s", d)
	}
	if s.Status.SubscriptionID != want[0].ID || s.Status.Error != "" {
		t.Errorf("status %+v", s.Status)
	}
	if !slices.Contains(s.Finalizers, "bmceventsubscription.metal3.io") || len(s.OwnerReferences) != 1 || s.OwnerReferences[0].UID != "u1" {
		t.Errorf("metadata %+v", s.ObjectMeta)
	}
	text, err := json.Marshal(s)
	if all := string(text) + n.log.String(); err != nil || strings.Contains(all, "8c0ffee8") {
		t.Errorf("%v, the header is told: %s", err, all)
	}

	asked := n.bmc.asked
	if again := n.reconcile(); again != 0 || n.bmc.asked != asked || n.read("s1").ResourceVersion != s.ResourceVersion {
		t.Errorf("with nothing to do: looked at again in %s, %d requests", again, n.bmc.asked-asked)
	}
	n.delete("s1")
	n.reconcile()
	if !n.gone("s1") || len(n.bmc.subs) != 0 {
		t.Errorf("at the BMC %v", n.bmc.destinations())
	}
}

// What is waited for is said, and the BMC is not asked.
func TestSubscriptionWaits(t *testing.T) {
	for _, tc := range []struct {
		name   string
		host   func(*metal3.BareMetalHost)
		change func(*metal3.BMCEventSubscription)
		says   string
	}{
		{name: "no host", change: func(s *metal3.BMCEventSubscription) { s.Spec.HostName = "w9" }, says: "no BareMetalHost"},
		{name: "not registered", host: func(b *metal3.BareMetalHost) { b.Status.Provisioning.State = metal3.StateRegistering }, says: "not registered"},
		{name: "paused", host: func(b *metal3.BareMetalHost) { b.Annotations = map[string]string{metal3.PausedAnnotation: ""} }, says: "paused"},
		{name: "detached", host: func(b *metal3.BareMetalHost) { b.Annotations = map[string]string{metal3.DetachedAnnotation: ""} }, says: "detached"},
		{name: "still detached", host: func(b *metal3.BareMetalHost) { b.Status.OperationalStatus = metal3.OperationalStatusDetached }, says: "detached"},
		{name: "BMC in trouble", host: func(b *metal3.BareMetalHost) { b.Status.ErrorType = metal3.ProvisionedRegistrationError }, says: "in trouble"},
		{name: "new password", host: func(b *metal3.BareMetalHost) { b.Status.GoodCredentials.Version = "0" }, says: "not verified"},
		{name: "no destination", change: func(s *metal3.BMCEventSubscription) { s.Spec.Destination = "" }, says: "spec.destination"},
		{name: "another's Secret", change: func(s *metal3.BMCEventSubscription) {
			s.Spec.HTTPHeadersRef = &corev1.SecretReference{Name: "headers", Namespace: "kube-system"}
		}, says: "another namespace"},
		{name: "no Secret", change: func(s *metal3.BMCEventSubscription) { s.Spec.HTTPHeadersRef = &corev1.SecretReference{Name: "nothing"} }, says: "no Secret rack/nothing"},
		{name: "no header", change: func(s *metal3.BMCEventSubscription) { s.Spec.HTTPHeadersRef = &corev1.SecretReference{Name: "odd"} }, says: `"X Y"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := newNewsroom(t)
			if err := n.api.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "odd"}, Data: map[string][]byte{"X Y": []byte("v")}}); err != nil {
				t.Fatal(err)
			}
			if tc.host != nil {
				n.host(tc.host)
			}
			if tc.change == nil {
				tc.change = func(*metal3.BMCEventSubscription) {}
			}
			n.want("s1", tc.change)
			if _, err := n.subs.reconcile(t.Context(), ctrl.Request{NamespacedName: hostOf(n.read("s1"))}); err != nil {
				t.Fatal(err)
			}
			if s := n.read("s1"); !strings.Contains(s.Status.Error, tc.says) || s.Status.SubscriptionID != "" {
				t.Errorf("status %+v", s.Status)
			}
			if n.bmc.asked != 0 {
				t.Errorf("the BMC was asked %d times", n.bmc.asked)
			}
			n.delete("s1")
			if _, err := n.subs.reconcile(t.Context(), ctrl.Request{NamespacedName: key("w1")}); err != nil || tc.name != "no host" && !n.gone("s1") {
				t.Errorf("%v, held though nothing was begun", err)
			}
		})
	}
}

// A process that ends between the BMC's answer and the status, or later, doubles
// nothing; what the BMC has forgotten is made again.
func TestSubscriptionSurvivesRestarts(t *testing.T) {
	n := newNewsroom(t)
	n.want("s1")
	n.reconcile()
	id := n.read("s1").Status.SubscriptionID
	if err := n.subs.tell(t.Context(), n.read("s1"), "", ""); err != nil { // as if it had not been written
		t.Fatal(err)
	}
	n.start()
	n.reconcile()
	if got := n.read("s1").Status.SubscriptionID; got != id || n.bmc.made != 1 {
		t.Errorf("subscription %q, was %q; made %d times", got, id, n.bmc.made)
	}
	n.start()
	n.reconcile()
	if n.bmc.made != 1 {
		t.Errorf("made %d times", n.bmc.made)
	}
	n.bmc.subs = nil
	if n.reconcile(); n.bmc.made != 1 {
		t.Error("the BMC was asked though nothing happened")
	}
	n.subs.Doubt(key("w1"))
	n.reconcile()
	if got := n.read("s1").Status.SubscriptionID; got == id || len(n.bmc.subs) != 1 {
		t.Errorf("after the BMC forgot it: %q, %v", got, n.bmc.destinations())
	}
}

// Two objects that ask for the same share a subscription; it ends with the last.
func TestSubscriptionIsShared(t *testing.T) {
	n := newNewsroom(t)
	n.want("s1")
	n.want("s2")
	n.reconcile()
	if a, b := n.read("s1").Status.SubscriptionID, n.read("s2").Status.SubscriptionID; a != b || len(n.bmc.subs) != 1 {
		t.Errorf("%q, %q, at the BMC %v", a, b, n.bmc.destinations())
	}
	n.delete("s1")
	n.reconcile()
	if !n.gone("s1") || len(n.bmc.subs) != 1 {
		t.Errorf("the other's went with it: %v", n.bmc.destinations())
	}
	n.delete("s2")
	n.reconcile()
	if !n.gone("s2") || len(n.bmc.subs) != 0 {
		t.Errorf("left behind: %v", n.bmc.destinations())
	}
}

func TestSubscriptionFails(t *testing.T) {
	n := newNewsroom(t)
	n.want("s1", withHeaders)
	n.bmc.err = &bmc.Error{Class: bmc.Unreachable, Op: "subscribe to events", Detail: "no route to host"}
	if again := n.reconcile(); again != resubscribeFirst {
		t.Errorf("looked at again in %s", again)
	}
	if got := n.read("s1").Status.Error; !strings.Contains(got, "bmc-unreachable") || !strings.Contains(got, "next try at 2026-11-21T15:00:10Z") {
		t.Errorf("error %q", got)
	}
	asked := n.bmc.asked
	if again := n.reconcile(); again != resubscribeFirst || n.bmc.asked != asked {
		t.Errorf("before its time: again in %s, %d requests", again, n.bmc.asked-asked)
	}
	for range 12 {
		n.now = n.now.Add(n.reconcile())
	}
	if again := n.reconcile(); again != resubscribeLast {
		t.Errorf("in the end looked at again in %s", again)
	}
	n.bmc.err = nil
	n.now = n.now.Add(resubscribeLast)
	n.reconcile()
	if s := n.read("s1").Status; s.Error != "" || s.SubscriptionID == "" {
		t.Errorf("status %+v", s)
	}

	// A refused password is not sent again until it is another.
	n.delete("s1")
	n.bmc.err = &bmc.Error{Class: bmc.Auth, Op: "log in", Detail: "401"}
	n.reconcile()
	asked = n.bmc.asked
	n.now = n.now.Add(time.Hour)
	if again := n.reconcile(); again != 0 || n.bmc.asked != asked || !strings.Contains(n.read("s1").Status.Error, "Secret or address to change") {
		t.Errorf("again in %s, %d requests, %q", again, n.bmc.asked-asked, n.read("s1").Status.Error)
	}
	n.bmc.err = nil
	s := &corev1.Secret{}
	if err := n.api.Get(t.Context(), key("w1-bmc"), s); err != nil {
		t.Fatal(err)
	}
	s.Data["password"] = []byte("c")
	if err := n.api.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	n.verified()
	if n.reconcile(); !n.gone("s1") {
		t.Error("held with the right password")
	}
}

// Deleting waits for a host that may not be touched, reads what bears its number,
// and ends when the host is gone.
func TestSubscriptionDeleted(t *testing.T) {
	n := newNewsroom(t)
	n.want("s1")
	n.reconcile()
	n.host(func(b *metal3.BareMetalHost) { b.Annotations = map[string]string{metal3.PausedAnnotation: ""} })
	asked := n.bmc.asked
	n.delete("s1")
	n.reconcile()
	if got := n.read("s1").Status.Error; n.bmc.asked != asked || !strings.Contains(got, "deleting: the host is paused") {
		t.Errorf("%d requests, error %q", n.bmc.asked-asked, got)
	}
	n.bmc.subs[0].Destination, n.bmc.subs[0].Context = "https://other.example", "theirs" // the BMC was reset
	n.host(func(b *metal3.BareMetalHost) { b.Annotations = nil })
	n.reconcile()
	if !n.gone("s1") || len(n.bmc.subs) != 1 {
		t.Errorf("somebody else's subscription was deleted: %v", n.bmc.destinations())
	}

	n.want("s2")
	n.reconcile()
	if err := n.api.Delete(t.Context(), &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "w1"}}); err != nil {
		t.Fatal(err)
	}
	n.delete("s2")
	n.reconcile()
	if !n.gone("s2") {
		t.Error("held though its host is gone")
	}
}

// A host that is let go of takes its subscriptions along, while there are
// credentials; one that is detached leaves its BMC alone.
func TestSubscriptionOfLeavingHost(t *testing.T) {
	for _, detached := range []bool{false, true} {
		n := newNewsroom(t)
		n.want("s1")
		n.reconcile()
		b := &metal3.BareMetalHost{}
		if err := n.api.Get(t.Context(), key("w1"), b); err != nil {
			t.Fatal(err)
		}
		n.subs.Leave(engine.Input{Key: key("w1"), BMH: b, Host: host.Host{Good: "v1", Detached: detached}})
		n.subs.Wait()
		if left := len(n.bmc.subs) > 0; left != detached {
			t.Errorf("detached %v: at the BMC %v", detached, n.bmc.destinations())
		}
	}
}

// Where a BMC takes no more, our own subscription makes room for a user's.
func TestSubscriptionFindsRoom(t *testing.T) {
	n := newNewsroom(t)
	n.bmc.room = 1
	n.bmc.subs = []bmc.Subscription{{ID: "ours", Destination: "https://door", Context: "token"}}
	undone := 0
	n.subs.MakeRoom = func(context.Context, types.NamespacedName) func() {
		n.bmc.subs = nil
		return func() { undone++ }
	}
	n.want("s1")
	n.reconcile()
	if d := cmp.Diff([]string{listener}, n.bmc.destinations()); d != "" {
		t.Errorf("at the BMC (-want +got):\n%s", d)
	}
	n.subs.MakeRoom = func(context.Context, types.NamespacedName) func() { return func() { undone++ } }
	n.want("s2", func(s *metal3.BMCEventSubscription) { s.Spec.Context = "more" })
	n.reconcile()
	if got := n.read("s2").Status.Error; !strings.Contains(got, "no room") || !strings.Contains(got, "next try at") {
		t.Errorf("error %q", got)
	}
	n.now = n.now.Add(time.Hour)
	n.reconcile()
	if undone != 1 {
		t.Errorf("our own subscription came back %d times, want once, for the second", undone)
	}
}

// Another process's host is not touched.
func TestSubscriptionOfAnotherShard(t *testing.T) {
	n := newNewsroom(t)
	n.subs.Owns = func(types.NamespacedName) bool { return false }
	n.want("s1")
	n.reconcile()
	if s := n.read("s1"); n.bmc.asked != 0 || len(s.Finalizers) != 0 || s.Status.Error != "" {
		t.Errorf("%d requests, %+v", n.bmc.asked, s)
	}
}
