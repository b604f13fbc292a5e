package redfish

import (
	"fmt"
	"sync"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

const (
	// breakerTrips is how many calls in a row must find nobody.
	breakerTrips = 3
	// Polls are held back for breakerFirst, and twice as long each time that the
	// next one finds nobody either.
	breakerFirst = time.Second
	breakerMost  = 5 * time.Minute
)

// breaker keeps polls off a BMC that does not answer: each would occupy a
// connection for its whole time-out. Interactive calls are not asked here; what
// they find counts.
type breaker struct {
	mu       sync.Mutex
	failures int           // in a row
	pause    time.Duration // zero: closed, all may pass
	next     time.Time     // when a poll is let through
	probing  bool          // one was
	last     string        // what the last failure said
}

// refuse answers a poll that is not to be sent. With claim, a poll that may pass
// is the one that tries: the others go on being refused until it is back.
func (b *breaker) refuse(op string, now time.Time, claim bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pause == 0 {
		return nil
	}
	if wait := b.next.Sub(now); wait > 0 {
		return &bmc.Error{
			Class: bmc.Unreachable, Code: bmc.CodeUnreachable, Op: op, RetryAfter: wait,
			Detail: fmt.Sprintf("not asked: the BMC did not answer %d times in a row (%s); it is polled again at %s, in %s",
				b.failures, b.last, b.next.UTC().Format(time.RFC3339), wait.Round(time.Second/10)),
		}
	}
	if claim {
		b.probing, b.next = true, now.Add(b.pause)
	}
	return nil
}

// record learns from a call that was sent. An answer of any kind, a certificate
// that is not trusted too, comes from a BMC that is there.
func (b *breaker) record(now time.Time, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err != nil && bmc.ClassOf(err) == bmc.Transient:
		return // the caller went away, which says nothing of the BMC
	case err == nil || bmc.ClassOf(err) != bmc.Unreachable:
		b.failures, b.pause, b.probing = 0, 0, false
		return
	}
	b.failures++
	b.last = clip(err.Error())
	if b.failures < breakerTrips || b.pause > 0 && !b.probing && now.Before(b.next) {
		return // an interactive call in between does not make the polls wait longer
	}
	b.pause = min(max(2*b.pause, breakerFirst), breakerMost)
	b.next, b.probing = now.Add(b.pause), false
}
