// Package usernet is a network interface in user space: a TCP/IP stack
// (gVisor's) of our own, attached as one more port to a switch on a Unix socket
// that speaks QEMU's "-netdev stream" framing. It hands out ordinary net.Listener,
// net.PacketConn and net.Conn values, so that boot servers answer machines on
// that wire without root and without knowing of it.
//
// A [Stack] lives as long as its connection. When the switch goes away, [Stack.Done]
// is closed and every socket of the stack fails; the owner attaches again.
//
// The stack answers IPv6 router solicitations with an advertisement that offers
// nothing: iPXE waits 16 seconds for one.
package usernet
