package main

import "testing"

func TestMemoryLimit(t *testing.T) {
	tests := map[string]struct {
		live uint64
		want int64
	}{
		"nothing known":    {want: 440 << 20},
		"a small rack":     {live: 150 << 20, want: 440 << 20},
		"a thousand hosts": {live: 240 << 20, want: 488 << 20},
		"ten thousand":     {live: 1 << 30, want: 3<<29 + 128<<20},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := memoryLimit(tt.live); got != tt.want {
				t.Errorf("memoryLimit(%d) = %d, want %d", tt.live, got, tt.want)
			}
		})
	}
}
