// Package ipmi drives a machine over IPMI 2.0's RMCP+ (lanplus), cipher suites 17
// and 3.
//
// A Machine implements bmc.Conn, bmc.Power, bmc.Boot, bmc.Details, bmc.Log (the
// SEL), bmc.Health (the SDRs and their sensors), bmc.Indicator, bmc.Accounts and
// bmc.Console (SOL). It opens its session when there is something to say and ends
// it after a short silence, so that it takes none of a BMC's few sessions for
// nothing; a console has a session of its own for as long as it is open.
//
// Promises: one command is under way at a time; every answer is checked against
// the session's integrity key before it is looked at; nothing a datagram holds
// can make it panic; a wrong password is sent once; silence ends in an error in
// seconds or when the context does; every failure is a *bmc.Error.
//
// Why not the client of github.com/bougou/go-ipmi (its server is what the tests
// talk to): v0.9.1 does not verify the integrity code of what it receives, takes
// unauthenticated IPMI 1.5 packets for answers inside a session, and panics in a
// goroutine of its own on an encrypted payload that is no multiple of 16 bytes:
// one forged datagram would end the process.
//
// Chapters named in comments are those of the IPMI specification 2.0, revision
// 1.1.
package ipmi
