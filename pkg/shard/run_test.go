package shard

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"
)

// Run keeps what is ours over many deadlines, tells of what comes, and gives all
// back at its end.
func TestRun(t *testing.T) {
	w := newWorld(t)
	quick := func(c *Config) {
		c.Now = time.Now
		c.Duration, c.Deadline, c.Retry = time.Minute, 50*time.Second, 5*time.Millisecond
	}
	a := w.replica("a", quick)
	if err := a.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := w.replica("b", quick)
	if err := b.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var gained []int
	all := make(chan struct{})
	b.Notify(func(s []int) {
		mu.Lock()
		defer mu.Unlock()
		gained = append(gained, s...)
		slices.Sort(gained)
		if slices.Equal(slices.Compact(gained), []int{0, 1, 2, 3, 4, 5}) {
			close(all)
		}
	}, func([]int) {})
	lost := make(chan []int, 8)
	a.Notify(func([]int) {}, func(s []int) { lost <- s })

	run := func(r *replica) (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); r.Run(ctx) }()
		return func() { cancel(); <-done }
	}
	stopA, stopB := run(a), run(b)
	select {
	case got := <-lost:
		if len(got) != 3 {
			t.Errorf("a hands over %v", got)
		}
	case <-time.After(time.Minute):
		t.Fatal("a hands nothing over")
	}
	stopA()
	if a.share() != 0 {
		t.Error("a claims hosts after its end")
	}
	select {
	case <-all:
	case <-time.After(time.Minute):
		t.Fatal("b does not get all")
	}
	stopB()
	if _, members, err := b.list(t.Context()); err != nil || len(members) != 0 {
		t.Errorf("members are left: %v, %v", members, err)
	}
}
