// Package blob keeps bytes under the SHA-256 of their content in a directory:
// a blob that can be opened is whole and was on stable storage before Put
// returned, whatever crashed in between.
//
// A blob is written to DIR/tmp, synced, renamed into place, and its directory
// is synced. What a crash leaves in DIR/tmp is removed by the next Open, so one
// directory belongs to one process at a time; the caller holds that lock.
//
// Everything counts against one quota, unfinished writes included. Nothing is
// removed on its own: the owner of the references calls Sweep now and then.
//
// Secret blobs lie sealed with XChaCha20-Poly1305 under names that say nothing
// about their content; only PutSecret, OpenSecret and their kin see them.
package blob
