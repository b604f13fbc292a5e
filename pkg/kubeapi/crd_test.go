package kubeapi_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/ingot-metal/ingot/pkg/crd"
)

// A resource whose names are accepted and that is not served is one change of its
// status away from being served: what crd.Install relies on after an API server
// was killed in between. (The state itself lasts only across a restart; e2e/kill
// brings it about.)
func TestResourceLeftInBetween(t *testing.T) {
	c, err := dynamic.NewForConfig(shared.RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	crds := c.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	const name = "dataimages.metal3.io"
	o, err := crds.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	conditions, _, err := unstructured.NestedSlice(o.Object, "status", "conditions")
	if err != nil {
		t.Fatal(err)
	}
	for i := range conditions {
		cond := conditions[i].(map[string]any)
		if cond["type"] == "Established" {
			cond["status"], cond["reason"], cond["message"] = "False", "Installing", "the initial names have been accepted"
		}
	}
	if err := unstructured.SetNestedSlice(o.Object, conditions, "status", "conditions"); err != nil {
		t.Fatal(err)
	}
	if _, err := crds.UpdateStatus(t.Context(), o, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := crd.Install(t.Context(), shared.RESTConfig()); err != nil {
		t.Fatal(err)
	}
}
