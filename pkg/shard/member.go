package shard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	coordv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// DefaultShards is how many there are unless somebody says otherwise: enough for a
// handful of replicas to have even shares.
const DefaultShards = 16

// MaxShards bounds what is listed in each round.
const MaxShards = 256

// Times of leases, as leader election has them. The deadline is below the
// duration: what lies between is the room for clocks that do not run alike and
// for a write that was begun at the last moment.
const (
	DefaultDuration = 15 * time.Second
	DefaultDeadline = 10 * time.Second
	DefaultRetry    = 2 * time.Second
)

// Config of a Member. Client and Name are required.
type Config struct {
	// Client reads past any cache, and is not slowed down by a rate limit.
	Client    client.Client
	Namespace string // of the Leases
	Name      string // of this replica; each start adds something of its own
	Door      string // URL under which agents and other replicas reach this one
	// Shards must be the same for all; 0: as many as there are.
	Shards int
	// Exclusive says that no other process of this Name lives, so that the shards
	// of an earlier start are taken without waiting for its Lease.
	Exclusive bool

	Duration time.Duration // a silent replica counts as dead after this
	Deadline time.Duration // a replica acts for so long after a renewal was begun
	Retry    time.Duration // between two rounds

	Now   func() time.Time
	NewID func() string
	Log   *slog.Logger

	// Gained is told of shards that are ours from now on, Lost of shards that are
	// no more: it returns when nothing of ours acts on their hosts. Both are
	// called by Run, not by Join.
	Gained, Lost func(shards []int)
}

// Claim is the right to act on a host.
type Claim struct {
	// Epoch is higher than that of every claim to the host before.
	Epoch int64
	// Until is when the right ends, unless it is renewed meanwhile.
	Until time.Time
	// First says that it was taken before this process read anything: what its
	// caches hold is no older than the claim.
	First bool
}

// Member is this replica among the others.
type Member struct {
	cfg Config

	// Only Join and Run touch these.
	lease   *coordv1.Lease // our own, as stored; nil: none
	seen    map[string]sighting
	joining bool

	mu      sync.Mutex
	id      string // holder's identity; changes when a deadline was missed
	until   time.Time
	shards  int
	mine    map[int]*held
	holders []string          // by shard, as of the last round
	doors   map[string]string // of live members
}

// held is a shard of ours.
type held struct {
	epoch int64
	first bool
}

// sighting is a Lease as it was first seen in this version.
type sighting struct {
	version string
	at      time.Time
}

// New makes a Member.
func New(cfg Config) (*Member, error) {
	if cfg.Duration == 0 {
		cfg.Duration = DefaultDuration
	}
	if cfg.Deadline == 0 {
		cfg.Deadline = DefaultDeadline
	}
	if cfg.Retry == 0 {
		cfg.Retry = DefaultRetry
	}
	switch {
	case cfg.Shards < 0 || cfg.Shards > MaxShards:
		return nil, fmt.Errorf("%d shards: want 1 to %d", cfg.Shards, MaxShards)
	case cfg.Duration < time.Second:
		return nil, fmt.Errorf("lease duration %s: want at least a second", cfg.Duration)
	case cfg.Deadline >= cfg.Duration:
		return nil, fmt.Errorf("renew deadline %s: want less than the lease duration %s", cfg.Deadline, cfg.Duration)
	case cfg.Retry <= 0 || cfg.Retry >= cfg.Deadline:
		return nil, fmt.Errorf("retry period %s: want less than the renew deadline %s", cfg.Retry, cfg.Deadline)
	}
	for _, f := range []*func([]int){&cfg.Gained, &cfg.Lost} {
		if *f == nil {
			*f = func([]int) {}
		}
	}
	return &Member{cfg: cfg, seen: map[string]sighting{}, mine: map[int]*held{}, doors: map[string]string{}}, nil
}

// Notify sets whom Run tells. It is called before Run.
func (m *Member) Notify(gained, lost func(shards []int)) { m.cfg.Gained, m.cfg.Lost = gained, lost }

// Claim is the right to act on a host, given as namespace/name; false: there is
// none, now.
func (m *Member) Claim(key string) (Claim, bool) {
	now := m.cfg.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shards == 0 || !now.Before(m.until) {
		return Claim{}, false
	}
	h := m.mine[Of(key, m.shards)]
	if h == nil {
		return Claim{}, false
	}
	return Claim{Epoch: h.epoch, Until: m.until, First: h.first}, true
}

// In reports whether a host is in one of the shards.
func (m *Member) In(key string, shards []int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.shards > 0 && slices.Contains(shards, Of(key, m.shards))
}

// Owner is the door of the replica that has a host, as of the last round; empty:
// it is ours, or nobody is known to have it.
func (m *Member) Owner(key string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shards == 0 || len(m.holders) != m.shards {
		return ""
	}
	holder := m.holders[Of(key, m.shards)]
	if holder == m.id {
		return ""
	}
	return m.doors[holder]
}

// Others are the doors of the other live replicas, in a stable order.
func (m *Member) Others() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for id, door := range m.doors {
		if id != m.id && door != "" {
			out = append(out, door)
		}
	}
	slices.Sort(out)
	return out
}

// Holds reports whether one shard is ours: for what one replica does for all.
func (m *Member) Holds(shard int) bool {
	now := m.cfg.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mine[shard] != nil && now.Before(m.until)
}

// Held lists the shards that are ours.
func (m *Member) Held() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.mine))
}

// Join agrees on the number of shards, announces this replica and takes what is
// free. It returns when that has succeeded once: an API that does not answer yet is
// asked again.
func (m *Member) Join(ctx context.Context) error {
	m.joining = true
	defer func() { m.joining = false }()
	for {
		err := m.join(ctx)
		switch _, disagree := errors.AsType[*DisagreeError](err); {
		case err == nil:
			return nil
		case ctx.Err() != nil, disagree, apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
			return err
		}
		m.cfg.Log.Warn("this replica has no share of the hosts yet; it is tried again", "err", err)
		t := time.NewTimer(m.cfg.Retry)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}

func (m *Member) join(ctx context.Context) error {
	if err := m.agree(ctx); err != nil {
		return err
	}
	if m.cfg.Exclusive && m.lease == nil {
		if err := m.endEarlier(ctx); err != nil {
			return err
		}
	}
	if err := m.round(ctx); err != nil {
		return err
	}
	if m.lease == nil {
		return errors.New("this replica's Lease was not renewed in time")
	}
	return nil
}

// Run keeps what is ours until ctx is done, and gives it back then.
func (m *Member) Run(ctx context.Context) {
	t := time.NewTimer(m.cfg.Retry)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			m.leave(context.WithoutCancel(ctx))
			return
		case <-t.C:
		}
		if err := m.round(ctx); err != nil && ctx.Err() == nil {
			m.cfg.Log.Warn("this replica's share of the hosts is not renewed yet", "err", err, "until", m.deadline())
		}
		t.Reset(m.pause())
	}
}

// pause until the next round: no longer than to the deadline, at which what is
// ours is let go.
func (m *Member) pause() time.Duration {
	d := m.cfg.Retry
	if left := m.deadline().Sub(m.cfg.Now()); left > 0 {
		d = min(d, left)
	}
	return max(d, time.Millisecond)
}

func (m *Member) deadline() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.until
}

// round renews, looks, and brings our share into balance.
func (m *Member) round(ctx context.Context) error {
	if m.lease != nil && !m.cfg.Now().Before(m.deadline()) {
		m.fenced("the renew deadline has passed")
	}
	if err := m.renew(ctx); err != nil {
		if !m.cfg.Now().Before(m.deadline()) {
			m.fenced("the renew deadline has passed")
		}
		return err
	}
	if m.lease == nil { // renewed too late
		return nil
	}
	ctx, cancel := context.WithDeadline(ctx, time.Now().Add(m.cfg.Deadline/2))
	defer cancel()
	shards, members, err := m.look(ctx)
	if err != nil {
		return err
	}
	holders := make([]string, m.shards)
	var live []string
	m.mu.Lock()
	m.doors = map[string]string{}
	for id, l := range members {
		live = append(live, id)
		m.doors[id] = l.Annotations[doorAnnotation]
	}
	for i, l := range shards {
		if h := holderOf(l); members[h] != nil {
			holders[i] = h
		}
	}
	m.holders = holders
	me := m.id
	m.mu.Unlock()
	if members[me] == nil {
		return nil // the next renewal fails, and says so
	}
	m.missing(holders, me)
	take, give := plan(me, live, holders)
	for i, h := range holders {
		if h == me && !m.has(i) && !slices.Contains(give, i) {
			take = append(take, i) // an answer to us was lost
		}
	}
	return errors.Join(m.take(ctx, take, shards), m.give(ctx, give, shards))
}

func (m *Member) has(shard int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mine[shard] != nil
}

// missing lets go of shards that the Leases do not show as ours: somebody changed
// them by hand.
func (m *Member) missing(holders []string, me string) {
	var gone []int
	m.mu.Lock()
	for i := range m.mine {
		if holders[i] != me {
			gone = append(gone, i)
			delete(m.mine, i)
		}
	}
	m.mu.Unlock()
	m.lost(gone)
}

// fenced lets go of everything, at once. This replica begins anew under another
// identity, and its old Lease goes, so that nobody waits for it.
func (m *Member) fenced(why string) {
	m.mu.Lock()
	gone := slices.Sorted(maps.Keys(m.mine))
	clear(m.mine)
	m.until = time.Time{}
	m.mu.Unlock()
	m.cfg.Log.Warn("this replica no longer owns its hosts", "why", why, "shards", len(gone))
	m.lost(gone)
	m.drop()
}

func (m *Member) lost(gone []int) {
	if len(gone) > 0 && !m.joining {
		slices.Sort(gone)
		m.cfg.Lost(gone)
	}
}

// leave gives everything back.
func (m *Member) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Deadline)
	defer cancel()
	m.mu.Lock()
	gone := slices.Sorted(maps.Keys(m.mine))
	clear(m.mine)
	m.until = time.Time{}
	m.mu.Unlock()
	m.lost(gone)
	if m.lease == nil {
		return
	}
	// Without its holder's Lease a shard is free.
	if err := m.end(ctx, m.lease); err != nil {
		m.cfg.Log.Warn("the other replicas wait for this one's Lease to run out", "err", err)
	}
}
