// Package shard has two managers of the shipped binary share the hosts of one
// Kubernetes API, while one of them after the other is killed with SIGKILL, or
// stopped with SIGSTOP until its share has gone to the other, and continued.
//
// Proof is read from the lab, in the test's own process: its journal of power
// actions, boot overrides, erases and image writes shows for each host, from one
// rest to the next, what was ordered and no more. Machines boot by way of a
// forwarder that stands for a virtual address: it leads to a manager that lives,
// whichever that is. INGOT_KILLS says how many times a manager is killed or
// stopped (a fifth of it; 8 without it); INGOT_SEED repeats what is drawn.
// INGOT_BINARY names the binary.
//
// Two managers' REST doors, either of which answers for all hosts, are another test's.
package shard
