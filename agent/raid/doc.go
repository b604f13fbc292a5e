// Package raid makes and finds the arrays of Linux software RAID (md), without
// mdadm: it writes version 1 superblocks and lets the kernel assemble them.
//
// It promises to touch no disk that a step does not name, to make no array of a
// disk that is not the one named, and to write nothing when it assembles what it
// finds: such an array stays read-only until somebody writes to it, and arrays
// that ingot did not make are left alone.
//
// A mirror of whole disks keeps its superblock at their end (version 1.0), so that
// each of them looks like the array itself to firmware: it finds the image's
// partition table and boots from any of them. All others have it at the start
// (version 1.2).
package raid
