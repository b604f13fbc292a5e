package simbmc

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Limits and defaults of a BMC.
const (
	defaultSessions = 16               // Redfish sessions; iDRAC 8 has fewer
	sessionIdle     = 30 * time.Minute // DSP0266 §13.3.4: sessions end by inactivity
	actionTimeout   = 2 * time.Minute  // of one power action of the body
	maxQueue        = 8                // power actions that wait for their turn
)

// errPending refuses a power action when too many wait for their turn.
var errPending = errors.New("other power actions are pending")

// Config is how a BMC behaves. Username and Password are required.
type Config struct {
	Username string
	Password string // IPMI 2.0 takes at most 20 bytes
	// Latency is the time between the answer to a power action and its
	// beginning. Zero: the action is done before it is answered, and its error
	// is part of the answer.
	Latency time.Duration
	// Journal gets what clients did; nil records nothing.
	Journal *Journal
	// SessionLimit is how many Redfish sessions and, apart from them, IPMI
	// sessions may be open; zero is 16.
	SessionLimit int
	// Events gives the Redfish face an event service, which pushes changes of
	// power.
	Events bool
	// Now and Random are the clock and the source of session tokens; nil is the
	// wall clock and crypto/rand.
	Now    func() time.Time
	Random io.Reader
}

// Stats counts what clients have asked of one BMC.
type Stats struct {
	Requests     int64 // Redfish requests and IPMI commands, the handshake's included
	Logins       int64 // sessions opened
	AuthFailures int64 // Redfish requests refused for their credentials
}

// BMC is the controller of one body. Its faces share state: an override set over
// IPMI is read over Redfish.
type BMC struct {
	body   Body
	info   Info
	cfg    Config
	faults faultSwitch
	health atomic.Pointer[string] // of the machine; nil: OK

	requests, logins, authFailures atomic.Int64

	ctx    context.Context // of actions that outlive their request
	cancel context.CancelFunc

	powerMu sync.Mutex
	queue   []PowerAction // accepted and not done, the running one first
	timer   *time.Timer   // of the first in the queue
	running sync.WaitGroup

	mu       sync.Mutex
	sessions map[string]*session // by token
	nextID   int
	eventID  int

	subscriptions map[string]subscription // by id
	ipmi          *ipmiFace               // nil until it is served
}

// New returns the BMC of body.
func New(body Body, cfg Config) *BMC {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	if cfg.SessionLimit == 0 {
		cfg.SessionLimit = defaultSessions
	}
	b := &BMC{body: body, info: body.Info(), cfg: cfg, sessions: map[string]*session{}}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b
}

// SetFaults replaces what is wrong with the BMC, at once and for both faces.
func (b *BMC) SetFaults(f Faults) {
	b.faults.set(f)
	b.mu.Lock()
	face := b.ipmi
	b.mu.Unlock()
	if face != nil {
		face.setWrongPassword(f.WrongPassword)
	}
}

// Faults returns what is wrong with the BMC now.
func (b *BMC) Faults() Faults { return b.faults.get() }

// Stats returns what clients have asked so far.
func (b *BMC) Stats() Stats {
	return Stats{Requests: b.requests.Load(), Logins: b.logins.Load(), AuthFailures: b.authFailures.Load()}
}

// Close drops pending power actions and waits for the one that runs. It closes
// no socket.
func (b *BMC) Close() {
	b.cancel()
	b.powerMu.Lock()
	if b.timer != nil && b.timer.Stop() {
		b.running.Done()
	}
	b.powerMu.Unlock()
	b.running.Wait()
}

// power carries an action out, now or after the configured latency and whatever
// was accepted before.
func (b *BMC) power(ctx context.Context, a PowerAction) error {
	if b.faults.get().PowerIgnored {
		b.cfg.Journal.Add(b.info.Name, KindIgnored, "power "+string(a))
		return nil
	}
	b.powerMu.Lock()
	defer b.powerMu.Unlock()
	on, err := b.body.Power(ctx)
	if err != nil {
		return fmt.Errorf("read power state: %w", err)
	}
	if n := len(b.queue); n > 0 { // what will be when this action's turn comes
		last := b.queue[n-1]
		on = last != ForceOff && last != GracefulShutdown
	}
	switch {
	case a == PowerOn && on, (a == ForceOff || a == GracefulShutdown) && !on:
		return nil // already there: BMCs answer as if they had done it
	case a != PowerOn && !on:
		return ErrState // IPMI 2.0 table 28-4: D5h for a cycle or reset when off
	case b.cfg.Latency == 0:
		return b.act(a)
	case len(b.queue) == maxQueue || b.ctx.Err() != nil:
		return errPending
	}
	b.queue = append(b.queue, a)
	if len(b.queue) == 1 {
		b.arm()
	}
	return nil
}

// arm starts the clock of the first action in the queue; b.powerMu is held.
func (b *BMC) arm() {
	b.running.Add(1)
	a := b.queue[0]
	b.timer = time.AfterFunc(b.cfg.Latency, func() {
		defer b.running.Done()
		_ = b.act(a) // recorded in the journal; nobody is left to be told
		b.powerMu.Lock()
		defer b.powerMu.Unlock()
		if b.queue = b.queue[1:]; len(b.queue) > 0 && b.ctx.Err() == nil {
			b.arm()
		}
	})
}

// act carries an action out to its end: a client that hangs up does not stop it.
func (b *BMC) act(a PowerAction) error {
	ctx, cancel := context.WithTimeout(b.ctx, actionTimeout)
	defer cancel()
	b.cfg.Journal.Add(b.info.Name, KindPower, string(a))
	if err := b.body.SetPower(ctx, a); err != nil {
		b.cfg.Journal.Add(b.info.Name, KindPowerError, fmt.Sprintf("%s: %v", a, err))
		return fmt.Errorf("%s: %w", a, err)
	}
	b.mu.Lock()
	face := b.ipmi
	b.mu.Unlock()
	if face != nil {
		face.sel.power(a)
	}
	b.powerChanged()
	return nil
}

func (b *BMC) setBoot(ctx context.Context, o BootOverride) error {
	detail := fmt.Sprintf("%s %s %s", o.Target, o.Enabled, o.Mode)
	if b.faults.get().BootIgnored {
		b.cfg.Journal.Add(b.info.Name, KindIgnored, "boot "+detail)
		return nil
	}
	if err := b.body.SetBoot(ctx, o); err != nil {
		return fmt.Errorf("set boot override: %w", err)
	}
	b.cfg.Journal.Add(b.info.Name, KindBoot, detail)
	return nil
}

func (b *BMC) insert(ctx context.Context, url string) error {
	if err := b.body.InsertMedia(ctx, url); err != nil {
		return fmt.Errorf("insert media: %w", err)
	}
	b.cfg.Journal.Add(b.info.Name, KindMedia, "insert "+url)
	return nil
}

func (b *BMC) eject(ctx context.Context) error {
	if err := b.body.EjectMedia(ctx); err != nil {
		return fmt.Errorf("eject media: %w", err)
	}
	b.cfg.Journal.Add(b.info.Name, KindMedia, "eject")
	return nil
}

// authentic compares in constant time, as the real thing should.
func (b *BMC) authentic(username, password string) bool {
	if b.faults.get().WrongPassword {
		return false
	}
	got := sha256.Sum256([]byte(username + "\x00" + password))
	want := sha256.Sum256([]byte(b.cfg.Username + "\x00" + b.cfg.Password))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

func (b *BMC) authFailed(how string) {
	b.authFailures.Add(1)
	b.cfg.Journal.Add(b.info.Name, KindAuth, how)
}
