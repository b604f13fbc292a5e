package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// budgets of CPU a call at 1,000 nodes (design.md §8); create has none.
var budgets = map[string]time.Duration{
	"GET /v1/nodes":        20 * time.Millisecond,
	"GET /v1/nodes/detail": 60 * time.Millisecond,
	"GET /v1/nodes/UUID":   500 * time.Microsecond,
}

// reportLives prints what machines cost, one row a phase, and one for those that make
// a machine available.
func reportLives(out io.Writer, hosts int, sides []side) {
	fmt.Fprintf(out, "%d machines with Redfish BMCs that answer at once, %d clients. Who has arrived is asked every %s, which costs CPU and"+
		" lengthens a phase by up to as much. What a server does besides counts where it falls.\n\n| phase |", hosts, lifeClients, pollEvery)
	for _, s := range sides {
		fmt.Fprintf(out, " %s: hosts/s | CPU a host | BMC requests a host |", s.name)
	}
	if len(sides) > 1 {
		fmt.Fprint(out, " CPU, Ironic : ingot |")
	}
	fmt.Fprintf(out, "\n|---|%s\n", strings.Repeat("---|", 3*len(sides)+len(sides)-1))
	row := func(of func(s side) part) {
		fmt.Fprintf(out, "| %s |", of(sides[0]).what)
		for _, s := range sides {
			p := of(s)
			n := float64(hosts)
			fmt.Fprintf(out, " %.1f | %s | %.1f |", n/p.took.Seconds(), round(p.cpu/time.Duration(hosts)), float64(p.asked)/n)
		}
		if ours := of(sides[0]).cpu; len(sides) > 1 && ours > 0 {
			fmt.Fprintf(out, " %.1f× |", float64(of(sides[1]).cpu)/float64(ours))
		}
		fmt.Fprintln(out)
	}
	for i := range sides[0].parts {
		row(func(s side) part { return s.parts[i] })
		if i == enrolled-1 {
			row(func(s side) part {
				sum := part{what: "**enrol to available, all of these**"}
				for _, p := range s.parts[:enrolled] {
					sum.took, sum.cpu, sum.asked = sum.took+p.took, sum.cpu+p.cpu, sum.asked+p.asked
				}
				return sum
			})
		}
	}
	fmt.Fprintln(out)
}

// report prints all sides' figures, one row a kind of request.
func report(out io.Writer, count int, sides []side) {
	fmt.Fprintf(out, "REST with %d nodes; lists are pages of at most 1000\n\n| request | clients |", count)
	for _, s := range sides {
		fmt.Fprintf(out, " %s: CPU a call | p50 | p99 | calls/s | bytes |", s.name)
	}
	fmt.Fprint(out, " budget |")
	if len(sides) > 1 {
		fmt.Fprint(out, " CPU, Ironic : ingot |")
	}
	fmt.Fprintf(out, "\n|---|---|%s---|\n", strings.Repeat("---|", 5*len(sides)+len(sides)-1))
	for i, f := range sides[0].figures {
		fmt.Fprintf(out, "| %s | %d |", f.what, f.clients)
		for _, s := range sides {
			f := s.figures[i]
			fmt.Fprintf(out, " %s | %s | %s | %.0f | %d |", round(f.cpu), round(f.p50), round(f.p99), f.rate, f.size)
		}
		budget := ""
		if b, ok := budgets[f.what]; ok {
			budget = "≤ " + round(b) + " met"
			if f.cpu > b {
				budget = "≤ " + round(b) + " **missed**"
			}
		}
		fmt.Fprintf(out, " %s |", budget)
		if len(sides) > 1 && f.cpu > 0 {
			fmt.Fprintf(out, " %.0f× |", float64(sides[1].figures[i].cpu)/float64(f.cpu))
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintln(out)
	for _, s := range sides {
		fmt.Fprintf(out, "%s: %d MB resident\n", s.name, s.rss>>20)
	}
}

func round(d time.Duration) string {
	switch {
	case d >= 100*time.Millisecond:
		return d.Round(time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}
