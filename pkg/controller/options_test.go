package controller

import (
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/ingot-metal/ingot/pkg/bmc/open"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/record"
)

// An annotation that was set where nobody could refuse it makes the credentials
// unusable until it is corrected: nothing is sent to the BMC.
func TestWrongBMCOptionsWait(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, metal3.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	b := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "w1", UID: "u1"}}
	b.Spec.BMC = metal3.BMCDetails{Address: "redfish://10.0.0.3", CredentialsName: "s1"}
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "s1"},
		Data:       map[string][]byte{"username": []byte("u"), "password": []byte("p")},
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(b, s).Build()
	h := doors(t)
	h.Client, h.Reader = c, c
	l := &live{objs: record.Objects{BMH: b}}
	for value, wrong := range map[string]bool{"first-use": false, "sha256:12": true, "": false} {
		b.Annotations = map[string]string{open.AnnotationPin: value}
		w, creds, err := h.wants(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		p := w.SecretProblem
		if wrong != (w.SecretVersion == "") || wrong != (creds.Password == "") || wrong != (p != nil) || (w.BMCOptions == "") != (value == "") {
			t.Errorf("%q: version %q, options %q, problem %+v", value, w.SecretVersion, w.BMCOptions, p)
		}
		if p != nil && (p.Code != "bmc-options" || p.Class != host.Wait || p.Facts["host"] != "w1" || len(p.Seen) != 1) {
			t.Errorf("%q: problem %+v", value, p)
		}
	}
}
