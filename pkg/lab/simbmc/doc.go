// Package simbmc gives any machine a BMC: what is on the wire is real Redfish
// (DSP0266, DSP0268) and real IPMI 2.0 over RMCP+, good enough for the stock
// clients ipmitool and sushy, and every change a client causes is written to a
// journal that no code under test can reach.
//
// A machine is a [Body]: a QEMU process or a pretended one. Two faces may show
// one body at the same time:
//
//	BMC.Redfish()    an http.Handler: sessions, Systems with processors, NICs and
//	                 disks, Managers, Chassis, AccountService, power, boot
//	                 override, virtual media
//	BMC.ServeIPMI()  serves a net.PacketConn: cipher suites 3 and 17,
//	                 chassis control and status, boot options, device id,
//	                 event log, sensors, inventory, and serial over LAN for
//	                 a body that is a [SerialBody]
//
// Ironic's inspection through the BMC finds what the body tells of its processors,
// memory, disks and NICs. It counts memory in whole GiB, and fails for a machine
// with less than one. There is no Bios, SecureBoot, UpdateService, TaskService or
// RAID volume, since no body has anything behind them.
//
// [Faults] are data that a test changes while the face runs: a wrong password, a
// 503, a power action that is accepted and ignored. The caller owns sockets and
// closes them; a face keeps no goroutine that polls, so that a thousand of them
// fit into one process.
package simbmc
