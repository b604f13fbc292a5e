package admission

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	registrationac "k8s.io/client-go/applyconfigurations/admissionregistration/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	// Configuration is the name of the object that points at us.
	Configuration = "ingot-validating-webhook"
	fieldManager  = "ingot"
	// answerWithin is how long the API waits for us.
	answerWithin = 10
)

// Where an API server finds the webhooks: at a URL or behind a Service.
type Where struct {
	url                string // https://HOST:PORT
	namespace, service string
	ca                 []byte
}

// At is an address, for an API that runs beside it: base is https://HOST:PORT, ca
// the PEM of the authority that its certificate is from.
func At(base string, ca []byte) Where { return Where{url: base, ca: ca} }

// Behind is port 443 of a Service of a cluster.
func Behind(namespace, service string, ca []byte) Where {
	return Where{namespace: namespace, service: service, ca: ca}
}

func (w Where) none() bool { return w.url == "" && w.service == "" }

// String names the place.
func (w Where) String() string {
	if w.url != "" {
		return w.url
	}
	return "Service " + w.namespace + "/" + w.service
}

func (w Where) client(path string) *registrationac.WebhookClientConfigApplyConfiguration {
	c := registrationac.WebhookClientConfig().WithCABundle(w.ca...)
	if w.url != "" {
		return c.WithURL(w.url + path)
	}
	return c.WithService(registrationac.ServiceReference().WithNamespace(w.namespace).WithName(w.service).WithPath(path))
}

func (w Where) object() *registrationac.ValidatingWebhookConfigurationApplyConfiguration {
	o := registrationac.ValidatingWebhookConfiguration(Configuration)
	for _, k := range kinds(nil) {
		o.WithWebhooks(registrationac.ValidatingWebhook().
			WithName(k.name()).
			WithClientConfig(w.client(k.path())).
			WithAdmissionReviewVersions("v1").
			WithFailurePolicy(registrationv1.Fail).
			WithMatchPolicy(registrationv1.Equivalent).
			WithSideEffects(registrationv1.SideEffectClassNone).
			WithTimeoutSeconds(answerWithin).
			WithRules(registrationac.RuleWithOperations().
				WithOperations(registrationv1.Create, registrationv1.Update).
				WithAPIGroups(k.Group).
				WithAPIVersions(k.Version).
				WithResources(k.resource).
				WithScope(k.scope)))
	}
	return o
}

// Install points the API at the webhooks. Serve them first: from then on nothing
// is stored unless they answer.
func Install(ctx context.Context, cfg *rest.Config, where Where) error {
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("install the webhooks: %w", err)
	}
	_, err = install(ctx, client, where)
	return err
}

func install(ctx context.Context, client kubernetes.Interface, where Where) (version string, err error) {
	o, err := client.AdmissionregistrationV1().ValidatingWebhookConfigurations().
		Apply(ctx, where.object(), metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
	if err != nil {
		return "", fmt.Errorf("install the webhooks: %w", err)
	}
	return o.ResourceVersion, nil
}

// Keep points the API at the webhooks until ctx is done: again whenever somebody
// changed or removed the object. It reads, and writes only then.
func Keep(ctx context.Context, cfg *rest.Config, where Where, every time.Duration, log *slog.Logger) error {
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("install the webhooks: %w", err)
	}
	version := ""
	tick := time.NewTicker(every)
	defer tick.Stop()
	for said := ""; ; {
		next, err := keep(ctx, client, where, version)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && err.Error() != said:
			said = err.Error()
			log.Warn("will be tried again", "err", err)
		case err == nil && next != version:
			said, version = "", next
			log.Info("the API asks these webhooks before it stores an object", "configuration", Configuration, "at", where.String())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// keep returns the version of the object that is known to be right.
func keep(ctx context.Context, client kubernetes.Interface, where Where, version string) (string, error) {
	if version != "" {
		o, err := client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, Configuration, metav1.GetOptions{})
		if err == nil && o.ResourceVersion == version {
			return version, nil
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return "", fmt.Errorf("look at ValidatingWebhookConfiguration %s: %w", Configuration, err)
		}
	}
	return install(ctx, client, where)
}
