package redfish

import (
	"context"
	"net/http"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// Kinds of Op, each with a read-back of its own.
const (
	opBIOS       = "bios"
	opBootOrder  = "boot-order"
	opSecureBoot = "secure-boot"
	opFirmware   = "firmware"
	opVolume     = "volume"
	opPower      = "power"
)

var _ bmc.Ops = (*System)(nil)

// has reports whether the machine's BMC has a quirk.
func (s *System) has(n quirk.Name) bool { return s.quirkSet().Has(n) }

// begin sends a write that the BMC may carry out over time, and completes o with
// the task it named. A PATCH has its resource's ETag in match.
func (s *System) begin(ctx context.Context, c call, o bmc.Op) (bmc.Op, error) {
	send := s.e.do
	if c.method == http.MethodPatch {
		send = func(ctx context.Context, c call) (*answer, error) { return s.tagged(ctx, c, c.match) }
	}
	a, err := send(ctx, c)
	if err != nil {
		return bmc.Op{}, err
	}
	return s.begun(ctx, a, o), nil
}

// begun completes o with the task that the answer to a write names.
func (s *System) begun(ctx context.Context, a *answer, o bmc.Op) bmc.Op {
	o.Task = s.taskOf(a)
	if o.Task == "" && a.status == http.StatusAccepted && s.has(quirk.AcceptedNoLocation) {
		o.Task = s.latestTask(ctx)
	}
	return o
}

// Poll implements bmc.Ops.
func (s *System) Poll(ctx context.Context, o bmc.Op) (bmc.Progress, error) {
	op := "poll " + o.Kind
	if o.Task == "" || s.has(quirk.OneTask) { // a task that stands for everything says nothing of this
		return s.readBack(ctx, op, o)
	}
	p, found, err := s.pollTask(ctx, op, o.Task)
	switch {
	case err != nil, found && !p.Done:
		return p, err
	case found:
		return s.readBack(ctx, op, o)
	}
	return s.vanished(ctx, op, o)
}

// vanishedPause is how long Dell's jobs need to appear (sushy waits as long).
const vanishedPause = 10 * time.Second

// vanished decides on an operation whose task the BMC does not know: after a
// restart of the BMC, because it is over, or because it is so new that it does not
// show yet. The resource decides (bmc.Ops); where it is not as wanted, there is
// more to wait for if this BMC is known to drop tasks, while an update has failed
// in silence if not (Ironic, fix-bios-update-silent-fail).
func (s *System) vanished(ctx context.Context, op string, o bmc.Op) (bmc.Progress, error) {
	p, err := s.readBack(ctx, op, o)
	switch {
	case err != nil || p.Done:
	case s.has(quirk.TaskVanishes):
		p.State, p.RetryAfter = "the BMC has forgotten the task", max(p.RetryAfter, vanishedPause)
	case o.Kind == opFirmware:
		return p, &bmc.Error{Class: bmc.Protocol, Op: op, Detail: "the BMC has forgotten the task, and " + p.Message}
	}
	return p, err
}

// readBack looks at the resource whether it is as wanted.
func (s *System) readBack(ctx context.Context, op string, o bmc.Op) (bmc.Progress, error) {
	switch o.Kind {
	case opBIOS:
		return s.readBackBIOS(ctx, op, o)
	case opBIOSReset:
		return s.readBackBIOSReset(ctx, op, o)
	case opDellBoot:
		return s.readBackDellBoot(ctx, op, o)
	case opBootOrder:
		return s.readBackBootOrder(ctx, op, o)
	case opSecureBoot:
		return s.readBackSecureBoot(ctx, op, o)
	case opFirmware:
		return s.readBackFirmware(ctx, op, o)
	case opVolume:
		return s.readBackVolume(ctx, op, o)
	case opPower:
		return s.readBackPower(ctx, op, o)
	}
	return bmc.Progress{}, &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: "no such kind of operation: " + clip(o.Kind)}
}
