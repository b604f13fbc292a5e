package crd

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"
)

func TestLookAgain(t *testing.T) {
	gvr := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	resource := func(established, message string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": "x"},
			"status": map[string]any{"conditions": []any{
				map[string]any{"type": "NamesAccepted", "status": "True", "message": "no conflicts found"},
				map[string]any{"type": "Established", "status": established, "message": message},
			}},
		}}
	}
	for _, test := range []struct{ name, established, message, want string }{
		{"in between", "False", "the initial names have been accepted", "accepted before the API server was restarted"},
		{"served", "True", "the initial names have been accepted", "the initial names have been accepted"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
				map[schema.GroupVersionResource]string{gvr: "CustomResourceDefinitionList"}, resource(test.established, test.message))
			if err := lookAgain(t.Context(), c.Resource(gvr), "x"); err != nil {
				t.Fatal(err)
			}
			got, err := c.Resource(gvr).Get(t.Context(), "x", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(resource(test.established, test.want).Object, got.Object); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}
