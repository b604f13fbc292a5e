// Package transport carries the agent's calls: TLS to a server that proves
// itself by the pinned CA, a client certificate for a key that never leaves this
// machine's memory, and every answer bounded in size and time.
//
// The clock of a machine that has just booted is not believed: certificates are
// judged at a time inside their own validity, and trust rests on the pin alone.
package transport
