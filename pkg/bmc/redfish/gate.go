package redfish

import (
	"context"
	"errors"
	"sync"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// gate hands out the right to have a request under way. Who waits is let in by
// priority, then in order of arrival. One write is under way at a time, and polls
// leave a place free for whoever comes after them: a BMC that hangs must not keep
// a person waiting behind two polls.
type gate struct {
	mu      sync.Mutex
	inside  int
	polls   int // of those inside
	writing bool
	waiting []*ticket
}

// ticket is one request that is inside or wants to be.
type ticket struct {
	poll, write bool
	most        int           // requests that this BMC bears at once
	open        chan struct{} // closed once it may go
}

// enter waits for a place. The caller gives it back with leave.
func (g *gate) enter(ctx context.Context, op string, write bool, most int) (leave func(), err error) {
	t := &ticket{poll: bmc.PriorityOf(ctx) == bmc.Background, write: write, most: most, open: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, t)
	g.letIn()
	g.mu.Unlock()
	leave = func() { g.leave(t) }
	select {
	case <-t.open:
		return leave, nil
	case <-ctx.Done():
	}
	if !g.giveUp(t) {
		leave() // let in at the same moment
	}
	return nil, gaveUp(ctx, op)
}

// letIn opens the gate for all who may pass. g.mu is held.
func (g *gate) letIn() {
	for _, poll := range []bool{false, true} {
		still := g.waiting[:0:0]
		for _, t := range g.waiting {
			if t.poll != poll || !g.fits(t) {
				still = append(still, t)
				continue
			}
			g.count(t, 1)
			close(t.open)
		}
		g.waiting = still
	}
}

func (g *gate) fits(t *ticket) bool {
	return g.inside < t.most && (!t.write || !g.writing) && (!t.poll || g.polls < max(t.most-1, 1))
}

func (g *gate) count(t *ticket, n int) {
	g.inside += n
	if t.poll {
		g.polls += n
	}
	if t.write {
		g.writing = n > 0
	}
}

func (g *gate) leave(t *ticket) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count(t, -1)
	g.letIn()
}

// giveUp takes t out of the queue; false if it is inside already.
func (g *gate) giveUp(t *ticket) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, w := range g.waiting {
		if w == t {
			g.waiting = append(g.waiting[:i:i], g.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// gaveUp is the error of a call whose time was up before it was sent.
func gaveUp(ctx context.Context, op string) error {
	if errors.Is(ctx.Err(), context.Canceled) { // says nothing of the BMC
		return &bmc.Error{Class: bmc.Transient, Op: op, Err: ctx.Err()}
	}
	return &bmc.Error{
		Class: bmc.Busy, Code: bmc.CodeSlow, Op: op,
		Detail: "the BMC was busy with earlier requests", Err: ctx.Err(),
	}
}
