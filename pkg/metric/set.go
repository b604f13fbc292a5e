package metric

import (
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ingot-metal/ingot/pkg/host"
)

// Set is all metrics of a service. It is a prometheus.Collector, and safe for
// concurrent use. A nil Set counts nothing.
type Set struct {
	metal3
	own

	mu    sync.Mutex
	hosts map[string]summary // by namespace/name
}

// summary is what the gauges need of a host.
type summary struct {
	state   host.State
	code    string    // of the problem that stands; empty: none
	nextTry time.Time // zero: it waits for a change, or for nothing
	health  host.Health
	good    string // credentials that last worked
}

// New makes a Set, with a zero in every series whose labels are known: a counter
// that appears with its first event shows no rate for it.
func New() *Set {
	return &Set{metal3: newMetal3(), own: newOwn(), hosts: map[string]summary{}}
}

// Describe implements prometheus.Collector.
func (s *Set) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range append(s.metal3.all(), s.own.all()...) {
		c.Describe(ch)
	}
	for _, d := range s.gauges() {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *Set) Collect(ch chan<- prometheus.Metric) {
	for _, c := range append(s.metal3.all(), s.own.all()...) {
		c.Collect(ch)
	}
	s.collectHosts(ch)
}

// Reconciling counts a look at a host.
func (s *Set) Reconciling(namespace, name string) {
	if s != nil {
		s.reconciles.WithLabelValues(namespace, name).Inc()
	}
}

// ReconcileFailed counts a look that ended with an error.
func (s *Set) ReconcileFailed() {
	if s != nil {
		s.reconcileErrors.Inc()
	}
}

// CredentialsUnread counts a BMC's Secret that could not be read.
func (s *Set) CredentialsUnread() {
	if s != nil {
		s.credentialsUnhandled.Inc()
	}
}

// Stepped counts what an event made of a host, and what is to be done about it.
func (s *Set) Stepped(before, after host.Host, todo []host.Action, now time.Time) {
	if s == nil {
		return
	}
	namespace, name, _ := strings.Cut(after.Key, "/")
	s.states(namespace, name, before, after, now)
	s.operation(namespace, name, before, after, todo, now)
	if p := after.Problem; p != nil && (before.Problem == nil || before.Problem.Since != p.Since || before.Problem.Code != p.Code) {
		s.problem(*p)
	}
	if delayed(after) && !delayed(before) {
		s.deleteDelayed.Inc()
	}

	is := summary{state: after.State, health: after.Health, good: after.Good}
	if p := after.Problem; p != nil {
		is.code, is.nextTry = p.Code, p.NextTry
	}
	s.mu.Lock()
	was, known := s.hosts[after.Key]
	if !known {
		was.good = before.Good
	}
	if is.good == "" {
		is.good = was.good // they are to be tried again: that alone is no change
	}
	s.hosts[after.Key] = is
	s.mu.Unlock()
	if is.good != was.good {
		s.credentialsUpdated.Inc()
	}
}

// delayed reports a deletion that waits for the detached annotation to go.
func delayed(h host.Host) bool {
	return h.Wants.Deleting && h.Detached && h.Wants.Detach != nil && h.Wants.Detach.DelayDelete
}

// Forget removes the series of a host that is gone, or no longer ours.
func (s *Set) Forget(namespace, name string) {
	if s == nil {
		return
	}
	s.metal3.forget(namespace, name)
	s.mu.Lock()
	delete(s.hosts, namespace+"/"+name)
	s.mu.Unlock()
}
