package main

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// counts are writes by resource and verb: "secrets POST",
// "baremetalhosts/status PATCH".
type counts map[string]float64

// since returns what was added to before.
func (c counts) since(before counts) counts {
	d := counts{}
	for name, n := range c {
		if n != before[name] {
			d[name] = n - before[name]
		}
	}
	return d
}

// of adds up what match accepts.
func (c counts) of(match func(name string) bool) float64 {
	var sum float64
	for name, n := range c {
		if match(name) {
			sum += n
		}
	}
	return sum
}

// writing are the verbs of apiserver_request_total that change something.
var writing = map[string]bool{"POST": true, "PUT": true, "PATCH": true, "APPLY": true, "DELETE": true, "DELETECOLLECTION": true}

// reviews are asked with POST and stored nowhere.
var reviews = map[string]bool{"tokenreviews": true, "subjectaccessreviews": true, "selfsubjectreviews": true}

// parseMetrics reads apiserver_request_total in Prometheus' text format. Refused
// writes count too: they cost the same.
func parseMetrics(r io.Reader) (counts, error) {
	c := counts{}
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		rest, ok := strings.CutPrefix(s.Text(), "apiserver_request_total{")
		if !ok {
			continue
		}
		labels, value, ok := strings.Cut(rest, "} ")
		if !ok {
			return nil, fmt.Errorf("metrics: %q", s.Text())
		}
		verb, resource := label(labels, "verb"), label(labels, "resource")
		if !writing[verb] || reviews[resource] {
			continue
		}
		if sub := label(labels, "subresource"); sub != "" {
			resource += "/" + sub
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
		c[resource+" "+verb] += n
	}
	return c, s.Err()
}

// label finds a label's value. None of those that are asked for holds a quote.
func label(labels, name string) string {
	for _, l := range strings.Split(labels, ",") {
		if v, ok := strings.CutPrefix(l, name+`="`); ok {
			return strings.TrimSuffix(v, `"`)
		}
	}
	return ""
}
