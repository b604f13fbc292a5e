package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/e2e/rig"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/open"
	"github.com/ingot-metal/ingot/pkg/engine"
	"github.com/ingot-metal/ingot/pkg/host"
)

// flipEvery of the machines is switched as the second round begins.
const flipEvery = 100

// timed measures polls on their way to the BMC: from asking the pool to the
// answer.
type timed struct {
	engine.BMCs
	mu     sync.Mutex
	on     bool
	took   []time.Duration
	failed int
	err    error // the first
}

// timedConn is for one poll.
type timedConn struct {
	bmc.Conn
	bmc.Power
	t     *timed
	begun time.Time
}

func (t *timed) Conn(ctx context.Context, b *metal3.BareMetalHost, creds bmc.Credentials, version string) (bmc.Conn, error) {
	begun := time.Now()
	c, err := t.BMCs.Conn(ctx, b, creds, version)
	if err != nil {
		t.note(begun, err)
		return nil, err
	}
	return &timedConn{Conn: c, Power: c.(bmc.Power), t: t, begun: begun}, nil
}

func (c *timedConn) PowerState(ctx context.Context) (bmc.PowerState, error) {
	s, err := c.Power.PowerState(ctx)
	c.t.note(c.begun, err)
	return s, err
}

func (t *timed) note(begun time.Time, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !t.on:
	case err == nil:
		t.took = append(t.took, time.Since(begun))
	default:
		t.failed++
		if t.err == nil {
			t.err = err
		}
	}
}

// bench is the figures.
type bench struct {
	options
	first, second stretch
	took          []time.Duration // polls of the second round, sorted
	failed        int
	err           error
	found         int // switched machines that polls found
	flipped       int
	rss           int64
	load          string
}

// stretch is what happened between two moments.
type stretch struct {
	took time.Duration
	cpu  time.Duration
	asked
}

type mark struct {
	at  time.Time
	cpu time.Duration
	asked
}

func since(a, b mark) stretch {
	return stretch{took: b.at.Sub(a.at), cpu: b.cpu - a.cpu, asked: asked{
		Requests: b.Requests - a.Requests, Polls: b.Polls - a.Polls, Logins: b.Logins - a.Logins, Refused: b.Refused - a.Refused,
		Full: b.Full - a.Full, Resumed: b.Resumed - a.Resumed, Open: b.Open, MostOpen: b.MostOpen,
	}}
}

func measure(ctx context.Context, o options, diag io.Writer) (*bench, error) {
	rack, err := startRack()
	if err != nil {
		return nil, err
	}
	defer rack.stop()
	take := func(line string) (mark, error) {
		m := mark{at: time.Now(), cpu: cpu()}
		m.asked, err = rack.tell(line)
		return m, err
	}
	// Ends before the rack does, without a word to 10,000 BMCs.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b := &bench{options: o, load: loadavg()}
	pool := open.NewPool(5 * time.Minute)
	t := &timed{BMCs: engine.NewPooled(pool, nil, slog.New(slog.DiscardHandler))}
	hosts := newHosts(ctx, o, &engine.Engine{BMCs: t, Log: slog.New(slog.DiscardHandler)}, rack.port)

	fmt.Fprintf(diag, "%s polling %d BMCs every %s: first the logins\n", time.Now().Format(time.TimeOnly), o.bmcs, o.every)
	begun, err := take("")
	if err != nil {
		return nil, err
	}
	hosts.watch()
	if err := rig.Pause(ctx, o.every*5/4); err != nil { // the last first poll is due after 1.2 intervals
		return nil, err
	}
	fmt.Fprintf(diag, "%s second round\n", time.Now().Format(time.TimeOnly))
	middle, err := take("flip " + strconv.Itoa(flipEvery))
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	t.on = true
	t.mu.Unlock()
	if err := o.profiled(func() error { return rig.Pause(ctx, o.every) }); err != nil {
		return nil, err
	}
	end, err := take("")
	if err != nil {
		return nil, err
	}
	b.first, b.second = since(begun, middle), since(middle, end)
	b.flipped = (o.bmcs + flipEvery - 1) / flipEvery
	t.mu.Lock()
	t.on = false
	t.mu.Unlock()
	// A machine's next poll may have been due 1.2 intervals after it was switched.
	for late := time.Now().Add(o.every/4 + 5*time.Second); hosts.changed() < b.flipped && time.Now().Before(late); {
		if err := rig.Pause(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.Sort(t.took)
	b.took, b.failed, b.err = t.took, t.failed, t.err
	b.found = hosts.changed()
	b.rss, err = rss()
	return b, err
}

// hosts stand for the controller: they keep what is known.
type hosts struct {
	*engine.Poller
	mu  sync.Mutex
	all map[types.NamespacedName]engine.Input
	off int
}

func newHosts(ctx context.Context, o options, e *engine.Engine, port int) *hosts {
	h := &hosts{all: make(map[types.NamespacedName]engine.Input, o.bmcs)}
	for i := range o.bmcs {
		k := types.NamespacedName{Namespace: "poll", Name: fmt.Sprintf("w%05d", i)}
		b := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: k.Name}}
		at := net.JoinHostPort(addressOf(i).String(), strconv.Itoa(port))
		b.Spec.BMC = metal3.BMCDetails{Address: "redfish://" + at + systemPath, DisableCertificateVerification: true}
		in := engine.Input{Key: k, BMH: b, Creds: bmc.Credentials{Username: username, Password: password}}
		in.Host = host.Host{Key: k.String(), Power: host.PowerOn}
		in.Host.Wants.SecretVersion = "s" + strconv.Itoa(i)
		h.all[k] = in
	}
	h.Poller = engine.NewPoller(ctx, e, o.every, h.found, func(types.NamespacedName) {})
	return h
}

func (h *hosts) watch() {
	for _, in := range h.all {
		h.Watch(in)
	}
}

func (h *hosts) found(k types.NamespacedName, p host.Power) {
	h.mu.Lock()
	defer h.mu.Unlock()
	in := h.all[k]
	in.Host.Power = p
	h.all[k] = in
	if p == host.PowerOff {
		h.off++
	}
	h.Watch(in)
}

func (h *hosts) changed() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.off
}

// cpu is the time that this process spent on all cores so far.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// rss is the memory of this process in bytes.
func rss() (int64, error) {
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("no VmRSS in /proc/self/status")
}

// loadavg is what others did with this machine when the run began.
func loadavg() string {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	f := strings.Fields(string(raw))
	return strings.Join(f[:min(3, len(f))], " ")
}

// row is a figure beside its budget.
type row struct {
	what   string
	got    string
	budget string // empty: none
	ok     bool
}

// Budgets are those of the design, §8, for 10,000 BMCs a minute; CPU is allowed in
// proportion to the polls.
func (b *bench) rows() []row {
	s := b.second
	polls := max(float64(s.Polls), 1)
	perPoll := float64(s.Requests) / polls
	core := s.cpu.Seconds() / s.took.Seconds()
	allowed := 0.5 * (float64(b.bmcs) / b.every.Seconds()) / (10000.0 / 60)
	due := float64(b.bmcs) / b.every.Seconds()
	rate := float64(s.Polls) / s.took.Seconds()
	var rows []row
	add := func(what, got string) { rows = append(rows, row{what: what, got: got}) }
	held := func(what, got string, ok bool, budget string, a ...any) {
		rows = append(rows, row{what: what, got: got, budget: fmt.Sprintf(budget, a...), ok: ok})
	}
	held("polls a second", fmt.Sprintf("%.1f", rate), rate >= 0.95*due, "≥ %.1f", 0.95*due)
	held("requests per poll", fmt.Sprintf("%.3f", perPoll), perPoll <= 1.001, "≤ 1")
	held("logins in the second round", strconv.FormatInt(s.Logins, 10), s.Logins == 0, "0")
	held("full TLS handshakes", strconv.FormatInt(s.Full, 10), s.Full == 0, "0")
	add("resumed TLS handshakes", strconv.FormatInt(s.Resumed, 10))
	held("CPU, of one core", fmt.Sprintf("%.3f", core), core <= allowed, "≤ %.2f", allowed)
	add("  for a poll", fmt.Sprintf("%.2f ms", s.cpu.Seconds()*1000/polls))
	held("switched machines that polls found", strconv.Itoa(b.found), b.found == b.flipped, "%d", b.flipped)
	held("failed polls", strconv.Itoa(b.failed), b.failed == 0, "0")
	add("latency, p50", b.share(0.5).Round(10*time.Microsecond).String())
	add("latency, p99", b.share(0.99).Round(10*time.Microsecond).String())
	add("memory of the poller", fmt.Sprintf("%.0f MB", float64(b.rss)/1e6))
	add("open connections at most", strconv.FormatInt(s.MostOpen, 10))
	add("first round: logins", strconv.FormatInt(b.first.Logins, 10))
	add("  CPU, of one core", fmt.Sprintf("%.3f", b.first.cpu.Seconds()/b.first.took.Seconds()))
	return rows
}

// share is the latency that this share of the polls does not exceed.
func (b *bench) share(f float64) time.Duration {
	if len(b.took) == 0 {
		return 0
	}
	return b.took[min(int(f*float64(len(b.took))), len(b.took)-1)]
}

func (b *bench) report(out io.Writer) error {
	fmt.Fprintf(out, "%d BMCs every %s; load of this machine before the run %s, after it %s\n", b.bmcs, b.every, b.load, loadavg())
	if b.err != nil {
		fmt.Fprintf(out, "the first poll that failed: %v\n", b.err)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tmeasured\tbudget\t")
	missed := 0
	for _, r := range b.rows() {
		verdict := ""
		switch {
		case r.budget != "" && r.ok:
			verdict = r.budget + " ok"
		case r.budget != "":
			verdict = r.budget + " NO"
			missed++
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t\n", r.what, r.got, verdict)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if missed > 0 && b.strict {
		return fmt.Errorf("%d budgets are not met", missed)
	}
	return nil
}
