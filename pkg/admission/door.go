package admission

import (
	"context"
	"encoding/json"

	metal3api "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/ingot-metal/ingot/pkg/record"
)

// judgeHost lets the REST door do what Ironic's table of states allows and Metal3's
// rules do not know of.
func judgeHost(ctx context.Context, r admission.Request) (field.ErrorList, error) {
	return judged(Decode, Create, fixed(byDoor(r)))(ctx, r)
}

// byDoor reports whether a write is ingot's own. Whoever may write hosts can name
// its field manager: the rules that it is let off keep people from mistakes, and
// nobody from anything else.
func byDoor(r admission.Request) bool {
	var o struct {
		FieldManager string `json:"fieldManager"`
	}
	return json.Unmarshal(r.Options.Raw, &o) == nil && o.FieldManager == string(record.FieldOwner)
}

// doorAdopts reports whether a host may be a node that is manageable, or whose
// adoption failed.
func doorAdopts(h *Host) bool { return h.Status.Provisioning.State == metal3api.StateRegistering }

// doorChangesAddress reports whether a host may be a node whose inspection or
// cleaning failed.
func doorChangesAddress(h *Host) bool {
	switch h.Status.Provisioning.State {
	case metal3api.StateInspecting, metal3api.StatePreparing:
		return true
	}
	return false
}
