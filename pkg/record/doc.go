// Package record keeps a host's life cycle in its objects: it reads a
// pkg/host.Host from a BareMetalHost and its HostRecord, and writes back what
// changed, and only what must outlive this process.
//
// The BareMetalHost is written first, the HostRecord second. Its state is the
// truth: an operation in the record that does not belong to the state is the
// remains of a crash between the two writes and is dropped. What is not written
// at all (power operations, phases that may be entered again) is decided anew
// after a restart.
//
// Status is written as a merge patch of what changed, so that fields of a newer
// Metal3 survive. The HostRecord is written under its resourceVersion: a second
// owner fails there before it acts.
package record
