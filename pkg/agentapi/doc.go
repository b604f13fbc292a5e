// Package agentapi is the server's half of the agent protocol (api/agent): it
// lets in the one agent that a boot was ordered for, hands it steps, and takes
// its progress and results.
//
// It decides nothing about hosts. Whether a boot is believed is asked of Boots;
// which step comes next is told by Run. What it keeps is in memory: after a
// restart, an agent's next call says what it runs or has finished, and Run with
// the recorded step id picks that up.
package agentapi
