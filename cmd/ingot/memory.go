package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The garbage collector's soft limit is never lower than this. An embedded API with
// a thousand hosts holds 200 to 300 MiB; left to itself, the collector lets that
// double. Mapped files, some 150 MB of the program itself, come on top.
const (
	memoryFloor = 440 << 20
	memoryEvery = 15 * time.Second
)

// limitMemory keeps the soft limit (GOMEMLIMIT) at the floor, or above what is
// in use where that is more: a limit below it would have the collector run all
// the time. Whoever sets GOMEMLIMIT decides alone.
func limitMemory(ctx context.Context, env func(string) string) {
	if env("GOMEMLIMIT") != "" {
		return
	}
	go func() {
		t := time.NewTicker(memoryEvery)
		defer t.Stop()
		for {
			debug.SetMemoryLimit(memoryLimit(memoryInUse()))
			select {
			case <-t.C:
			case <-ctx.Done():
				return
			}
		}
	}()
}

// memoryLimit leaves room for half as much again as lives, beside what else the
// limit counts.
func memoryLimit(live, other uint64) int64 {
	return max(memoryFloor, int64(live+live/2+other))
}

// memoryInUse is what the last collection left, and what the runtime holds beside
// objects and what is free for them: stacks, gaps in spans, its own tables. With
// thousands of hosts that is hundreds of megabytes.
func memoryInUse() (live, other uint64) {
	s := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(s)
	v := make([]uint64, len(s))
	for i := range s {
		if s[i].Value.Kind() == metrics.KindUint64 {
			v[i] = s[i].Value.Uint64()
		}
	}
	free := v[2] + v[3] + v[4]
	return v[0], v[1] - min(v[1], free)
}
