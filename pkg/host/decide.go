package host

// Annotations that the life cycle removes when it has acted on them.
const (
	AnnotationReboot  = "reboot.metal3.io"
	AnnotationInspect = "inspect.metal3.io"
)

// decide begins what the host's state asks for, with nothing under way.
func (s *stepper) decide() bool {
	h, w := &s.h, &s.h.Wants
	if h.State == None || h.State == Unmanaged {
		switch {
		case w.Managed():
			return s.to(Registering)
		case h.State == None:
			return s.to(Unmanaged)
		}
		return false
	}
	if h.State == Deleting {
		h.Gone = true
		s.emit(Action{Verb: Release})
		return false
	}
	if h.State == Registering && !w.Managed() {
		return s.to(Unmanaged)
	}
	if h.State == Registering || h.Good == "" || h.Good != w.SecretVersion || h.GoodAt != w.Address || h.GoodWith != w.BMCOptions {
		if w.SecretProblem != nil {
			s.problem(OpVerify, *w.SecretProblem)
			return false
		}
		return s.begin(OpVerify, false)
	}
	switch h.State {
	case Inspecting:
		if w.InspectAgain {
			s.unannotate(AnnotationInspect)
		}
		return s.begin(OpInspect, false)
	case Preparing:
		return s.begin(OpPrepare, false)
	case Available:
		return s.available()
	case Provisioning:
		// The state may have been persisted without what is tried (a crash between
		// the two writes), and an older try may differ in the checksum alone.
		if s.cancelled() || *w.Image != *h.LastTried {
			return s.to(Deprovisioning)
		}
		return s.begin(OpProvision, false)
	case Provisioned:
		if w.Image == nil && !w.ExternallyProvisioned || w.Image != nil && h.Provisioned != nil && !w.Image.same(h.Provisioned) {
			return s.to(Deprovisioning)
		}
		return s.power()
	case ExternallyProvisioned:
		if !w.ExternallyProvisioned {
			h.Provisioned = w.Image
			return s.to(Provisioned)
		}
		return s.power()
	case Deprovisioning:
		return s.begin(OpDeprovision, false)
	case PoweringOffBeforeDelete:
		return s.begin(OpPowerOff, true)
	}
	return false
}

// available hosts wait to be used.
func (s *stepper) available() bool {
	h, w := &s.h, &s.h.Wants
	if w.Image == nil || h.LastTried != nil && *w.Image != *h.LastTried {
		h.FailCount = 0
	}
	if w.RAID == "" {
		h.RAID = "" // it is left alone, and may become anything
	}
	switch {
	case w.ExternallyProvisioned:
		return s.to(ExternallyProvisioned)
	case w.InspectAgain:
		return s.to(Inspecting)
	case h.changes(OpPrepare):
		return s.to(Preparing)
	case w.Image != nil && w.Online:
		if s.m.MaxTries > 0 && h.FailCount >= s.m.MaxTries {
			h.FailCount-- // this is no further try
			s.problem(OpProvision, Problem{Code: "provision-retries", Class: Wait})
			return false
		}
		h.LastTried = w.Image
		return s.to(Provisioning)
	}
	return s.power()
}

// wantsOn reports whether the machine should be on while nothing else happens.
func (s *stepper) wantsOn() bool {
	h, w := &s.h, &s.h.Wants
	used := h.State == Provisioned || h.State == ExternallyProvisioned
	return w.Online && !(used && (w.Reboot.Once || w.Reboot.Hold))
}

// power brings the machine's power to what is declared.
func (s *stepper) power() bool {
	h, w := &s.h, &s.h.Wants
	if s.unwanted() {
		return s.begin(OpEject, false)
	}
	if h.State == Available || h.Power == PowerUnknown {
		w := s.wantsOn()
		switch {
		case h.Power == PowerUnknown || (h.Power == PowerOn) == w || !w && h.Wants.DisablePowerOff:
			return false
		case w:
			return s.begin(OpPowerOn, false)
		}
		return s.begin(OpPowerOff, true)
	}
	switch {
	case w.Reboot.Once && h.Power == PowerOff:
		s.unannotate(AnnotationReboot)
		return true
	case (w.DisablePowerOff && w.Reboot.Once || s.wantsOn() && h.Power == PowerOff) && h.changes(OpService):
		return s.begin(OpService, false) // and then what it asked for
	case w.DisablePowerOff && w.Reboot.Once:
		return s.begin(OpReset, false)
	case s.wantsOn() && h.Power == PowerOff:
		return s.begin(OpPowerOn, false)
	case !s.wantsOn() && h.Power == PowerOn && !w.DisablePowerOff:
		return s.begin(OpPowerOff, w.Reboot.Hard)
	}
	return false
}

// unannotate removes an annotation, here at once and in the object soon.
func (s *stepper) unannotate(key string) {
	switch key {
	case AnnotationReboot:
		s.h.Wants.Reboot.Once = false
	case AnnotationInspect:
		s.h.Wants.InspectAgain = false
	}
	s.emit(Action{Verb: Unannotate, Annotation: key})
}
