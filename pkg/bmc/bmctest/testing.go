package bmctest

import (
	"context"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// TB is what of testing.TB the checks need: a program that runs the kit does not
// link package testing.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// patience of a test with a machine that changes its power state.
const patience = time.Minute

// Read fails t where a check that changes nothing does. It returns who the
// machine is.
func Read(ctx context.Context, t TB, conn bmc.Conn) bmc.Identity {
	t.Helper()
	k := &kit{conn: conn, o: Options{Patience: patience, Timeout: patience}}
	k.read(ctx)
	if k.identity.Protocol == "" && len(k.results) > 0 {
		t.Fatalf("%s: %s", k.results[0].Check, k.results[0].Detail)
	}
	report(t, k.results)
	return k.identity
}

// Switch sets boot overrides and switches the machine's power: it must be one
// that nobody needs. It is off in the end.
func Switch(ctx context.Context, t TB, conn bmc.Conn) {
	t.Helper()
	k := &kit{conn: conn, o: Options{Patience: patience, Timeout: patience}}
	k.overrides(ctx)
	k.switchPower(ctx)
	report(t, k.results)
}

// Conform is Read and Switch in one run that puts back what it found, of at least
// so many checks.
func Conform(ctx context.Context, t TB, conn bmc.Conn, least int) {
	t.Helper()
	results := Run(ctx, conn, Options{Write: true, Patience: patience, Timeout: patience})
	if len(results) < least {
		t.Errorf("only %d results", len(results))
	}
	report(t, results)
}

func report(t TB, results []Result) {
	t.Helper()
	for _, r := range results {
		if r.Outcome == Failed || r.Outcome == Skipped {
			t.Errorf("%s: %s: %s", r.Capability, r.Check, r.Detail)
		}
	}
}
