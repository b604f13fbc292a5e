// Package kill holds the kill tests: the shipped binary, fsync on, is killed
// with SIGKILL again and again while machines go through their life cycle, and
// every host still arrives, with nothing done twice.
//
// Proof is read from the lab, which runs in the test's own process and outlives
// every kill: its journal of power actions, boot overrides, erases and image
// writes, and the digests of its disks. A kill counts for the phases that the
// dead server left its hosts in. Kills are aimed at the phases with the fewest,
// some come at random; a table of them is printed.
//
// TestREST does the same to machines that clients of the REST door lead. Its kills are
// aimed between a change and its answer, where a write of several objects is cut; it
// gets three for four that INGOT_KILLS names.
//
// What happens is drawn from a seed, which is printed; INGOT_SEED repeats it, as
// far as a race with a kill can be repeated. INGOT_KILLS says how many kills the
// simulated journey gets: with 120 and more (200 without it) each phase must have
// three, with 80 two, with 40 one. The QEMU journey goes on until each phase had
// one. INGOT_BINARY names the binary (one that is built from this tree), and
// INGOT_BOOT_FILES the directory with the kernel, ramdisk and demo image for the
// QEMU journey, which is left out without them.
package kill
