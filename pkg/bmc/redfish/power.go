package redfish

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// PowerState reads whether the machine is on: one request.
func (s *System) PowerState(ctx context.Context) (bmc.PowerState, error) {
	cs, _, err := s.read(ctx, "read power state")
	if err != nil {
		return bmc.PowerUnknown, err
	}
	return powerState(cs.Power), nil
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
	switch a {
	case bmc.ActionOn:
		if on {
			return nil, true
		}
		return []string{"On", "ForceOn"}, true
	case bmc.ActionForceOff:
		if !on {
			return nil, true
		}
		return []string{"ForceOff"}, true
	case bmc.ActionSoftOff:
		if !on {
			return nil, true
		}
		return []string{"GracefulShutdown", "PushPowerButton"}, true
	case bmc.ActionReset, bmc.ActionCycle:
		if !on {
			return []string{"On", "ForceOn"}, true
		}
		if a == bmc.ActionCycle {
			return []string{"PowerCycle", "ForceRestart"}, true
		}
		return []string{"ForceRestart", "PowerCycle"}, true
	case bmc.ActionNMI:
		return []string{"Nmi"}, true
	}
	return nil, false
}

// SetPower orders an action, unless the machine is already in the state that it
// leads to: two requests, and once a third for the BMC's list of reset types.
func (s *System) SetPower(ctx context.Context, a bmc.PowerAction) error {
	op := "set power: " + string(a)
	cs, _, err := s.read(ctx, op)
	if err != nil {
		return err
	}
	// A machine on its way up is not switched on again.
	on := powerState(cs.Power) == bmc.PowerOn || a == bmc.ActionOn && strings.EqualFold(string(cs.Power), "PoweringOn")
	if powerState(cs.Power) == bmc.PowerUnknown {
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
	allowed := s.resetTypes(ctx, cs)
	kind := wanted[0] // a BMC that lists nothing is asked for the best
	if len(allowed) > 0 {
		if kind = pick(wanted, allowed); kind == "" {
			return &bmc.Error{
				Class: bmc.Unsupported, Op: op,
				Detail: fmt.Sprintf("the BMC allows %s, none of %s", some(allowed), strings.Join(wanted, ", ")),
			}
		}
	}
	_, err = s.e.do(ctx, call{
		op: op, method: http.MethodPost, uri: string(cs.Actions.Reset.Target),
		body: map[string]string{"ResetType": kind},
	})
	return err
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
