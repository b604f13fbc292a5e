package auth

import (
	"context"
	"errors"
	"slices"
	"testing"

	authn "k8s.io/api/authentication/v1"
	authz "k8s.io/api/authorization/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// cluster answers reviews.
type cluster struct {
	client.Client
	users map[string]authn.UserInfo // by token
	may   func(authz.SubjectAccessReviewSpec) bool
	down  bool
	asked int
}

func (c *cluster) Create(_ context.Context, o client.Object, _ ...client.CreateOption) error {
	c.asked++
	if c.down {
		return errors.New("connection refused")
	}
	switch o := o.(type) {
	case *authn.TokenReview:
		u, ok := c.users[o.Spec.Token]
		o.Status = authn.TokenReviewStatus{Authenticated: ok, User: u}
	case *authz.SubjectAccessReview:
		o.Status.Allowed = c.may(o.Spec)
	}
	return nil
}

func TestReviews(t *testing.T) {
	clock := newClock()
	c := &cluster{users: map[string]authn.UserInfo{
		"t1": {Username: "ada", UID: "1", Groups: []string{"ops"}, Extra: map[string]authn.ExtraValue{"scopes": {"x"}}},
		"t2": {Username: "bob"},
		"t3": {}, // authenticated as nobody
	}, may: func(s authz.SubjectAccessReviewSpec) bool {
		return slices.Contains(s.Groups, "ops") && s.UID == "1" && s.Extra["scopes"][0] == "x" && s.ResourceAttributes.Namespace == "rack"
	}}
	r := NewReviews(c, clock.now)
	for header, want := range map[string]string{
		"Bearer t1": "ada", "bearer  t2": "bob", "Bearer t3": "", "Bearer nope": "", "Basic t1": "", "": "", "Bearer": "", "Bearer t1 t2": "",
	} {
		u, err := r.User(t.Context(), header)
		var refused Refused
		if want == "" && !errors.As(err, &refused) || want != "" && (err != nil || u.Username != want) {
			t.Errorf("%q: %v, %v", header, u, err)
		}
	}
	ada, _ := r.User(t.Context(), "Bearer t1")
	bob, _ := r.User(t.Context(), "Bearer t2")
	before := c.asked
	for range 3 {
		for _, tc := range []struct {
			u    *User
			ns   string
			want bool
		}{{ada, "rack", true}, {ada, "other", false}, {bob, "rack", false}} {
			can, err := r.Allowed(t.Context(), tc.u, Access{Group: "metal3.io", Resource: "baremetalhosts", Verb: "get", Namespace: tc.ns})
			if err != nil || can != tc.want {
				t.Errorf("%s in %s: %v, %v", tc.u.Username, tc.ns, can, err)
			}
		}
	}
	if n := c.asked - before; n != 3 {
		t.Errorf("%d reviews for three questions", n)
	}
	// What was known holds for a moment, and no longer.
	c.down = true
	if _, err := r.User(t.Context(), "Bearer t1"); err != nil {
		t.Error(err)
	}
	clock.pass(reviewFor)
	if _, err := r.User(t.Context(), "Bearer t1"); !errors.Is(err, ErrUnanswered) {
		t.Error(err)
	}
	if _, err := r.Allowed(t.Context(), ada, Access{Verb: "get"}); !errors.Is(err, ErrUnanswered) {
		t.Error(err)
	}
}
