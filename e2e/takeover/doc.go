// Package takeover starts the service on objects as Metal3's operator leaves
// them, one of each state, and reads from the simulated BMCs' own journal what was
// done to the machines: each host is carried on to where it belongs, and a machine
// in use is not touched.
package takeover
