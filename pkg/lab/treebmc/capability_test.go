package treebmc_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc/bmctest"
	"github.com/ingot-metal/ingot/pkg/bmc/open"
	"github.com/ingot-metal/ingot/pkg/lab/treebmc"
)

const (
	page  = "../../../docs/reference/bmc-trees.md"
	begin = "<!-- begin of capabilities -->\n"
	end   = "<!-- end of capabilities -->\n"
)

// TestCapabilitiesTable runs the conformance kit, with its writes, over every
// tree and keeps what came of it in docs/reference/bmc-trees.md.
func TestCapabilitiesTable(t *testing.T) {
	cells := map[string][]string{}
	var order []string
	for n, set := range sets {
		b, address := serve(t, set, treebmc.Options{CheckETags: true})
		s := dial(t, address, open.Options{})
		before := len(b.Journal())
		got := map[string]string{}
		bmctest.Run(context.Background(), s, bmctest.Options{Write: true, Patience: 10 * time.Second, Each: func(r bmctest.Result) {
			now := len(b.Journal())
			asked := now - before
			before = now
			switch old, seen := got[r.Capability]; {
			case r.Outcome == bmctest.Unsupported && !seen:
				got[r.Capability] = "no"
			case r.Outcome == bmctest.Passed && !seen:
				got[r.Capability] = fmt.Sprint(asked)
			case r.Outcome == bmctest.Passed:
			case r.Outcome == bmctest.Unsupported: // one of several ways
				got[r.Capability] = old + ", not " + r.Check
			default:
				t.Errorf("%s: %s: %s: %s %s", set, r.Capability, r.Check, r.Outcome, r.Detail)
			}
		}})
		for _, c := range bmctest.Capabilities(s) {
			cell, checked := got[c.Name]
			if !checked {
				continue // there is nothing to read: operations, a console
			}
			if n == 0 {
				order = append(order, c.Name)
			}
			cells[c.Name] = append(cells[c.Name], cell)
		}
	}
	var table strings.Builder
	fmt.Fprintf(&table, "| | %s |\n|---|%s\n", strings.Join(sets, " | "), strings.Repeat("---|", len(sets)))
	for _, name := range order {
		fmt.Fprintf(&table, "| %s | %s |\n", name, strings.Join(cells[name], " | "))
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok1 := strings.Cut(string(text), begin)
	want, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no %q and %q", page, begin, end)
	}
	if *update {
		if err := os.WriteFile(page, []byte(head+begin+table.String()+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(want, table.String()); d != "" {
		t.Errorf("%s (-page +got; -update rewrites):\n%s", page, d)
	}
}
