// Package host is the life cycle of one bare-metal host, and nothing else: a
// pure function from what is recorded and what has just been seen to what is
// recorded next and what should be done.
//
//	host', actions := machine.Step(host, event)
//
// There is no clock, socket, client or logger inside. Time arrives with each
// event. The caller keeps four promises:
//
//   - It persists host' (pkg/record says which part of it) before it carries out
//     any action.
//   - It carries out the actions in order, one at a time for a host, and feeds
//     the outcome of each back as an Outcome with the action's Seq. An outcome of
//     an older Seq is ignored, so a late answer does no harm.
//   - It steps a Tick no later than host'.Wake.
//   - After a restart it loads what it persisted, calls Resume, and goes on: a
//     phase whose outcome was lost is entered again. Every action may be carried
//     out twice, save RunStep, whose step id the agent runs only once.
//
// States, edges and error types are Metal3's (BareMetalHost v1alpha1). Where a
// host stands still, Waits says on what and Problem says why.
package host
