package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The garbage collector's soft limit. An embedded API with a thousand hosts holds
// 200 to 300 MiB; left to itself, the collector lets that double. Mapped files,
// some 150 MB of the program itself, come on top.
const (
	memoryFloor = 440 << 20
	memoryOther = 128 << 20
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
			debug.SetMemoryLimit(memoryLimit(liveHeap()))
			select {
			case <-t.C:
			case <-ctx.Done():
				return
			}
		}
	}()
}

// memoryLimit leaves room for half as much again as is in use, and for what else
// the limit counts: stacks, free pages, the runtime's own.
func memoryLimit(live uint64) int64 {
	return max(memoryFloor, int64(live+live/2)+memoryOther)
}

// liveHeap is what the last collection left.
func liveHeap() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return s[0].Value.Uint64()
}
