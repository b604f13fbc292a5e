package journey_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/auth"
	"github.com/ingot-metal/ingot/pkg/node"
	"github.com/ingot-metal/ingot/pkg/rest"
)

// TestRESTKubernetesTokens lets a ServiceAccount in at the REST door by a token of the
// real API, and has its RBAC say what it may: in its own namespace, and to whom the
// roles name.
func TestRESTKubernetesTokens(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "rest-auth-"}}
	if err := shared.Create(ctx, ns); err != nil {
		t.Fatal(err)
	}
	account := func(name string, verbs ...string) string {
		t.Helper()
		meta := metav1.ObjectMeta{Namespace: ns.Name, Name: name}
		sa := &corev1.ServiceAccount{ObjectMeta: meta}
		for _, o := range []client.Object{
			sa,
			&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{APIGroups: []string{"metal3.io"}, Resources: []string{"baremetalhosts"}, Verbs: verbs}}},
			&rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: name}, Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: ns.Name, Name: name}}},
		} {
			if err := shared.Create(ctx, o); err != nil {
				t.Fatal(err)
			}
		}
		tr := &authenticationv1.TokenRequest{}
		if err := shared.SubResource("token").Create(ctx, sa, tr); err != nil {
			t.Fatal(err)
		}
		return tr.Status.Token
	}
	reader, writer := account("reader", "get", "list"), account("writer", "get", "list", "patch", "delete")

	// A door of its own, with the API's clients that the service's has.
	store := node.NewStore(shared.Client, shared.Client, "default", time.Now, uuid.NewString)
	enrol := func(namespace string) *node.Node {
		t.Helper()
		b := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: ns.Name}}
		if err := shared.Create(ctx, b); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = shared.Delete(context.WithoutCancel(ctx), b) }) // the test has deleted one of them
		hr := &v1alpha1.HostRecord{}
		if !poll(ctx, func() bool {
			return shared.Get(ctx, client.ObjectKeyFromObject(b), hr) == nil && hr.Spec.ID != ""
		}) {
			t.Fatal("the host is not recorded")
		}
		store.Observe(b)
		store.Observe(hr)
		n, found := store.Get(hr.Spec.ID)
		if !found {
			t.Fatal("the host is no node")
		}
		return n
	}
	own, other := enrol(ns.Name), enrol("default")
	log := slog.New(slog.DiscardHandler)
	door := httptest.NewServer(rest.New(rest.Options{Nodes: store, Authenticate: rest.Kubernetes(auth.NewReviews(shared.Client, time.Now), log), Log: log, Now: time.Now}))
	t.Cleanup(door.Close)
	ask := func(token, method, path, body string) (int, map[string]any) {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, method, door.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-OpenStack-Ironic-API-Version", "latest")
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Body.Close()
		var out map[string]any
		_ = json.NewDecoder(w.Body).Decode(&out) // 204 has none
		return w.StatusCode, out
	}
	// The API learns of new roles and bindings in its own time, and its answers hold
	// for a moment.
	if !poll(ctx, func() bool {
		code, _ := ask(writer, http.MethodGet, "/v1/nodes/"+own.UUID, "")
		again, _ := ask(reader, http.MethodGet, "/v1/nodes/"+own.UUID, "")
		return code == http.StatusOK && again == http.StatusOK
	}) {
		t.Fatal("the accounts do not see their node")
	}
	patch := fmt.Sprintf(`[{"op": "add", "path": "/extra", "value": {"rack": %q}}]`, ns.Name)
	for _, tc := range []struct {
		name, token, method, path, body string
		want                            int
	}{
		{"no token", "", "GET", "/v1/nodes", "", 401},
		{"made up", "eyJhbGciOiJub25lIn0.e30.", "GET", "/v1/nodes", "", 401},
		{"discovery", "", "GET", "/v1", "", 200},
		{"reader reads", reader, "GET", "/v1/nodes/" + own.UUID, "", 200},
		{"reader writes", reader, "PATCH", "/v1/nodes/" + own.UUID, patch, 403},
		{"reader deletes", reader, "DELETE", "/v1/nodes/" + own.UUID, "", 403},
		{"another namespace", reader, "GET", "/v1/nodes/" + other.UUID, "", 404},
		{"writer in another namespace", writer, "DELETE", "/v1/nodes/" + other.UUID, "", 404},
		{"writer makes", writer, "POST", "/v1/nodes", `{"driver": "fake-hardware"}`, 403},
		{"writer deletes", writer, "DELETE", "/v1/nodes/" + own.UUID, "", 204},
	} {
		if tc.name == "reader reads" {
			_, out := ask(reader, http.MethodGet, "/v1/nodes", "")
			if list, _ := out["nodes"].([]any); len(list) != 1 {
				t.Errorf("the reader lists %v", out)
			}
		}
		if code, out := ask(tc.token, tc.method, tc.path, tc.body); code != tc.want {
			t.Errorf("%s: %d %v, want %d", tc.name, code, out, tc.want)
		}
	}
}
