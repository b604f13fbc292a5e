package metric

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ingot-metal/ingot/pkg/host"
)

// own are ingot's metrics beyond Metal3's. None carries a host's name.
type own struct {
	phases    *prometheus.HistogramVec
	failures  *prometheus.CounterVec
	apiWrites *prometheus.CounterVec
	bmcCalls  *prometheus.CounterVec
	bmcErrors *prometheus.CounterVec

	byState, byCode, byHealth, waiting, nextTry *prometheus.Desc
}

func newOwn() own {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return own{
		phases: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "ingot_phase_duration_seconds", Help: "How long the phases of operations took that came to a good end",
			Buckets: []float64{0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600, 1200, 3600},
		}, []string{"operation", "phase"}),
		failures:  vec("ingot_operation_failures_total", "Operations that failed, by the problem they met", "operation", "code"),
		apiWrites: vec("ingot_api_writes_total", "Writes to the Kubernetes API", "resource", "result"),
		bmcCalls:  vec("ingot_bmc_calls_total", "Calls of BMCs", "protocol"),
		bmcErrors: vec("ingot_bmc_errors_total", "Calls of BMCs that failed, by the class of the error", "protocol", "class"),

		byState:  gauge("ingot_hosts", "Hosts by provisioning state", "state"),
		byCode:   gauge("ingot_host_problems", "Problems that stand, by code (docs/errors)", "code"),
		byHealth: gauge("ingot_hosts_health", "Hosts by what their BMCs say of their health", "health"),
		waiting:  gauge("ingot_hosts_waiting", "Hosts with a problem, by what they wait for: a retry, or a change of what is declared", "for"),
		nextTry:  gauge("ingot_next_try_timestamp_seconds", "When the next of the hosts with a problem is tried again; absent if there is none"),
	}
}

func (o *own) all() []prometheus.Collector {
	return []prometheus.Collector{o.phases, o.failures, o.apiWrites, o.bmcCalls, o.bmcErrors}
}

func (o *own) gauges() []*prometheus.Desc {
	return []*prometheus.Desc{o.byState, o.byCode, o.byHealth, o.waiting, o.nextTry}
}

// operation counts operations that begin, phases that end and what ends in
// failure. What was cancelled came to no end of its own.
func (s *Set) operation(namespace, name string, before, after host.Host, todo []host.Action, now time.Time) {
	was, is := before.Op, after.Op
	if is != nil && (was == nil || was.Kind != is.Kind || was.Started != is.Started) {
		s.begun(namespace, name, is.Kind)
	}
	cancelled := slices.ContainsFunc(todo, func(a host.Action) bool { return a.Verb == host.Cancel })
	switch {
	case was == nil || !was.Entered:
	case after.Problem != nil && before.Problem == nil:
		s.failures.WithLabelValues(string(was.Kind), after.Problem.Code).Inc()
	case cancelled:
	case is == nil || is.Kind != was.Kind || is.Started != was.Started || is.Phase != was.Phase:
		s.phases.WithLabelValues(string(was.Kind), string(was.Phase)).Observe(max(now.Sub(was.Since), 0).Seconds())
	}
}

// APIWrite counts a write to the Kubernetes API: its resource, and ok, conflict
// or error.
func (s *Set) APIWrite(resource, result string) {
	if s != nil {
		s.apiWrites.WithLabelValues(resource, result).Inc()
	}
}

// BMCCall counts a call of a BMC; class is empty if it was answered well.
func (s *Set) BMCCall(protocol, class string) {
	if s == nil {
		return
	}
	s.bmcCalls.WithLabelValues(protocol).Inc()
	if class != "" {
		s.bmcErrors.WithLabelValues(protocol, class).Inc()
	}
}

// states that hosts are counted in even where there are none: a panel then shows
// a zero.
var states = []host.State{
	host.Unmanaged, host.Registering, host.Inspecting, host.Preparing, host.Available, host.Provisioning, host.Provisioned,
	host.ExternallyProvisioned, host.Deprovisioning, host.PoweringOffBeforeDelete, host.Deleting,
}

// collectHosts counts the hosts when it is asked: what is never added up cannot
// drift.
func (s *Set) collectHosts(ch chan<- prometheus.Metric) {
	byState, byCode, byHealth, waiting := map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{"retry": 0, "change": 0}
	for _, st := range states {
		byState[string(st)] = 0
	}
	for _, h := range []host.Health{host.Healthy, host.HealthWarning, host.HealthCritical, host.HealthUnknown} {
		byHealth[healthLabel(h)] = 0
	}
	var next time.Time
	s.mu.Lock()
	for _, h := range s.hosts {
		byState[string(h.state)]++
		byHealth[healthLabel(h.health)]++
		if h.code == "" {
			continue
		}
		byCode[h.code]++
		if h.nextTry.IsZero() {
			waiting["change"]++
			continue
		}
		waiting["retry"]++
		if next.IsZero() || h.nextTry.Before(next) {
			next = h.nextTry
		}
	}
	s.mu.Unlock()
	for _, g := range []struct {
		desc *prometheus.Desc
		of   map[string]int
	}{{s.byState, byState}, {s.byCode, byCode}, {s.byHealth, byHealth}, {s.waiting, waiting}} {
		for label, n := range g.of {
			gauge(ch, g.desc, float64(n), label)
		}
	}
	if !next.IsZero() {
		gauge(ch, s.nextTry, float64(next.UnixMilli())/1000)
	}
}

func gauge(ch chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	m, err := prometheus.NewConstMetric(d, prometheus.GaugeValue, v, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(d, err) // the scrape says so
	}
	ch <- m
}

func healthLabel(h host.Health) string {
	if h == host.HealthUnknown {
		return "unknown"
	}
	return string(h)
}
