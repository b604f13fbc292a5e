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
	"github.com/ingot-metal/ingot/pkg/record"
)

// The REST door may do what Ironic's states allow, and no more than that.
func TestDoor(t *testing.T) {
	h, err := admission.Handler(nil)
	if err != nil {
		t.Fatal(err)
	}
	host := func(spec, state string) string {
		return fmt.Sprintf(`{"metadata":{"name":"a"},"spec":{%s},"status":{"provisioning":{"state":%q}}}`, spec, state)
	}
	const adopted, plain = `"externallyProvisioned":true`, `"externallyProvisioned":false`
	const one, other = `"bmc":{"address":"redfish://10.0.0.3/x"}`, `"bmc":{"address":"redfish://10.0.0.4/x"}`
	for _, tc := range []struct {
		name     string
		old, new string
		state    string
		door     bool // else only ours may
	}{
		{name: "adopts what is manageable", old: plain, new: adopted, state: "registering", door: true},
		{name: "adopts what is in use", old: plain, new: adopted, state: "provisioned"},
		{name: "another address after a failed inspection", old: one, new: other, state: "inspecting", door: true},
		{name: "another address after a failed cleaning", old: one, new: other, state: "preparing", door: true},
		{name: "another address of a machine in use", old: one, new: other, state: "provisioned"},
		{name: "another address of what is handed out", old: one, new: other, state: "available"},
	} {
		for manager, allowed := range map[string]bool{string(record.FieldOwner): tc.door, "kubectl-edit": false} {
			t.Run(tc.name+", by "+manager, func(t *testing.T) {
				body := fmt.Sprintf(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u1","operation":"UPDATE",
					"kind":{"group":"metal3.io","version":"v1alpha1","kind":"BareMetalHost"},"name":"a","namespace":"rack","object":%s,"oldObject":%s,
					"options":{"kind":"PatchOptions","apiVersion":"meta.k8s.io/v1","fieldManager":%q}}}`, host(tc.new, tc.state), host(tc.old, tc.state), manager)
				r := httptest.NewRequest(http.MethodPost, admission.Path, strings.NewReader(body))
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				var answer admissionv1.AdmissionReview
				if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
					t.Fatalf("%v: %s", err, w.Body)
				}
				if got := answer.Response; got.Allowed != allowed {
					t.Errorf("allowed %v, want %v: %+v", got.Allowed, allowed, got.Result)
				}
			})
		}
	}
}
