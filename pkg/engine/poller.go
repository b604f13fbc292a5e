package engine

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/pkg/host"
)

const (
	// pollTimeout bounds one poll.
	pollTimeout = time.Minute
	// maxPolls are under way at the same time. 10,000 BMCs that answer in a second
	// need 170; the rest is for a rack that has just fallen silent.
	maxPolls = 512
	// maxDoubtful of hosts whose last poll failed: a dark row of racks must not
	// keep the others waiting.
	maxDoubtful = 128
	// pollsUntilSilent is how many polls may fail in a row before the host is
	// told.
	pollsUntilSilent = 3
	// secondLook comes after a poll that was asked for: what asks may be quicker
	// than the BMC's own picture of its machine.
	secondLook = 5 * time.Second
)

// Poller reads the power of hosts that nothing is done to, so that what happens
// behind our back is seen. What it finds stays in memory unless it is news. Each
// host has a clock of its own; there is no round in which all are asked.
type Poller struct {
	// Healths, if not nil, is told of a health that is not the one last known and
	// that two polls in a row have found: sensors flicker, and each change is
	// written down. It is set before the first Watch, and may not block.
	Healths func(types.NamespacedName, host.Health)

	ctx    context.Context
	engine *Engine
	every  time.Duration
	found  func(types.NamespacedName, host.Power)
	silent func(types.NamespacedName)

	slots, doubtful chan struct{}

	mu    sync.Mutex
	hosts map[types.NamespacedName]*watched
}

// watched is a host at rest.
type watched struct {
	in      Input
	timer   *time.Timer
	polling bool
	again   bool        // asked for while polling
	health  host.Health // that the last poll found, if it is news
	fails   int         // polls that failed in a row
}

// NewPoller makes a Poller that works until ctx is done. Two polls of a host are
// every apart, with ±20 % jitter; if every is not above zero, only those that are
// asked for are made. found is told of a power that is not the one last known,
// silent of a BMC that did not answer for a while: the host has to be verified,
// and is no longer at rest. Neither may block.
func NewPoller(ctx context.Context, e *Engine, every time.Duration, found func(types.NamespacedName, host.Power), silent func(types.NamespacedName)) *Poller {
	return &Poller{
		ctx: ctx, engine: e, every: every, found: found, silent: silent,
		slots: make(chan struct{}, maxPolls), doubtful: make(chan struct{}, maxDoubtful),
		hosts: map[types.NamespacedName]*watched{},
	}
}

// Watch polls a host from now on, or goes on with what is known of it now.
func (p *Poller) Watch(in Input) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.hosts[in.Key]; w != nil {
		w.in = in
		return
	}
	w := &watched{in: in}
	p.hosts[in.Key] = w
	// After a start all hosts come at once: their polls are spread over the
	// interval. A host that was just worked on is left in peace for a while.
	p.schedule(w, jitter(p.every, 0.2, 1.2))
}

// Forget ends the polls of a host, for as long as something is done to it. What a
// poll that is under way finds is no longer told.
func (p *Poller) Forget(k types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.hosts[k]; w != nil {
		delete(p.hosts, k)
		if w.timer != nil {
			w.timer.Stop()
		}
	}
}

// Wake polls a host now. It reports whether the host is watched.
func (p *Poller) Wake(k types.NamespacedName) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.hosts[k]
	if w == nil {
		return false
	}
	w.again = true
	if !w.polling {
		p.schedule(w, time.Millisecond)
	}
	return true
}

// schedule sets a host's clock. p.mu is held.
func (p *Poller) schedule(w *watched, d time.Duration) {
	if d <= 0 || p.ctx.Err() != nil {
		return
	}
	if w.timer == nil {
		w.timer = time.AfterFunc(d, func() { p.poll(w) })
		return
	}
	w.timer.Reset(d)
}

// poll reads a host's power once, in the goroutine of its clock.
func (p *Poller) poll(w *watched) {
	in, asked, lane := p.begin(w)
	if lane == nil {
		return
	}
	select {
	case lane <- struct{}{}:
	case <-p.ctx.Done():
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, pollTimeout)
	power, health, err := p.engine.Glance(ctx, in)
	cancel()
	<-lane
	p.end(w, asked, power, health, err)
}

// begin says what to poll and among whom. A host that is busy is passed over: who
// works on it reads what is true.
func (p *Poller) begin(w *watched) (in Input, asked bool, lane chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hosts[w.in.Key] != w || w.polling || p.ctx.Err() != nil {
		return Input{}, false, nil
	}
	if p.engine.Busy(w.in.Key) {
		w.again = false
		p.schedule(w, jitter(p.every, 0.8, 1.2))
		return Input{}, false, nil
	}
	asked, w.again, w.polling = w.again, false, true
	if w.fails > 0 {
		return w.in, asked, p.doubtful
	}
	return w.in, asked, p.slots
}

// end takes in what a poll found, and tells of what is news.
func (p *Poller) end(w *watched, asked bool, power host.Power, health host.Health, err error) {
	p.mu.Lock()
	w.polling = false
	k := w.in.Key
	if p.hosts[k] != w || p.ctx.Err() != nil {
		p.mu.Unlock()
		return
	}
	if err == nil {
		w.fails = 0
	} else {
		w.fails++
	}
	silent := w.fails == pollsUntilSilent
	news := err == nil && power != host.PowerUnknown && power != w.in.Host.Power
	if news {
		w.in.Host.Power = power // told once
	}
	newHealth := w.healthNews(health, err)
	next := jitter(p.every, 0.8, 1.2)
	switch {
	case w.again:
		next = time.Millisecond
	case asked && !news && (p.every <= 0 || p.every > secondLook):
		next = secondLook
	}
	p.schedule(w, next)
	p.mu.Unlock()
	switch {
	case silent:
		p.silent(k)
	case news:
		p.found(k, power)
	}
	if newHealth && p.Healths != nil {
		p.Healths(k, health)
	}
}

// healthNews reports whether a poll confirmed another health.
func (w *watched) healthNews(found host.Health, err error) bool {
	if err != nil || found == host.HealthUnknown || found == w.in.Host.Health {
		w.health = host.HealthUnknown
		return false
	}
	if found != w.health {
		w.health = found
		return false
	}
	w.in.Host.Health, w.health = found, host.HealthUnknown // told once
	return true
}

// jitter is a time between two shares of d.
func jitter(d time.Duration, from, to float64) time.Duration {
	return time.Duration(float64(d) * (from + (to-from)*rand.Float64()))
}
