package redfish

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// waiters is how many are queued at a gate.
func (g *gate) waiters() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}

// eventually waits for a condition, for half a minute at most.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timed out: %s", what)
		}
	}
}

func TestGateOrder(t *testing.T) {
	poll := bmc.WithPriority(context.Background(), bmc.Background)
	urgent := context.Background()
	var g gate
	// Both places are taken, one by a write.
	leaveRead, err := g.enter(urgent, "read", false, 2)
	if err != nil {
		t.Fatal(err)
	}
	leaveWrite, err := g.enter(urgent, "write", true, 2)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var order []string
	var wg sync.WaitGroup
	// They come in this order, each after the one before has queued up.
	for i, w := range []struct {
		name  string
		ctx   context.Context
		write bool
	}{
		{"poll 1", poll, false},
		{"poll 2", poll, false},
		{"write", urgent, true},
		{"read 1", urgent, false},
		{"read 2", urgent, false},
	} {
		wg.Go(func() {
			leave, err := g.enter(w.ctx, w.name, w.write, 2)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			order = append(order, w.name)
			mu.Unlock()
			leave()
		})
		eventually(t, w.name+" queues", func() bool { return g.waiters() == i+1 })
	}
	leaveRead() // the write under way still keeps the other write out
	eventually(t, "reads and polls are through", func() bool { return g.waiters() == 1 })
	leaveWrite()
	wg.Wait()
	want := []string{"read 1", "read 2", "poll 1", "poll 2", "write"}
	if d := cmp.Diff(want, order); d != "" {
		t.Errorf("order (-want +got):\n%s", d)
	}
	if g.inside != 0 || g.polls != 0 || g.writing {
		t.Errorf("not empty at the end: %d inside, %d polls, writing %v", g.inside, g.polls, g.writing)
	}
}

func TestGateKeepsAPlaceFromPolls(t *testing.T) {
	poll := bmc.WithPriority(context.Background(), bmc.Background)
	var g gate
	leave, err := g.enter(poll, "poll", false, 2)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(poll, 20*time.Millisecond)
	defer cancel()
	_, err = g.enter(short, "poll", false, 2)
	wantError(t, err, bmc.Busy, bmc.CodeSlow, "earlier requests")
	urgent, err := g.enter(context.Background(), "read", false, 2)
	if err != nil {
		t.Fatal(err)
	}
	urgent()
	leave()
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	// Let in and gone at once: the place must not be lost.
	if leave, err := g.enter(gone, "read", false, 2); err == nil {
		leave()
	}
	if g.inside != 0 || g.waiters() != 0 {
		t.Errorf("%d inside, %d waiting, want none", g.inside, g.waiters())
	}
}

// A BMC that hangs holds two polls up; a person's call is answered meanwhile.
func TestInteractiveDoesNotWaitForPolls(t *testing.T) {
	f := newFake(t)
	s := mustDial(t, f)
	hang, arrived := make(chan struct{}), make(chan struct{}, 8)
	f.mu.Lock()
	f.fault = hangPolls(hang, arrived)
	f.mu.Unlock()
	polls, stop := context.WithCancel(bmc.WithPriority(context.Background(), bmc.Background))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { _, _ = s.PowerState(polls) })
	}
	<-arrived
	// The fake tells polls by arrival: the first request hangs, the rest do not.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if got, err := s.PowerState(ctx); err != nil || got != bmc.PowerOff {
		t.Errorf("power %q, %v", got, err)
	}
	stop()
	close(hang)
	wg.Wait()
}
