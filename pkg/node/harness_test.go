package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/api/v1alpha1"
)

// world is an API, which is a fake: nothing here depends on what a real one does
// beyond keeping versions; e2e/journey has the real one.
type world struct {
	testing.TB
	api   client.WithWatch
	now   time.Time
	ids   int
	store *Store

	writes int
	kill   int  // the write at which the process dies; 0: it lives
	lost   bool // that write is carried out, and its answer is lost
}

// scheme is made once: it is large, and there are many worlds.
var scheme = sync.OnceValue(func() *runtime.Scheme {
	s := runtime.NewScheme()
	if err := errors.Join(metal3.AddToScheme(s), corev1.AddToScheme(s), v1alpha1.AddToScheme(s)); err != nil {
		panic(err)
	}
	return s
})

var errKilled = errors.New("killed")

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{TB: t, now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	w.api = fake.NewClientBuilder().WithScheme(scheme()).WithStatusSubresource(&metal3.BareMetalHost{}, &v1alpha1.HostRecord{}).Build()
	w.restart()
	return w
}

// restart begins with an empty memory, which a watch fills.
func (w *world) restart() {
	w.Helper()
	w.kill = 0
	c := interceptor.NewClient(w.api, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return w.write(func() error { return c.Create(ctx, o, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return w.write(func() error { return c.Update(ctx, o, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			return w.write(func() error { return c.Patch(ctx, o, p, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return w.write(func() error { return c.Delete(ctx, o, opts...) })
		},
	})
	w.store = NewStore(c, w.api, "default", func() time.Time { return w.now }, func() string {
		w.ids++
		return fmt.Sprintf("%08d-0000-4000-8000-%012d", w.ids, w.ids)
	})
	w.watch()
}

// write counts a write, and dies at the one that it is to die at, and from then on.
func (w *world) write(do func() error) error {
	w.writes++
	if w.kill == 0 || w.writes < w.kill {
		return do()
	}
	if w.writes == w.kill && w.lost {
		if err := do(); err != nil {
			return err
		}
	}
	return errKilled
}

// watch has the store see all there is.
func (w *world) watch() {
	w.Helper()
	for _, list := range []client.ObjectList{
		&metal3.BareMetalHostList{}, &v1alpha1.HostRecordList{}, &v1alpha1.NodeAttributesList{}, &v1alpha1.NodeResourceList{}, &corev1.SecretList{},
	} {
		w.must(w.api.List(w.Context(), list))
		w.must(apimeta.EachListItem(list, func(o runtime.Object) error {
			w.store.Observe(o.DeepCopyObject().(client.Object))
			return nil
		}))
	}
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// node finds a node that has to be there.
func (w *world) node(ident string) *Node {
	w.Helper()
	n, ok := w.store.Get(ident)
	if !ok {
		w.Fatalf("no node %s", ident)
	}
	return n
}

func (w *world) create(d ironic.Node) *Node {
	w.Helper()
	n, err := w.store.Create(w.Context(), d)
	w.must(err)
	return n
}

// update changes a document.
func (w *world) update(ident string, change func(*ironic.Node)) *Node {
	w.Helper()
	n := w.node(ident)
	d := n.Clone()
	change(&d)
	n, err := w.store.Update(w.Context(), n, d)
	w.must(err)
	return n
}

// host reads a BareMetalHost as kubectl does.
func (w *world) host(name string) *metal3.BareMetalHost {
	w.Helper()
	b := &metal3.BareMetalHost{}
	w.must(w.api.Get(w.Context(), types.NamespacedName{Namespace: "default", Name: name}, b))
	return b
}

func (w *world) record(name string) *v1alpha1.HostRecord {
	w.Helper()
	r := &v1alpha1.HostRecord{}
	w.must(w.api.Get(w.Context(), types.NamespacedName{Namespace: "default", Name: name}, r))
	return r
}

func (w *world) secret(name string) map[string][]byte {
	w.Helper()
	s := &corev1.Secret{}
	w.must(w.api.Get(w.Context(), types.NamespacedName{Namespace: "default", Name: name}, s))
	return s.Data
}

// kubectl changes a host's spec or metadata at the other door.
func (w *world) kubectl(name string, change func(*metal3.BareMetalHost)) {
	w.Helper()
	b := w.host(name)
	change(b)
	w.must(w.api.Update(w.Context(), b))
	w.store.Observe(b)
}

// lives changes what the controller says of a host.
func (w *world) lives(name string, change func(*metal3.BareMetalHostStatus, *v1alpha1.HostRecordStatus)) {
	w.Helper()
	b, r := w.host(name), w.record(name)
	change(&b.Status, &r.Status)
	w.must(w.api.Status().Update(w.Context(), b))
	w.must(w.api.Status().Update(w.Context(), r))
	w.store.Observe(b)
	w.store.Observe(r)
}

// rests has a host rest in a state, as if all that was asked had been done.
func (w *world) rests(name string, st ironic.State, is metal3.ProvisioningState) {
	w.Helper()
	w.lives(name, func(b *metal3.BareMetalHostStatus, r *v1alpha1.HostRecordStatus) {
		b.Provisioning.State = is
		now := metav1.NewTime(w.now)
		b.LastUpdated = &now
		r.Node = &v1alpha1.NodeStatus{Hold: string(st)}
		if a := w.record(name).Spec.Ask; a != nil {
			r.Node.Asked = a.N
		}
	})
}

// born makes a BareMetalHost as kubectl does, and its record as the controller.
func (w *world) born(name string, change func(*metal3.BareMetalHost)) {
	w.Helper()
	b := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID("uid-" + name)}}
	if change != nil {
		change(b)
	}
	status := b.Status
	w.must(w.api.Create(w.Context(), b))
	b.Status = status
	w.must(w.api.Status().Update(w.Context(), b))
	r := &v1alpha1.HostRecord{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	r.Spec.ID = "aaaaaaaa-0000-4000-8000-" + fmt.Sprintf("%012x", len(name)*1000+int(name[len(name)-1]))
	w.must(w.api.Create(w.Context(), r))
	w.store.Observe(b)
	w.store.Observe(r)
}

// refused is why a change was not made.
func refused(t testing.TB, err error) string {
	t.Helper()
	var r *Refusal
	if !errors.As(err, &r) {
		t.Fatalf("%v is no refusal", err)
	}
	return r.Reason
}

func contains(s, part string) bool { return strings.Contains(s, part) }
