package kubeapi

import (
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// establishWait is how long the API server lets other masters learn of a kind.
const establishWait = 2 * time.Second

// longEstablished has the API server take each custom resource for one that was
// established some time ago. It holds a creation back for two seconds where that was
// less than two seconds ago, for the sake of other masters (apiextensions v0.37.1,
// crdHandler.serveResource). Here there is none, and whoever enrols a host right
// after the first start would wait.
func longEstablished(o any) (any, error) {
	crd, ok := o.(*apiextensionsv1.CustomResourceDefinition)
	if !ok {
		return o, nil
	}
	c := apihelpers.FindCRDCondition(crd, apiextensionsv1.Established)
	if before := time.Now().Add(-establishWait); c != nil && c.LastTransitionTime.After(before) {
		c.LastTransitionTime = metav1.NewTime(before)
	}
	return o, nil
}
