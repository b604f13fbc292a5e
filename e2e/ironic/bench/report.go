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
