package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/uuid"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/node"
)

// door is a server over an API that is a fake: nothing here depends on what a real
// one does beyond keeping objects; e2e has the real one.
type door struct {
	t     *testing.T
	s     *Server
	nodes *node.Store
	at    string // version that is asked for
}

func newDoor(t *testing.T) *door {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{metal3.AddToScheme, corev1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&metal3.BareMetalHost{}, &v1alpha1.HostRecord{}).
		WithInterceptorFuncs(interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			o.SetUID(types.UID(uuid.NewString())) // which this fake leaves out
			return c.Create(ctx, o, opts...)
		}}).Build()
	now, ids := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), 0
	clock := func() time.Time { now = now.Add(time.Second); return now }
	newID := func() string { ids++; return fmt.Sprintf("00000000-0000-4000-8000-%012d", ids) }
	store := node.NewStore(c, c, "default", clock, newID)
	return &door{t: t, nodes: store, at: "latest", s: New(Options{Nodes: store, Log: slog.New(slog.DiscardHandler), Now: clock})}
}

// version has what follows asked for in another version.
func (d *door) version(v string) *door {
	c := *d
	c.at = v
	return &c
}

// do sends a request and decodes what is answered: the body, or of an error its inner
// object.
func (d *door) do(method, path string, body any) (int, map[string]any, http.Header) {
	d.t.Helper()
	var text []byte
	switch b := body.(type) {
	case nil:
	case string:
		text = []byte(b)
	default:
		var err error
		if text, err = json.Marshal(b); err != nil {
			d.t.Fatal(err)
		}
	}
	r := httptest.NewRequestWithContext(d.t.Context(), method, "http://10.0.0.1:6385"+path, bytes.NewReader(text))
	if d.at != "" {
		r.Header.Set("X-OpenStack-Ironic-API-Version", d.at)
	}
	w := httptest.NewRecorder()
	d.s.ServeHTTP(w, r)
	var out map[string]any
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			d.t.Fatalf("%s %s: %v in %s", method, path, err, w.Body)
		}
	}
	if inner, ok := out["error_message"].(string); ok {
		out = nil
		if err := json.Unmarshal([]byte(inner), &out); err != nil {
			d.t.Fatalf("%s %s: %v in %s", method, path, err, inner)
		}
	}
	return w.Code, out, w.Header()
}

// want is do whose status has to be this.
func (d *door) want(status int, method, path string, body any) map[string]any {
	d.t.Helper()
	code, out, _ := d.do(method, path, body)
	if code != status {
		d.t.Fatalf("%s %s: %d %v, want %d", method, path, code, out, status)
	}
	return out
}
