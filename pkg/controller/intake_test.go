package controller

import (
	"errors"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/record"
)

// A host that the REST door has made has its record made there. Where the door was
// killed before, it goes on without.
func TestBirth(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{metal3.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	made := metav1.ObjectMeta{Namespace: "rack", Name: "w1", UID: "1", Annotations: map[string]string{
		record.AnnotationNodeUUID: "6c2a3f2e-6f0e-4b52-8a5b-0d9e2d1b7a11",
	}}
	by := made
	by.Annotations = nil
	theirs := &v1alpha1.HostRecord{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "w1"}}
	for _, tc := range []struct {
		name   string
		host   metav1.ObjectMeta
		record *v1alpha1.HostRecord // there at the second look
		waits  bool
	}{
		{name: "by kubectl", host: by},
		{name: "at the REST door", host: made, record: theirs, waits: true},
		{name: "at a REST door that was killed", host: made, waits: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			api := fake.NewClientBuilder().WithScheme(scheme).Build()
			c := &Hosts{Client: api, Reader: api}
			l := &live{objs: record.Objects{BMH: &metal3.BareMetalHost{ObjectMeta: tc.host}}}
			if err := c.load(t.Context(), l, host.Wants{}); errors.Is(err, errBirth) != tc.waits || !tc.waits && err != nil {
				t.Fatalf("the first look: %v", err)
			}
			if tc.record != nil {
				if err := api.Create(t.Context(), tc.record); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.load(t.Context(), l, host.Wants{}); err != nil || !l.loaded || (l.objs.HR != nil) != (tc.record != nil) {
				t.Errorf("the second look: %v, loaded %t, record %v", err, l.loaded, l.objs.HR)
			}
		})
	}
}
