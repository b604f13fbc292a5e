package main

import (
	"runtime"
	"testing"
)

func TestMemoryLimit(t *testing.T) {
	tests := map[string]struct {
		live, other uint64
		want        int64
	}{
		"nothing known":    {want: 440 << 20},
		"a small rack":     {live: 150 << 20, other: 60 << 20, want: 440 << 20},
		"a thousand hosts": {live: 240 << 20, other: 128 << 20, want: 488 << 20},
		"ten thousand":     {live: 1 << 30, other: 400 << 20, want: 3<<29 + 400<<20},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := memoryLimit(tt.live, tt.other); got != tt.want {
				t.Errorf("memoryLimit(%d, %d) = %d, want %d", tt.live, tt.other, got, tt.want)
			}
		})
	}
}

func TestMemoryInUse(t *testing.T) {
	runtime.GC()
	live, other := memoryInUse()
	if live == 0 || other == 0 || other > 1<<32 {
		t.Errorf("live %d, other %d", live, other)
	}
}
