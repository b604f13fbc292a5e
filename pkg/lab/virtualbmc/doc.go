// Package virtualbmc answers IPMI exactly as VirtualBMC does, the emulator that
// others put in front of their libvirt machines, so that ingot can be tested
// against it where it is not to be had. A machine is a [simbmc.Body].
//
// VirtualBMC is eight methods on top of pyghmi's server, and most of what a
// client meets is pyghmi: one cipher suite whatever was asked for, silence for an
// unknown user or a wrong password, sessions that no close ends, seven commands.
// Each answer here names where it was read:
//
//	vbmc     openstack/virtualbmc, commit 04d9588f6808570c026eb7ee5ee12f7ef393ed34,
//	         virtualbmc/vbmc.py
//	pyghmi   pyghmi 1.5.34 (Debian's python3-pyghmi 1.5.34-2): bmc.py,
//	         private/serversession.py, private/session.py below pyghmi/ipmi;
//	         upstream openstack/pyghmi
//	virsh    virsh(1), "define": "If the domain is already running, the changes
//	         will take effect on the next boot"
//
// The tests run the same exchanges against this server and against the real
// pyghmi, where python3-pyghmi is installed.
package virtualbmc
