package image

import (
	"context"
	"sync"
)

// flights shares one conversion between all who ask for the same source. It
// differs from x/sync's singleflight in that the work belongs to none of the
// callers: it goes on while any is left and ends with the last.
type flights struct {
	mu sync.Mutex
	m  map[Source]*flight
}

type flight struct {
	cancel  context.CancelFunc
	done    chan struct{}
	out     prepared
	err     error
	waiting map[*func(done, total int64)]bool // their progress functions
}

type work func(ctx context.Context, progress func(done, total int64)) (prepared, error)

func (fs *flights) do(ctx context.Context, s Source, progress func(done, total int64), w work) (prepared, error) {
	me := &progress
	fs.mu.Lock()
	f := fs.m[s]
	if f == nil {
		f = fs.start(ctx, s, w)
	}
	f.waiting[me] = true
	fs.mu.Unlock()

	select {
	case <-f.done:
		return f.out, f.err
	case <-ctx.Done():
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	delete(f.waiting, me)
	if len(f.waiting) == 0 {
		f.cancel()
		// Whoever comes next starts anew instead of joining what was given up.
		if fs.m[s] == f {
			delete(fs.m, s)
		}
	}
	return prepared{}, ctx.Err()
}

// start is called with mu held.
func (fs *flights) start(ctx context.Context, s Source, w work) *flight {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &flight{cancel: cancel, done: make(chan struct{}), waiting: map[*func(done, total int64)]bool{}}
	if fs.m == nil {
		fs.m = map[Source]*flight{}
	}
	fs.m[s] = f
	report := func(done, total int64) {
		fs.mu.Lock()
		defer fs.mu.Unlock()
		for p := range f.waiting {
			(*p)(done, total)
		}
	}
	go func() {
		defer cancel()
		f.out, f.err = w(ctx, report)
		fs.mu.Lock()
		defer fs.mu.Unlock()
		if fs.m[s] == f {
			delete(fs.m, s)
		}
		close(f.done)
	}()
	return f
}
