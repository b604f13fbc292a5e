package redfish

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// hangPolls lets the first request hang, and the others through.
func hangPolls(hang <-chan struct{}, arrived chan<- struct{}) func(http.ResponseWriter, *http.Request) bool {
	var once sync.Once
	return func(_ http.ResponseWriter, r *http.Request) bool {
		first := false
		once.Do(func() { first = true })
		if !first {
			return false
		}
		arrived <- struct{}{}
		select {
		case <-hang:
		case <-r.Context().Done():
		}
		return true
	}
}

// fakeClock is a time that stands still.
type fakeClock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *fakeClock { return &fakeClock{t: time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)} }

func (c *fakeClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *fakeClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// cut breaks the connection instead of an answer.
func cut(w http.ResponseWriter, _ *http.Request) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		conn.Close()
	}
}

func TestBreaker(t *testing.T) {
	f := newFake(t)
	s := mustDial(t, f)
	c := newClock()
	s.e.now = c.now
	ctx := context.Background()
	poll := bmc.WithPriority(ctx, bmc.Background)
	sent := func(ctx context.Context) (int, error) {
		f.forget()
		_, err := s.PowerState(ctx)
		return len(f.requests()), err
	}
	f.mu.Lock()
	f.fault = func(w http.ResponseWriter, r *http.Request) bool { cut(w, r); return true }
	f.mu.Unlock()
	for range breakerTrips {
		if n, err := sent(poll); n == 0 || bmc.ClassOf(err) != bmc.Unreachable {
			t.Fatalf("%d requests, %v", n, err)
		}
	}
	n, err := sent(poll)
	wantError(t, err, bmc.Unreachable, bmc.CodeUnreachable, "not asked: the BMC did not answer 3 times in a row (read power state: the BMC cut the connection")
	if !strings.Contains(err.Error(), "polled again at 2026-05-04T12:00:01Z, in 1s") || n != 0 {
		t.Errorf("%d requests, error %q", n, err)
	}
	// An interactive call is always sent; that it fails changes nothing for polls.
	if n, _ := sent(ctx); n == 0 {
		t.Error("an interactive call was not sent")
	}
	// The wait doubles with each poll that was let through.
	for _, seconds := range []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
		wait := time.Duration(seconds) * time.Second
		c.pass(wait - time.Millisecond)
		if n, _ := sent(poll); n != 0 {
			t.Fatalf("polled before %v were over", wait)
		}
		c.pass(time.Millisecond)
		if n, _ := sent(poll); n == 0 {
			t.Fatalf("not polled after %v", wait)
		}
	}
	// Whoever is answered opens the way for all.
	f.mu.Lock()
	f.fault = nil
	f.mu.Unlock()
	for _, ctx := range []context.Context{ctx, poll} {
		if n, err := sent(ctx); n != 1 || err != nil {
			t.Errorf("after the BMC is back: %d requests, %v", n, err)
		}
	}
}

// A poll that would have to log in first is held back as well; a person's call is
// not.
func TestBreakerHoldsLoginsOfPolls(t *testing.T) {
	f := newFake(t)
	s := mustDial(t, f)
	s.e.now = newClock().now
	s.e.auth.mu.Lock()
	s.e.auth.current = identity{}
	s.e.auth.mu.Unlock()
	for range breakerTrips {
		s.e.breaker.record(s.e.now(), &bmc.Error{Class: bmc.Unreachable})
	}
	f.forget()
	_, err := s.PowerState(bmc.WithPriority(context.Background(), bmc.Background))
	wantError(t, err, bmc.Unreachable, bmc.CodeUnreachable, "not asked")
	if got := f.requests(); len(got) != 0 {
		t.Errorf("sent %q", got)
	}
	if _, err := s.PowerState(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestBreakerLetsOnePollTry(t *testing.T) {
	var b breaker
	c := newClock()
	gone := &bmc.Error{Class: bmc.Unreachable, Op: "read"}
	for range breakerTrips {
		b.record(c.now(), gone)
	}
	c.pass(time.Second)
	if err := b.refuse("poll", c.now(), true); err != nil {
		t.Fatalf("the first poll is refused: %v", err)
	}
	if b.refuse("poll", c.now(), true) == nil {
		t.Error("a second poll passes while the first is away")
	}
	// Given up by its caller, it says nothing; the next is let through in time.
	b.record(c.now(), &bmc.Error{Class: bmc.Transient, Err: context.Canceled})
	c.pass(time.Second)
	if err := b.refuse("poll", c.now(), true); err != nil {
		t.Errorf("no further poll passes: %v", err)
	}
	// A BMC that answers nonsense is there.
	b.record(c.now(), &bmc.Error{Class: bmc.Protocol})
	if err := b.refuse("poll", c.now(), true); err != nil {
		t.Error(err)
	}
}
