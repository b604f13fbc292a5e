package main

import (
	"bytes"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The test binary is its own rack of BMCs.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == rackArg {
		main()
		return
	}
	os.Exit(m.Run())
}

// A small run, without figures that depend on this machine's speed.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--bmcs", "20", "--every", "1s", "--timeout", "1m"}, strings.NewReader(""), &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`requests per poll +1\.000 +≤ 1 ok`,
		`logins in the second round +0 +0 ok`,
		`full TLS handshakes +0 +0 ok`,
		`switched machines that polls found +1 +1 ok`,
		`failed polls +0 +0 ok`,
		`first round: logins +20 `,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
}

func TestBadOptions(t *testing.T) {
	for _, args := range [][]string{{"--bmcs", "0"}, {"--bmcs", "100000"}, {"--every", "1ms"}, {"--nonsense"}} {
		if err := run(t.Context(), args, strings.NewReader(""), io.Discard, io.Discard); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}

// CPU is allowed in proportion to the polls; a budget that is missed shows.
func TestRows(t *testing.T) {
	b := &bench{options: options{bmcs: 5000, every: time.Minute}, flipped: 50, found: 49}
	b.second = stretch{took: time.Minute, cpu: 20 * time.Second, asked: asked{Polls: 5000, Requests: 5001, Logins: 1}}
	var out bytes.Buffer
	if err := b.report(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`CPU, of one core +0\.333 +≤ 0\.25 NO`, `requests per poll +1\.000 +≤ 1 ok`,
		`logins in the second round +1 +0 NO`, `polls found +49 +50 NO`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
	b.strict = true
	if err := b.report(io.Discard); err == nil {
		t.Error("missed budgets are no failure under --strict")
	}
}
