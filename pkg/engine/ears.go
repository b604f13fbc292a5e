package engine

import (
	"context"
	"crypto/subtle"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

const (
	// subscribeTimeout bounds one visit to a BMC's event service.
	subscribeTimeout = time.Minute
	// releaseTimeout is shorter: a host that goes waits for nobody.
	releaseTimeout = 15 * time.Second
	// subscribeAgain is how long a BMC that could not be asked is left alone.
	subscribeAgain = 10 * time.Minute
	// subscribeRate of BMCs a second are visited after a start.
	subscribeRate, subscribeBurst = 20, 20
	// wakeEvery and wakeBurst bound how often a BMC's events wake its host.
	wakeEvery, wakeBurst = time.Second, 10
	// tokenID is the part of a context that finds the host; the rest proves it.
	tokenID = 16
)

// EventsPath is where BMCs push events.
const EventsPath = "/bmc/v1/events"

// Ears hears BMCs out: it has those with an event service push to our door. An
// event is a hint to look, never the truth: polls find the same, only later.
// Nothing is written down: after a start, the subscriptions are found again by
// their context, which is made from the host's UID and the authority's key.
type Ears struct {
	ctx    context.Context
	engine *Engine
	at     func(context.Context, bmc.Address) string
	wake   func(types.NamespacedName)
	visits *rate.Limiter

	mu    sync.Mutex
	hosts map[types.NamespacedName]*heard
	byID  map[string]types.NamespacedName
}

// heard is a host that may be heard of.
type heard struct {
	in       Input
	token    string
	done     bool // subscribed, or not to be
	able     bool // the BMC is not known to be without events
	busy     bool // being visited, or about to be
	released bool
	timer    *time.Timer
	limit    *rate.Limiter
	pending  bool // a wake that waits for its turn
}

// NewEars makes Ears that work until ctx is done. at says where the BMC at an
// address reaches our door; empty, or a nil at: it does not. wake is told of hosts
// whose BMC pushed something; it must not block.
func NewEars(ctx context.Context, e *Engine, at func(context.Context, bmc.Address) string, wake func(types.NamespacedName)) *Ears {
	return &Ears{
		ctx: ctx, engine: e, at: at, wake: wake, visits: rate.NewLimiter(subscribeRate, subscribeBurst),
		hosts: map[types.NamespacedName]*heard{}, byID: map[string]types.NamespacedName{},
	}
}

// eventsPurpose is the purpose of the token that a host's BMC sends with each
// event.
func eventsPurpose(in Input) string { return "bmc events " + string(in.BMH.UID) }

// Listen sees to it that a host's BMC pushes to our door, unless it is so or was
// found to be impossible.
func (s *Ears) Listen(in Input) {
	if s.at == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hosts[in.Key]
	if h == nil {
		h = &heard{token: s.engine.CA.Token(eventsPurpose(in)), able: true, limit: rate.NewLimiter(rate.Every(wakeEvery), wakeBurst)}
		s.hosts[in.Key] = h
		s.byID[h.token[:tokenID]] = in.Key
	} else if !sameBMC(h.in, in) {
		h.done, h.able = false, true
	}
	h.in = in
	if !h.done && !h.busy {
		s.visit(h, s.visits.Reserve().Delay())
	}
}

func sameBMC(a, b Input) bool {
	return a.BMH.Spec.BMC == b.BMH.Spec.BMC && a.Host.Wants.SecretVersion == b.Host.Wants.SecretVersion
}

// visit subscribes after a while. s.mu is held.
func (s *Ears) visit(h *heard, after time.Duration) {
	h.busy = true
	h.timer = time.AfterFunc(after, func() { s.subscribe(h) })
}

// Doubt has the subscription looked at again the next time that the host is at
// rest.
func (s *Ears) Doubt(k types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.hosts[k]; h != nil && h.able {
		h.done = false
	}
}

// Forget hears nothing more of a host.
func (s *Ears) Forget(k types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(k)
}

func (s *Ears) forget(k types.NamespacedName) *heard {
	h := s.hosts[k]
	if h == nil {
		return nil
	}
	delete(s.hosts, k)
	delete(s.byID, h.token[:tokenID])
	if h.timer != nil {
		h.timer.Stop()
	}
	return h
}

// Release forgets a host and ends its subscription, if the BMC answers in time.
func (s *Ears) Release(in Input) {
	s.mu.Lock()
	h := s.forget(in.Key)
	if h != nil {
		h.released = true
	}
	s.mu.Unlock()
	if h != nil && h.able {
		go s.end(h)
	}
}

func (s *Ears) end(h *heard) {
	ctx, cancel := context.WithTimeout(s.ctx, releaseTimeout)
	defer cancel()
	if err := s.unsubscribe(ctx, h); err != nil {
		s.engine.Log.Info("the BMC may go on to push events, which nobody hears", "host", h.in.Key.String(), "err", err)
	}
}

// Heard wakes the host whose BMC was given a context. Of a BMC that talks all the
// time, the host is woken once a second, and once more after the last word.
func (s *Ears) Heard(token string) bool {
	s.mu.Lock()
	k := s.byID[token[:min(len(token), tokenID)]]
	h := s.hosts[k]
	if h == nil || subtle.ConstantTimeCompare([]byte(h.token), []byte(token)) != 1 {
		s.mu.Unlock()
		return false
	}
	now := h.limit.Allow()
	if !now && !h.pending {
		h.pending = true
		time.AfterFunc(wakeEvery, func() { s.late(k, h) })
	}
	s.mu.Unlock()
	if now {
		s.wake(k)
	}
	return true
}

func (s *Ears) late(k types.NamespacedName, h *heard) {
	s.mu.Lock()
	h.pending = false
	known := s.hosts[k] == h && s.ctx.Err() == nil
	s.mu.Unlock()
	if known {
		s.wake(k)
	}
}

// subscribe visits a BMC, and comes back later if it could not be asked.
func (s *Ears) subscribe(h *heard) {
	s.mu.Lock()
	in := h.in
	gone := s.hosts[in.Key] != h || s.ctx.Err() != nil
	s.mu.Unlock()
	if gone {
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, subscribeTimeout)
	defer cancel()
	err := s.ask(ctx, h, in)
	if err != nil {
		s.engine.Log.Debug("the BMC pushes no events: its machine is polled alone", "host", in.Key.String(), "err", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h.busy = false
	switch {
	case s.ctx.Err() != nil:
	case h.released: // meanwhile
		go s.end(h)
	case s.hosts[in.Key] != h:
	case !sameBMC(h.in, in): // it was changed meanwhile
		s.visit(h, time.Second)
	case later(err):
		s.visit(h, jitter(subscribeAgain, 0.8, 1.2))
	default:
		h.done, h.able = true, bmc.ClassOf(err) != bmc.Unsupported
	}
}

// later reports whether a BMC that could not be asked may answer another time.
func later(err error) bool {
	if err == nil {
		return false
	}
	switch bmc.ClassOf(err) {
	case bmc.Unreachable, bmc.Busy, bmc.Precondition, bmc.Transient:
		return true
	}
	return false
}

// ask makes sure that there is one subscription of ours, and that it leads here.
func (s *Ears) ask(ctx context.Context, h *heard, in Input) error {
	addr, err := bmc.ParseAddress(in.BMH.Spec.BMC.Address)
	if err != nil {
		return err
	}
	events, err := s.engine.events(ctx, in)
	if err != nil {
		return err
	}
	door := s.at(ctx, addr)
	if door == "" {
		return &bmc.Error{Class: bmc.Unsupported, Op: "subscribe to events", Detail: "the BMC cannot reach our door"}
	}
	have, err := events.Subscriptions(ctx)
	if err != nil {
		return err
	}
	found := false
	for _, x := range have {
		switch {
		case x.Context != h.token: // somebody else's
		case x.Destination == door || x.Destination == "":
			found = true
		default: // made when our address was another
			if err := events.Unsubscribe(ctx, x.ID); err != nil {
				return err
			}
		}
	}
	if found {
		return nil
	}
	_, err = events.Subscribe(ctx, bmc.Subscription{Destination: door, Context: h.token})
	return err
}

func (s *Ears) unsubscribe(ctx context.Context, h *heard) error {
	events, err := s.engine.events(ctx, h.in)
	if err != nil {
		return err
	}
	have, err := events.Subscriptions(ctx)
	if err != nil {
		return err
	}
	for _, x := range have {
		if x.Context == h.token {
			err = events.Unsubscribe(ctx, x.ID)
		}
	}
	return err
}

func (e *Engine) events(ctx context.Context, in Input) (bmc.Events, error) {
	c, err := e.conn(ctx, in)
	if err != nil {
		return nil, err
	}
	events, ok := c.(bmc.Events)
	if !ok {
		return nil, &bmc.Error{Class: bmc.Unsupported, Op: "subscribe to events", Detail: "the BMC pushes none"}
	}
	return events, nil
}
