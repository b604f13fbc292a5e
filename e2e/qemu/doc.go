// Package qemu holds journeys of real machines under QEMU (TCG): real firmware,
// real kernels, the shipped binary as a child process, and proof from outside of
// both: the disk's bytes, the write log below the guest, the serial console.
//
// They run with the build tag e2e (make e2e), which builds the boot files first.
package qemu
