// Package agent is the contract between the ingot server and its in-RAM agent:
// the messages of /agent/v1 and the hardware model they carry.
//
// It is plain Go with no dependency, so that the agent links nothing else. The
// agent dials out; the server never calls it. Every message names the protocol
// version; a server that meets another version answers with a reboot step, so
// that the machine fetches the agent that belongs to this server.
//
// The conversation:
//
//	hello    → welcome      once per boot; the CSR becomes a certificate for (host, boot)
//	next     → step         long poll; the agent reports what it runs or has finished
//	progress → (empty)      at most one a second, kept in memory only
//	result   → (empty)      once per step; re-sent until it is acknowledged
package agent
