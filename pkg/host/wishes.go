package host

// What a person may ask for at any time by an annotation: a reboot, held power,
// another inspection; and when a deletion gives a machine up.

// asked ends a wait when an annotation asks for something: whoever sets it wants
// to see it happen, not the end of a back-off.
func (s *stepper) asked(was Wants) {
	h, w := &s.h, &s.h.Wants
	if h.Problem == nil || h.Node.Hold != "" || was.Reboot == w.Reboot && (was.InspectAgain || !w.InspectAgain) {
		return
	}
	p := clone(h.Problem)
	p.Class, p.NextTry = Retry, s.now
	h.Problem = p
}

// hinted notes the hints that hold from now on. Where none are declared, those that
// were known do.
func (s *stepper) hinted() {
	if s.h.Wants.Hints != "" {
		s.h.Hints = s.h.Wants.Hints
	}
}

// work begins an operation that boots the machine. That is a reboot: a plain
// annotation which asks for one is seen to (Metal3 does not count it in preparing
// unless it is forced). A forced one ends the agent that may run in it.
func (s *stepper) work(kind OpKind) bool {
	r := s.h.Wants.Reboot
	if r.Force {
		s.endAgent()
	}
	if r.Once && (r.Force || kind != OpPrepare) {
		s.unannotate(AnnotationReboot)
	}
	return s.begin(kind, false)
}

// forced begins an operation anew whose machine is to be rebooted by force. When
// only the machine's own system is left to start, that is the reboot.
func (s *stepper) forced() bool {
	op := s.h.Op
	if !s.h.Wants.Reboot.Force {
		return false
	}
	switch op.Kind {
	case OpInspect, OpPrepare, OpProvision, OpDeprovision:
	default:
		return false
	}
	switch op.Phase {
	case PhasePlan, PhaseChange, PhaseRestart, PhaseSettle:
		return false // the BMC is at work on a change, and the boot is yet to come
	case PhaseStop, PhaseSecureOn, PhaseDiskBoot, PhaseInsert, PhaseMediaBoot, PhaseRun:
		s.unannotate(AnnotationReboot)
	default:
		s.drop()
	}
	return true
}

// used reports whether the machine runs somebody's system.
func (h *Host) used() bool { return h.State == Provisioned || h.State == ExternallyProvisioned }

// wantsOn reports whether the machine should be on while nothing else happens. An
// available host honours only reboots that are forced, as in Metal3.
func (s *stepper) wantsOn() bool {
	w, r := s.h.Wants, s.h.Wants.Reboot
	if s.h.used() {
		return w.Online && !r.Once && !r.Hold
	}
	return w.Online && !r.Force && !r.HoldForce
}

// power brings the machine's power to what is declared.
func (s *stepper) power() bool {
	h, w := &s.h, &s.h.Wants
	if s.unwanted() {
		return s.begin(OpEject, false)
	}
	switch {
	case h.Power == PowerUnknown:
		return false
	case w.Reboot.Once && h.Power == PowerOff:
		s.unannotate(AnnotationReboot)
		return true
	case h.used() && (w.DisablePowerOff && w.Reboot.Once || s.wantsOn() && h.Power == PowerOff) && h.changes(OpService):
		return s.begin(OpService, false) // and then what it asked for
	case w.DisablePowerOff && w.Reboot.Once && (h.used() || w.Reboot.Force):
		return s.begin(OpReset, false)
	case s.wantsOn() && h.Power == PowerOff:
		return s.begin(OpPowerOn, false)
	case !s.wantsOn() && h.Power == PowerOn && !w.DisablePowerOff:
		// Nobody's system runs in an available host; and one that failed to be
		// switched off gently is not asked again.
		return s.begin(OpPowerOff, !h.used() || w.Reboot.Hard || h.ErrorCount > 0)
	}
	return false
}

const (
	// deleteTries is after how many failures in a row a deletion goes on without
	// what failed (Metal3's number).
	deleteTries = 3
	// deleteGrace is how long, in units, a deletion waits for a change that only a
	// person can make, such as of a password.
	deleteGrace = 4
)

// givenUp reports whether a deletion has waited long enough: a BMC that is dead,
// or whose Secret is gone, never holds an object for ever.
func (s *stepper) givenUp() bool {
	p := s.h.Problem
	if p == nil {
		return false
	}
	return s.h.ErrorCount > deleteTries || p.Class == Wait && !p.NextTry.IsZero() && !s.now.Before(p.NextTry)
}

// skipDeprovision goes on with a deletion whose deprovisioning failed. With no way
// to the BMC there is nothing more to try; else one power off is, as the count of
// failures is kept.
func (s *stepper) skipDeprovision() bool {
	h := &s.h
	h.GaveUp = Deprovisioning
	if t := h.Problem.Type; t == RegistrationError || t == ProvisionedRegistrationErr {
		return s.to(Deleting)
	}
	count := h.ErrorCount
	s.to(PoweringOffBeforeDelete)
	h.ErrorCount = count
	return true
}
