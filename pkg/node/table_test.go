package node

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/host"
)

var update = flag.Bool("update", false, "write what tests compare with")

// Ironic's machine has 93 transitions; it counts the states that it is in.
func TestAllTransitions(t *testing.T) {
	n := 0
	states := map[ironic.State]bool{}
	for _, r := range Rows() {
		if states[r.State] {
			t.Errorf("%s twice", r.State)
		}
		states[r.State] = true
		n += len(r.Verbs) + len(r.Ends)
		if r.Rests != (r.Target == "") {
			t.Errorf("%s rests: %v, target %q", r.State, r.Rests, r.Target)
		}
	}
	if n != 93 {
		t.Errorf("%d transitions, want 93", n)
	}
	for _, r := range Rows() {
		for _, l := range append(slices.Clone(r.Verbs), r.Ends...) {
			if !states[l.To] {
				t.Errorf("%s leads to %q, which is no state", r.State, l.To)
			}
		}
	}
}

func TestAllowed(t *testing.T) {
	for _, tc := range []struct {
		state ironic.State
		verb  ironic.Verb
		want  bool
	}{
		{ironic.Enroll, ironic.VerbManage, true},
		{ironic.Enroll, ironic.VerbProvide, false},
		{ironic.DeployWait, ironic.VerbAbort, true},
		{ironic.DeployWait, ironic.VerbDeleted, true},
		{ironic.Cleaning, ironic.VerbManage, false},
		{ironic.ServiceFail, ironic.VerbAbort, true},
		{"nowhere", ironic.VerbManage, false},
	} {
		if got := Allowed(tc.state, tc.verb); got != tc.want {
			t.Errorf("%s %s: %v", tc.state, tc.verb, got)
		}
	}
}

// The life cycle writes Ironic's words without importing them.
func TestLifeCycleWordsAreIronics(t *testing.T) {
	source, err := os.ReadFile("../host/node.go")
	if err != nil {
		t.Skip("the life cycle is not led by anybody yet")
	}
	known := map[string]bool{"metadata": true, "all": true}
	for _, r := range Rows() {
		known[string(r.State)] = true
		for _, l := range r.Verbs {
			known[l.By] = true
		}
	}
	for _, p := range []ironic.Power{ironic.PowerOn, ironic.PowerOff, ironic.Reboot, ironic.SoftPowerOff, ironic.SoftReboot} {
		known[string(p)] = true
	}
	words := regexp.MustCompile(`(?m)^\t[A-Z]\w+ += "([^"]*)"`).FindAllStringSubmatch(string(source), -1)
	if len(words) < 20 {
		t.Fatalf("%d words found", len(words))
	}
	for _, w := range words {
		if !known[w[1]] {
			t.Errorf("%q is no word of Ironic's", w[1])
		}
	}
}

func TestReference(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# Provision states, verbs and hosts

Generated from the table in pkg/node/table.go by ` + "`go test ./pkg/node -run TestReference -update`" + `: do not edit.

A node at the REST door is a BareMetalHost. This table says how each of Ironic's provision states goes with the
BareMetalHost's state, what shows as it, and which verbs (` + "`PUT /v1/nodes/NODE/states/provision`" + `) are allowed in it.
"Hold" is where a host rests that the REST door leads (` + "`status.node.hold`" + ` of its HostRecord); a host that nobody
leads follows Metal3's order by itself. While a verb is asked for and not yet taken up, the state shows where it leads.

| provision state | target | BareMetalHost | shown when | verbs | by itself | delete | patch |
|---|---|---|---|---|---|---|---|
`)
	leads := func(list []Lead) string {
		var out []string
		for _, l := range list {
			out = append(out, fmt.Sprintf("%s → %s", l.By, l.To))
		}
		return strings.Join(out, ", ")
	}
	yes := func(b bool) string {
		if b {
			return "yes"
		}
		return ""
	}
	for _, r := range Rows() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", r.State, r.Target, strings.Join(r.Host, ", "), r.When,
			leads(r.Verbs), leads(r.Ends), yes(r.Delete), yes(r.Patch || r.Rests))
	}
	b.WriteString(`
Delete: besides, every node in maintenance may be deleted; what runs on its machine goes on. Patch: elsewhere 409 is
answered while a target is set.
`)
	const file = "../../docs/reference/ironic-states.md"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != b.String() {
		t.Errorf("%s is out of date: run this test with -update", file)
	}
}

// What the life cycle takes up in a state at rest, the table allows there; and what the
// table allows in such a state, the life cycle takes up.
func TestTableAndLifeCycleAgree(t *testing.T) {
	for _, row := range Rows() {
		for _, verb := range []ironic.Verb{
			ironic.VerbActive, ironic.VerbRebuild, ironic.VerbDeleted, ironic.VerbManage, ironic.VerbProvide, ironic.VerbInspect, ironic.VerbAbort,
			ironic.VerbClean, ironic.VerbAdopt, ironic.VerbRescue, ironic.VerbUnrescue, ironic.VerbUnhold, ironic.VerbService,
		} {
			_, takes := host.Leads(string(row.State), string(verb))
			allows := Allowed(row.State, verb)
			if takes && !allows || row.Rests && allows && !takes {
				t.Errorf("%s in %s: the table allows it: %v, the life cycle takes it up: %v", verb, row.State, allows, takes)
			}
		}
	}
}
