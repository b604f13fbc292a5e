// Package lab runs emulated machines that a control plane can provision as if
// they were real: QEMU bodies on a switch of their own, or pretended ones by the
// thousand, each with a Redfish and an IPMI face on loopback.
//
// The lab lives in a process of its own, so that its machines outlive a killed
// control plane. It knows no Kubernetes: whoever starts it enrols its Machines.
package lab
