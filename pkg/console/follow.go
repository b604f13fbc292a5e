package console

import (
	"context"
	"io"
	"sync"
)

// Reader follows a console live. It is used by one caller at a time; Close may be
// called by any.
type Reader struct {
	r     *Recorder
	done  <-chan struct{}
	close context.CancelFunc
	at    int64

	mu     sync.Mutex
	missed int64
}

// Follow returns a reader that begins with the last lines and goes on with what
// is printed then, until ctx ends, Close is called or the recording ends. A
// connection that breaks is no end: what the machine prints after it is read
// next.
func (r *Recorder) Follow(ctx context.Context, lines int) *Reader {
	ctx, cancel := context.WithCancel(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.ring.end() - int64(len(r.ring.tail(0, lines)))
	return &Reader{r: r, done: ctx.Done(), close: cancel, at: at}
}

// Read implements io.Reader. It returns io.EOF when ctx has ended, after Close and
// at the end of the recording.
func (f *Reader) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		select {
		case <-f.done:
			return 0, io.EOF
		default:
		}
		f.r.mu.Lock()
		n, at := f.r.ring.from(f.at, b)
		changed, over := f.r.changed, f.r.over
		f.r.mu.Unlock()
		f.mu.Lock()
		f.missed += at - f.at
		f.mu.Unlock()
		f.at = at + int64(n)
		switch {
		case n > 0:
			return n, nil
		case over:
			return 0, io.EOF
		}
		select {
		case <-changed:
		case <-f.done:
		}
	}
}

// Missed is how many bytes went by unread because the reader was too slow.
func (f *Reader) Missed() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.missed
}

// Close ends it; a Read under way returns.
func (f *Reader) Close() error {
	f.close()
	return nil
}

// writer is who types.
type writer struct{ r *Recorder }

// Writer hands out the keyboard. There is one: ErrTaken, until it is closed.
// Characters go to whatever connection there is; while there is none Write
// returns ErrNotConnected.
func (r *Recorder) Writer() (io.WriteCloser, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.writer != nil {
		return nil, ErrTaken
	}
	r.writer = &writer{r: r}
	return r.writer, nil
}

func (w *writer) Write(b []byte) (int, error) {
	w.r.mu.Lock()
	line, mine := w.r.line, w.r.writer == w
	w.r.mu.Unlock()
	switch {
	case !mine:
		return 0, io.ErrClosedPipe
	case line == nil:
		return 0, ErrNotConnected
	}
	return line.Write(b)
}

func (w *writer) Close() error {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	if w.r.writer == w {
		w.r.writer = nil
	}
	return nil
}
