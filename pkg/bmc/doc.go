// Package bmc is how ingot speaks to a machine's management controller: small
// capability interfaces that a driver implements as far as its hardware can,
// and errors sorted into classes that say what to do next.
//
// A capability is found by type assertion on a Conn: a machine that lacks one is
// an answer, not an error. Writes are verified by reading back. Drivers live in
// redfish and ipmi; this package knows neither Kubernetes nor where credentials
// come from.
package bmc
