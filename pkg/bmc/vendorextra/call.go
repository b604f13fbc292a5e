package vendorextra

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// caller runs the calls of one provider, one at a time: no provider is safe for
// concurrent use.
type caller struct {
	turn   chan struct{}
	limit  time.Duration
	denied atomic.Pointer[bmc.Error] // set: the password is not sent again
}

func newCaller(limit time.Duration) *caller {
	if limit == 0 {
		limit = time.Minute
	}
	return &caller{turn: make(chan struct{}, 1), limit: limit}
}

// Refused is the error of class Auth with which the BMC refused the
// credentials, or nil.
func (c *caller) Refused() error {
	if err := c.denied.Load(); err != nil {
		return err
	}
	return nil
}

type outcome[T any] struct {
	value T
	err   error
}

// call runs f in a goroutine and leaves it behind when ctx ends. What is left
// behind holds the turn until it ends, which the context that f is given, and
// the limit, bring about: f's requests are sent under it.
func call[T any](ctx context.Context, c *caller, op string, f func(context.Context) (T, error)) (T, error) {
	var none T
	if err := c.Refused(); err != nil {
		return none, err
	}
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return none, late(op, ctx.Err())
	}
	inner, cancel := context.WithTimeout(ctx, c.limit)
	done := make(chan outcome[T], 1)
	go func() {
		defer func() { <-c.turn }()
		defer cancel()
		var o outcome[T]
		o.value, o.err = caught(inner, f)
		o.err = classify(inner, op, o.err)
		var e *bmc.Error
		if errors.As(o.err, &e) && e.Class == bmc.Auth {
			c.denied.Store(e)
		}
		done <- o
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-inner.Done():
	}
	select { // it may have ended by itself, which also ends inner
	case o := <-done:
		return o.value, o.err
	default:
		return none, late(op, inner.Err())
	}
}

// caught makes an error of a panic: bmclib and what it stands on take parts of
// an answer for granted.
func caught[T any](ctx context.Context, f func(context.Context) (T, error)) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &bmc.Error{Class: bmc.Protocol, Detail: "the BMC's answer lacks what bmclib takes for granted", Err: fmt.Errorf("panic: %.200v", p)}
		}
	}()
	return f(ctx)
}

// late is the error of a call whose result nobody waited for.
func late(op string, err error) error {
	if errors.Is(err, context.Canceled) { // says nothing of the BMC
		return &bmc.Error{Class: bmc.Transient, Op: op, Err: err}
	}
	return &bmc.Error{
		Class: bmc.Unreachable, Code: bmc.CodeSlow, Op: op,
		Detail: "the BMC did not answer in the time given; an order may still be carried out", Err: err,
	}
}
