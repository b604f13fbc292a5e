package controller

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// What cannot be read is said once, and neither consumed nor guessed: a host whose
// status is lost waits, and nothing at all is written.
func TestUnreadableAnnotations(t *testing.T) {
	tests := []struct {
		name, key, value string
		waits            bool
		says             string
	}{
		{name: "a status that is no JSON", key: metal3.StatusAnnotation, value: "provisioned", waits: true, says: "status-annotation: "},
		{name: "a status of an unknown state", key: metal3.StatusAnnotation, value: `{"provisioning":{"state":"levitating"}}`, waits: true, says: "levitating"},
		{name: "hardware with an unknown field", key: metal3.HardwareDetailsAnnotation, value: `{"wheels":4}`, says: "wheels"},
		{name: "hardware and more", key: metal3.HardwareDetailsAnnotation, value: `{} {}`, says: "something follows"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			scheme := runtime.NewScheme()
			if err := metal3.AddToScheme(scheme); err != nil {
				t.Fatal(err)
			}
			b := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "w1", Annotations: map[string]string{tc.key: tc.value}}}
			b.Spec.InspectionMode = metal3.InspectionModeDisabled
			writes := 0
			api := fake.NewClientBuilder().WithScheme(scheme).WithObjects(b).WithStatusSubresource(b).WithInterceptorFuncs(interceptor.Funcs{
				Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
					writes++
					return c.Patch(ctx, o, p, opts...)
				},
				SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
					writes++
					return c.SubResource(sub).Patch(ctx, o, p, opts...)
				},
			}).Build()
			var events noted
			c := &Hosts{Client: api, Reader: api, Events: &events, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
			c.index = newIndex()
			l := &live{}
			l.objs.BMH = b
			for range 2 {
				waits, err := c.restoreStatus(t.Context(), l)
				if err == nil && !waits {
					err = c.hardwareGiven(t.Context(), l)
				}
				if err != nil || waits != tc.waits {
					t.Fatalf("waits %v, %v", waits, err)
				}
			}
			if len(events) != 1 || !strings.HasPrefix(events[0], "Warning InvalidAnnotationValue: ") || !strings.Contains(events[0], tc.says) {
				t.Errorf("said %q", events)
			}
			if writes != 0 || l.extra.Hardware != nil || len(l.todo) != 0 {
				t.Errorf("%d writes, hardware %+v, to do %+v", writes, l.extra.Hardware, l.todo)
			}
		})
	}
}
