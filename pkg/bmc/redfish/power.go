package redfish

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// PowerState reads whether the machine is on: one request.
func (s *System) PowerState(ctx context.Context) (bmc.PowerState, error) {
	state, _, err := s.Glance(ctx)
	return state, err
}

// Glance implements bmc.Glance: one request. The health is that of the machine
// with all its parts (DSP0268 Status.HealthRollup) where the BMC tells it.
func (s *System) Glance(ctx context.Context) (bmc.PowerState, string, error) {
	const op = "read power state"
	// Polls ask nothing else of it, and there are many.
	var cs struct {
		ID     link      `json:"@odata.id"`
		UUID   text      `json:"UUID"`
		Power  text      `json:"PowerState"`
		Status condition `json:"Status"`
	}
	if _, err := s.readPart(ctx, op, &cs); err != nil {
		return bmc.PowerUnknown, "", err
	}
	return powerState(cs.Power), cs.Status.worst(), s.isSystem(op, cs.ID, cs.Power, cs.UUID)
}

// powerState reports what lies in between as what it comes from: a machine that
// is powering off still runs.
func powerState(t text) bmc.PowerState {
	switch strings.ToLower(string(t)) {
	case "on", "poweringoff", "paused":
		return bmc.PowerOn
	case "off", "poweringon":
		return bmc.PowerOff
	}
	return bmc.PowerUnknown
}

// preferences are the reset types (DSP0268 Resource.ResetType) for an action on
// a machine that is on, or off; the first that the BMC allows is taken. None
// means that there is nothing to do.
func preferences(a bmc.PowerAction, on bool) ([]string, bool) {
	up := []string{"On", "ForceOn", pushButton}
	switch a {
	case bmc.ActionOn:
		if on {
			return nil, true
		}
		return up, true
	case bmc.ActionForceOff:
		if !on {
			return nil, true
		}
		return []string{"ForceOff"}, true
	case bmc.ActionSoftOff:
		if !on {
			return nil, true
		}
		return []string{"GracefulShutdown", pushButton}, true
	case bmc.ActionReset, bmc.ActionCycle, bmc.ActionSoftReset:
		switch {
		case !on:
			return up, true
		case a == bmc.ActionCycle:
			return []string{"PowerCycle", "ForceRestart"}, true
		case a == bmc.ActionReset:
			return []string{"ForceRestart", "PowerCycle"}, true
		}
		return []string{"GracefulRestart"}, true
	case bmc.ActionNMI:
		return []string{"Nmi"}, true
	}
	return nil, false
}

// pushButton does one thing to a machine that is on and the opposite to one that
// is off, so it is pushed only where the state is known.
const pushButton = "PushPowerButton"

const (
	// powerReads times powerPause is how long a machine may take from ForceOff to
	// off, and a BMC to show it.
	powerReads = 30
	powerPause = 2 * time.Second
	// conflictPause is the wait of quirk.PowerConflict.
	conflictPause = 10 * time.Second
)

// SetPower orders an action, unless the machine is already in the state that it
// leads to: two requests, and once a third for the BMC's list of reset types.
//
// Where the BMC can neither cycle nor reset by force, a machine that is on is
// switched off, waited for, and switched on. If that is interrupted, the state
// tells how far it came: a cycle or reset of a machine that is off switches it on.
func (s *System) SetPower(ctx context.Context, a bmc.PowerAction) error {
	op := "set power: " + string(a)
	cs, _, err := s.read(ctx, op)
	if err != nil {
		return err
	}
	state := powerState(cs.Power)
	// A machine on its way up is not switched on again.
	on := state == bmc.PowerOn || a == bmc.ActionOn && strings.EqualFold(string(cs.Power), "PoweringOn")
	if state == bmc.PowerUnknown {
		on = a != bmc.ActionOn // no reason to leave the order out
	}
	wanted, known := preferences(a, on)
	if !known {
		return &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: "no such power action"}
	}
	if len(wanted) == 0 {
		return nil
	}
	if cs.Actions.Reset.Target == "" {
		return &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC offers no reset of this system"}
	}
	if state == bmc.PowerUnknown && wanted[len(wanted)-1] == pushButton {
		wanted = wanted[:len(wanted)-1]
	}
	allowed := s.resetTypes(ctx, cs)
	kind := wanted[0] // a BMC that lists nothing is asked for the best
	if len(allowed) > 0 {
		kind = pick(wanted, allowed)
	}
	if kind != "" {
		return s.reset(ctx, op, cs, kind, leadsTo(a))
	}
	off, up := pick([]string{"ForceOff"}, allowed), pick([]string{"On", "ForceOn"}, allowed)
	if state == bmc.PowerOn && off != "" && up != "" && (a == bmc.ActionCycle || a == bmc.ActionReset) {
		if err := s.reset(ctx, op, cs, off, bmc.PowerOff); err != nil {
			return err
		}
		if err := s.awaitPower(ctx, op, bmc.PowerOff); err != nil {
			return err
		}
		return s.reset(ctx, op, cs, up, bmc.PowerOn)
	}
	return &bmc.Error{
		Class: bmc.Unsupported, Op: op,
		Detail: fmt.Sprintf("the BMC allows %s, none of %s", some(allowed), strings.Join(wanted, ", ")),
	}
}

// leadsTo is the state in which an action has nothing left to do.
func leadsTo(a bmc.PowerAction) bmc.PowerState {
	switch a {
	case bmc.ActionOn:
		return bmc.PowerOn
	case bmc.ActionForceOff, bmc.ActionSoftOff:
		return bmc.PowerOff
	}
	return bmc.PowerUnknown
}

// reset sends one order. BMCs refuse, with a 409 or a 400, what is done already
// (iDRAC: PSU501; iLO: "Power is on"), so a refusal as busy is read back first.
// One that refuses to switch on so soon after off (quirk.PowerConflict) is given
// a moment, and asked once more.
func (s *System) reset(ctx context.Context, op string, cs *computerSystem, kind string, goal bmc.PowerState) error {
	order := call{
		op: op, method: http.MethodPost, uri: string(cs.Actions.Reset.Target),
		body: map[string]string{"ResetType": kind},
	}
	a, err := s.e.do(ctx, order)
	if err == nil || bmc.ClassOf(err) != bmc.Busy || goal == bmc.PowerUnknown {
		return err
	}
	if s.shows(ctx, op, goal) {
		return nil
	}
	if goal != bmc.PowerOn || a == nil || a.status != http.StatusConflict || !s.has(quirk.PowerConflict) {
		return err
	}
	pause := max(min(retryAfter(a.header), 3*conflictPause), conflictPause)
	if spare(ctx, pause) && s.e.sleep(ctx, pause) == nil {
		if s.shows(ctx, op, goal) {
			return nil
		}
		if _, err = s.e.do(ctx, order); err == nil {
			return nil
		}
	}
	var be *bmc.Error
	if errors.As(err, &be) && be.Class == bmc.Busy {
		be.RetryAfter = max(be.RetryAfter, conflictPause)
		be.Detail = "the machine is not yet ready to be switched on again (" + be.Detail + ")"
	}
	return err
}

// shows reports whether the machine is in a power state.
func (s *System) shows(ctx context.Context, op string, want bmc.PowerState) bool {
	cs, _, err := s.read(ctx, op)
	return err == nil && powerState(cs.Power) == want
}

// awaitPower reads the power state until it is as wanted, for a minute at most.
func (s *System) awaitPower(ctx context.Context, op string, want bmc.PowerState) error {
	got := text("")
	for try := range powerReads {
		if try > 0 {
			if err := s.e.sleep(ctx, powerPause); err != nil {
				return s.e.classify(ctx, op, err)
			}
		}
		cs, _, err := s.read(ctx, op)
		if err != nil {
			return err
		}
		if got = cs.Power; powerState(got) == want {
			return nil
		}
	}
	return &bmc.Error{
		Class: bmc.Busy, Op: op, RetryAfter: conflictPause,
		Detail: fmt.Sprintf("the BMC took the order, but still shows power state %q, not %s", clean(got), want),
	}
}

// readBackPower decides an Op of kind power, which waits for a state.
func (s *System) readBackPower(ctx context.Context, op string, o bmc.Op) (bmc.Progress, error) {
	cs, _, err := s.read(ctx, op)
	if err != nil {
		return bmc.Progress{}, err
	}
	return bmc.Progress{
		Done: string(powerState(cs.Power)) == o.Want["PowerState"], Percent: -1, State: clean(cs.Power),
	}, nil
}

// pick returns the first of wanted that is allowed, in the BMC's own spelling.
func pick(wanted, allowed []string) string {
	for _, w := range wanted {
		for _, a := range allowed {
			if strings.EqualFold(w, a) {
				return a
			}
		}
	}
	return ""
}

// resetTypes lists what the BMC allows: beside the action, or in its ActionInfo
// (OpenBMC, MegaRAC), which is read once. Empty means that it does not say.
func (s *System) resetTypes(ctx context.Context, cs *computerSystem) []string {
	if len(cs.Actions.Reset.Allowed) > 0 {
		return words(cs.Actions.Reset.Allowed)
	}
	s.mu.Lock()
	known := s.resets
	s.mu.Unlock()
	if known != nil || cs.Actions.Reset.Info == "" {
		return known
	}
	var info struct {
		Parameters list[struct {
			Name    text       `json:"Name"`
			Allowed list[text] `json:"AllowableValues"`
		}] `json:"Parameters"`
	}
	if _, err := s.e.get(ctx, "read reset types", string(cs.Actions.Reset.Info), &info); err != nil {
		return nil // the order itself will show what is wrong
	}
	known = []string{}
	for _, p := range info.Parameters {
		if strings.EqualFold(string(p.Name), "ResetType") {
			known = words(p.Allowed)
		}
	}
	s.mu.Lock()
	s.resets = known
	s.mu.Unlock()
	return known
}

func words(l list[text]) []string {
	out := make([]string, 0, len(l))
	for _, t := range l {
		out = append(out, string(t))
	}
	return out
}
