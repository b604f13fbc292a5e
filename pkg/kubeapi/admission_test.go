package kubeapi_test

import (
	"crypto/tls"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	metal3api "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/pkg/admission"
	"github.com/ingot-metal/ingot/pkg/crd"
	"github.com/ingot-metal/ingot/pkg/kubeapi"
)

// The API asks the webhook, at an address and behind a Service that there is
// none of, over a certificate of its own CA.
func TestAdmission(t *testing.T) {
	handler, err := admission.Handler(nil)
	if err != nil {
		t.Fatal(err)
	}
	hook := httptest.NewUnstartedServer(handler)
	t.Cleanup(hook.Close)

	s := start(t, kubeapi.Options{
		DataDir:  tempDir(t),
		Services: map[string]string{"ingot-system/webhook": hook.Listener.Addr().String()},
	})
	if err := crd.Install(t.Context(), s.RESTConfig()); err != nil {
		t.Fatal(err)
	}
	pem, err := s.IssueServing([]string{"webhook.ingot-system.svc"}, []net.IP{net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(pem, pem)
	if err != nil {
		t.Fatal(err)
	}
	hook.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	hook.StartTLS()

	c := objects(t, s.RESTConfig())
	for name, where := range map[string]admission.Where{
		"url":     admission.At("https://"+hook.Listener.Addr().String(), s.CA()),
		"service": admission.Behind("ingot-system", "webhook", s.CA()),
	} {
		t.Run(name, func(t *testing.T) {
			if err := admission.Install(t.Context(), s.RESTConfig(), where); err != nil {
				t.Fatal(err)
			}
			bad := &metal3api.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: "default", GenerateName: "bad-"}}
			bad.Spec.BMC.Address = "redfsh://10.0.0.3"
			bad.Spec.BMC.CredentialsName = "s1"
			var refused error
			eventually(t, "the webhook to be asked", func() bool {
				refused = c.Create(t.Context(), bad.DeepCopy())
				return refused != nil
			})
			if !apierrors.IsInvalid(refused) || !strings.Contains(refused.Error(), "did you mean redfish?") {
				t.Errorf("got %v", refused)
			}

			good := bad.DeepCopy()
			good.Spec.BMC.Address = "redfish://10.0.0.3"
			if err := c.Create(t.Context(), good); err != nil {
				t.Fatalf("refused: %v", err)
			}
			good.Status.Provisioning.State = metal3api.StateAvailable
			if err := c.Status().Update(t.Context(), good); err != nil {
				t.Fatalf("the status was refused: %v", err)
			}
			changed := good.DeepCopy()
			changed.Spec.BMC.Address = "redfish://10.0.0.4"
			err := c.Patch(t.Context(), changed, client.MergeFrom(good))
			if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "registering or detached") {
				t.Errorf("changed the address: %v", err)
			}
		})
	}
}
