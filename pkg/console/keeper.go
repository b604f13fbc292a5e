package console

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// Defaults of KeeperOptions.
const (
	defaultLimit   = 256
	defaultViewers = 64
	defaultLinger  = time.Minute
	defaultYield   = 5 * time.Minute
)

// remainsBytes bounds what is kept of a recording that has ended.
const remainsBytes = 32 << 10

// ErrFull refuses one more viewer.
var ErrFull = errors.New("too many consoles are being watched: try again when somebody has left theirs")

// errClosed is the answer of a Keeper that was closed.
var errClosed = errors.New("consoles are no longer recorded: the service ends")

// KeeperOptions of a Keeper. Open is required.
type KeeperOptions struct {
	// Open opens the console that goes by a name; its context is the console's life.
	Open func(ctx context.Context, name string) (io.ReadWriteCloser, error)
	// Limit is how many are recorded at once; zero means 256. More wait for one to
	// end. Viewers is how many more may be opened for those who watch; zero means 64.
	Limit, Viewers int
	// Linger is how long a recording goes on that nobody wants any more, so that
	// one which is wanted again soon costs no second session. Zero means a minute,
	// less than zero none.
	Linger time.Duration
	// Yield is how long a console that another took is left to him; zero means five
	// minutes.
	Yield    time.Duration
	Recorder Options
}

func (o KeeperOptions) log() *slog.Logger {
	if o.Recorder.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Recorder.Log
}

// Keeper keeps the Recorders of many machines: one for each whose console is
// wanted, and none of a machine that nobody wants. It is safe for concurrent use.
type Keeper struct {
	o      KeeperOptions
	base   context.Context //nolint:containedctx // the Keeper's life
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	entries map[string]*entry
	queue   []*entry // wanted, and no room
	running int      // Recorders, those that are ending among them
	refused map[string]refusal
	remains map[string][]byte
	order   []string // of remains, the oldest first
}

// entry is one console. Its fields are guarded by the Keeper's mu.
type entry struct {
	k        *Keeper
	name, id string
	mark     string
	wanted   bool
	viewers  int

	rec    *Recorder // nil: it waits for room
	cancel context.CancelFunc
	done   chan struct{} // closed when the Recorder has ended
	after  chan struct{} // done of an earlier one of the same console, which ends first
	linger *time.Timer
}

// refusal is an answer of a BMC that time does not mend.
type refusal struct {
	id    string
	err   error
	until time.Time
}

// NewKeeper returns a Keeper that records nothing yet.
func NewKeeper(o KeeperOptions) *Keeper {
	if o.Limit <= 0 {
		o.Limit = defaultLimit
	}
	if o.Viewers <= 0 {
		o.Viewers = defaultViewers
	}
	if o.Linger == 0 {
		o.Linger = defaultLinger
	}
	if o.Yield <= 0 {
		o.Yield = defaultYield
	}
	if o.Recorder.Now == nil {
		o.Recorder.Now = time.Now
	}
	if o.Recorder.Last <= 0 {
		o.Recorder.Last = defaultLast
	}
	k := &Keeper{o: o, entries: map[string]*entry{}, refused: map[string]refusal{}, remains: map[string][]byte{}}
	k.base, k.cancel = context.WithCancel(context.Background())
	return k
}

// Close ends all recordings and returns when their sessions are given back.
func (k *Keeper) Close() {
	k.cancel()
	k.mu.Lock()
	k.queue = nil
	k.mu.Unlock()
	k.wg.Wait()
}

// Record has a console recorded until Release, End or Forget. id changes with what
// the console is reached by: its address, its credentials. mark changes when
// something new begins that Since is asked about; an empty one leaves it as it is.
// It may be called again and again.
func (k *Keeper) Record(name, id, mark string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.base.Err() != nil {
		return
	}
	e := k.entry(name, id)
	if e == nil {
		// A BMC that said no is not asked again by itself with the same credentials.
		if r, ok := k.refused[name]; ok && r.id == id && k.o.Recorder.Now().Before(r.until) {
			return
		}
		e = &entry{k: k, name: name, id: id}
		k.add(e, k.o.Limit)
	}
	e.wanted = true
	e.stay()
	if mark != "" && mark != e.mark {
		e.mark = mark
		if e.rec != nil {
			e.rec.Mark(mark)
		}
	}
}

// Release says that nothing is wanted of a console any more. Those who watch it go
// on watching.
func (k *Keeper) Release(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.entries[name]; e != nil && e.wanted {
		e.wanted = false
		e.leave()
	}
}

// End ends a recording at once, for those who watch too. What was printed last is
// still known.
func (k *Keeper) End(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.entries[name]; e != nil {
		e.end()
	}
}

// Forget ends a recording and knows nothing of it any more.
func (k *Keeper) Forget(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.refused, name)
	delete(k.remains, name)
	k.order = slices.DeleteFunc(k.order, func(s string) bool { return s == name })
	if e := k.entries[name]; e != nil {
		e.name = "" // leaves no remains
		delete(k.entries, name)
		e.end()
	}
}

// Watch opens a console for somebody who watches or types. The function gives it
// back. A try that waits for its time is made at once.
func (k *Keeper) Watch(name, id string) (*Recorder, func(), error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.base.Err() != nil {
		return nil, nil, errClosed
	}
	e := k.entry(name, id)
	if e == nil || e.rec == nil {
		if k.running >= k.o.Limit+k.o.Viewers {
			return nil, nil, ErrFull
		}
		if e == nil {
			e = &entry{k: k, name: name, id: id}
		}
		k.add(e, k.o.Limit+k.o.Viewers)
	} else if !e.rec.Status().Connected {
		e.rec.Retry()
	}
	e.viewers++
	e.stay()
	return e.rec, sync.OnceFunc(func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		e.viewers--
		e.leave()
	}), nil
}

// Since returns the last lines, at most n, that were printed since the last mark,
// as they were printed. Where there are none the reason is for people.
func (k *Keeper) Since(name string, n int) (printed []byte, reason string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.entries[name]
	switch {
	case e == nil:
		if r, ok := k.refused[name]; ok {
			return nil, r.err.Error()
		}
		return nil, "it was not recorded"
	case e.rec == nil:
		return nil, "it was not recorded: as many consoles as may be are recorded already"
	}
	printed, ok := e.rec.Since(e.mark, n)
	if !ok {
		printed = e.rec.Tail(n)
	}
	if len(Lines(printed)) > 0 {
		return printed, ""
	}
	if s := e.rec.Status(); !s.Connected {
		if s.Err != nil {
			return nil, s.Err.Error()
		}
		return nil, s.String()
	}
	return nil, "the machine printed nothing: its firmware and kernel may use another serial port"
}

// Tail returns the last n lines that were recorded, of a recording that goes on or
// of the last one, as they were printed. The status is that of the recording; it
// is empty where none goes on.
func (k *Keeper) Tail(name string, n int) (printed []byte, status string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.entries[name]
	switch {
	case e == nil:
	case e.rec == nil:
		status = "waits: as many consoles as may be are recorded already"
	default:
		status = e.rec.Status().String()
		if printed = e.rec.Tail(n); len(printed) > 0 {
			return printed, status
		}
	}
	r := ring{data: k.remains[name]}
	return r.tail(0, n), status
}

// Count is how many consoles are recorded, and how many wait for room.
func (k *Keeper) Count() (running, waiting int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.running, len(k.queue)
}

// entry finds what is recorded under a name by the same way; another way's
// recording is ended. mu is held.
func (k *Keeper) entry(name, id string) *entry {
	e := k.entries[name]
	if e == nil || e.id == id && !e.ending() {
		return e
	}
	e.end()
	return nil
}

// add makes a place for e, and a Recorder if there is room for one. mu is held.
func (k *Keeper) add(e *entry, limit int) {
	if before := k.entries[e.name]; before != nil && before != e {
		e.after = before.done
	}
	k.entries[e.name] = e
	if k.running < limit {
		e.run()
		return
	}
	k.queue = append(k.queue, e)
	k.o.log().Info("console waits: as many as may be are recorded", "host", e.name, "op", "console", "limit", limit, "waiting", len(k.queue))
	for _, other := range k.entries {
		if other.rec != nil && other.linger != nil && !other.ending() { // nobody wants it any more
			other.end()
			return
		}
	}
}

// run makes the Recorder. One of the same console that is still ending ends
// first, so that it does not take the session of the new one. mu is held.
func (e *entry) run() {
	k := e.k
	k.queue = slices.DeleteFunc(k.queue, func(o *entry) bool { return o == e })
	o := k.o.Recorder
	o.Log = k.o.log().With("host", e.name)
	e.rec = New(e, o)
	e.rec.Mark(e.mark)
	ctx, cancel := context.WithCancel(k.base)
	e.cancel, e.done = cancel, make(chan struct{})
	k.running++
	k.wg.Go(func() {
		defer cancel()
		if e.after != nil {
			<-e.after
		}
		e.rec.Run(ctx)
		k.ended(e)
	})
}

// ended makes room for the next.
func (k *Keeper) ended(e *entry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	close(e.done)
	e.cancel = nil
	k.running--
	if e.name != "" {
		k.keep(e.name, e.rec.Tail(200))
		if k.entries[e.name] == e {
			delete(k.entries, e.name)
		}
	}
	if k.base.Err() == nil && len(k.queue) > 0 && k.running < k.o.Limit {
		k.queue[0].run()
	}
}

// keep remembers what was printed last, of as many consoles as are recorded at
// once. mu is held.
func (k *Keeper) keep(name string, printed []byte) {
	if len(printed) == 0 {
		return
	}
	printed = slices.Clone(printed[max(0, len(printed)-remainsBytes):])
	if _, ok := k.remains[name]; !ok {
		k.order = append(k.order, name)
	}
	k.remains[name] = printed
	if len(k.order) > k.o.Limit {
		delete(k.remains, k.order[0])
		k.order = k.order[1:]
	}
}

// ending reports whether the Recorder was told to end. mu is held.
func (e *entry) ending() bool { return e.rec != nil && e.cancel == nil }

// stay ends a wait for the end. mu is held.
func (e *entry) stay() {
	if e.linger != nil {
		e.linger.Stop()
		e.linger = nil
	}
}

// leave ends the recording in a while, if nobody wants it. mu is held.
func (e *entry) leave() {
	if e.wanted || e.viewers > 0 || e.ending() {
		return
	}
	if e.rec == nil || e.k.o.Linger < 0 || len(e.k.queue) > 0 || !e.rec.Status().Connected {
		e.end()
		return
	}
	e.stay()
	var t *time.Timer
	t = time.AfterFunc(e.k.o.Linger, func() {
		e.k.mu.Lock()
		defer e.k.mu.Unlock()
		if e.linger == t {
			e.end()
		}
	})
	e.linger = t
}

// end ends the recording. mu is held.
func (e *entry) end() {
	k := e.k
	e.stay()
	if e.rec == nil {
		k.queue = slices.DeleteFunc(k.queue, func(o *entry) bool { return o == e })
		if k.entries[e.name] == e {
			delete(k.entries, e.name)
		}
		return
	}
	if !e.ending() {
		cancel := e.cancel
		e.cancel = nil
		cancel()
	}
}

// OpenConsole implements bmc.Console for the Recorder. It remembers a refusal that
// time does not mend.
func (e *entry) OpenConsole(ctx context.Context) (io.ReadWriteCloser, error) {
	k := e.k
	k.mu.Lock()
	name := e.name
	k.mu.Unlock()
	if name == "" {
		return nil, errClosed
	}
	line, err := k.o.Open(ctx, name)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.entries[name] == e {
		delete(k.refused, name)
		if lasting(err) {
			k.refused[name] = refusal{id: e.id, err: err, until: k.o.Recorder.Now().Add(k.o.Recorder.Last)}
		}
	}
	if err != nil {
		return nil, err
	}
	return polite{line, k.o.Yield}, nil
}

// polite leaves a console that another took to him for a while: whoever logs in
// by other means would otherwise lose it again after a second.
type polite struct {
	io.ReadWriteCloser
	yield time.Duration
}

func (p polite) Read(b []byte) (int, error) {
	n, err := p.ReadWriteCloser.Read(b)
	var e *bmc.Error
	if errors.As(err, &e) && e.Class == bmc.Busy {
		later := *e
		later.RetryAfter = max(later.RetryAfter, p.yield)
		err = &later
	}
	return n, err
}
