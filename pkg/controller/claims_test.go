package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/ingot-metal/ingot/pkg/hostclaim"
)

// market is a namespace with hosts, and a tenant with one claim.
type market struct {
	t    *testing.T
	api  client.WithWatch // as stored
	seen client.Client    // as the cache shows it, or as writes come through
}

func newMarket(t *testing.T, hosts int) *market {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, metal3.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	policy := &metal3.HostDeployPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "all"}}
	policy.Spec.HostClaimNamespaces = &metal3.HostClaimNamespaces{}
	claim := &metal3.HostClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "c1", UID: "c1"}}
	all := []client.Object{policy, claim}
	for i := range hosts {
		b := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: fmt.Sprintf("w%d", i)}}
		b.Status.Provisioning.State = metal3.StateAvailable
		all = append(all, b)
	}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(all...).WithStatusSubresource(&metal3.HostClaim{}, &metal3.BareMetalHost{})
	for _, f := range claimFields() {
		builder = builder.WithIndex(f.of, f.name, f.value)
	}
	m := &market{t: t, api: builder.Build()}
	m.seen = m.api
	return m
}

// start is a start of the process: it knows nothing.
func (m *market) start() *Claims {
	n := 0
	return &Claims{
		Client: m.seen, Reader: m.api, Log: slog.New(slog.DiscardHandler), Now: time.Now, took: map[types.UID]types.NamespacedName{},
		Pick: func(of int) int { n++; return n % of }, // another one every time
	}
}

func reconcileClaim(t *testing.T, c *Claims) error {
	t.Helper()
	_, err := c.reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "team", Name: "c1"}})
	return err
}

// held are the hosts that the claim has.
func (m *market) held() (out []string) {
	m.t.Helper()
	var list metal3.BareMetalHostList
	if err := m.api.List(m.t.Context(), &list); err != nil {
		m.t.Fatal(err)
	}
	for i := range list.Items {
		if _, ok := hostclaim.Holder(&list.Items[i]); ok {
			out = append(out, list.Items[i].Name)
		}
	}
	return out
}

func (m *market) claim() *metal3.HostClaim {
	m.t.Helper()
	h := &metal3.HostClaim{}
	if err := m.api.Get(m.t.Context(), types.NamespacedName{Namespace: "team", Name: "c1"}, h); err != nil {
		m.t.Fatal(err)
	}
	return h
}

// A process that ends after it took a host, and before the claim says so, or whose
// writes are answered by nobody, takes no second one.
func TestClaimTakesOneHost(t *testing.T) {
	lost := errors.New("no answer")
	for _, tc := range []struct {
		name    string
		calls   func(m *market, fail *bool) interceptor.Funcs
		restart bool
	}{
		{name: "the status is not written, and the process ends", restart: true, calls: func(_ *market, fail *bool) interceptor.Funcs {
			return interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
				if *fail {
					return lost
				}
				return c.SubResource(sub).Patch(ctx, o, p, opts...)
			}}
		}},
		{name: "the answer is lost, and the cache is behind", calls: func(_ *market, fail *bool) interceptor.Funcs {
			return interceptor.Funcs{
				Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
					err := c.Patch(ctx, o, p, opts...)
					if _, host := o.(*metal3.BareMetalHost); host && *fail && err == nil {
						return lost
					}
					return err
				},
				List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
					err := c.List(ctx, l, opts...)
					if hosts, ok := l.(*metal3.BareMetalHostList); ok {
						for _, o := range opts {
							if f, ok := o.(client.MatchingFields); ok && f[holderOfHost] != "" {
								hosts.Items = nil
							}
						}
					}
					return err
				},
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newMarket(t, 3)
			fail := false
			m.seen = interceptor.NewClient(m.api, tc.calls(m, &fail))
			c := m.start()
			if err := reconcileClaim(t, c); err != nil { // the finalizer
				t.Fatal(err)
			}
			fail = true
			if err := reconcileClaim(t, c); !errors.Is(err, lost) {
				t.Fatalf("got %v, the fault was not met", err)
			}
			first := m.held()
			fail = false
			if tc.restart {
				c = m.start()
			}
			for range 3 {
				if err := reconcileClaim(t, c); err != nil {
					t.Fatal(err)
				}
			}
			if got := m.held(); len(first) != 1 || len(got) != 1 || got[0] != first[0] {
				t.Errorf("took %v, then %v", first, got)
			}
			if at := m.claim().Status.BareMetalHost; at == nil || at.Name != first[0] {
				t.Errorf("status names %v", at)
			}
		})
	}
}

// Should a claim have two hosts after all, it keeps the one that it names.
func TestClaimGivesStrayBack(t *testing.T) {
	m := newMarket(t, 2)
	c := m.start()
	for range 2 {
		if err := reconcileClaim(t, c); err != nil {
			t.Fatal(err)
		}
	}
	kept := m.held()[0]
	for _, name := range []string{"w0", "w1"} {
		b := &metal3.BareMetalHost{}
		if err := m.api.Get(t.Context(), types.NamespacedName{Namespace: "rack", Name: name}, b); err != nil {
			t.Fatal(err)
		}
		b.Spec.ConsumerRef = hostclaim.Reference(m.claim())
		if err := m.api.Update(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if err := reconcileClaim(t, c); err != nil {
			t.Fatal(err)
		}
	}
	if got := m.held(); len(got) != 1 || got[0] != kept {
		t.Errorf("it has %v, and had %s", got, kept)
	}
}

// With nothing new nothing is written.
func TestClaimAtRest(t *testing.T) {
	m := newMarket(t, 1)
	c := m.start()
	for range 3 {
		if err := reconcileClaim(t, c); err != nil {
			t.Fatal(err)
		}
	}
	before := m.claim().ResourceVersion
	writes := 0
	count := func() { writes++ }
	c.Client = interceptor.NewClient(m.api, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			count()
			return c.Patch(ctx, o, p, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			count()
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	})
	if err := reconcileClaim(t, c); err != nil || writes != 0 || m.claim().ResourceVersion != before {
		t.Errorf("%v, %d writes", err, writes)
	}
}
