// Package agent is the in-RAM agent's run loop: it says hello once, asks for
// steps, runs each at most once, and says how each ended.
//
// It touches no device itself. What a step does is behind Devices, so that the
// machine's agent (cmd/ingot-agent) and a simulated one (pkg/lab/fleet) are the
// same code up to that line. The agent decides nothing: it never picks a disk,
// never retries a step, and stops when the server says so.
//
// Promises: a step id is run at most once in a boot; a result is sent until it
// is acknowledged; a server that is restarted at any instant learns from the
// next call what is running or has finished.
package agent
