package auth

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	authn "k8s.io/api/authentication/v1"
	authz "k8s.io/api/authorization/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ErrUnauthenticated says that a request shows no credential that counts.
var ErrUnauthenticated = errors.New("no credential that the Kubernetes API knows: use a kubeconfig of this cluster")

// ErrUnanswered says that the Kubernetes API could not be asked: the request may be
// repeated.
var ErrUnanswered = errors.New("the Kubernetes API does not answer")

// Kube lets in who the Kubernetes API would let in.
type Kube struct {
	Client client.Client
	// ClientCA verifies client certificates as the API server does; nil where
	// that authority is not known (a foreign cluster), which leaves tokens.
	ClientCA *x509.Certificate
}

// Allow answers nil if the request's user may do verb on the resource of
// ingot.dev: on the one of that name in the namespace, or, where both are empty,
// on all. The check is a SubjectAccessReview: RBAC decides, in one place.
func (k Kube) Allow(ctx context.Context, r *http.Request, verb, resource, namespace, name string) error {
	user, groups, err := k.user(ctx, r)
	if err != nil {
		return err
	}
	if slices.Contains(groups, "system:masters") {
		return nil
	}
	sar := &authz.SubjectAccessReview{Spec: authz.SubjectAccessReviewSpec{
		User: user, Groups: groups,
		ResourceAttributes: &authz.ResourceAttributes{
			Group: "ingot.dev", Resource: resource, Verb: verb, Namespace: namespace, Name: name,
		},
	}}
	if err := k.Client.Create(ctx, sar); err != nil {
		return fmt.Errorf("%w: asking whether %q may %s %s: %w", ErrUnanswered, user, verb, resource, err)
	}
	if !sar.Status.Allowed {
		return fmt.Errorf("user %q may not %s %s.ingot.dev: ask for a role that allows it", user, verb, resource)
	}
	return nil
}

func (k Kube) user(ctx context.Context, r *http.Request) (string, []string, error) {
	if leaf, root, ok := verified(r.TLS); ok && k.ClientCA != nil && root.Equal(k.ClientCA) {
		return leaf.Subject.CommonName, leaf.Subject.Organization, nil
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" {
		return "", nil, ErrUnauthenticated
	}
	tr := &authn.TokenReview{Spec: authn.TokenReviewSpec{Token: token}}
	if err := k.Client.Create(ctx, tr); err != nil {
		return "", nil, fmt.Errorf("%w: asking about a token: %w", ErrUnanswered, err)
	}
	if !tr.Status.Authenticated {
		return "", nil, ErrUnauthenticated
	}
	return tr.Status.User.Username, tr.Status.User.Groups, nil
}
