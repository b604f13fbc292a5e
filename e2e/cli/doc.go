// Package cli runs every verb of the command line against a real Kubernetes API:
// the embedded one, with our CRDs. Nothing reconciles here; the scripts play the
// controller and put statuses by hand.
package cli
