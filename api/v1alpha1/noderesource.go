package v1alpha1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// NodeResource is an object of the REST door other than a node: a port, a port
// group, an allocation, a deploy template … Its name is its UUID.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=noderesources,singular=noderesource,shortName=nr,categories=ingot
// +kubebuilder:metadata:labels={"clusterctl.cluster.x-k8s.io=","clusterctl.cluster.x-k8s.io/move="}
// +kubebuilder:printcolumn:name="Kind",type=string,JSONPath=`.spec.kind`
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.spec.node`
// +kubebuilder:printcolumn:name="Name",type=string,JSONPath=`.spec.name`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type NodeResource struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec NodeResourceSpec `json:"spec"`
}

// NodeResourceList is a list of NodeResources.
//
// +kubebuilder:object:root=true
type NodeResourceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []NodeResource `json:"items"`
}

// NodeResourceSpec is one object as its REST body has it.
type NodeResourceSpec struct {
	// Kind of the object, in the singular: port, portgroup, chassis …
	//
	// +kubebuilder:validation:MaxLength=32
	Kind string `json:"kind"`
	// Node is the UUID of the node that it belongs to.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=36
	Node string `json:"node,omitempty"`
	// Name is unique within the kind where it is given.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=255
	Name string `json:"name,omitempty"`
	// Body is a JSON object of the fields.
	//
	// +optional
	Body *apiextensionsv1.JSON `json:"body,omitempty"`
	// +optional
	CreatedAt *metav1.MicroTime `json:"createdAt,omitempty"`
	// +optional
	UpdatedAt *metav1.MicroTime `json:"updatedAt,omitempty"`
}
