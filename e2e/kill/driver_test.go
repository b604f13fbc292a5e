//go:build e2e

package kill

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ingot-metal/ingot/e2e/rig"
)

// startUp is the row of kills that hit a server before it was ready.
const startUp = "start-up of the server"

// driver kills the server at instants drawn from r, and starts it again at once.
// It aims at the phases with the fewest kills, so that the short and the rare
// ones get theirs; what counts is the phase that the dead server left a host in.
type driver struct {
	s      *rig.Server
	v      *view
	r      *rand.Rand
	least  int                      // kills that each phase is to have
	kills  int                      // how many
	share  int                      // kills that each phase is to get; 0: as many as the others
	wanted []string                 // phases that are counted
	delay  map[string]time.Duration // from the moment that a phase was seen to the kill, at most; short if missing
	strays time.Duration            // kills at random, within this of the start, and in start-ups; 0: none
	logf   func(string, ...any)

	// ahead are the phases that the hosts are on their way through; none: they
	// rest, and are killed when it is owed.
	ahead atomic.Pointer[[]string]
	done  chan struct{} // closed after the last kill, when the server is up again
	owed  atomic.Int64  // number of the kill at rest that somebody waits for
	over  atomic.Bool   // the journey has ended

	mu     sync.Mutex
	killed int            // so far
	up     bool           // the server is ready
	table  map[string]int // kills with a host in that phase
	ready  []time.Duration
}

// shortDelay is the delay in phases that last some ten milliseconds.
const shortDelay = 12 * time.Millisecond

// run kills until all kills are spent or the journey has ended. The server must
// be up before, and is up after.
func (d *driver) run(ctx context.Context) error {
	defer close(d.done)
	for d.count() < d.kills || d.owes() {
		if err := d.s.WaitReady(ctx); err != nil {
			return err
		}
		d.isUp(true)
		if !d.aim(ctx) {
			break
		}
		if err := d.s.Ended(); err != nil {
			return err
		}
		d.isUp(false)
		d.s.Kill()
		d.v.settle(ctx)
		d.note(slices.Sorted(maps.Keys(d.v.phases()))...)
		// One time in eight, the next starts die early too.
		again := 0
		if d.strays > 0 && d.r.IntN(8) == 0 {
			again = 1 + d.r.IntN(3)
		}
		if err := d.startKilled(ctx, again); err != nil {
			return err
		}
	}
	return d.s.WaitReady(ctx)
}

// owes reports whether a phase still lacks kills, though all were spent: chance has
// it so now and then. Half as many on top are what it gets.
func (d *driver) owes() bool {
	return d.count() < d.kills+d.kills/2 && len(d.missed(d.least)) > 0
}

// end says that the journey has ended.
func (d *driver) end() {
	d.over.Store(true)
	d.v.change(func() {})
}

// startKilled starts the server, kills it n times within a second of its start,
// and leaves it starting.
func (d *driver) startKilled(ctx context.Context, n int) error {
	for range n {
		if d.count() >= d.kills {
			break
		}
		if err := d.s.Start(); err != nil {
			return err
		}
		pause(ctx, time.Duration(d.r.Int64N(int64(time.Second))))
		if err := d.s.Ended(); err != nil {
			return err
		}
		d.s.Kill()
		d.note(startUp)
	}
	return d.s.Start()
}

// aim waits until it is time to kill: a host is in a phase ahead that wants
// kills, or a kill at rest is owed, or now and then any time at all. The wait is
// bounded by the journey's: hosts arrive, and then the kill at rest is due. False:
// the journey has ended.
func (d *driver) aim(ctx context.Context) bool {
	// What the server before had shown may be true no more.
	if err := d.v.await(ctx, "the server's watches", func(map[string]seen) bool { return d.v.live() || d.over.Load() }); err != nil {
		return false
	}
	if d.strays > 0 && d.ahead.Load() != nil && d.r.IntN(5) == 0 {
		pause(ctx, time.Duration(d.r.Int64N(int64(d.strays))))
		return true
	}
	var in []string // phases aimed at that a host is in
	err := d.v.await(ctx, "a phase to kill in", func(all map[string]seen) bool {
		targets := d.targets()
		in = in[:0]
		for _, s := range all {
			if s.bmh != nil && slices.Contains(targets, phaseOf(s)) {
				in = append(in, phaseOf(s))
			}
		}
		return d.owed.Load() > int64(d.count()) || d.over.Load() || len(in) > 0
	})
	if err != nil || d.over.Load() {
		return false
	}
	if len(in) > 0 {
		slices.Sort(in) // the order of a map is no chance that a seed repeats
		most := max(shortDelay, d.delay[in[d.r.IntN(len(in))]])
		pause(ctx, time.Duration(d.r.Int64N(int64(most))))
	}
	return true
}

// targets lists the phases ahead that want kills.
func (d *driver) targets() []string {
	ahead := d.ahead.Load()
	if ahead == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	limit := d.share
	if limit == 0 { // nearly as few as any has, so that no phase is waited for in vain
		limit = d.table[d.wanted[0]]
		for _, p := range d.wanted {
			limit = min(limit, d.table[p])
		}
		limit += 2
	}
	return slices.DeleteFunc(slices.Clone(*ahead), func(p string) bool { return d.table[p] >= limit })
}

func (d *driver) note(phases ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.killed++
	for _, p := range phases {
		d.table[p]++
	}
	d.logf("kill %d: %s", d.killed, cmp.Or(strings.Join(phases, ", "), "no hosts"))
}

func (d *driver) isUp(up bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.up = up
	if up {
		d.ready = append(d.ready, d.s.ReadyIn())
	}
}

func (d *driver) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.killed
}

// another waits until the server was killed at rest, is up again, and has had the
// time to do what it should not.
func (d *driver) another(ctx context.Context) error {
	before := d.count()
	d.owed.Store(int64(before) + 1)
	d.v.change(func() {}) // whoever waits for a phase looks again
	again := func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.killed > before && d.up
	}
	for !again() {
		select {
		case <-d.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	pause(ctx, 400*time.Millisecond)
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
