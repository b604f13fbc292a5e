// Package vm is a machine made of QEMU: real firmware, real disks and NICs on
// an emulated wire, behind the power button and boot settings that a BMC would
// have (simbmc.Body).
//
// A power-on is a new QEMU process whose boot order follows from the override;
// so is a reset by the guest, as the firmware's settings are fixed when QEMU
// starts. Disks and UEFI variables are files that stay; power does not: a lab
// that starts finds its machines off. A QEMU never outlives its lab.
//
// What happened to a machine can be proved from outside of it: every write to a
// disk is recorded below the guest ([Machine.WriteLog]), a disk's bytes can be
// digested ([Machine.DiskSHA256]), and the serial console is kept in one file
// across restarts ([Machine.FollowSerial]).
//
// QEMU runs under TCG unless the configuration says otherwise; /dev/kvm is
// never probed, as it may exist and hang.
package vm
