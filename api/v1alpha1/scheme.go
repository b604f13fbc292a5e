package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion of every kind in this package.
var GroupVersion = schema.GroupVersion{Group: "ingot.dev", Version: "v1alpha1"}

// AddToScheme teaches s the kinds of this package.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(
		GroupVersion,
		&HostRecord{}, &HostRecordList{},
		&HostTimeline{}, &HostTimelineList{},
		&NodeAttributes{}, &NodeAttributesList{},
		&NodeResource{}, &NodeResourceList{},
		&ProvisioningNetwork{}, &ProvisioningNetworkList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
