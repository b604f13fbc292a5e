package engine

import (
	"context"
	"errors"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/host"
)

func TestBeside(t *testing.T) {
	r := newRig(t)
	l := &lease{}
	l.epoch.Store(3)
	r.Claims = l
	ctx, release, err := r.Beside(t.Context(), r.in.Key)
	if err != nil || bmc.Fenced(ctx) != nil || !r.Busy(r.in.Key) {
		t.Fatal(err, bmc.Fenced(ctx))
	}
	if _, _, err := r.Beside(t.Context(), r.in.Key); !errors.Is(err, ErrBusy) {
		t.Errorf("a second one: %v", err)
	}
	l.epoch.Add(1)
	if err := bmc.Fenced(ctx); !errors.Is(err, ErrNotOurs) {
		t.Errorf("after the host was lost and gained: %v", err)
	}
	release()
	if r.Busy(r.in.Key) || ctx.Err() == nil {
		t.Error("it is not released")
	}
	l.epoch.Store(0)
	if _, _, err := r.Beside(t.Context(), r.in.Key); !errors.Is(err, ErrNotOurs) {
		t.Errorf("another replica's: %v", err)
	}
}

// The life cycle does not wait: its action ends the change, and is the one that runs.
func TestActionGoesBeforeWhatIsBeside(t *testing.T) {
	r := newRig(t)
	ctx, release, err := r.Beside(t.Context(), r.in.Key)
	if err != nil {
		t.Fatal(err)
	}
	begun, goOn := make(chan struct{}), make(chan struct{})
	r.BMCs = slowly{BMCs: r.BMCs, open: func() { close(begun); <-goOn }}
	r.Do(t.Context(), r.in, host.Action{Verb: host.SetPower, Power: host.ChangeOn, Seq: 1})
	<-begun
	if !errors.Is(context.Cause(ctx), ErrBusy) {
		t.Errorf("the change goes on: %v", context.Cause(ctx))
	}
	release()
	if !r.Busy(r.in.Key) {
		t.Error("the action was taken for the change")
	}
	if _, _, err := r.Beside(t.Context(), r.in.Key); !errors.Is(err, ErrBusy) {
		t.Errorf("beside an action: %v", err)
	}
	close(goOn)
	r.Wait()
}

func TestOwnContext(t *testing.T) {
	r := newRig(t)
	b := &metal3.BareMetalHost{}
	b.UID = "u1"
	e := &Engine{}
	if e.OwnContext(b, "x") || r.CA != nil && (r.OwnContext(b, "") || !r.OwnContext(b, r.CA.Token("bmc events u1"))) {
		t.Error("our own context is not known from others")
	}
}
