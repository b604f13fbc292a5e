package admission_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/ingot-metal/ingot/pkg/admission"
)

func TestHandler(t *testing.T) {
	h, err := admission.Handler(nil)
	if err != nil {
		t.Fatal(err)
	}
	review := func(operation, object, old string) string {
		return fmt.Sprintf(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u1","operation":%q,
			"kind":{"group":"metal3.io","version":"v1alpha1","kind":"BareMetalHost"},"name":"a","namespace":"rack","object":%s,"oldObject":%s}}`,
			operation, object, old)
	}
	const good = `{"metadata":{"name":"a"},"spec":{"userData":{"name":"u","namespace":"rack"}}}`
	const bad = `{"metadata":{"name":"a"},"spec":{"userData":{"name":"u","namespace":"other"}}}`
	for _, tc := range []struct {
		name    string
		body    string
		allowed bool
		code    int32
		want    string
	}{
		{name: "good", body: review("CREATE", good, "null"), allowed: true, code: 200},
		{name: "bad", body: review("CREATE", bad, "null"), code: 422, want: `BareMetalHost.metal3.io "a" is invalid: spec.userData.namespace`},
		{name: "bad already", body: review("UPDATE", bad, bad), allowed: true, code: 200},
		{name: "becomes bad", body: review("UPDATE", bad, good), code: 422, want: "spec.userData.namespace"},
		{name: "no host", body: review("CREATE", `{"spec":1}`, "null"), code: 400, want: "decode BareMetalHost"},
		{name: "no review", body: `{`, code: 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, admission.Path, strings.NewReader(tc.body))
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			var answer admissionv1.AdmissionReview
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
				t.Fatalf("%v: %s", err, w.Body)
			}
			got := answer.Response
			if got.Allowed != tc.allowed || got.Result == nil || got.Result.Code != tc.code || !strings.Contains(got.Result.Message, tc.want) {
				t.Errorf("got %+v, want allowed %v, code %d, %q", got, tc.allowed, tc.code, tc.want)
			}
		})
	}
}
