// Package cli is the verbs of the ingot command that a person types, and promises
// that none of them does something surprising: what changes a machine is refused
// when it makes no sense, what destroys is asked for first, and an error names
// the next command to run.
//
// Verbs talk to a Kubernetes API and to the doors that the API names in the
// ConfigMap kube-system/ingot-doors; they know nothing of BMCs or agents, but for
// those below bmc, which talk to BMCs and know no API. Those that start processes
// (serve, manager, lab) are handed to [Run] by main.
package cli
