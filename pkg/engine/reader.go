package engine

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/pkg/firmware"
)

const (
	// maxReads of firmware are under way at the same time: each is some dozen
	// requests, and nobody waits for it.
	maxReads = 8
	// readTimeout bounds one.
	readTimeout = 5 * time.Minute
	// retryRead follows one that failed.
	retryRead = 5 * time.Minute
	// firstRead of a host whose firmware is not known comes this soon.
	firstRead = time.Second
)

// Reader reads the firmware of hosts that nothing is done to, so that it is shown.
// Each host has a clock of its own, and few are read at a time.
type Reader struct {
	ctx    context.Context
	engine *Engine
	every  time.Duration
	found  func(types.NamespacedName, *firmware.Reading)
	slots  chan struct{}

	mu    sync.Mutex
	hosts map[types.NamespacedName]*read
}

type read struct {
	in     Input
	timer  *time.Timer
	rests  bool
	due    bool               // its time came while it was worked on
	cancel context.CancelFunc // of the one under way; nil: none is
}

// rouse ends what is under way: the host is worked on. The reader's mu is held.
func (h *read) rouse() {
	h.rests = false
	if h.cancel != nil {
		h.cancel()
	}
}

// NewReader makes a Reader that works until ctx is done. Two readings of a host are
// every apart, with ±20 % jitter; if every is not above zero, it reads nothing.
// found must not block.
func NewReader(ctx context.Context, e *Engine, every time.Duration, found func(types.NamespacedName, *firmware.Reading)) *Reader {
	return &Reader{ctx: ctx, engine: e, every: every, found: found, slots: make(chan struct{}, maxReads), hosts: map[types.NamespacedName]*read{}}
}

// Watch has a host at rest read: soon if its firmware is not known, else when its
// time has come.
func (r *Reader) Watch(in Input, known bool) {
	if r.every <= 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.hosts[in.Key]
	if h == nil {
		h = &read{}
		r.hosts[in.Key] = h
		next := jitter(r.every, 0.2, 1.2)
		if !known {
			next = jitter(min(firstRead, r.every), 0.2, 1.2)
		}
		h.timer = time.AfterFunc(next, func() { r.read(h) })
	}
	if h.due {
		h.due = false
		h.timer.Reset(jitter(min(firstRead, r.every), 0.2, 1.2))
	}
	h.in, h.rests = in, true
}

// Busy has a host left alone until it is watched again.
func (r *Reader) Busy(k types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.hosts[k]; h != nil {
		h.rouse()
	}
}

// Forget ends the readings of a host.
func (r *Reader) Forget(k types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.hosts[k]; h != nil {
		h.timer.Stop()
		h.rouse()
		delete(r.hosts, k)
	}
}

// read a host once, in the goroutine of its clock.
func (r *Reader) read(h *read) {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-r.ctx.Done():
		return
	}
	r.mu.Lock()
	in, mine := h.in, r.hosts[h.in.Key] == h
	rests := mine && h.rests && !r.engine.Busy(in.Key)
	ctx, cancel := context.WithTimeout(r.ctx, readTimeout)
	defer cancel()
	h.cancel = cancel
	r.mu.Unlock()
	if !mine || r.ctx.Err() != nil {
		return
	}
	next := time.Duration(0) // it is worked on: when it rests again
	if rests {
		found, err := r.engine.ReadFirmware(ctx, in)
		r.mu.Lock()
		still := r.hosts[in.Key] == h && h.rests
		r.mu.Unlock()
		switch {
		case !still: // somebody else's turn
		case err != nil:
			r.engine.Log.Info("firmware not read", "host", in.Host.Key, "err", err)
			next = jitter(min(retryRead, r.every), 0.8, 1.2)
		default:
			r.found(in.Key, found)
			next = jitter(r.every, 0.8, 1.2)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	h.cancel = nil
	switch {
	case r.hosts[in.Key] != h || r.ctx.Err() != nil:
	case next > 0:
		h.timer.Reset(next)
	case h.rests: // by now
		h.timer.Reset(jitter(min(firstRead, r.every), 0.2, 1.2))
	default:
		h.due = true
	}
}
