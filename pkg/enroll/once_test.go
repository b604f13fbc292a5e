package enroll

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

func once(apiVersion, kind, name, host string) Object {
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"namespace": "n", "name": name}, "spec": map[string]any{"online": false},
	}}
	return Object{Unstructured: u, Manager: "m", Once: true, Host: host}
}

// TestOnce: what is there is left as it is, what the API refuses is said before
// anything is written, and what goes with a refused host is refused with it. That a
// real API answers so is held by e2e/cli.
func TestOnce(t *testing.T) {
	there := once(hostGroup, kindHost, "there", "")
	written := 0
	c := fake.NewClientBuilder().WithScheme(runtime.NewScheme()).WithObjects(there.Unstructured).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if o.GetName() == "bad" {
				return apierrors.NewForbidden(schema.GroupResource{Resource: "baremetalhosts"}, "bad", nil)
			}
			var all client.CreateOptions
			if all.ApplyOptions(opts); len(all.DryRun) > 0 {
				return nil
			}
			written++
			return c.Create(ctx, o, opts...)
		},
	}).Build()
	changed := once(hostGroup, kindHost, "there", "")
	changed.Object["spec"] = map[string]any{"online": true}
	diff, err := Plan(t.Context(), c, []Object{
		changed, once(hostGroup, kindHost, "new", ""), once(hostGroup, kindHost, "bad", ""),
		once("ingot.dev/v1alpha1", "NodeResource", "p1", "new"), once("ingot.dev/v1alpha1", "NodeResource", "p2", "bad"),
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []Action
	for _, change := range diff {
		got = append(got, change.Action)
	}
	if diff := cmp.Diff([]Action{Unchanged, Create, Refused, Create, Refused}, got); diff != "" || written > 0 {
		t.Fatalf("%d written; -want +got:\n%s", written, diff)
	}
	var done []string
	if err := diff.Apply(t.Context(), c, func(change Change) { done = append(done, change.Object.GetName()) }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"new", "p1"}, done); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	p1 := once("ingot.dev/v1alpha1", "NodeResource", "p1", "").Unstructured
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(p1), p1); err != nil || len(p1.GetOwnerReferences()) != 1 || p1.GetOwnerReferences()[0].Name != "new" {
		t.Errorf("%v, owners %v", err, p1.GetOwnerReferences())
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(there), there.Unstructured); err != nil {
		t.Fatal(err)
	}
	if online, _, _ := unstructured.NestedBool(there.Object, "spec", "online"); online {
		t.Error("what was there was changed")
	}
}
