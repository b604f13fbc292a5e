package dhcp

import (
	"time"

	"golang.org/x/time/rate"
)

const (
	perMACRate  = 5  // packets a second
	perMACBurst = 20 // a firmware with three boot attempts in a row stays below
	limiterSize = 4096
)

// limiter bounds the packets that one MAC may cause work for, in bounded memory: two generations of at most limiterSize buckets. It is used by one
// goroutine. A flood with made-up MACs makes it forget, and then the bounded queue is what holds.
type limiter struct {
	young, old map[MAC]*rate.Limiter
}

func newLimiter() *limiter { return &limiter{young: map[MAC]*rate.Limiter{}} }

func (l *limiter) allow(mac MAC, now time.Time) bool {
	b, ok := l.young[mac]
	if !ok {
		if b, ok = l.old[mac]; !ok {
			b = rate.NewLimiter(perMACRate, perMACBurst)
		}
		if len(l.young) >= limiterSize {
			l.old, l.young = l.young, map[MAC]*rate.Limiter{}
		}
		l.young[mac] = b
	}
	return b.AllowN(now, 1)
}
