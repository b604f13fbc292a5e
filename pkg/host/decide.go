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
		if w.InspectionDisabled {
			return s.to(Preparing)
		}
		return s.work(OpInspect)
	case Preparing:
		return s.work(OpPrepare)
	case Available:
		return s.available()
	case Provisioning:
		// The state may have been persisted without what is tried (a crash between
		// the two writes), and an older try may differ in the checksum alone.
		if s.cancelled() || *w.Image != *h.LastTried {
			return s.to(Deprovisioning)
		}
		return s.work(OpProvision)
	case Provisioned:
		if w.Image == nil && !w.ExternallyProvisioned || w.Image != nil && h.Provisioned != nil && !w.Image.same(h.Provisioned) {
			return s.to(Deprovisioning)
		}
		return s.power()
	case ExternallyProvisioned:
		if !w.ExternallyProvisioned {
			// Somebody's system is on it: whoever gets the machine next must not.
			h.Provisioned, h.Dirty = w.Image, true
			return s.to(Provisioned)
		}
		return s.power()
	case Deprovisioning:
		return s.work(OpDeprovision)
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
	case h.changes(OpPrepare), w.Hints != "" && w.Hints != h.Hints:
		return s.to(Preparing)
	case w.SoftRAID != h.SoftRAID:
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

// unannotate removes an annotation, here at once and in the object soon.
func (s *stepper) unannotate(key string) {
	switch key {
	case AnnotationReboot:
		s.h.Wants.Reboot.Once, s.h.Wants.Reboot.Force = false, false
	case AnnotationInspect:
		s.h.Wants.InspectAgain = false
	}
	s.emit(Action{Verb: Unannotate, Annotation: key})
}
