// Package tftp hands out a fixed table of small files, to read only: boot loaders, for firmware that speaks nothing better.
//
// A [Server] is handed its socket and serves names of [Config.Files], never a path of the client's. It speaks RFC 1350 (octet mode, reading) with the
// options of RFC 2347: blksize (RFC 2348), tsize and timeout (RFC 2349). All transfers of a socket run on that one socket, so that one open port and any
// net.PacketConn is enough, unless [Config.Listen] opens one for each (RFC 1350 §4: a transfer identifier of its own).
//
// Why not a library: pin/tftp v3.2.0 in its single-port mode, the only one that works on a handed socket, sends on a channel that the transfer's goroutine
// may just have closed (server.go: handlers; single_port.go: chanConnection.close). That is a panic of the whole process for one late packet. It also starts
// a goroutine and 128 KiB of buffers for every request before any limit can be put, and spins when its socket is closed. Tests use its client.
package tftp
