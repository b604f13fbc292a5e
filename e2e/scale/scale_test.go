package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseStat(t *testing.T) {
	tests := map[string]struct {
		raw  string
		want time.Duration
		bad  bool
	}{
		"plain":       {raw: "42 (ingot) S 1 42 42 0 -1 4194560 1 0 0 0 150 25 0 0 20 0", want: 1750 * time.Millisecond},
		"odd name":    {raw: "42 (a) b (c) S 1 42 42 0 -1 4194560 1 0 0 0 1 2 0 0 20 0", want: 30 * time.Millisecond},
		"short":       {raw: "42 (ingot) S 1", bad: true},
		"no number":   {raw: "42 (ingot) S 1 42 42 0 -1 4194560 1 0 0 0 x 25 0 0 20 0", bad: true},
		"not a stat":  {raw: "hello", bad: true},
		"empty":       {bad: true},
		"only a name": {raw: ")", bad: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseStat(tt.raw)
			if (err != nil) != tt.bad || got != tt.want {
				t.Errorf("parseStat = %v, %v, want %v (error: %t)", got, err, tt.want, tt.bad)
			}
		})
	}
}

func TestParseBusy(t *testing.T) {
	got, err := parseBusy("cpu  100 10 20 5000 600 1 2 3 50 5\ncpu0 1 2 3\n")
	if want := 1360 * time.Millisecond; err != nil || got != want {
		t.Errorf("parseBusy = %v, %v, want %v", got, err, want)
	}
	for _, raw := range []string{"", "cpu 1 2 3", "cpu  a 10 20 5000 600 1 2 3 50 5", "intr 1 2 3 4 5 6 7 8 9"} {
		if _, err := parseBusy(raw); err == nil {
			t.Errorf("parseBusy took %q", raw)
		}
	}
}

func TestParseStatus(t *testing.T) {
	got, err := parseStatus("Name:\tingot\nVmRSS:\t  2048 kB\nRssAnon:\t  1024 kB\nThreads:\t9\n")
	if err != nil || got != (memory{rss: 2 << 20, anon: 1 << 20}) {
		t.Errorf("parseStatus = %+v, %v", got, err)
	}
	if _, err := parseStatus("VmRSS:\tmuch\n"); err == nil {
		t.Error("an amount that is no number was taken")
	}
}

func TestParseMetrics(t *testing.T) {
	const text = `# HELP apiserver_request_total Counter of apiserver requests
apiserver_request_total{code="200",component="apiserver",dry_run="",group="metal3.io",resource="baremetalhosts",scope="resource",subresource="status",verb="PATCH",version="v1alpha1"} 12
apiserver_request_total{code="409",component="apiserver",dry_run="",group="metal3.io",resource="baremetalhosts",scope="resource",subresource="status",verb="PATCH",version="v1alpha1"} 1
apiserver_request_total{code="201",component="apiserver",dry_run="",group="",resource="secrets",scope="resource",subresource="",verb="POST",version="v1"} 3
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="secrets",scope="resource",subresource="",verb="GET",version="v1"} 9
apiserver_request_total{code="201",component="apiserver",dry_run="",group="authentication.k8s.io",resource="tokenreviews",scope="resource",subresource="",verb="POST",version="v1"} 9
other_total{verb="POST",resource="secrets"} 7
`
	got, err := parseMetrics(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	want := counts{"baremetalhosts/status PATCH": 13, "secrets POST": 3}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("parseMetrics (-want +got):\n%s", d)
	}
	if d := cmp.Diff(counts{"baremetalhosts/status PATCH": 1}, got.since(counts{"baremetalhosts/status PATCH": 12, "secrets POST": 3})); d != "" {
		t.Errorf("since (-want +got):\n%s", d)
	}
}

func TestRows(t *testing.T) {
	tests := map[string]struct {
		r            row
		limit, ratio string
	}{
		"more is better":   {row{got: 49, budget: 25, ironic: 4.9, more: true}, "≥ 25 ok", "10"},
		"too few":          {row{got: 2.45, budget: 25, ironic: 4.9, more: true}, "≥ 25 NO", "0.5"},
		"less is better":   {row{got: 93, budget: 60, ironic: 279}, "≤ 60 NO", "3"},
		"nothing to hold":  {row{got: 93}, "", ""},
		"nothing measured": {row{budget: 0.5, ironic: 4.5}, "≤ 0.5 ok", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tt.r.limit(); got != tt.limit {
				t.Errorf("limit = %q, want %q", got, tt.limit)
			}
			if got := tt.r.ratio(); got != tt.ratio {
				t.Errorf("ratio = %q, want %q", got, tt.ratio)
			}
		})
	}
}
