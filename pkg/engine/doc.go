// Package engine carries out what the life cycle (pkg/host) asks for: it speaks
// to BMCs, prepares images, orders boots and hands steps to agents, one action
// at a time for a host, and posts what came of each.
//
// It decides nothing. An action's outcome is an event for pkg/host; whatever
// else was learnt on the way (a BMC's identity, an inventory, a manifest) goes
// along as a record.Extra. Every action may be begun twice, after a crash: each
// reads what is true before it changes anything.
package engine
