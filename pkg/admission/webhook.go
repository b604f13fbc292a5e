package admission

import (
	"context"
	"fmt"
	"net/http"

	metal3api "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	admissionv1 "k8s.io/api/admission/v1"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	registrationac "k8s.io/client-go/applyconfigurations/admissionregistration/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

const (
	// Path that Handler is to be served on: Metal3's.
	Path = "/validate-metal3-io-v1alpha1-baremetalhost"
	// configuration is the name of the object that points at us.
	configuration = "ingot-validating-webhook"
	// webhookName is Metal3's, so that messages read the same.
	webhookName  = "baremetalhost.metal3.io"
	fieldManager = "ingot"
)

// Handler answers AdmissionReviews.
func Handler() (http.Handler, error) {
	w := &admission.Webhook{Handler: admission.HandlerFunc(review)}
	return admission.StandaloneWebhook(w, admission.StandaloneOptions{})
}

func review(_ context.Context, r admission.Request) admission.Response {
	h, err := Decode(r.Object.Raw)
	if err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	h.Namespace = r.Namespace
	var errs field.ErrorList
	switch r.Operation {
	case admissionv1.Create:
		errs = Create(h)
	case admissionv1.Update:
		old, err := Decode(r.OldObject.Raw)
		if err != nil {
			return admission.Errored(http.StatusBadRequest, err)
		}
		old.Namespace = r.Namespace
		errs = Update(h, old)
	}
	if len(errs) == 0 {
		return admission.Allowed("")
	}
	status := apierrors.NewInvalid(metal3api.GroupVersion.WithKind("BareMetalHost").GroupKind(), r.Name, errs).Status()
	return admission.Response{AdmissionResponse: admissionv1.AdmissionResponse{Allowed: false, Result: &status}}
}

// At is a webhook at an address, for an API that runs beside it: base is
// https://HOST:PORT, ca the PEM of the authority that its certificate is from.
func At(base string, ca []byte) *registrationac.WebhookClientConfigApplyConfiguration {
	return registrationac.WebhookClientConfig().WithURL(base + Path).WithCABundle(ca...)
}

// Behind is a webhook behind a Service of a cluster.
func Behind(namespace, service string, ca []byte) *registrationac.WebhookClientConfigApplyConfiguration {
	return registrationac.WebhookClientConfig().WithCABundle(ca...).
		WithService(registrationac.ServiceReference().WithNamespace(namespace).WithName(service).WithPath(Path))
}

// Install points the API at a webhook. Serve it first: from then on nothing is
// stored unless it answers.
func Install(ctx context.Context, cfg *rest.Config, where *registrationac.WebhookClientConfigApplyConfiguration) error {
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("install the webhook: %w", err)
	}
	hook := registrationac.ValidatingWebhook().
		WithName(webhookName).
		WithClientConfig(where).
		WithAdmissionReviewVersions("v1").
		WithFailurePolicy(registrationv1.Fail).
		WithMatchPolicy(registrationv1.Equivalent).
		WithSideEffects(registrationv1.SideEffectClassNone).
		WithTimeoutSeconds(10).
		WithRules(registrationac.RuleWithOperations().
			WithOperations(registrationv1.Create, registrationv1.Update).
			WithAPIGroups(metal3api.GroupVersion.Group).
			WithAPIVersions(metal3api.GroupVersion.Version).
			WithResources("baremetalhosts").
			WithScope(registrationv1.NamespacedScope))
	object := registrationac.ValidatingWebhookConfiguration(configuration).WithWebhooks(hook)
	_, err = client.AdmissionregistrationV1().ValidatingWebhookConfigurations().
		Apply(ctx, object, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
	if err != nil {
		return fmt.Errorf("install the webhook: %w", err)
	}
	return nil
}
