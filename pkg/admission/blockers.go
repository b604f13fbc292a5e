package admission

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	metal3api "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Blocker is a webhook of somebody else's that refuses every write of Metal3's
// kinds, because nobody answers for it: what is left of an operator that was
// stopped.
type Blocker struct {
	Kind string // of the object that names it: ValidatingWebhookConfiguration or MutatingWebhookConfiguration
	Name string
	Why  string
}

// Remedy is what a person types.
func (b Blocker) Remedy() string {
	return "kubectl delete " + b.Kind + " " + b.Name
}

// Blockers finds them. where are our own webhooks, the zero value if there are
// none: what points there with another authority is refused by the API as well.
func Blockers(ctx context.Context, c client.Reader, where Where) ([]Blocker, error) {
	var validating registrationv1.ValidatingWebhookConfigurationList
	if err := c.List(ctx, &validating); err != nil {
		return nil, fmt.Errorf("look for webhooks of others: %w", err)
	}
	var mutating registrationv1.MutatingWebhookConfigurationList
	if err := c.List(ctx, &mutating); err != nil {
		return nil, fmt.Errorf("look for webhooks of others: %w", err)
	}
	var all []Blocker
	look := func(kind, name string, hooks []hook) error {
		for _, h := range hooks {
			why, err := h.blocks(ctx, c, where)
			if err != nil {
				return fmt.Errorf("look at %s %s: %w", kind, name, err)
			}
			if why != "" {
				all = append(all, Blocker{kind, name, why})
				return nil // one reason is enough
			}
		}
		return nil
	}
	for _, o := range validating.Items {
		var hooks []hook
		for _, w := range o.Webhooks {
			hooks = append(hooks, hook{w.ClientConfig, w.FailurePolicy, w.Rules})
		}
		if o.Name == Configuration {
			// With webhooks of our own Keep keeps it right. At a URL another ingot
			// may answer, as beside an API of its own.
			behind := slices.ContainsFunc(o.Webhooks, func(w registrationv1.ValidatingWebhook) bool { return w.ClientConfig.Service != nil })
			if where.none() && behind {
				all = append(all, Blocker{"ValidatingWebhookConfiguration", o.Name, "it points at webhooks of ingot, and this ingot serves none (--webhook-service)"})
			}
			continue
		}
		if err := look("ValidatingWebhookConfiguration", o.Name, hooks); err != nil {
			return nil, err
		}
	}
	for _, o := range mutating.Items {
		var hooks []hook
		for _, w := range o.Webhooks {
			hooks = append(hooks, hook{w.ClientConfig, w.FailurePolicy, w.Rules})
		}
		if err := look("MutatingWebhookConfiguration", o.Name, hooks); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// hook is what the two kinds of webhook have in common.
type hook struct {
	where   registrationv1.WebhookClientConfig
	failure *registrationv1.FailurePolicyType
	rules   []registrationv1.RuleWithOperations
}

// blocks says why a webhook refuses all writes; empty: it does not, or nobody can
// tell from here.
func (h hook) blocks(ctx context.Context, c client.Reader, where Where) (string, error) {
	ours := slices.ContainsFunc(h.rules, func(r registrationv1.RuleWithOperations) bool {
		return slices.Contains(r.APIGroups, metal3api.GroupVersion.Group)
	})
	if !ours || h.failure != nil && *h.failure == registrationv1.Ignore || h.where.Service == nil {
		return "", nil
	}
	at := h.where.Service
	if at.Namespace == where.namespace && at.Name == where.service {
		if !bytes.Contains(h.where.CABundle, bytes.TrimSpace(where.ca)) {
			return fmt.Sprintf("it points at ingot's Service %s/%s, but trusts another authority than ingot's", at.Namespace, at.Name), nil
		}
		return "", nil
	}
	err := c.Get(ctx, client.ObjectKey{Namespace: at.Namespace, Name: at.Name}, &corev1.Service{})
	if apierrors.IsNotFound(err) || apimeta.IsNoMatchError(err) { // an API of ingot's own has no Services
		return fmt.Sprintf("its Service %s/%s is gone", at.Namespace, at.Name), nil
	}
	if err != nil {
		return "", err
	}
	var endpoints discoveryv1.EndpointSliceList
	err = c.List(ctx, &endpoints, client.InNamespace(at.Namespace), client.MatchingLabels{discoveryv1.LabelServiceName: at.Name})
	if err != nil {
		return "", err
	}
	for _, s := range endpoints.Items {
		for _, e := range s.Endpoints {
			if e.Conditions.Ready == nil || *e.Conditions.Ready {
				return "", nil
			}
		}
	}
	return fmt.Sprintf("nothing answers behind its Service %s/%s", at.Namespace, at.Name), nil
}
