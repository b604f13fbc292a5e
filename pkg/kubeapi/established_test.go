package kubeapi_test

import (
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// Upstream holds the first objects of a new kind back for two seconds. One that was
// made sooner shows that it does not here. On a busy machine a creation may take as
// long by itself, or come too late to be held back, so there are several.
func TestNewKindTakesObjects(t *testing.T) {
	c, err := dynamic.NewForConfig(shared.RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	crds := c.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	for end, n := time.Now().Add(time.Minute), 0; time.Now().Before(end); n++ {
		gvr := schema.GroupVersionResource{Group: "test.ingot.dev", Version: "v1", Resource: fmt.Sprintf("things%d", n)}
		kind := fmt.Sprintf("Thing%d", n)
		name := gvr.GroupResource().String()
		if _, err := crds.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": name},
			"spec": map[string]any{
				"group": gvr.Group, "scope": "Cluster",
				"names": map[string]any{"plural": gvr.Resource, "singular": fmt.Sprintf("thing%d", n), "kind": kind, "listKind": kind + "List"},
				"versions": []any{map[string]any{
					"name": gvr.Version, "served": true, "storage": true,
					"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object"}},
				}},
			},
		}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		thing := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": gvr.GroupVersion().String(), "kind": kind, "metadata": map[string]any{"name": "first"},
		}}
		var asked time.Time
		eventually(t, "a kind is served", func() bool {
			asked = time.Now()
			_, err := c.Resource(gvr).Create(t.Context(), thing, metav1.CreateOptions{})
			if err != nil && !apierrors.IsNotFound(err) {
				t.Fatal(err)
			}
			return err == nil
		})
		took := time.Since(asked)
		o, err := crds.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := crds.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if took < 2*time.Second && asked.Sub(established(t, o)) < time.Second {
			return
		}
	}
	t.Error("nobody made the first object of a kind within two seconds")
}

// established is when a resource was, to the second.
func established(t *testing.T, o *unstructured.Unstructured) time.Time {
	t.Helper()
	conditions, _, err := unstructured.NestedSlice(o.Object, "status", "conditions")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range conditions {
		if c := c.(map[string]any); c["type"] == "Established" {
			at, err := time.Parse(time.RFC3339, c["lastTransitionTime"].(string))
			if err != nil {
				t.Fatal(err)
			}
			return at
		}
	}
	t.Fatalf("%s is not established", o.GetName())
	return time.Time{}
}
