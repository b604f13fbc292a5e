// Package shard shares the hosts over the replicas of one service, so that at any
// moment at most one of them acts on a host.
//
// Hosts fall into a fixed number of shards by their name. Each replica announces
// itself by a Lease of its own, which it renews; each shard is a Lease that names
// its holder and counts its holders in leaseTransitions: the shard's epoch. A
// shard is held for as long as its holder's own Lease stands, so that a replica
// costs one write per retry period, however many shards and hosts it has.
//
// What is promised, and by what:
//
//   - Nobody acts after its renew deadline: [Member.Claim] compares the clock.
//   - Nobody takes a shard from a replica that may still act: a replica's Lease is
//     deleted, under the version that was seen unchanged for a whole lease
//     duration by the observer's own clock, before anything of it is taken. From
//     then on the replica cannot renew; one that missed its deadline never acts
//     again under that identity, and begins anew.
//   - Each taking of a shard has a higher epoch than every one before it.
//   - Clocks of two machines are never compared; only their rates are trusted.
//
// A replica that ends gives its shards back at once. Replicas that come get their
// share from those that have more than theirs.
//
// A [Member] is told what to do by one goroutine, [Member.Run]; everything else
// may be called at any time. Before Run, [Member.Join] makes the first round.
package shard
