package host

// A host of the driver fake-hardware has no machine: whatever it is asked for is
// done at once, and nothing is done. It is there for those who test clients.

// fake reports whether the host is one. A host that names a BMC never is.
func (h *Host) fake() bool {
	return h.Wants.Fake && !h.Wants.Managed() && (h.State == None || h.State == Unmanaged || h.State == Registering)
}

// pretend carries an ask out, at once.
func (s *stepper) pretend(a *Ask) {
	n := &s.h.Node
	if n.Hold == "" {
		n.Hold = Enroll
	}
	if isPower(a.Verb) {
		n.Power = VerbPowerOn
		if a.Verb == VerbPowerOff || a.Verb == VerbSoftOff {
			n.Power = VerbPowerOff
		}
		return
	}
	to, ok := leads[n.Hold][a.Verb]
	switch {
	case !ok && n.Hold == reached[a.Verb]:
		return
	case !ok:
		s.refuseState(a.Verb)
		return
	}
	if a.Hold {
		switch a.Verb {
		case VerbActive, VerbRebuild:
			to = DeployHold
		case VerbClean:
			to = CleanHold
		case VerbService:
			to = ServiceHold
		}
	}
	was := n.Hold
	s.verbDone(to)
	switch {
	case a.Verb == VerbAbort && was == CleanHold:
		n.Error = "Cleaning was aborted by request."
	case a.Verb == VerbAbort && was == DeployHold:
		n.Error = "Deployment was aborted by request."
	case a.Verb == VerbAbort && was == ServiceHold:
		n.Error = "Service was aborted by request."
	}
	if n.Power == "" {
		n.Power = VerbPowerOff // seen when it was first looked at
	}
}

// fakes has a host without a machine rest.
func (s *stepper) fakes() bool {
	n := &s.h.Node
	if n.Hold == "" || n.Verb != "" {
		n.Verb = ""
		if n.Hold == "" {
			n.Hold, n.Since = Enroll, s.now
		}
		return true
	}
	if s.h.State != Unmanaged {
		return s.to(Unmanaged)
	}
	return false
}
