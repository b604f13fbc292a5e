// Package node keeps nodes: the second view of hosts, that of the Ironic-compatible
// REST door. A node is a BareMetalHost, its HostRecord, and what neither has a place
// for (NodeAttributes); what belongs to nodes and is none of Metal3's (ports, port
// groups, allocations …) are NodeResources.
//
// Reads are answered from memory, which watches and our own writes keep: a client
// sees what it wrote. Every write is fenced by the version that it was made from.
package node
