// Package fleet is a rack of pretended machines whose outside is real: each has
// a BMC that speaks Redfish or IPMI on a port of its own, follows boot overrides,
// fetches its boot script from the real boot door, and runs the agent's own run
// loop against the real agent door. Only what lies below is pretended: power,
// memory, disks. One process holds a thousand of them.
//
// A machine that starts goes where its override sends it:
//
//	network  GET {BootURL}/boot/ipxe?mac=MAC, then what the script says: a
//	         kernel with ingot.* arguments runs the agent, exit goes to the disk
//	disk     an operating system is up if a whole image was written to it
//
// Without an override a machine starts from its disk if that holds an image, and
// from the network otherwise. What happens to disks is written to the same
// journal as power actions: the agent's code cannot reach it, so it is proof.
//
// Machines are made from a seed: the same Config gives the same serials, MACs,
// disks and passwords. [Faults] are data and may be changed while a machine runs.
package fleet
