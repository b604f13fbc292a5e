package node

import (
	"context"
	"errors"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
)

// Replay finishes changes that were interrupted: at once those that this conductor
// began, in an earlier life, and those of others that are too old to be going on. It is
// called at start, when the watches have brought all there is. Secrets that did not come
// into use are deleted.
func (s *Store) Replay(ctx context.Context) error { return s.replay(ctx, true) }

// Watch goes on doing so until ctx is over. An error is told, and tried again.
func (s *Store) Watch(ctx context.Context, tell func(error)) {
	tick := time.NewTicker(tooOld)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := s.replay(ctx, false); err != nil {
				tell(err)
			}
		}
	}
}

func (s *Store) replay(ctx context.Context, atStart bool) error {
	s.mu.RLock()
	keys := make([]types.NamespacedName, 0, len(s.intents))
	for k := range s.intents {
		keys = append(keys, k)
	}
	s.mu.RUnlock()
	var errs []error
	for _, k := range keys {
		errs = append(errs, s.replayOne(ctx, k, atStart))
	}
	if atStart {
		errs = append(errs, s.sweep(ctx))
	}
	return errors.Join(errs...)
}

func (s *Store) replayOne(ctx context.Context, k types.NamespacedName, atStart bool) error {
	defer s.alone(k).Unlock()
	n := s.byKey(k)
	if n == nil {
		return nil
	}
	i := intentOf(n.Attrs)
	if i == nil || s.Now().Sub(i.At.Time) < tooOld && (!atStart || i.By != s.Conductor) {
		return nil
	}
	return s.carryOn(ctx, n, i)
}

// carryOn finishes a change that was interrupted. The objects are read anew: what was
// written last may not have been seen.
func (s *Store) carryOn(ctx context.Context, n *Node, i *intent) error {
	a := &v1alpha1.NodeAttributes{}
	if err := s.Reader.Get(ctx, n.Key, a); err != nil {
		if apierrors.IsNotFound(err) && n.Attrs != nil {
			s.Forget(n.Attrs)
			return nil
		}
		return wrap(err, "finishing a change of node %s", n.UUID)
	}
	s.Observe(a)
	if is := intentOf(a); is == nil || is.ID != i.ID {
		return nil // somebody else has
	}
	for _, o := range []client.Object{&metal3.BareMetalHost{}, &v1alpha1.HostRecord{}} {
		if err := s.Reader.Get(ctx, n.Key, o); client.IgnoreNotFound(err) != nil {
			return wrap(err, "finishing a change of node %s", n.UUID)
		} else if err == nil {
			s.Observe(o)
		}
	}
	if n = s.byKey(n.Key); n.Host == nil && i.Create == nil {
		return nil // it is gone, and what belongs to it goes
	}
	err := s.finish(ctx, n.Key, i, true)
	var refused *Refusal
	if errors.As(err, &refused) || errors.Is(err, ErrNotFound) {
		return nil // taken back, or gone
	}
	return wrap(err, "finishing a change of node %s", n.UUID)
}
