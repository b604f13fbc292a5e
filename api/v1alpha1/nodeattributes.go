package v1alpha1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MaxAttributes is how many bytes of JSON a node's attributes may have.
const MaxAttributes = 64 << 10

// NodeAttributes is what clients of the REST door have said of the BareMetalHost of
// the same name and namespace that has no place in it: extra, properties,
// instance_info, traits, owner … It holds nothing secret.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=nodeattributes,singular=nodeattributes,shortName=na,categories=ingot
// +kubebuilder:metadata:labels={"clusterctl.cluster.x-k8s.io=","clusterctl.cluster.x-k8s.io/move="}
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.spec.id`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type NodeAttributes struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec NodeAttributesSpec `json:"spec,omitzero"`
}

// NodeAttributesList is a list of NodeAttributes.
//
// +kubebuilder:object:root=true
type NodeAttributesList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []NodeAttributes `json:"items"`
}

// NodeAttributesSpec is free-form, as Ironic's is.
type NodeAttributesSpec struct {
	// ID of the node, as in HostRecord.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=36
	ID string `json:"id,omitempty"`

	// Attributes is a JSON object of Ironic's node fields.
	//
	// +optional
	Attributes *apiextensionsv1.JSON `json:"attributes,omitempty"`

	// Intent is a change of several objects that was begun: whoever finds it
	// carries it on.
	//
	// +optional
	Intent *apiextensionsv1.JSON `json:"intent,omitempty"`

	// CreatedAt and UpdatedAt are those of the node.
	//
	// +optional
	CreatedAt *metav1.MicroTime `json:"createdAt,omitempty"`
	// +optional
	UpdatedAt *metav1.MicroTime `json:"updatedAt,omitempty"`
}
