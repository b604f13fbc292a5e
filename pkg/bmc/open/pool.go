package open

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
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
	idle  time.Duration
	after func(time.Duration, func()) (stop func() bool)

	mu      sync.Mutex
	entries map[Key]*entry
	behind  map[way][]*entry // those of Redfish, by their BMC
	refused map[Key]*refusal
	closed  bool
}

// way is what the machines behind one BMC have in common.
type way struct {
	base, version string
	options       Options
}

// refusal is an error of class Auth, remembered.
type refusal struct{ err error }

// entry is a Conn that is open, or being opened.
type entry struct {
	addr bmc.Address
	key  Key
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
		idle: idle, entries: map[Key]*entry{}, behind: map[way][]*entry{}, refused: map[Key]*refusal{},
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
	var sibling bmc.Conn
	e, found := p.entries[key]
	if !found {
		addr, err := bmc.ParseAddress(key.Address)
		if err != nil {
			p.mu.Unlock()
			return nil, nil, err
		}
		e = &entry{addr: addr, key: key, open: make(chan struct{})}
		sibling = p.add(e)
	}
	e.users++
	if e.stop != nil {
		e.stop()
		e.stop = nil
	}
	p.mu.Unlock()

	if !found {
		conn, err := dial(ctx, e.addr, creds, key.Options, sibling)
		p.mu.Lock()
		e.conn, e.err = conn, err
		if err != nil {
			p.forget(e)
		}
		if err != nil && bmc.ClassOf(err) == bmc.Auth {
			p.remember(key, err)
		}
		p.mu.Unlock()
		close(e.open)
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
	if e.err != nil {
		p.release(e)
		return nil, nil, e.err
	}
	return e.conn, sync.OnceFunc(func() { p.release(e) }), nil
}

// add puts e in and returns an open Conn to another machine behind its BMC, if
// there is one. p.mu is held; the caller has a user of its own on e, and the
// sibling's Endpoint counts its Systems, so it may be closed at any time after.
func (p *Pool) add(e *entry) (sibling bmc.Conn) {
	p.entries[e.key] = e
	if e.addr.Protocol != bmc.ProtocolRedfish {
		return nil
	}
	w := e.way()
	for _, other := range p.behind[w] {
		if other.conn != nil {
			sibling = other.conn
		}
	}
	p.behind[w] = append(p.behind[w], e)
	return sibling
}

func (e *entry) way() way { return way{e.addr.BaseURL(), e.key.Version, e.key.Options} }

// forget takes e out, so that the next caller opens anew. p.mu is held.
func (p *Pool) forget(e *entry) {
	if p.entries[e.key] == e {
		delete(p.entries, e.key)
	}
	w := e.way()
	if left := slices.DeleteFunc(p.behind[w], func(x *entry) bool { return x == e }); len(left) > 0 {
		p.behind[w] = left
	} else {
		delete(p.behind, w)
	}
	e.doomed = true
}

// remember keeps a refusal for as long as an idle Conn would be kept, however
// often it is asked for. p.mu is held.
func (p *Pool) remember(key Key, err error) {
	r := &refusal{err: err}
	p.refused[key] = r
	p.after(p.idle, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.refused[key] == r {
			delete(p.refused, key)
		}
	})
}

func (p *Pool) release(e *entry) {
	p.mu.Lock()
	e.users--
	if c, ok := e.conn.(interface{ Refused() error }); ok && !e.doomed {
		if err := c.Refused(); err != nil { // the password was changed at the BMC
			p.forget(e)
			p.remember(e.key, err)
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
