package engine

import (
	"context"
	"errors"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// What keeps a person's own change of a machine from being made.
var (
	ErrBusy    = errors.New("an action is under way for the host")
	ErrNotOurs = errNotOurs
)

// Beside takes a host for one change that somebody asked for beside its life cycle.
// Until release is called, no other is let in; an action of the life cycle that
// begins meanwhile ends the context, as it does with an earlier action. Under the
// context nothing is changed at the BMC once the host is another replica's.
func (e *Engine) Beside(ctx context.Context, key types.NamespacedName) (_ context.Context, release func(), _ error) {
	claim, ours := e.Claims.Claim(key.String())
	if !ours {
		return nil, nil, ErrNotOurs
	}
	ctx, cancel := context.WithCancelCause(bmc.WithFence(ctx, func() error {
		if now, ours := e.Claims.Claim(key.String()); !ours || now.Epoch != claim.Epoch {
			return ErrNotOurs
		}
		return nil
	}))
	w := &work{cancel: func() { cancel(ErrBusy) }, ended: make(chan struct{})}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.busy[key] != nil {
		cancel(ErrBusy)
		return nil, nil, ErrBusy
	}
	if e.busy == nil {
		e.busy = map[types.NamespacedName]*work{}
	}
	e.busy[key] = w
	e.wg.Add(1)
	return ctx, func() {
		e.mu.Lock()
		if e.busy[key] == w {
			delete(e.busy, key)
		}
		e.mu.Unlock()
		cancel(nil)
		close(w.ended)
		e.wg.Done()
	}, nil
}

// Conn opens the way to a host's BMC.
func (e *Engine) Conn(ctx context.Context, in Input) (bmc.Conn, error) { return e.conn(ctx, in) }

// OwnContext reports whether a host's BMC sends this context to our own door.
func (e *Engine) OwnContext(b *metal3.BareMetalHost, context string) bool {
	return e.CA != nil && context != "" && context == e.CA.Token(eventsPurpose(Input{BMH: b}))
}
