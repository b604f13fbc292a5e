package host

import (
	"fmt"
	"strings"
	"time"
)

// askedSoftOff is how long a machine has that is asked for at states/power to be
// switched off softly: Ironic's [conductor]soft_power_off_timeout.
const askedSoftOff = 10 * time.Minute

// askPower begins a verb of states/power. It does not move the host from where it
// rests.
func (s *stepper) askPower(verb string) {
	h := &s.h
	off := verb == VerbPowerOff || verb == VerbSoftOff
	switch {
	case h.rests() == "":
		s.refuseState(verb)
		return
	case off && h.Wants.DisablePowerOff:
		s.refuse(verb, "spec.disablePowerOff is true")
		return
	}
	if op := h.Op; op != nil && op.Kind == OpPowerOff && off {
		// What was declared along with it has begun it already.
		if verb == VerbPowerOff && !op.Hard {
			op.Hard = true
			if op.Phase == PhaseSoftOff && op.Entered {
				s.emit(Action{Verb: Cancel})
				h.Seq++
				s.next(PhaseSoftOff)
			}
		}
	} else if op == nil || op.Kind != OpPowerOn || verb != VerbPowerOn {
		s.drop()
	}
	h.Problem, h.ErrorCount = nil, 0
	h.Node.Verb, h.Node.Since = verb, s.now
}

// leadPower begins what a power verb asks for, or ends it.
func (s *stepper) leadPower() bool {
	h, n := &s.h, &s.h.Node
	switch n.Verb {
	case VerbPowerOn:
		if h.Power != PowerOn {
			return s.begin(OpPowerOn, false)
		}
	case VerbPowerOff, VerbSoftOff:
		switch {
		case h.Wants.DisablePowerOff:
			s.verbFails("spec.disablePowerOff is true.")
			return true
		case h.Power != PowerOff:
			return s.begin(OpPowerOff, n.Verb == VerbPowerOff)
		case n.Verb == VerbSoftOff && h.Wants.Online:
			return false // spec.online follows, or the machine would be switched on again
		}
	case VerbReboot, VerbSoftReboot:
		switch {
		case h.Power == PowerOff:
			n.Verb = VerbPowerOn
			return true
		case h.Wants.DisablePowerOff:
			return s.begin(OpReset, false)
		}
		return s.begin(OpPowerOff, n.Verb == VerbReboot)
	}
	s.verbDone(n.Hold)
	return true
}

// softly reports whether a verb of states/power asks the operating system. Such a verb
// declares no spec.online beforehand: whether the machine follows is not known.
func softly(verb string) bool { return verb == VerbSoftOff || verb == VerbSoftReboot }

// softOffLimit is how long the operating system has.
func (s *stepper) softOffLimit() time.Duration {
	h := &s.h
	switch a := h.Wants.Ask; {
	case !softly(h.Node.Verb):
		return s.m.SoftOffTimeout
	case a != nil && a.N == h.Node.Asked && a.Timeout > 0:
		return a.Timeout
	}
	return askedSoftOff
}

// staysOn ends a soft verb of states/power that the machine did not follow: it is left
// on, and the client is told (ironic/conductor/utils.py, node_power_action). What is
// declared becomes hard after a while, as in Metal3.
func (s *stepper) staysOn(p Problem) bool {
	n := &s.h.Node
	if !softly(n.Verb) {
		return false
	}
	to := VerbPowerOff
	if n.Verb == VerbSoftReboot {
		to = VerbPowerOn
	}
	why := p.Code
	if len(p.Seen) > 0 {
		why = strings.Join(p.Seen, "; ")
	}
	s.h.Op = nil
	verb := n.Verb
	s.verbDone(n.Hold)
	n.Error = fmt.Sprintf("Failed to change power state to '%s' by '%s': %s", to, verb, why)
	return true
}
