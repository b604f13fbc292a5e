package metric

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// TestMetricsDocumented holds docs/reference/metal3.md to what there is: names,
// labels and types.
func TestMetricsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/reference/metal3.md")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)(?:\\{([a-z_,]+)\\})?` (counter|gauge|histogram) \\|").FindAllStringSubmatch(string(doc), -1) {
		labels := strings.Split(m[2], ",")
		slices.Sort(labels)
		want[m[1]] = m[3] + " " + strings.Join(labels, ",")
	}
	got := map[string]string{}
	add := func(kind string, c func(chan<- *prometheus.Desc)) {
		ch := make(chan *prometheus.Desc, 1)
		c(ch)
		m := regexp.MustCompile(`fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`).FindStringSubmatch((<-ch).String())
		labels := strings.Split(m[2], ",")
		slices.Sort(labels)
		got[m[1]] = kind + " " + strings.Join(labels, ",")
	}
	s := New()
	for _, c := range append(s.metal3.all(), s.own.all()...) {
		kind := "counter"
		if _, timed := c.(*prometheus.HistogramVec); timed {
			kind = "histogram"
		}
		add(kind, c.Describe)
	}
	for _, d := range s.gauges() {
		add("gauge", func(ch chan<- *prometheus.Desc) { ch <- d })
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("documented (-) and there (+):\n%s", d)
	}
}
