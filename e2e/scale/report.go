package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// row is a figure beside what it is held against.
type row struct {
	what   string
	got    float64
	unit   string
	budget float64 // 0: none
	ironic float64 // 0: not measured
	more   bool    // more is better
}

// Budgets are those of the design, §8; Ironic's figures were measured on the same
// kind of machine (2 cores, no latency, 8 clients).
func (b *bench) rows() []row {
	n := float64(b.options.hosts)
	perHost := func(d time.Duration) float64 { return float64(d.Milliseconds()) / n }
	records := b.enrol.writes.of(func(name string) bool {
		// The client's own creation of the host is no work of the server's.
		return (strings.HasPrefix(name, "baremetalhosts") || strings.HasPrefix(name, "hostrecords")) && name != "baremetalhosts POST"
	}) / n
	mb := func(bytes int64) float64 { return float64(bytes) / 1e6 }
	rows := []row{
		{what: "enrol to available", got: n / b.enrol.took.Seconds(), unit: "hosts/s", budget: 25, ironic: 4.9, more: true},
		{what: "  server CPU per host", got: perHost(b.enrol.cpu), unit: "ms", budget: 60, ironic: 279},
		{what: "  its writes of BareMetalHost and HostRecord per host", got: records, budget: 12},
		{what: "  all writes per host", got: b.enrol.writes.of(ours) / n, budget: 30},
		{what: "  BMC requests per host", got: b.enrol.requests / n, ironic: 26},
		{what: "BMC requests to verify access", got: b.verify, budget: 5, ironic: 8.5},
		{what: "BMC requests to switch power", got: b.power, budget: 3, ironic: 4},
		{what: "BMC requests to boot, inspect and switch off", got: b.boot},
	}
	if b.deploys {
		rows = append(rows,
			row{what: "deploy", got: n / b.deploy.took.Seconds(), unit: "hosts/s", budget: 10, ironic: 0.8, more: true},
			row{what: "  server CPU per host", got: perHost(b.deploy.cpu), unit: "ms", budget: 80, ironic: 708},
			row{what: "  all writes per host", got: b.deploy.writes.of(ours) / n},
			row{what: "  BMC requests per host", got: b.deploy.requests / n, ironic: 21},
		)
	}
	all := row{what: fmt.Sprintf("memory with %d hosts", warmUp+b.options.hosts), got: mb(b.full.rss), unit: "MB"}
	if b.options.hosts <= 1000 { // what the budget, and Ironic's figure, are of
		all.budget, all.ironic = 600, 1300
	}
	rows = append(rows,
		row{what: fmt.Sprintf("memory with %d hosts", warmUp), got: mb(b.small.rss), unit: "MB"}, all,
		row{what: "  without mapped files", got: mb(b.full.anon), unit: "MB"},
	)
	if b.steady <= 0 {
		return rows
	}
	minutes := b.steady.Minutes()
	hosts := float64(warmUp + b.options.hosts)
	return append(rows,
		row{what: "at rest, writes about hosts in a minute", got: b.rest.writes.of(ours) / minutes, budget: 0.5},
		row{what: "  server CPU, of one core", got: 100 * b.rest.cpu.Seconds() / b.rest.took.Seconds(), unit: "%"},
		row{what: "  BMC requests per host and minute", got: b.rest.requests / n / minutes, ironic: 4.5},
		row{what: "  BMC logins per host and minute", got: b.rest.logins / hosts / minutes},
	)
}

// ours leaves out what the API server writes for itself.
func ours(name string) bool { return !strings.HasPrefix(name, "leases ") }

func (b *bench) report(out io.Writer) error {
	fmt.Fprintf(out, "%d hosts, %d clients, server ready in %s\n", b.options.hosts, b.threads, b.server.ReadyIn().Round(10*time.Millisecond))
	for _, part := range []struct {
		what string
		s    stretch
	}{{"enrol", b.enrol}, {"deploy", b.deploy}} {
		if part.s.took == 0 {
			continue
		}
		fmt.Fprintf(out, "%s: of %d cores the server had %.2f, other programs than ours %.2f\n", part.what, runtime.NumCPU(),
			part.s.cpu.Seconds()/part.s.took.Seconds(), max(0, part.s.others.Seconds()/part.s.took.Seconds()))
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tmeasured\tbudget\tIronic\ttimes better\t")
	for _, r := range b.rows() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t\n", r.what, r.measured(), r.limit(), r.other(), r.ratio())
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, part := range []struct {
		what string
		s    stretch
		per  float64
	}{
		{"writes per host, enrol to available", b.enrol, float64(b.options.hosts)},
		{"writes per host, deploy", b.deploy, float64(b.options.hosts)},
		{"writes at rest, in all", b.rest, 1},
	} {
		if part.s.took == 0 {
			continue
		}
		fmt.Fprintf(out, "\n%s\n", part.what)
		names := slices.SortedFunc(maps.Keys(part.s.writes), func(x, y string) int {
			return cmp.Or(cmp.Compare(part.s.writes[y], part.s.writes[x]), cmp.Compare(x, y))
		})
		for _, name := range names {
			fmt.Fprintf(out, "  %8.2f  %s\n", part.s.writes[name]/part.per, name)
		}
	}
	return nil
}

func (r row) measured() string { return strings.TrimSpace(number(r.got) + " " + r.unit) }

func (r row) limit() string {
	switch {
	case r.budget == 0:
		return ""
	case r.more && r.got >= r.budget, !r.more && r.got <= r.budget:
		return r.bound() + " ok"
	}
	return r.bound() + " NO"
}

func (r row) bound() string {
	if r.more {
		return "≥ " + number(r.budget)
	}
	return "≤ " + number(r.budget)
}

func (r row) other() string {
	if r.ironic == 0 {
		return ""
	}
	return number(r.ironic)
}

func (r row) ratio() string {
	switch {
	case r.ironic == 0 || r.got == 0:
		return ""
	case r.more:
		return number(r.got / r.ironic)
	}
	return number(r.ironic / r.got)
}

func number(f float64) string {
	if f < 100 && f != float64(int(f)) {
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.0f", f)
}
