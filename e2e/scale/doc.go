// Command scale measures the shipped binary against the budgets of the design:
// how fast and at what cost a thousand pretended machines become available and
// get an image.
//
//	go run ./e2e/scale --binary bin/ingot --hosts 1000
//
// The server runs as a child with fsync on, the machines (pkg/lab/fleet) in
// another, so that the server's CPU and memory are counted alone, by the kernel.
// Writes are those that the embedded API counts itself (apiserver_request_total),
// requests to BMCs those that the BMCs count. Machines answer at once: what is
// measured is the control plane, not hardware.
//
// Twenty machines go first. They give the memory with a small rack, and the
// requests to a BMC for each part of the way. The others are the measurement.
package main
