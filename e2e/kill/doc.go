// Package kill holds the kill tests: the shipped binary, fsync on, is killed
// with SIGKILL again and again while machines go through their life cycle, and
// every host still arrives, with nothing done twice.
//
// Proof is read from the lab, which runs in the test's own process and outlives
// every kill: its journal of power actions, boot overrides, erases and image
// writes, and the digests of its disks. What happens is drawn from a seed, which
// is printed; INGOT_SEED repeats it, as far as a race with a kill can be
// repeated. INGOT_KILLS says how many kills (200), INGOT_BINARY which binary (one
// that is built from this tree), and INGOT_BOOT_FILES where the kernel, ramdisk
// and demo image for the QEMU journey lie, which is left out without them.
package kill
