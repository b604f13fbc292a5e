package admission

import (
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/ingot-metal/ingot/pkg/hostclaim"
)

// checkConsumer keeps a HostClaim's host from being taken by whoever read it a
// moment before it was claimed: Cluster API's provider writes consumerRef whatever
// it has become meanwhile.
func checkConsumer(h, old *Host, spec *field.Path) field.ErrorList {
	holder, held := hostclaim.Holder(&old.BareMetalHost)
	if !held || h.Spec.ConsumerRef == nil || equality.Semantic.DeepEqual(h.Spec.ConsumerRef, old.Spec.ConsumerRef) {
		return nil
	}
	return field.ErrorList{field.Forbidden(spec.Child("consumerRef"),
		"the host is held by HostClaim "+holder.String()+": delete the claim, which gives it back, or choose another host")}
}
