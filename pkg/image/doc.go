// Package image turns what a user names (a URL and a checksum) into what the
// agent writes: a manifest of zstd chunks in the blob store. Nothing is kept
// unless all of the source was fetched and matched its checksum, so a wrong or
// truncated image never reaches a machine.
//
// Prepare fetches into a spool, verifies, decompresses (gzip, xz, zstd), reads
// raw or qcow2, cuts the raw image into 8 MiB chunks and drops those that are
// all zero. The result is remembered by checksum and format: the next host with
// the same image costs a few look-ups, and hosts that ask at the same time
// share one conversion.
//
// Sources are hostile until verified: size, time and redirects are bounded, an
// address is judged when it is dialled (so that a name cannot change under the
// check), and an image cannot make the server open a file of its own.
package image
