// Package controller joins the life cycle to the Kubernetes API: a thin
// reconciler per kind that reads, steps (pkg/host), writes (pkg/record) and acts
// (pkg/engine).
//
// Hosts keeps one live host in memory for each BareMetalHost; the objects are
// what it is restored from. It is also where the doors ask: which boot was
// ordered, which machine has this MAC, who said hello.
package controller
