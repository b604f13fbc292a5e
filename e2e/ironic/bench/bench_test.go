package main

import (
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const line = "4711 (a (b) c) S 12 4711 4711 0 -1 4194560 1 2 3 4 150 50 20 5 20 0 1 0 100 1000 300 18446744073709551615"
	got, err := parseStat(line)
	if err != nil {
		t.Fatal(err)
	}
	if got.pid != 4711 || got.parent != 12 || got.cpu != 2250*time.Millisecond || got.rss == 0 {
		t.Errorf("got %+v", got)
	}
	for _, bad := range []string{"", "1 (x", "1 (x) S 1", strings.Replace(line, "150", "x", 1)} {
		if _, err := parseStat(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestReport(t *testing.T) {
	f := func(cpu time.Duration) []figure {
		return []figure{{what: "GET /v1/nodes", clients: 1, calls: 10, cpu: cpu, p50: cpu, p99: 2 * cpu, rate: 1, size: 2}}
	}
	var b strings.Builder
	report(&b, 1000, []side{{name: "ingot", figures: f(10 * time.Millisecond)}, {name: "Ironic", figures: f(200 * time.Millisecond)}})
	for _, want := range []string{"| GET /v1/nodes | 1 | 10ms |", "≤ 20ms met", "| 20× |"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	b.Reset()
	report(&b, 1000, []side{{name: "ingot", figures: f(30 * time.Millisecond)}})
	if !strings.Contains(b.String(), "**missed**") {
		t.Errorf("a missed budget is not said:\n%s", b.String())
	}
}
