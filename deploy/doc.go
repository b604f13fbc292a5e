// Package deploy holds how ingot is installed in a cluster: the manifests below
// kustomize, and here the one table of what the manager may do, from which its
// roles are generated.
//
// Whoever adds a request to the Kubernetes API adds its verb to Rules, with what
// it is for, and runs go generate ./deploy. A manager that lacks a right says
// "forbidden"; TestManagerInACluster runs one with exactly these rights.
package deploy

//go:generate go run ./gen kustomize/base/role.yaml
