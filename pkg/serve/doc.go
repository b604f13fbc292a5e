// Package serve puts the doors and controllers together into a running service,
// on top of a Kubernetes API that somebody else provides: the embedded one
// (`ingot serve`) or a cluster's (`ingot manager`).
package serve
