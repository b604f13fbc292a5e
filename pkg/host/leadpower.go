package host

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
