package record

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/ingot-metal/ingot/pkg/host"
)

func TestSoftwareRAIDText(t *testing.T) {
	mirror := metal3.SoftwareRAIDVolume{Level: "1"}
	hardware := []metal3.HardwareRAIDVolume{{Level: "5"}}
	for name, c := range map[string]struct {
		spec  *metal3.RAIDConfig
		wants string
	}{
		"nothing":       {nil, ""},
		"hardware":      {&metal3.RAIDConfig{HardwareRAIDVolumes: hardware}, ""},
		"an empty list": {&metal3.RAIDConfig{SoftwareRAIDVolumes: []metal3.SoftwareRAIDVolume{}}, ""},
		"a mirror":      {&metal3.RAIDConfig{SoftwareRAIDVolumes: []metal3.SoftwareRAIDVolume{mirror}}, `[{"level":"1"}]`},
	} {
		b := declared(func(b *metal3.BareMetalHost) { b.Spec.RAID = c.spec })
		if got := Wants(b, nil).SoftRAID; got != c.wants {
			t.Errorf("%s: %q", name, got)
		}
	}
	// What is on the disks is shown, beside what is shown of hardware RAID.
	for _, c := range []struct {
		was  *metal3.RAIDConfig
		is   string
		want *metal3.RAIDConfig
	}{
		{nil, "", nil},
		{nil, `[{"level":"1"}]`, &metal3.RAIDConfig{SoftwareRAIDVolumes: []metal3.SoftwareRAIDVolume{mirror}}},
		{&metal3.RAIDConfig{SoftwareRAIDVolumes: []metal3.SoftwareRAIDVolume{mirror}}, host.RAIDUnknown, &metal3.RAIDConfig{SoftwareRAIDVolumes: []metal3.SoftwareRAIDVolume{}}},
		{&metal3.RAIDConfig{SoftwareRAIDVolumes: []metal3.SoftwareRAIDVolume{}}, "", nil},
		{&metal3.RAIDConfig{HardwareRAIDVolumes: hardware}, "", &metal3.RAIDConfig{HardwareRAIDVolumes: hardware}},
	} {
		st := metal3.BareMetalHostStatus{}
		st.Provisioning.RAID = c.was
		showSoftRAID(&st, host.Host{SoftRAID: c.is})
		if diff := cmp.Diff(c.want, st.Provisioning.RAID); diff != "" {
			t.Errorf("%q over %+v:\n%s", c.is, c.was, diff)
		}
		if got := softRAID(st.Provisioning.RAID); got != c.is {
			t.Errorf("%q is read back as %q", c.is, got)
		}
	}
}

func TestRootVolume(t *testing.T) {
	volume := func(root any) any { return map[string]any{"level": "1", "rootVolume": root} }
	for name, c := range map[string]struct {
		volumes []any
		want    int
	}{
		"none":        {nil, 0},
		"not marked":  {[]any{volume(nil), volume(false)}, 0},
		"the second":  {[]any{volume(nil), volume(true)}, 1},
		"the first":   {[]any{volume(true), volume(nil)}, 0},
		"of nonsense": {[]any{"x", volume("yes")}, 0},
	} {
		u := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"raid": map[string]any{"softwareRAIDVolumes": c.volumes}}}}
		u.SetGroupVersionKind(metal3.GroupVersion.WithKind("BareMetalHost"))
		u.SetNamespace("rack")
		u.SetName("w1")
		r := fake.NewClientBuilder().WithObjects(u).Build()
		got, err := RootVolume(t.Context(), r, types.NamespacedName{Namespace: "rack", Name: "w1"})
		if err != nil || got != c.want {
			t.Errorf("%s: %d, %v", name, got, err)
		}
		if _, err := RootVolume(t.Context(), r, types.NamespacedName{Namespace: "rack", Name: "w2"}); err == nil {
			t.Errorf("%s: no error for a host that is not there", name)
		}
	}
}
