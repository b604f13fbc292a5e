// Package v1alpha1 holds the contract of ingot's own objects, group ingot.dev:
// what a host's record, its timeline and a provisioning network look like in a
// Kubernetes API. It holds types alone; whoever reads them decides.
//
// HostRecord is the companion of a BareMetalHost of the same name and
// namespace. It stays below 2 kB, since a write costs by the size of the object
// and this is the object that changes often: every field is omitted when empty,
// and whatever is long is a blob whose digest stands here.
//
// Nothing in this package is secret, and nothing secret may be put into it.
//
// +kubebuilder:object:generate=true
// +groupName=ingot.dev
package v1alpha1
