package engine

import (
	"context"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// Subscribe sees to it that a BMC pushes events where a user wants them. id is the
// subscription that was made before, if any; one that is there still, or another
// with the same destination and context, is taken rather than made anew. makeRoom
// may free a place on a BMC that has none; it returns how that is undone if it was
// of no use, or nil.
//
// Nothing about the machine changes: it is done beside whatever the host is in.
func (e *Engine) Subscribe(ctx context.Context, in Input, id string, want bmc.Subscription, makeRoom func() (undo func())) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, subscribeTimeout)
	defer cancel()
	events, err := e.events(ctx, in)
	if err != nil {
		return "", err
	}
	if id != "" {
		have, err := events.Subscriptions(ctx)
		if err != nil {
			return "", err
		}
		if slices.ContainsFunc(have, func(s bmc.Subscription) bool { return s.ID == id && leadsTo(s, want) }) {
			return id, nil
		}
	}
	made, err := events.Subscribe(ctx, want)
	if !noRoom(err) {
		return made.ID, err
	}
	if undo := makeRoom(); undo != nil {
		if made, err = events.Subscribe(ctx, want); err != nil {
			undo()
		}
	}
	return made.ID, err
}

// Unsubscribe ends a user's subscription. A BMC that was reset gives its numbers
// out anew, so what bears this one is read first; without an id, one with the same
// destination and context is what was begun.
func (e *Engine) Unsubscribe(ctx context.Context, in Input, id string, was bmc.Subscription) error {
	ctx, cancel := context.WithTimeout(ctx, subscribeTimeout)
	defer cancel()
	events, err := e.events(ctx, in)
	if err != nil {
		return err
	}
	have, err := events.Subscriptions(ctx)
	if err != nil {
		return err
	}
	for _, s := range have {
		ours := s.ID == id && leadsTo(s, was)
		if id == "" {
			ours = s.Destination != "" && leadsTo(s, was) && s.Context == was.Context
		}
		if !ours {
			continue
		}
		if err := events.Unsubscribe(ctx, s.ID); err != nil {
			return err
		}
	}
	return nil
}

// leadsTo compares destinations: some BMCs hide them, and what is long was cut
// short when it was read.
func leadsTo(have, want bmc.Subscription) bool {
	if start, cut := strings.CutSuffix(have.Destination, "…"); cut {
		return strings.HasPrefix(want.Destination, start)
	}
	return have.Destination == "" || have.Destination == want.Destination
}

// noRoom reports whether a BMC may have refused a subscription because it keeps
// enough of them. DSP0268 names no error for that; each maker has its own.
func noRoom(err error) bool {
	switch bmc.ClassOf(err) {
	case bmc.Busy, bmc.BadRequest, bmc.Precondition, bmc.Transient:
		return err != nil
	}
	return false
}

// Yield ends our own subscription on a host's BMC, so that another finds room. It
// reports whether there was one. It is not made again unless the BMC is doubted:
// polls find the same, only later.
func (s *Ears) Yield(ctx context.Context, k types.NamespacedName) bool {
	s.mu.Lock()
	h := s.hosts[k]
	if h == nil {
		s.mu.Unlock()
		return false
	}
	in, token := h.in, h.token
	h.done = true
	s.mu.Unlock()
	events, err := s.engine.events(ctx, in)
	if err != nil {
		return false
	}
	have, err := events.Subscriptions(ctx)
	if err != nil {
		return false
	}
	i := slices.IndexFunc(have, func(x bmc.Subscription) bool { return x.Context == token })
	return i >= 0 && events.Unsubscribe(ctx, have[i].ID) == nil
}
