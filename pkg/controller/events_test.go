package controller

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/metric"
	"github.com/ingot-metal/ingot/pkg/record"
)

// noted are the events that were made, by reason.
type noted []string

func (n *noted) Event(_ *metal3.BareMetalHost, kind, reason, message string) {
	*n = append(*n, kind+" "+reason+": "+message)
}

func (n *noted) ObjectEvent(_ client.Object, kind, reason, message string) {
	*n = append(*n, kind+" "+reason+": "+message)
}

func TestPassed(t *testing.T) {
	problem := &host.Problem{Code: "bmc-unreachable", Type: host.ProvisioningError, Attempts: 4}
	img := &host.Image{URL: "http://me:secret@x/a.raw?token=secret"}
	for _, tc := range []struct {
		name          string
		before, after host.Host
		want          []string // reasons
	}{
		{name: "no BMC details", after: host.Host{State: host.Unmanaged}, want: []string{"Discovered"}},
		{name: "its BMC was taken away", before: host.Host{State: host.Registering}, after: host.Host{State: host.Unmanaged}},
		{name: "enrolled", before: host.Host{State: host.Registering}, after: host.Host{State: host.Inspecting}, want: []string{"Registered", "InspectionStarted"}},
		{name: "not inspected", before: host.Host{State: host.Registering}, after: host.Host{State: host.Available}, want: []string{"Registered", "InspectionSkipped"}},
		{name: "adopted", before: host.Host{State: host.Registering}, after: host.Host{State: host.ExternallyProvisioned}, want: []string{"Registered"}},
		{name: "deleted before", before: host.Host{State: host.Registering}, after: host.Host{State: host.Deleting}},
		{name: "inspected, nothing to prepare", before: host.Host{State: host.Inspecting}, after: host.Host{State: host.Available}, want: []string{"InspectionComplete"}},
		{name: "inspection ended by a deletion", before: host.Host{State: host.Inspecting}, after: host.Host{State: host.PoweringOffBeforeDelete}},
		{name: "written", before: host.Host{State: host.Provisioning}, after: host.Host{State: host.Provisioned, Provisioned: img}, want: []string{"ProvisioningComplete"}},
		{name: "taken over", before: host.Host{State: host.ExternallyProvisioned}, after: host.Host{State: host.Provisioned, Provisioned: img}},
		{name: "nothing to clean", before: host.Host{State: host.Provisioned, Provisioned: img}, after: host.Host{State: host.Available}, want: []string{"DeprovisioningStarted", "DeprovisioningComplete"}},
		{name: "a failure is undone", before: host.Host{State: host.Provisioning, Problem: problem}, after: host.Host{State: host.Deprovisioning}, want: []string{"DeprovisioningStarted"}},
		{name: "given up", before: host.Host{State: host.Deprovisioning}, after: host.Host{State: host.PoweringOffBeforeDelete, GaveUp: host.Deprovisioning}},
		{name: "unhealthy", before: host.Host{State: host.Provisioned, Health: host.Healthy}, after: host.Host{State: host.Provisioned, Health: host.HealthCritical}, want: []string{"HealthChanged"}},
		{name: "first word of health", before: host.Host{State: host.Provisioned}, after: host.Host{State: host.Provisioned, Health: host.Healthy}},
		{name: "in trouble", before: host.Host{State: host.Provisioning}, after: host.Host{State: host.Provisioning, Problem: problem}, want: []string{"ProvisioningError"}},
		{name: "still in trouble", before: host.Host{State: host.Provisioning, Problem: problem}, after: host.Host{State: host.Provisioning, Problem: problem}},
		{name: "switched at its panel", before: host.Host{State: host.Provisioned, Power: host.PowerOn}, after: host.Host{State: host.Provisioned, Power: host.PowerOff}, want: []string{"PowerOff"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sink := &noted{}
			c := &Hosts{Events: sink, Log: slog.New(slog.DiscardHandler)}
			l := &live{h: tc.after}
			l.objs.BMH = &metal3.BareMetalHost{}
			c.tell(l, tc.before)
			var got []string
			for _, e := range *sink {
				_, rest, _ := strings.Cut(e, " ")
				reason, _, _ := strings.Cut(rest, ":")
				got = append(got, reason)
				if strings.Contains(e, "secret") {
					t.Errorf("it tells a secret: %s", e)
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("events %v, want %v", got, tc.want)
			}
		})
	}
}

// An annotation that cannot be read is told of once, and again if it is changed.
func TestUnreadableAnnotation(t *testing.T) {
	sink := &noted{}
	c := &Hosts{Events: sink, Log: slog.New(slog.DiscardHandler)}
	l := &live{}
	l.objs.BMH = &metal3.BareMetalHost{}
	for _, v := range []string{"", `{"mode":"hard"}`, "now", "now", "now", "soon", ""} {
		l.objs.BMH.Annotations = map[string]string{"reboot.metal3.io/x": v, "other": "{"}
		c.tell(l, l.h)
	}
	if len(*sink) != 2 || !strings.Contains((*sink)[0], "Warning InvalidAnnotationValue") || !strings.Contains((*sink)[1], "soon") {
		t.Errorf("events %q", *sink)
	}
}

// What could not be written at first is told of once it is, and once only.
func TestToldThoughAWriteFailed(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{metal3.AddToScheme, v1alpha1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	b := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "w1", UID: "u1", Finalizers: []string{record.Finalizer}}}
	fails := 2
	fc := fake.NewClientBuilder().WithScheme(scheme).WithObjects(b).WithStatusSubresource(b, &v1alpha1.HostRecord{}).
		WithInterceptorFuncs(interceptor.Funcs{
			SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
				if fails--; fails >= 0 {
					return errors.New("the API is slow")
				}
				return c.SubResource(sub).Patch(ctx, o, p, opts...)
			},
		}).Build()
	sink := &noted{}
	c := doors(t)
	c.Client, c.Reader, c.Events, c.Log = fc, fc, sink, slog.New(slog.DiscardHandler)
	c.Store, c.Machine, c.Metrics = record.Store{Client: fc, Reader: fc, Now: time.Now}, host.Defaults(), metric.New()
	c.NewID = func() string { return "38947555-7742-3448-3784-823347823834" }
	req := ctrl.Request{NamespacedName: client.ObjectKeyFromObject(b)}
	for i := range 4 {
		_, err := c.counted(t.Context(), req)
		if (err != nil) != (i < 2) {
			t.Fatalf("round %d: %v", i, err)
		}
		if want := max(0, min(i-1, 1)); len(*sink) != want {
			t.Errorf("after round %d: events %q, want %d", i, *sink, want)
		}
	}
	if !strings.Contains((*sink)[0], "Discovered") {
		t.Errorf("events %q", *sink)
	}
}
