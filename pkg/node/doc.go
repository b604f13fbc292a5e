// Package node keeps nodes: the second view of hosts, that of the Ironic-compatible
// REST door. A node is a BareMetalHost, its HostRecord, and what neither has a place
// for (NodeAttributes); what belongs to nodes and is none of Metal3's (ports, port
// groups, allocations …) are NodeResources.
//
// Reads are answered from memory, which watches and our own writes keep: a client
// sees what it wrote. A document reads as its client wrote it for as long as that means
// what the BareMetalHost says; what kubectl changes shows at once. How a host's course
// shows as one of Ironic's provision states, and which verbs are allowed there, is one
// table (table.go).
//
// A write is fenced by what it was made from, field by field: what somebody else has
// changed meanwhile is theirs, and the client is told. A change of several objects is
// recorded in NodeAttributes before it begins and carried on after a restart. Secrets
// are in Secrets of the host alone.
package node
