package bmc

import "context"

type fenceKey struct{}

// WithFence has nothing changed at a BMC under the context once may returns an
// error: it is asked at the last moment before each request that changes
// something. A caller that lost the right to act may not know it yet.
func WithFence(ctx context.Context, may func() error) context.Context {
	return context.WithValue(ctx, fenceKey{}, may)
}

// Fenced is why nothing may be changed under the context any more; nil: it may.
func Fenced(ctx context.Context) error {
	may, ok := ctx.Value(fenceKey{}).(func() error)
	if !ok {
		return nil
	}
	return may()
}
