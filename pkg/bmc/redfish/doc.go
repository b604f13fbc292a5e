// Package redfish drives a machine over Redfish (DMTF DSP0266), as far as its
// BMC does what the standard says and where it does not.
//
// An Endpoint is one BMC: its connections, its session, its limits. A System is
// one machine behind it; several Systems may share an Endpoint. A System
// implements bmc.Conn, bmc.Power, bmc.Boot and bmc.Details.
//
// Promises: at most two requests are under way at a BMC, one of them a write; a
// wrong password is sent once; credentials go to no other host, whatever links
// and redirects say; no answer is waited for without end, none is read without
// bound; every failure is a *bmc.Error; a call whose context ends is back within a
// second. Polls (bmc.WithPriority) go behind all else and are held back from a BMC
// that does not answer. Reads are repeated when the connection
// breaks, writes never: the caller reads back what is true.
package redfish
