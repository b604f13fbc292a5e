package serve

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	coordv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// Two operators never act side by side: while Metal3's renews its Lease we wait,
// once it stops we go on, and when it comes back we end.
func TestMetal3sLease(t *testing.T) {
	scheme, err := Scheme()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	holder, seconds := "bmo-1", int32(15)
	l := &coordv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "baremetal-operator-system", Name: metal3Lease}}
	l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds = &holder, &seconds
	other := l.DeepCopy()
	other.Name = "capm3"
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(l, other).
		WithIndex(&coordv1.Lease{}, "metadata.name", func(o client.Object) []string { return []string{o.GetName()} }).Build()
	o := &otherOperator{client: c, now: func() time.Time { return now }, every: time.Millisecond, log: slog.New(slog.DiscardHandler)}
	renew := func(at time.Time) {
		t.Helper()
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(l), l); err != nil {
			t.Fatal(err)
		}
		r := metav1.NewMicroTime(at)
		l.Spec.RenewTime = &r
		if err := c.Update(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	want := func(active bool) {
		t.Helper()
		got, err := o.active(t.Context())
		if err != nil || (got != "") != active || active && !strings.Contains(got, "bmo-1 (Lease baremetal-operator-system/baremetal-operator)") {
			t.Errorf("at %s: holder %q, %v", now.Format(time.TimeOnly), got, err)
		}
	}
	renew(now.Add(-5 * time.Minute)) // its clock is slow, and it has just been seen
	want(true)
	now = now.Add(14 * time.Second)
	want(true)
	renew(now)
	now = now.Add(14 * time.Second)
	want(true)
	now = now.Add(time.Minute)
	want(false)
	if err := o.await(t.Context()); err != nil {
		t.Errorf("nobody renews, and it waits: %v", err)
	}
	renew(now)
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if err := o.await(ctx); err == nil {
		t.Error("it does not wait")
	}
	if err := o.watch(t.Context()); err == nil || !strings.Contains(err.Error(), "bmo-1") {
		t.Errorf("it goes on beside the other: %v", err)
	}
	renew(now.Add(-2 * time.Hour)) // of an operator that died long ago
	want(false)
}
