// Package frame reads and writes Ethernet frames on a byte stream the way
// QEMU's "-netdev stream" does: a 4-byte big-endian length, then the frame
// without its check sequence. It believes no length that a peer sends.
package frame
