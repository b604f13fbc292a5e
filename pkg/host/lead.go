package host

import "fmt"

// The life of a host that the REST door leads: it rests where Ironic does, does
// what it is asked for, once, and does not try again by itself. Whatever is led is
// decided here, before decide is asked.

// takesUp takes an ask up that is new. What the host's state does not allow is
// refused, and nothing is done.
func (s *stepper) takesUp() bool {
	if !s.due() {
		return false
	}
	h, w := &s.h, &s.h.Wants
	a := w.Ask
	h.Node.Asked, h.Node.Error = a.N, ""
	switch {
	case w.Deleting:
		s.refuse(a.Verb, "it is being deleted")
	case h.Detached:
		s.refuse(a.Verb, "it is detached (the annotation baremetalhost.metal3.io/detached)")
	case h.fake():
		s.pretend(a)
	case !w.Managed():
		s.refuse(a.Verb, "it has no BMC address")
	case isPower(a.Verb):
		s.askPower(a.Verb)
	case a.Verb == VerbAbort:
		s.abort()
	default:
		s.askVerb(a)
	}
	return true
}

// due reports whether there is a new ask, and all that was declared along with it is
// seen.
func (s *stepper) due() bool {
	a := s.h.Wants.Ask
	return a != nil && a.N > s.h.Node.Asked && s.h.Wants.Generation >= a.Generation
}

// refuse lets an ask go.
func (s *stepper) refuse(verb, why string) {
	s.h.Node.Error = fmt.Sprintf("The requested action %q can not be performed: %s.", verb, why)
}

// refuseState lets an ask go that the state does not allow, in Ironic's words.
func (s *stepper) refuseState(verb string) {
	state := s.h.rests()
	if state == "" {
		state = string(s.h.State)
	}
	s.h.Node.Error = fmt.Sprintf("The requested action %q can not be performed on node %q while it is in state %q.", verb, s.h.Key, state)
}

// askVerb begins a verb of states/provision.
func (s *stepper) askVerb(a *Ask) {
	h := &s.h
	from := h.rests()
	_, allowed := leads[from][a.Verb]
	switch {
	case a.Verb == VerbDeleted && h.State == Provisioning && h.Op != nil && h.Op.abortable():
	case !allowed && s.joins(a.Verb):
		h.Node.Verb, h.Node.Since = a.Verb, s.now
		h.Dirty = h.Dirty || a.Verb == VerbDeleted && (h.Op == nil || h.Op.Phase != PhaseStop)
		s.turns()
		return
	case !allowed && from != "" && from == reached[a.Verb]:
		return
	case !allowed:
		s.refuseState(a.Verb)
		return
	}
	if why := s.lacks(a); why != "" {
		s.refuse(a.Verb, why)
		return
	}
	s.drop()
	h.Problem, h.ErrorCount = nil, 0
	n := &h.Node
	n.Hold, n.Verb, n.Erase, n.Since = "", a.Verb, "", s.now
	switch a.Verb {
	case VerbManage:
		if from == Enroll {
			h.Good = "" // looked at anew, whatever was known
		}
		s.manages()
	case VerbAdopt:
		h.Good = "" // its power has to be known as of now
	case VerbInspect:
		s.to(Inspecting)
	case VerbClean:
		n.Erase = a.Erase
		s.to(Preparing)
	case VerbProvide:
		s.to(Preparing)
	case VerbActive, VerbRebuild:
		h.FailCount = 0
		if from != NodeAvailable && h.State != Preparing {
			s.overwrites()
		}
	case VerbDeleted:
		h.Dirty = true // whatever came of the deployment
		s.to(Deprovisioning)
	}
}

// lacks says what of that which goes with an ask is not declared, or cannot be
// done.
func (s *stepper) lacks(a *Ask) string {
	w := &s.h.Wants
	switch a.Verb {
	case VerbRescue, VerbUnrescue, VerbUnhold:
		return "the driver does not support it (disabled or not implemented)"
	case VerbClean:
		if a.Erase == EraseAll {
			return "the agent erases the metadata of disks, not all of them"
		}
	case VerbInspect:
		if w.InspectionDisabled {
			return "the inspection of this host is disabled"
		}
	case VerbAdopt:
		if !w.ExternallyProvisioned {
			return "spec.externallyProvisioned is false"
		}
	case VerbActive, VerbRebuild:
		switch {
		case w.ExternallyProvisioned:
			return "spec.externallyProvisioned is true"
		case w.Image == nil:
			return "there is no image to deploy: spec.image is not set"
		}
	case VerbDeleted:
		if w.ExternallyProvisioned || w.Image != nil {
			return "spec asks for what is on the machine: spec.image or spec.externallyProvisioned is set"
		}
	}
	return ""
}

// joins reports whether a verb was begun already: by what was declared along with
// it, or before a crash, of which the state alone was written.
func (s *stepper) joins(verb string) bool {
	h := &s.h
	if h.Node.Verb != "" || h.Node.Hold != "" || h.Problem != nil {
		return false
	}
	switch verb {
	case VerbManage:
		return h.State == Registering
	case VerbInspect:
		return h.State == Inspecting
	case VerbActive:
		return h.Wants.Image != nil && (h.State == Provisioning || h.State == Preparing)
	case VerbRebuild:
		return h.Wants.Image != nil && (h.State == Provisioning || h.State == Preparing || h.State == Deprovisioning)
	case VerbDeleted:
		return h.State == Deprovisioning
	}
	return false
}

// turns has a rebuild go the short way that began as Metal3 changes an image: with
// an erase before it. An erase that is under way is waited for.
func (s *stepper) turns() {
	h := &s.h
	if h.Node.Verb != VerbRebuild || h.State != Deprovisioning {
		return
	}
	if h.Op != nil && (h.Op.Phase == PhaseClean || h.Op.Phase == PhaseStop) {
		return
	}
	s.overwrites()
}

// overwrites begins a deployment over what is there. Nobody knows how far an earlier
// one came.
func (s *stepper) overwrites() {
	s.h.Provisioned, s.h.Dirty, s.h.LastTried = nil, true, s.h.Wants.Image
	s.to(Provisioning)
}

// manages brings a host back to where it is known and nothing else. What was
// written to it stays to be erased.
func (s *stepper) manages() {
	if s.h.State == Deprovisioning {
		s.h.Provisioned, s.h.Dirty = nil, true
	}
	if s.h.State != Registering {
		s.endAgent()
		s.to(Registering)
	}
}

// abort ends what waits for an agent.
func (s *stepper) abort() {
	h := &s.h
	if h.Node.Hold == ServiceFailed {
		s.verbDone("")
		h.Problem, h.ErrorCount = nil, 0
		return
	}
	if h.Op == nil || h.Node.Hold != "" {
		s.refuseState(VerbAbort)
		return
	}
	if !h.Op.abortable() {
		s.refuse(VerbAbort, "what is being done cannot be broken off: "+h.Op.waits())
		return
	}
	hold, what := CleanFailed, "Cleaning"
	switch h.Op.Kind {
	case OpInspect:
		hold, what = InspectFailed, "Inspection"
	case OpProvision:
		hold, what = DeployFailed, "Deployment"
	case OpService:
		hold, what = ServiceFailed, "Service"
	case OpPrepare:
		if v := h.Node.Verb; v == VerbActive || v == VerbRebuild {
			hold, what = DeployFailed, "Deployment"
		}
	}
	s.drop()
	s.endAgent()
	s.verbDone(hold)
	h.Node.Error = what + " was aborted by request."
}

// abortable reports whether an operation may be broken off: it waits for an agent
// or for the machine, and no BMC is at work on a change.
func (o *Op) abortable() bool {
	switch o.Kind {
	case OpInspect, OpPrepare, OpProvision, OpDeprovision, OpService:
	default:
		return false
	}
	switch o.Phase {
	case PhaseChange, PhaseRestart, PhaseSettle, // the BMC is at work
		PhaseSecureOn, PhaseDiskBoot, PhaseInsert, PhaseMediaBoot, PhaseRun: // it is written, and starts
		return false
	}
	return o.Kind != OpProvision || o.Phase != PhaseStop
}

// keeps has a host rest that nothing is to be begun for: its state says no more
// than whether it names a BMC.
func (s *stepper) keeps() bool {
	h := &s.h
	if hold := h.Node.Hold; hold != "" && !realHolds[hold] {
		h.Node.Hold = Enroll // of the time before it had a machine
	}
	h.Node.Power = ""
	switch h.State {
	case None, Unmanaged:
		if h.Wants.Managed() {
			return s.to(Registering)
		}
	case Registering:
		if !h.Wants.Managed() {
			return s.to(Unmanaged)
		}
	}
	if h.State == None {
		return s.to(Unmanaged)
	}
	return false
}

// verified reports whether the BMC let these credentials in, at this address.
func (h *Host) verified() bool {
	w := h.Wants
	return h.Good != "" && h.Good == w.SecretVersion && h.GoodAt == w.Address && h.GoodWith == w.BMCOptions
}

// Polled reports whether a host at rest has a BMC that may be asked for its power.
func (h *Host) Polled() bool {
	if h.Node.Hold != "" {
		return h.verified()
	}
	return h.Problem == nil && h.Good != ""
}

// lead begins the next part of the verb that is being carried out, or ends it.
func (s *stepper) lead() bool {
	h, w := &s.h, &s.h.Wants
	if s.arrived() {
		return true
	}
	if !w.Managed() {
		s.verbFails("The host has no BMC address.")
		return true
	}
	if !h.verified() {
		if w.SecretProblem != nil {
			s.problem(OpVerify, *w.SecretProblem)
			return true
		}
		return s.begin(OpVerify, false)
	}
	if isPower(h.Node.Verb) {
		return s.leadPower()
	}
	switch h.State {
	case Registering:
		if h.Node.Verb == VerbAdopt {
			return s.adopts()
		}
		s.verbDone(Manageable)
		return true
	case Inspecting:
		if w.InspectionDisabled {
			s.verbFails("The inspection of this host was disabled.")
			return true
		}
		return s.work(OpInspect)
	case Preparing:
		return s.work(OpPrepare)
	case Available, Provisioning:
		return s.deploys()
	case Deprovisioning:
		return s.work(OpDeprovision)
	}
	if h.Node.Verb == VerbService && h.used() {
		return s.begin(OpService, false)
	}
	s.verbFails("The host is in a state that the verb does not know: " + string(h.State) + ".")
	return true
}

// arrived ends a verb whose host is where it leads. That is seen here only after a
// crash between the writes of its two objects.
func (s *stepper) arrived() bool {
	h := &s.h
	var at bool
	switch h.Node.Verb {
	case VerbProvide, VerbDeleted:
		at = h.State == Available
	case VerbActive, VerbRebuild:
		at = h.State == Provisioned
	case VerbAdopt:
		at = h.State == ExternallyProvisioned
	}
	if at {
		s.verbDone("")
	}
	return at
}

// deploys leads towards Provisioned.
func (s *stepper) deploys() bool {
	h, w := &s.h, &s.h.Wants
	switch {
	case w.Image == nil || w.ExternallyProvisioned:
		s.verbFails("There is no image to deploy: spec.image was taken away.")
		return true
	case h.State == Available && (h.changes(OpPrepare) || w.Hints != "" && w.Hints != h.Hints || w.SoftRAID != h.SoftRAID):
		return s.to(Preparing)
	case h.State == Available:
		h.LastTried = w.Image
		return s.to(Provisioning)
	case s.cancelled() || *w.Image != *h.LastTried:
		h.LastTried = w.Image
	}
	return s.work(OpProvision)
}

// adopts takes a machine in use as it is. Nothing is written to its BMC, so
// spec.online has to be what it is, first.
func (s *stepper) adopts() bool {
	h := &s.h
	if !h.Wants.ExternallyProvisioned {
		s.verbFails("spec.externallyProvisioned was taken away.")
		return true
	}
	if h.FollowsPower() {
		return false
	}
	s.to(ExternallyProvisioned)
	s.verbDone("")
	return true
}

// ledDone follows an operation of a led host that reached its end.
func (s *stepper) ledDone(kind OpKind) {
	h, n := &s.h, &s.h.Node
	switch kind {
	case OpInspect:
		s.to(Registering)
		s.verbDone(Manageable)
	case OpPrepare:
		s.hinted()
		switch n.Verb {
		case VerbClean:
			s.to(Registering)
			s.verbDone(Manageable)
		case VerbProvide:
			s.to(Available)
			s.verbDone("")
		default:
			s.to(Available)
		}
	case OpProvision:
		s.provisioned()
		s.verbDone("")
	case OpDeprovision:
		s.deprovisioned()
		if n.Verb == VerbDeleted {
			s.verbDone("")
		}
	case OpService, OpPowerOn, OpReset:
		s.verbDone(n.Hold)
	case OpPowerOff:
		if n.Verb == VerbReboot || n.Verb == VerbSoftReboot {
			n.Verb = VerbPowerOn // what remains of it
		} else if n.Verb != VerbSoftOff { // which ends once spec.online says so
			s.verbDone(n.Hold)
		}
	}
	h.ErrorCount = 0
}

// verbDone ends a verb. The host rests in hold from then on, or goes on by itself.
func (s *stepper) verbDone(hold string) {
	n := &s.h.Node
	n.Hold, n.Verb, n.Erase, n.Error, n.Since = hold, "", "", "", s.now
}

// verbFails ends a verb that cannot be carried out, and says why.
func (s *stepper) verbFails(why string) {
	s.drop()
	s.verbFailed()
	s.h.Node.Error = why
}

// verbFailed ends a verb that met a problem, which is shown until the REST client
// asks for something else. A power verb leaves its host where it was.
func (s *stepper) verbFailed() {
	n := &s.h.Node
	hold := n.Hold
	if to, ok := failedIn[n.Verb]; ok {
		hold = to
	}
	s.verbDone(hold)
}

// letGo ends the lead of a host that is to be deleted. One that is merely known is
// let go as it is, and so is one that somebody is at work at: its power is not
// touched. What was deployed is erased as ever.
func (s *stepper) letGo() bool {
	h := &s.h
	if h.State == Deleting || h.Detached {
		return false
	}
	known := h.Node.Hold != "" && (h.State == Registering || h.State == Inspecting || h.State == Preparing)
	if known || h.Wants.Maintenance {
		s.drop()
		s.endAgent()
		h.Node.Hold, h.Node.Verb = "", ""
		return s.to(Deleting)
	}
	if h.Node.Hold == "" && h.Node.Verb == "" {
		return false
	}
	h.Node.Hold, h.Node.Verb, h.Problem = "", "", nil
	return true
}
