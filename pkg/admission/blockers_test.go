package admission_test

import (
	"strings"
	"testing"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/ingot-metal/ingot/pkg/admission"
)

// metal3Hooks is what Metal3's operator installs.
func metal3Hooks(change ...func(*registrationv1.ValidatingWebhook)) *registrationv1.ValidatingWebhookConfiguration {
	w := registrationv1.ValidatingWebhook{
		Name: "baremetalhost.metal3.io",
		ClientConfig: registrationv1.WebhookClientConfig{
			Service: &registrationv1.ServiceReference{Namespace: "bmo", Name: "hooks"}, CABundle: []byte("theirs"),
		},
		Rules: []registrationv1.RuleWithOperations{{Rule: registrationv1.Rule{APIGroups: []string{"metal3.io"}, Resources: []string{"baremetalhosts"}}}},
	}
	for _, f := range change {
		f(&w)
	}
	return &registrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "baremetal-operator-validating-webhook-configuration"},
		Webhooks:   []registrationv1.ValidatingWebhook{w},
	}
}

func TestBlockers(t *testing.T) {
	in := metav1.ObjectMeta{Namespace: "bmo", Name: "hooks", Labels: map[string]string{discoveryv1.LabelServiceName: "hooks"}}
	service := &corev1.Service{ObjectMeta: in}
	slice := func(ready bool) *discoveryv1.EndpointSlice {
		return &discoveryv1.EndpointSlice{ObjectMeta: in, Endpoints: []discoveryv1.Endpoint{{Conditions: discoveryv1.EndpointConditions{Ready: &ready}}}}
	}
	mutating := &registrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "old"}}
	w := metal3Hooks().Webhooks[0]
	mutating.Webhooks = []registrationv1.MutatingWebhook{{Name: w.Name, ClientConfig: w.ClientConfig, Rules: w.Rules}}
	ours := metal3Hooks()
	ours.Name = admission.Configuration
	behind := admission.Behind("bmo", "hooks", []byte("ours\n"))
	for _, tc := range []struct {
		name    string
		where   admission.Where
		objects []client.Object
		want    string
	}{
		{name: "none"},
		{name: "its Service is gone", objects: []client.Object{metal3Hooks()}, want: "ValidatingWebhookConfiguration baremetal-operator-validating-webhook-configuration: its Service bmo/hooks is gone"},
		{name: "nothing behind it", objects: []client.Object{metal3Hooks(), service}, want: "nothing answers behind its Service bmo/hooks"},
		{name: "nothing ready behind it", objects: []client.Object{metal3Hooks(), service, slice(false)}, want: "nothing answers"},
		{name: "it answers", objects: []client.Object{metal3Hooks(), service, slice(true)}},
		{name: "it may fail", objects: []client.Object{metal3Hooks(func(w *registrationv1.ValidatingWebhook) {
			ignore := registrationv1.Ignore
			w.FailurePolicy = &ignore
		})}},
		{name: "of other kinds", objects: []client.Object{metal3Hooks(func(w *registrationv1.ValidatingWebhook) { w.Rules[0].APIGroups = []string{"apps"} })}},
		{name: "by URL", objects: []client.Object{metal3Hooks(func(w *registrationv1.ValidatingWebhook) {
			url := "https://x"
			w.ClientConfig.Service, w.ClientConfig.URL = nil, &url
		})}},
		{name: "mutating", objects: []client.Object{mutating}, want: "MutatingWebhookConfiguration old: its Service"},
		{name: "at our Service, another authority", where: behind, objects: []client.Object{metal3Hooks()}, want: "trusts another authority"},
		{name: "at our Service, our authority", where: behind, objects: []client.Object{metal3Hooks(func(w *registrationv1.ValidatingWebhook) { w.ClientConfig.CABundle = []byte("theirs\nours\n") })}},
		{name: "our own", where: behind, objects: []client.Object{ours}},
		{name: "our own of an earlier start", objects: []client.Object{ours}, want: "this ingot serves none"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := fake.NewClientBuilder().WithObjects(tc.objects...).Build()
			got, err := admission.Blockers(t.Context(), c, tc.where)
			if err != nil {
				t.Fatal(err)
			}
			text := ""
			for _, b := range got {
				text += b.Kind + " " + b.Name + ": " + b.Why + "\n"
				if b.Remedy() != "kubectl delete "+b.Kind+" "+b.Name {
					t.Errorf("remedy %q", b.Remedy())
				}
			}
			if tc.want == "" && text != "" || !strings.Contains(text, tc.want) {
				t.Errorf("got %q, want %q", text, tc.want)
			}
		})
	}
}
