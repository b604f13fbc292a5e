package shard

import (
	"hash/fnv"
	"slices"
)

// Of is the shard of a host, given as namespace/name: that is what the doors and a
// host's companion objects know it by too, and it stays the same when the host is
// deleted and made again, or moved to another cluster, which gives it another UID.
func Of(key string, shards int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // never fails
	return int(h.Sum32() % uint32(shards))
}

// quota is how many shards a member is to hold: as many as each other, or one
// more for those that come first by name.
func quota(shards int, me string, members []string) int {
	all := slices.Sorted(slices.Values(members))
	at := slices.Index(all, me)
	if at < 0 {
		return 0
	}
	q := shards / len(all)
	if at < shards%len(all) {
		q++
	}
	return q
}

// plan says which shards a member takes and which it gives up. holders has, for
// each shard, the live member that holds it; empty: nobody.
func plan(me string, members, holders []string) (take, give []int) {
	want := quota(len(holders), me, members)
	var mine, free []int
	for i, h := range holders {
		switch h {
		case me:
			mine = append(mine, i)
		case "":
			free = append(free, i)
		}
	}
	if n := len(mine) - want; n > 0 {
		return nil, mine[len(mine)-n:]
	}
	return free[:min(len(free), want-len(mine))], nil
}
