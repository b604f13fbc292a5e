//go:build e2e

package kill

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// startUp is the row of kills that hit a server before it was ready.
const startUp = "start-up of the server"

// driver kills the server at instants drawn from r, so that every phase gets its
// share, and starts it again at once.
type driver struct {
	s      *server
	v      *view
	r      *rand.Rand
	kills  int           // how many
	share  int           // kills that each target is to get
	wanted []string      // phases that are counted
	bound  time.Duration // on the wait for a phase that is aimed at
	jitter time.Duration // from the moment that a phase was seen to the kill
	spread time.Duration // kills at random come within this of the start
	strays bool          // kills at random, and in start-ups, beside those aimed at
	logf   func(string, ...any)

	// ahead are the phases that the hosts are on their way through; none: they
	// rest, and no phase is waited for.
	ahead atomic.Pointer[[]string]
	done  chan struct{} // closed after the last kill, when the server is up again
	owed  atomic.Bool   // somebody waits for a kill at rest

	mu     sync.Mutex
	killed int            // so far
	table  map[string]int // kills with a host in that phase
	ready  []time.Duration
}

// run kills until all kills are spent. The server must be up before, and is up
// after.
func (d *driver) run(ctx context.Context) error {
	defer close(d.done)
	for d.count() < d.kills {
		if err := d.s.waitReady(ctx); err != nil {
			return err
		}
		d.mu.Lock()
		d.ready = append(d.ready, d.s.now.readyIn)
		d.mu.Unlock()
		d.aim(ctx)
		if err := d.s.ended(); err != nil {
			return err
		}
		in := d.v.phases()
		d.s.kill()
		d.note(slices.Sorted(maps.Keys(in))...)
		// One time in eight, the next starts die early too.
		again := 0
		if d.strays && d.r.IntN(8) == 0 {
			again = 1 + d.r.IntN(3)
		}
		if err := d.startKilled(ctx, again); err != nil {
			return err
		}
	}
	return d.s.waitReady(ctx)
}

// startKilled starts the server, kills it n times within a second of its start,
// and leaves it starting.
func (d *driver) startKilled(ctx context.Context, n int) error {
	for range n {
		if d.count() >= d.kills {
			break
		}
		if err := d.s.start(); err != nil {
			return err
		}
		pause(ctx, time.Duration(d.r.Int64N(int64(time.Second))))
		if err := d.s.ended(); err != nil {
			return err
		}
		d.s.kill()
		d.note(startUp)
	}
	return d.s.start()
}

// aim waits until it is time to kill: a host is in a phase ahead that has not had
// its share, or a kill at rest is due, or any time at all.
func (d *driver) aim(ctx context.Context) {
	if d.strays && (len(d.short()) == 0 || d.r.IntN(4) == 0) {
		pause(ctx, time.Duration(d.r.Int64N(int64(d.spread))))
		return
	}
	targets := d.short()
	if d.strays { // one, so that the rare ones are waited for
		targets = targets[d.r.IntN(len(targets)):][:1]
	}
	bound, cancel := context.WithTimeout(ctx, d.bound)
	defer cancel()
	err := d.v.await(bound, func(all map[string]seen) bool {
		if !d.strays {
			targets = d.short()
		}
		return d.owed.Load() || d.strays && d.ahead.Load() == nil ||
			slices.ContainsFunc(slices.Collect(maps.Values(all)), func(s seen) bool {
				return s.bmh != nil && slices.Contains(targets, phaseOf(s))
			})
	})
	if err == nil {
		pause(ctx, time.Duration(d.r.Int64N(int64(d.jitter))))
	}
	d.owed.Store(false)
}

// short lists the phases ahead that are without their share.
func (d *driver) short() []string {
	ahead := d.ahead.Load()
	if ahead == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var short []string
	for _, p := range *ahead {
		if d.table[p] < d.share {
			short = append(short, p)
		}
	}
	return short
}

func (d *driver) note(phases ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.killed++
	for _, p := range phases {
		d.table[p]++
	}
	if d.killed%20 == 0 {
		d.logf("%d kills", d.killed)
	}
}

func (d *driver) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.killed
}

// another waits until the server was killed at rest and is up again.
func (d *driver) another(ctx context.Context) error {
	before := d.count()
	d.owed.Store(true)
	d.v.change(func() {}) // whoever waits for a phase looks again
	for d.count() == before {
		select {
		case <-d.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// report is the table of kills per phase.
func (d *driver) report() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%d kills; those with a host in the phase:\n", d.killed)
	for _, p := range slices.Concat([]string{startUp}, d.wanted) {
		fmt.Fprintf(&b, "  %-32s %4d\n", p, d.table[p])
	}
	if n := len(d.ready); n > 0 {
		slices.Sort(d.ready)
		fmt.Fprintf(&b, "ready after a kill in %s (median), %s (longest)\n",
			d.ready[n/2].Round(time.Millisecond), d.ready[n-1].Round(time.Millisecond))
	}
	return b.String()
}

// missed lists the phases with fewer than n kills.
func (d *driver) missed(n int) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.DeleteFunc(slices.Concat([]string{startUp}, d.wanted), func(p string) bool { return d.table[p] >= n })
}
