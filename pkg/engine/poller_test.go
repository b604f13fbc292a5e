package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/host"
)

// polled is a BMC that is read by a Poller.
type polled struct {
	mute
	mu    sync.Mutex
	power bmc.PowerState
	err   error
	slow  time.Duration
	reads []time.Time
}

func (p *polled) PowerState(ctx context.Context) (bmc.PowerState, error) {
	p.mu.Lock()
	p.reads = append(p.reads, time.Now())
	power, err, slow := p.power, p.err, p.slow
	p.mu.Unlock()
	select {
	case <-time.After(slow):
		return power, err
	case <-ctx.Done():
		return bmc.PowerUnknown, ctx.Err()
	}
}

func (*polled) SetPower(context.Context, bmc.PowerAction) error { return errors.New("not asked for") }

func (p *polled) set(power bmc.PowerState, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.power, p.err = power, err
}

func (p *polled) takes(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slow = d
}

// count is how often it was read since the last count.
func (p *polled) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.reads)
	p.reads = nil
	return n
}

// row is many BMCs, by the name of their host.
type row map[string]*polled

func (r row) Conn(_ context.Context, b *metal3.BareMetalHost, _ bmc.Credentials, _ string) (bmc.Conn, error) {
	return r[b.Name], nil
}

// polling is a Poller over a row, in a bubble whose clock is pretended.
type polling struct {
	*Poller
	t   *testing.T
	row row
	mu  sync.Mutex
	log []string
}

func newPolling(t *testing.T, every time.Duration, names ...string) *polling {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	p := &polling{t: t, row: row{}}
	say := func(format string, a ...any) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.log = append(p.log, fmt.Sprintf(format, a...))
	}
	p.Poller = NewPoller(ctx, &Engine{BMCs: p.row}, every,
		func(k types.NamespacedName, now host.Power) { say("%s is %s", k.Name, now) },
		func(k types.NamespacedName) { say("%s is silent", k.Name) })
	for _, n := range names {
		p.row[n] = &polled{power: bmc.PowerOn}
		p.watch(n, host.PowerOn)
	}
	return p
}

func rowKey(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "rack", Name: name}
}

func (p *polling) watch(name string, power host.Power) {
	b := &metal3.BareMetalHost{}
	b.Name = name
	p.Watch(Input{Key: rowKey(name), BMH: b, Host: host.Host{Power: power}})
}

// said is what was told since the last time.
func (p *polling) said(want ...string) {
	p.t.Helper()
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.log, want) {
		p.t.Errorf("told %q, want %q", p.log, want)
	}
	p.log = nil
}

func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

// Hosts that come at once are not polled at once, each is polled about every
// minute, and nothing is told while nothing changes.
func TestPollsAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names []string
		for i := range 200 {
			names = append(names, fmt.Sprintf("w%d", i))
		}
		p := newPolling(t, time.Minute, names...)
		begun := time.Now()
		perSecond := map[int]int{}
		pass(10 * time.Minute)
		for n, b := range p.row {
			if len(b.reads) < 8 || len(b.reads) > 13 {
				t.Errorf("%s was polled %d times in ten minutes", n, len(b.reads))
			}
			for i, at := range b.reads {
				perSecond[int(at.Sub(begun).Seconds())]++
				if i == 0 {
					continue
				}
				if d := at.Sub(b.reads[i-1]); d < 48*time.Second || d > 72*time.Second {
					t.Errorf("%s: %s between two polls", n, d)
				}
			}
		}
		for s, n := range perSecond {
			if n > 20 {
				t.Errorf("%d polls in second %d", n, s)
			}
		}
		p.said()
	})
}

func TestPollTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPolling(t, time.Minute, "w1", "w2")
		b := p.row["w1"]
		pass(5 * time.Minute)
		p.said()
		b.set(bmc.PowerOff, nil)
		pass(72 * time.Second)
		p.said("w1 is off")
		pass(5 * time.Minute)
		p.said()

		// Two failures are bad luck; the third in a row is told, once.
		b.set(bmc.PowerUnknown, errors.New("no route"))
		b.count()
		for b.count() == 0 {
			pass(time.Second)
		}
		b.set(bmc.PowerOff, nil)
		pass(3 * time.Minute)
		p.said()
		b.set(bmc.PowerUnknown, errors.New("no route"))
		pass(10 * time.Minute)
		p.said("w1 is silent")

		// An answer that says nothing is no failure and no news.
		b.set(bmc.PowerUnknown, nil)
		pass(10 * time.Minute)
		p.said()
	})
}

// Nothing is read of a host that something is done to, and what is read meanwhile
// does not count.
func TestPollsLeaveBusyHostsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPolling(t, time.Minute, "w1")
		b := p.row["w1"]
		p.engine.mu.Lock()
		p.engine.busy = map[types.NamespacedName]*work{rowKey("w1"): {cancel: func() {}}}
		p.engine.mu.Unlock()
		pass(10 * time.Minute)
		if n := b.count(); n != 0 {
			t.Errorf("%d polls of a busy host", n)
		}
		p.engine.Cancel(rowKey("w1"))
		pass(2 * time.Minute)
		if b.count() == 0 {
			t.Error("no polls any more")
		}

		b.takes(30 * time.Second)
		b.set(bmc.PowerOff, nil)
		for b.count() == 0 {
			pass(time.Second)
		}
		p.Forget(rowKey("w1"))
		p.watch("w1", host.PowerOn)
		pass(11 * time.Second) // less than until its next poll
		b.set(bmc.PowerOn, nil)
		pass(5 * time.Minute)
		p.said()

		p.Forget(rowKey("w1"))
		b.count()
		pass(10 * time.Minute)
		if n := b.count(); n != 0 {
			t.Errorf("%d polls of a forgotten host", n)
		}
		if p.Wake(rowKey("w1")) {
			t.Error("a forgotten host was woken")
		}
	})
}

func TestWakePolls(t *testing.T) {
	for _, every := range []time.Duration{time.Hour, 0} {
		t.Run(every.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPolling(t, every, "w1")
				b := p.row["w1"]
				b.set(bmc.PowerOff, nil)
				if !p.Wake(rowKey("w1")) {
					t.Fatal("not known")
				}
				pass(10 * time.Millisecond)
				p.said("w1 is off")

				// The BMC's word may come before its own picture changes.
				p.Wake(rowKey("w1"))
				pass(time.Second)
				b.set(bmc.PowerOn, nil)
				pass(secondLook)
				p.said("w1 is on")

				// Many words during one slow poll are one more poll.
				b.takes(2 * time.Second)
				b.count()
				for range 50 {
					p.Wake(rowKey("w1"))
					pass(10 * time.Millisecond)
				}
				pass(4 * time.Second)
				if n := b.count(); n != 2 {
					t.Errorf("%d polls, want 2", n)
				}
				pass(5 * time.Minute)
				b.count()
				pass(10 * time.Minute)
				if n := b.count(); n != 0 {
					t.Errorf("%d polls that nobody asked for", n)
				}
			})
		})
	}
}

// A dark row of racks does not keep the others waiting.
func TestSilentBMCsDoNotDelayOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"good"}
		for i := range maxPolls {
			names = append(names, fmt.Sprintf("dark%d", i))
		}
		p := newPolling(t, time.Minute, names...)
		for n, b := range p.row {
			if n != "good" {
				b.takes(time.Hour)
			}
		}
		pass(5 * time.Minute)
		p.row["good"].count()
		pass(10 * time.Minute)
		if n := p.row["good"].count(); n < 8 {
			t.Errorf("%d polls of the one that answers, in ten minutes", n)
		}
	})
}
