package auth

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	authn "k8s.io/api/authentication/v1"
	authz "k8s.io/api/authorization/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// reviewFor is how long the Kubernetes API's answers hold, as for its own aggregated
// servers (delegated authentication and authorization).
const reviewFor = 10 * time.Second

// Access is what RBAC is asked for.
type Access struct{ Group, Resource, Verb, Namespace, Name string }

// User is who a Kubernetes token stands for.
type User struct{ authn.UserInfo }

// Reviews asks the Kubernetes API who somebody is, and what they may.
type Reviews struct {
	client client.Client
	now    func() time.Time
	users  *recall[*User]
	bad    *recall[struct{}]
	may    *recall[bool]
}

// NewReviews asks by c.
func NewReviews(c client.Client, now func() time.Time) *Reviews {
	return &Reviews{
		client: c, now: now,
		users: newRecall[*User](4<<10, now), bad: newRecall[struct{}](4<<10, now), may: newRecall[bool](16<<10, now),
	}
}

// User is who an Authorization header's bearer token stands for: Refused if for
// nobody, ErrUnanswered if that is not known.
func (r *Reviews) User(ctx context.Context, header string) (*User, error) {
	fields := strings.Fields(header)
	if len(fields) != 2 || !strings.EqualFold(fields[0], "bearer") || len(fields[1]) > maxToken {
		return nil, Refused("Authentication required: a bearer token of this cluster")
	}
	token := fields[1]
	id := r.users.id(token)
	if u, ok := r.users.get(id); ok {
		return u, nil
	}
	if _, ok := r.bad.get(id); ok {
		return nil, Refused("Invalid token")
	}
	tr := &authn.TokenReview{Spec: authn.TokenReviewSpec{Token: token}}
	if err := r.client.Create(ctx, tr); err != nil {
		return nil, fmt.Errorf("%w: asking about a token: %w", ErrUnanswered, err)
	}
	if !tr.Status.Authenticated || tr.Status.User.Username == "" {
		r.bad.put(id, struct{}{}, r.now().Add(reviewFor))
		return nil, Refused("Invalid token")
	}
	u := &User{tr.Status.User}
	r.users.put(id, u, r.now().Add(reviewFor))
	return u, nil
}

// Allowed reports whether RBAC lets u have an access.
func (r *Reviews) Allowed(ctx context.Context, u *User, a Access) (bool, error) {
	parts := []string{a.Group, a.Resource, a.Verb, a.Namespace, a.Name, u.Username, u.UID}
	parts = append(append(parts, u.Groups...), extras(u.Extra)...)
	id := r.may.id(parts...)
	if can, ok := r.may.get(id); ok {
		return can, nil
	}
	sar := &authz.SubjectAccessReview{Spec: authz.SubjectAccessReviewSpec{
		User: u.Username, UID: u.UID, Groups: u.Groups, Extra: map[string]authz.ExtraValue{},
		ResourceAttributes: &authz.ResourceAttributes{Group: a.Group, Resource: a.Resource, Verb: a.Verb, Namespace: a.Namespace, Name: a.Name},
	}}
	for k, v := range u.Extra {
		sar.Spec.Extra[k] = authz.ExtraValue(v)
	}
	if err := r.client.Create(ctx, sar); err != nil {
		return false, fmt.Errorf("%w: asking whether %q may %s %s: %w", ErrUnanswered, u.Username, a.Verb, a.Resource, err)
	}
	r.may.put(id, sar.Status.Allowed, r.now().Add(reviewFor))
	return sar.Status.Allowed, nil
}

// extras are a user's extra values as text, in an order.
func extras(all map[string]authn.ExtraValue) (out []string) {
	for _, k := range slices.Sorted(maps.Keys(all)) {
		out = append(append(out, "\x00"+k), all[k]...)
	}
	return out
}
