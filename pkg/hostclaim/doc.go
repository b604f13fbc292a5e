// Package hostclaim decides what a HostClaim gets: which hosts it may have, what is
// declared at the one that it has, what is left of that when it is given back, and
// what the claim's conditions say. It promises that nothing it decides depends on
// anything but the objects it is given, so that every rule can be read and tested
// without an API.
//
// Who carries it out must see to it that a host is taken, declared at and given
// back only as it was read (resourceVersion), and only while its consumerRef names
// the claim: that reference alone says whose a host is. See
// baremetal-operator v0.13 pkg/hostclaim for the contract.
package hostclaim
