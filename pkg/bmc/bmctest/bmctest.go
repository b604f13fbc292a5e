// Package bmctest checks that a driver and the BMC behind it keep what package
// bmc promises. [Run] yields results, for a person's own hardware as for a
// simulator; [Read] and [Switch] are the same checks as a test.
//
// Every capability of package bmc is asked for by type assertion. What a driver
// has no method for is no result at all (see [Capabilities]); what the BMC says
// it cannot do is [Unsupported], which is an answer and no failure.
package bmctest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// Outcome of a check.
type Outcome string

// The outcomes.
const (
	Passed      Outcome = "passed"
	Failed      Outcome = "failed"
	Unsupported Outcome = "unsupported" // the BMC cannot, and says so
	Skipped     Outcome = "skipped"     // ctx ended, or an earlier failure is in the way
)

// Result of one check.
type Result struct {
	Capability string    `json:"capability"` // of Capabilities: power, boot …
	Check      string    `json:"check"`
	Outcome    Outcome   `json:"outcome"`
	Class      bmc.Class `json:"class,omitempty"` // of the error, if there was one
	Detail     string    `json:"detail,omitempty"`
	// Took is how long the BMC needed.
	Took time.Duration `json:"took"`
}

// Options of Run.
type Options struct {
	// Write also sets boot overrides and switches the machine's power, which ends
	// what runs on it. Power and override are put back as they were found.
	Write bool
	// Patience bounds the wait for the machine to change its power state; zero is
	// two minutes.
	Patience time.Duration
	// Timeout bounds each reading; zero is one minute.
	Timeout time.Duration
	// Each, if not nil, hears every result as it comes.
	Each func(Result)
}

// Run checks conn. It ends early when ctx does; what was not done is Skipped.
func Run(ctx context.Context, conn bmc.Conn, o Options) []Result {
	if o.Patience == 0 {
		o.Patience = 2 * time.Minute
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	k := &kit{conn: conn, o: o}
	k.read(ctx)
	if o.Write {
		k.write(ctx)
	}
	return k.results
}

// kit is one run.
type kit struct {
	conn    bmc.Conn
	o       Options
	results []Result
	// identity is as complete as the BMC made it.
	identity bmc.Identity
}

// check runs f within the time for one reading and records what came of it. f
// returns what a person should know of it.
func (k *kit) check(ctx context.Context, capability, name string, f func(context.Context) (string, error)) bool {
	return k.within(ctx, k.o.Timeout, capability, name, f)
}

func (k *kit) within(ctx context.Context, limit time.Duration, capability, name string, f func(context.Context) (string, error)) bool {
	r := Result{Capability: capability, Check: name}
	if ctx.Err() != nil {
		r.Outcome, r.Detail = Skipped, context.Cause(ctx).Error()
		k.add(r)
		return false
	}
	begin := time.Now()
	inner, cancel := context.WithTimeout(ctx, limit)
	detail, err := f(inner)
	cancel()
	r.Took = time.Since(begin)
	r.Outcome, r.Detail = Passed, detail
	if err != nil {
		r.Outcome, r.Detail = Failed, err.Error()
		var classed *bmc.Error
		if errors.As(err, &classed) {
			r.Class = classed.Class
		} else if !errors.Is(err, errBroken) {
			r.Detail = "an error without a class: " + r.Detail
		}
		switch {
		case r.Class == bmc.Unsupported:
			r.Outcome = Unsupported
		case ctx.Err() != nil:
			r.Outcome = Skipped // its end is no fault of the BMC's
		}
	}
	k.add(r)
	return r.Outcome == Passed
}

func (k *kit) add(r Result) {
	k.results = append(k.results, r)
	if k.o.Each != nil {
		k.o.Each(r)
	}
}

// errBroken marks an answer that the contract of package bmc does not allow.
var errBroken = errors.New("breaks the contract")

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errBroken, fmt.Sprintf(format, args...))
}
