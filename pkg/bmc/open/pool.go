package open

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/redfish"
)

// Key names a way to a machine.
type Key struct {
	Address string
	// Version changes with the credentials (the Secret's UID and
	// resourceVersion): another version never shares a session.
	Version string
	Options Options
}

// Pool keeps Conns between uses. It is safe for concurrent use.
type Pool struct {
	// Observe, if not nil, is told how each call of a BMC ended. It is set before
	// the first Get.
	Observe func(protocol string, err error)

	idle  time.Duration
	after func(time.Duration, func()) (stop func() bool)

	mu      sync.Mutex
	entries map[Key]*entry
	behind  map[way]*end
	refused map[Key]*refusal
	closed  bool
}

// way is what the machines behind one Redfish BMC have in common.
type way struct {
	base, version string
	options       Options
}

// end is the BMC of such machines. It outlives a failed opening, so that what
// was learnt is not lost: that it does not answer, which key it has, how it spells
// ETags.
type end struct {
	e      *redfish.Endpoint
	users  int // entries
	denied bool
	stop   func() bool
}

// refusal is an error of class Auth, remembered.
type refusal struct{ err error }

// entry is a Conn that is open, or being opened.
type entry struct {
	addr bmc.Address
	key  Key
	end  *end          // nil: not Redfish
	poll bool          // opened by one
	open chan struct{} // closed once conn or err is set

	conn   bmc.Conn
	err    error
	users  int
	doomed bool // closed when its last user is done
	stop   func() bool
}

// NewPool makes a Pool whose Conns are closed when unused for idle. Credentials
// that were refused are not sent again for as long: many BMCs lock an account at
// the fourth try, and unlock it after five minutes.
func NewPool(idle time.Duration) *Pool {
	return &Pool{
		idle: idle, entries: map[Key]*entry{}, behind: map[way]*end{}, refused: map[Key]*refusal{},
		after: func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop },
	}
}

// Get returns the Conn for key, opening it if need be, and what to call when done
// with it. Of several callers for one key, one opens. creds are used for opening
// alone.
func (p *Pool) Get(ctx context.Context, key Key, creds bmc.Credentials) (bmc.Conn, func(), error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, nil, errors.New("the pool of BMC connections is closed")
	}
	if r := p.refused[key]; r != nil {
		p.mu.Unlock()
		return nil, nil, r.err
	}
	poll := bmc.PriorityOf(ctx) == bmc.Background
	e, found := p.entries[key]
	if !found {
		e = &entry{key: key, poll: poll, open: make(chan struct{})}
		if err := p.add(e, creds); err != nil {
			p.mu.Unlock()
			return nil, nil, err
		}
	}
	e.users++
	if e.stop != nil {
		e.stop()
		e.stop = nil
	}
	p.mu.Unlock()

	if !found {
		p.dial(ctx, e, creds)
	}
	select {
	case <-e.open:
	case <-ctx.Done():
		p.release(e)
		return nil, nil, &bmc.Error{
			Class: bmc.Busy, Code: bmc.CodeSlow, Op: "log in",
			Detail: "the BMC was busy with another login", Err: ctx.Err(),
		}
	}
	if e.err == nil {
		return e.conn, sync.OnceFunc(func() { p.release(e) }), nil
	}
	p.release(e)
	if e.poll && !poll {
		return p.Get(ctx, key, creds) // a poll gives up where we do not
	}
	return nil, nil, e.err
}

// add puts e in, with the BMC that it shares. p.mu is held.
func (p *Pool) add(e *entry, creds bmc.Credentials) error {
	addr, err := bmc.ParseAddress(e.key.Address)
	if err != nil {
		return err
	}
	e.addr = addr
	if addr.Protocol == bmc.ProtocolRedfish {
		w := e.way()
		shared := p.behind[w]
		if shared == nil {
			shared = &end{}
			if shared.e, err = newEndpoint(addr, creds, e.key.Options, p.observe(addr)); err != nil {
				return err
			}
			p.behind[w] = shared
		}
		if shared.stop != nil {
			shared.stop()
			shared.stop = nil
		}
		shared.users++
		e.end = shared
	}
	p.entries[e.key] = e
	return nil
}

func (e *entry) way() way { return way{e.addr.BaseURL(), e.key.Version, e.key.Options} }

func (p *Pool) observe(a bmc.Address) func(error) {
	if p.Observe == nil {
		return nil
	}
	return func(err error) { p.Observe(a.Protocol, err) }
}

// dial opens e.
func (p *Pool) dial(ctx context.Context, e *entry, creds bmc.Credentials) {
	var at *redfish.Endpoint
	if e.end != nil {
		at = e.end.e
	}
	conn, err := dial(ctx, e.addr, creds, e.key.Options, at, p.observe(e.addr))
	p.mu.Lock()
	e.conn, e.err = conn, err
	if err != nil {
		p.forget(e)
	}
	if err != nil && bmc.ClassOf(err) == bmc.Auth {
		p.remember(e, err)
	}
	p.mu.Unlock()
	close(e.open)
}

// forget takes e out, so that the next caller opens anew. p.mu is held.
func (p *Pool) forget(e *entry) {
	if e.doomed {
		return
	}
	if p.entries[e.key] == e {
		delete(p.entries, e.key)
	}
	e.doomed = true
	if e.end == nil {
		return
	}
	if e.end.users--; e.end.users == 0 && !p.closed {
		w, shared := e.way(), e.end
		shared.stop = p.after(p.idle, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			if shared.users == 0 {
				p.forgetEnd(w, shared)
			}
		})
	}
}

// forgetEnd has the BMC of w met anew by the next who opens a machine behind it.
// p.mu is held.
func (p *Pool) forgetEnd(w way, shared *end) {
	if p.behind[w] == shared {
		delete(p.behind, w)
	}
}

// remember keeps a refusal for as long as an idle Conn would be kept, however
// often it is asked for. The BMC is kept as well: it refuses the same credentials
// for its other machines, without being asked. p.mu is held.
func (p *Pool) remember(e *entry, err error) {
	key, r := e.key, &refusal{err: err}
	p.refused[key] = r
	if e.end != nil {
		e.end.denied = true
	}
	p.after(p.idle, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.refused[key] == r {
			delete(p.refused, key)
		}
		if e.end != nil {
			p.forgetEnd(e.way(), e.end)
		}
	})
}

func (p *Pool) release(e *entry) {
	p.mu.Lock()
	e.users--
	if c, ok := e.conn.(interface{ Refused() error }); ok && !e.doomed {
		if err := c.Refused(); err != nil { // the password was changed at the BMC
			p.forget(e)
			p.remember(e, err)
		}
	}
	last := e.users == 0
	if last && !e.doomed {
		e.stop = p.after(p.idle, func() { p.expire(e) })
		last = false
	}
	p.mu.Unlock()
	if last {
		e.close()
	}
}

// expire closes e if nobody took it up again.
func (p *Pool) expire(e *entry) {
	p.mu.Lock()
	idle := e.users == 0 && !e.doomed
	if idle {
		p.forget(e)
	}
	p.mu.Unlock()
	if idle {
		e.close()
	}
}

// close ends the session. There is nobody left to hear of an error, and the BMC
// ends a session by itself in the end.
func (e *entry) close() {
	if e.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = e.conn.Close(ctx)
}

// Drop closes the Conn for key as soon as it is unused, and forgets a refusal:
// for a host that is deleted, or when a person asks for another try.
func (p *Pool) Drop(key Key) {
	p.mu.Lock()
	delete(p.refused, key)
	e := p.entries[key]
	unused := false
	if e != nil {
		p.forget(e)
		unused = e.users == 0
	}
	if addr, err := bmc.ParseAddress(key.Address); err == nil && addr.Protocol == bmc.ProtocolRedfish {
		w := (&entry{addr: addr, key: key}).way()
		if shared := p.behind[w]; shared != nil && (shared.denied || shared.users == 0) {
			p.forgetEnd(w, shared)
		}
	}
	p.mu.Unlock()
	if unused {
		e.close()
	}
}

// Close closes all that is unused, and the rest as it becomes so.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	var unused []*entry
	for _, e := range p.entries {
		if e.stop != nil {
			e.stop()
		}
		p.forget(e)
		if e.users == 0 {
			unused = append(unused, e)
		}
	}
	p.mu.Unlock()
	var all sync.WaitGroup
	for _, e := range unused {
		all.Go(e.close)
	}
	all.Wait()
}
