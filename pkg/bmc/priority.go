package bmc

import "context"

// Priority says how urgent a call to a BMC is.
type Priority int

// The priorities. A call that says nothing is interactive.
const (
	// Interactive calls have a person or a step of work waiting for them. They go
	// ahead of polls, and are always tried.
	Interactive Priority = iota
	// Background calls are polls: they come again anyway, so they wait behind the
	// others, and a BMC that does not answer is not asked by each of them.
	Background
)

type priorityKey struct{}

// WithPriority marks the calls made under the context.
func WithPriority(ctx context.Context, p Priority) context.Context {
	return context.WithValue(ctx, priorityKey{}, p)
}

// PriorityOf returns the mark of a context.
func PriorityOf(ctx context.Context) Priority {
	p, _ := ctx.Value(priorityKey{}).(Priority)
	return p
}
