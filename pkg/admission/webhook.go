package admission

import (
	"context"
	"fmt"
	"net/http"

	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// Handler answers AdmissionReviews on all Paths. The reader tells it of other
// objects; nil leaves out the rules that need them.
func Handler(reader client.Reader) (http.Handler, error) {
	mux := http.NewServeMux()
	for _, k := range kinds(reader) {
		w := &admission.Webhook{Handler: admission.HandlerFunc(k.review)}
		h, err := admission.StandaloneWebhook(w, admission.StandaloneOptions{})
		if err != nil {
			return nil, fmt.Errorf("webhook of %s: %w", k.Kind, err)
		}
		mux.Handle("POST "+k.path(), h)
	}
	return mux, nil
}

func (k kind) review(ctx context.Context, r admission.Request) admission.Response {
	if r.Operation != admissionv1.Create && r.Operation != admissionv1.Update {
		return admission.Allowed("")
	}
	errs, err := k.judge(ctx, r)
	if err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	if len(errs) == 0 {
		return admission.Allowed("")
	}
	status := apierrors.NewInvalid(k.GroupKind(), r.Name, errs).Status()
	return admission.Response{AdmissionResponse: admissionv1.AdmissionResponse{Allowed: false, Result: &status}}
}
