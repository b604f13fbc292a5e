package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// Defaults of Options.
const (
	defaultBytes  = 256 << 10
	defaultLines  = 16 << 10
	defaultPause  = time.Second
	defaultLonger = time.Minute
	defaultLast   = time.Hour
)

// Options of a Recorder. The zero value is for use.
type Options struct {
	Bytes int // kept of the stream; zero means 256 KiB
	Lines int // kept of the stream; zero means 16,384
	// Pause is the wait before the first try to open a console that broke. It
	// doubles with each try up to Longer. Zero means a second, and a minute.
	Pause, Longer time.Duration
	// Last is the wait after a refusal that time does not mend: wrong
	// credentials, a key that changed, a BMC without a console. Zero means an hour.
	Last time.Duration
	// Now and Jitter are the clock and a number in [0,1), by which waits are
	// spread; nil means time.Now and math/rand.
	Now    func() time.Time
	Jitter func() float64
	Log    *slog.Logger // may be nil
}

// Status of a Recorder.
type Status struct {
	Connected bool
	Since     time.Time // of this being so
	// Err is why it is not connected; nil before the first try.
	Err error
	// Next is when it tries again; zero while it is connected or trying.
	Next  time.Time
	Tries int   // in a row that failed, or did not hold for long
	Bytes int64 // recorded since the Recorder was made
}

// String is a line for people.
func (s Status) String() string {
	const clock = "15:04:05"
	switch {
	case s.Connected:
		return "connected since " + s.Since.Format(clock)
	case s.Err == nil:
		return "not connected yet"
	case s.Next.IsZero():
		return fmt.Sprintf("connecting, try %d; before: %v", s.Tries+1, s.Err)
	}
	return fmt.Sprintf("not connected since %s: %v; next try at %s", s.Since.Format(clock), s.Err, s.Next.Format(clock))
}

// Errors of a Writer.
var (
	// ErrTaken refuses a second writer.
	ErrTaken = errors.New("somebody else types at this console")
	// ErrNotConnected refuses characters that would go nowhere.
	ErrNotConnected = errors.New("the console is not connected")
)

// Recorder keeps one machine's console open and what it prints. It is safe for
// concurrent use.
type Recorder struct {
	source bmc.Console
	o      Options
	retry  chan struct{}

	mu      sync.Mutex
	ring    ring
	status  Status
	line    io.Writer     // nil: not connected
	writer  *writer       // who types
	changed chan struct{} // closed and replaced with the ring
	over    bool          // Run has ended
}

// New returns a Recorder of source's console. Run makes it work.
func New(source bmc.Console, o Options) *Recorder {
	if o.Bytes <= 0 {
		o.Bytes = defaultBytes
	}
	if o.Lines <= 0 {
		o.Lines = defaultLines
	}
	if o.Pause <= 0 {
		o.Pause = defaultPause
	}
	if o.Longer <= 0 {
		o.Longer = defaultLonger
	}
	o.Longer = max(o.Longer, o.Pause)
	if o.Last <= 0 {
		o.Last = defaultLast
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Recorder{
		source: source, o: o, retry: make(chan struct{}, 1), changed: make(chan struct{}),
		ring:   ring{maxBytes: o.Bytes, maxLines: o.Lines},
		status: Status{Since: o.Now()},
	}
}

// Run records until ctx ends; it is called once. Readers that follow then come to
// the end of what there is.
func (r *Recorder) Run(ctx context.Context) {
	defer r.finish()
	for ctx.Err() == nil {
		began := r.o.Now()
		err := r.connected(ctx)
		if ctx.Err() != nil {
			return
		}
		if r.wait(ctx, err, r.o.Now().Sub(began)) != nil {
			return
		}
	}
}

// connected opens the console and records until it ends, with the reason.
func (r *Recorder) connected(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	line, err := r.source.OpenConsole(ctx)
	if err != nil {
		return err
	}
	defer line.Close()
	// A source may look at its context, or not: Close ends every Read.
	stop := context.AfterFunc(ctx, func() { _ = line.Close() })
	defer stop()
	r.set(func(s *Status) { *s = Status{Connected: true, Since: r.o.Now(), Tries: s.Tries} }, line)
	r.o.Log.DebugContext(ctx, "console connected", "op", "console")
	buffer := make([]byte, 16<<10)
	for {
		n, err := line.Read(buffer)
		r.record(buffer[:n])
		if err != nil {
			r.mu.Lock()
			r.line = nil // nothing is typed into what has ended
			r.mu.Unlock()
			if errors.Is(err, io.EOF) {
				err = errors.New("the BMC ended the console")
			}
			return err
		}
	}
}

func (r *Recorder) record(b []byte) {
	if len(b) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring.write(b)
	r.wake()
}

// wake tells readers that there is something new. The caller holds mu.
func (r *Recorder) wake() {
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *Recorder) set(change func(*Status), line io.Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.status)
	r.line = line
}

// wait lets the pause pass that err and the tries so far ask for. A console that
// held longer than the longest pause counts as a new beginning.
func (r *Recorder) wait(ctx context.Context, err error, lasted time.Duration) error {
	r.mu.Lock()
	s := &r.status
	if s.Connected || s.Err == nil {
		s.Since = r.o.Now()
	}
	if s.Connected && lasted > r.o.Longer {
		s.Tries = 0
	}
	s.Connected, s.Err = false, err
	pause := r.pause(err, s.Tries)
	s.Tries++
	s.Next = r.o.Now().Add(pause)
	r.line = nil
	tries := s.Tries
	r.mu.Unlock()
	r.o.Log.DebugContext(ctx, "console not connected", "op", "console", "attempt", tries, "next", pause.Round(time.Second).String(), "err", err)

	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	case <-r.retry:
	}
	r.set(func(s *Status) { s.Next = time.Time{} }, nil)
	return nil
}

// pause after err, the tries-th in a row from 0.
func (r *Recorder) pause(err error, tries int) time.Duration {
	pause := r.o.Longer
	if tries < 16 {
		pause = min(r.o.Pause<<tries, r.o.Longer)
	}
	var e *bmc.Error
	switch {
	case lasting(err):
		pause = r.o.Last
	case errors.As(err, &e) && e.Class == bmc.Busy:
		pause = max(pause, e.RetryAfter)
	}
	// Up to a fifth more, so that a rack whose switch comes back does not knock
	// all at once.
	return pause + time.Duration(r.o.Jitter()*float64(pause)/5)
}

// lasting reports whether time alone does not mend a failure.
func lasting(err error) bool {
	var e *bmc.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Class {
	case bmc.Auth, bmc.TLSIdentity, bmc.Forbidden, bmc.Unsupported:
		return true
	}
	return false
}

// finish wakes those who follow, for the last time.
func (r *Recorder) finish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status.Connected {
		r.status.Since = r.o.Now()
	}
	r.status.Connected, r.status.Err, r.status.Next = false, errors.New("the recording was ended"), time.Time{}
	r.line, r.over = nil, true
	r.wake()
}

// Retry ends a wait for the next try: somebody has mended what was wrong.
func (r *Recorder) Retry() {
	select {
	case r.retry <- struct{}{}:
	default:
	}
}

// Status says how the connection is.
func (r *Recorder) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	s.Bytes = r.ring.end()
	return s
}

// Mark notes that something begins now, an attempt to provision say. A name that
// was used before moves. Of many marks the oldest is forgotten.
func (r *Recorder) Mark(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring.place(name)
}

// Since returns the last lines, at most maxLines, printed since the mark, as they
// were printed. What no longer fits into the ring is gone; false means that there
// is no such mark.
func (r *Recorder) Since(name string, maxLines int) ([]byte, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.ring.marked(name)
	if !ok {
		return nil, false
	}
	return r.ring.tail(at, maxLines), true
}

// Tail returns the last n lines, as they were printed. A line that is not ended
// yet counts.
func (r *Recorder) Tail(n int) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ring.tail(0, n)
}
