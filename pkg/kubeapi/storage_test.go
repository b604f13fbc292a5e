package kubeapi_test

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestVolumeAttachments: Cluster API's Metal3 provider asks for them here, and
// they must be a kind that is served, in discovery too.
func TestVolumeAttachments(t *testing.T) {
	c := typed(t, shared.RESTConfig())
	list, err := c.StorageV1().VolumeAttachments().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) > 0 {
		t.Errorf("%d volume attachments, %v", len(list.Items), err)
	}
	kinds, err := c.Discovery().ServerResourcesForGroupVersion("storage.k8s.io/v1")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range kinds.APIResources {
		names = append(names, r.Name)
	}
	if want := []string{"storageclasses", "volumeattachments", "volumeattachments/status"}; !slices.Equal(names, want) {
		t.Errorf("storage.k8s.io/v1 has %q, want %q", names, want)
	}
}
