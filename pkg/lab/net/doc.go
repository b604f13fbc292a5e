// Package labnet is the wire of an emulated lab: a learning Ethernet switch
// that needs no root, and a kernel bridge that does.
//
// A [Switch] listens on a Unix socket. Each connection is a port that speaks
// QEMU's "-netdev stream" framing (package frame): NICs of QEMU machines and
// the user-space stacks of pkg/usernet alike. A port that does not read loses
// frames, as on a real switch; one that breaks the framing is unplugged. No
// port can stop or grow the others.
//
// A [Bridge] is the same in a network namespace with TAP devices, for tests
// where the kernel's own sockets are the point.
package labnet
