package host

import (
	"fmt"
	"slices"
	"time"
)

// Machine is the state machine with its limits. The zero value is of no use; see
// Defaults.
type Machine struct {
	RetryUnit      time.Duration // first back-off is twice this, less jitter
	HelloTimeout   time.Duration // from ordering a boot to the agent's call
	BMCTimeout     time.Duration // for one action on a BMC
	SoftOffTimeout time.Duration // before a soft power off becomes a hard one
	StepTimeout    time.Duration // for an inspection, or an agent's cleaning
	ImageTimeout   time.Duration // for preparing an image, and for writing it
	ChangeTimeout  time.Duration // for a change of firmware or RAID, and the restart it needs
	MediaTimeout   time.Duration // for filling or emptying a virtual drive: some BMCs fetch all of the image first
	RamdiskTimeout time.Duration // for an external builder's answer
	MaxTries       int           // provisionings of one image; 0: no limit
}

// Defaults are the limits for real hardware: a server with much memory may need
// ten minutes from power on to its first packet.
func Defaults() Machine {
	return Machine{
		RetryUnit:      time.Minute,
		HelloTimeout:   20 * time.Minute,
		BMCTimeout:     3 * time.Minute,
		SoftOffTimeout: 3 * time.Minute,
		StepTimeout:    30 * time.Minute,
		ImageTimeout:   2 * time.Hour,
		ChangeTimeout:  90 * time.Minute,
		MediaTimeout:   15 * time.Minute,
		RamdiskTimeout: 5 * time.Minute, // Metal3's
		MaxTries:       5,
	}
}

// Step says what follows from an event. It does not change h.
func (m Machine) Step(h Host, now time.Time, e Event) (Host, []Action) {
	s := stepper{m: m, h: h, now: now}
	s.h.Op, s.h.Boot = clone(h.Op), clone(h.Boot)
	switch e := e.(type) {
	case Observe:
		s.observe(e.Wants)
	case Outcome:
		s.outcome(e)
	case PowerRead:
		s.powerRead(e)
	case Hello:
		if b := s.h.Boot; b != nil && b.ID == e.BootID {
			b.Redeemed = true
			s.finish(PhaseHello)
		}
	case Refused:
		s.refused(e)
	case Contested:
		s.contested(e)
	case BootSeen:
		if s.h.Boot != nil {
			// Two servers' news may come in the other order: nothing is taken back.
			s.h.Boot.Seen = s.h.Boot.Seen.And(e.Seen)
		}
	case AgentLost:
		if s.h.Agent() && s.h.Boot.ID == e.BootID {
			s.lost()
		}
	case BMCSilent:
		switch {
		case s.h.Op != nil:
		case s.h.Node.Hold != "":
			s.h.Power = PowerUnknown // and it is polled on
		default:
			s.h.Good = ""
		}
	case BMCHeard:
		s.heard()
	case Tick:
	}
	for s.settle() {
	}
	return s.h, s.actions
}

// observe takes in what is declared. What the way to the BMC is being verified by
// must not change on the way.
func (s *stepper) observe(w Wants) {
	was, op := s.h.Wants, s.h.Op
	s.h.Wants = w
	if !w.BuildsRamdisk && s.h.Boot == nil {
		s.h.Ramdisk = nil
	}
	s.asked(was)
	if op != nil && op.Kind == OpVerify && op.Entered &&
		(was.SecretVersion != w.SecretVersion || was.Address != w.Address || was.BMCOptions != w.BMCOptions) {
		s.drop()
	}
}

// Resume marks what was being done as not begun by this process. The next Step
// enters the recorded phase again.
func (h Host) Resume() Host {
	if h.Op != nil {
		h.Op = clone(h.Op)
		h.Op.Entered, h.Op.Again = false, true
	}
	return h
}

// Wake is when the host must be stepped again though nothing happens; zero:
// never.
func (h Host) Wake() time.Time {
	var t time.Time
	if h.Op != nil && h.Op.Entered {
		t = h.Op.Deadline
	}
	if h.Problem != nil && !h.Wants.Maintenance && !h.Problem.NextTry.IsZero() && (t.IsZero() || h.Problem.NextTry.Before(t)) {
		t = h.Problem.NextTry
	}
	return t
}

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}

type stepper struct {
	m       Machine
	h       Host
	now     time.Time
	actions []Action
}

func (s *stepper) emit(a Action) { s.actions = append(s.actions, a) }

// to moves the host to another state, with nothing under way in it.
func (s *stepper) to(st State) bool {
	s.drop()
	s.h.State, s.h.StateSince = st, s.now
	s.h.Problem, s.h.ErrorCount = nil, 0
	return true
}

// drop forgets the running operation; an outcome that still comes is ignored.
func (s *stepper) drop() {
	if s.h.Op == nil {
		return
	}
	if s.h.Op.Entered {
		s.emit(Action{Verb: Cancel})
		if s.h.Op.Phase == PhaseStop {
			s.endAgent() // the machine may be off already: it is no use to wait for it
		}
	}
	s.h.Op = nil
	s.h.Seq++
}

// settle takes one decision and reports whether another may follow from it.
func (s *stepper) settle() bool {
	h, w := &s.h, &s.h.Wants
	switch {
	case h.Gone, w.Paused:
		return false
	case s.detachChanged():
		return true
	case w.Deleting && s.deleteNext():
		return true
	case h.Detached && h.State != Deleting && !s.due():
		return false
	case s.takesUp():
		return true
	case h.State == Deleting:
		return s.decide()
	case h.fake():
		return s.fakes()
	case h.Node.Hold != "" && h.Node.Verb == "":
		return s.keeps()
	case h.Problem != nil && h.Wants.Maintenance:
		return false
	case h.Problem != nil:
		return s.wake()
	case h.Op != nil && s.obsolete():
		return true
	case h.Op != nil:
		return s.carryOn()
	case h.Node.Verb != "":
		return s.lead()
	case w.Maintenance:
		return s.keeps()
	}
	return s.decide()
}

// detachChanged follows the detached annotation. A detached host is left alone:
// what was under way is forgotten, whatever it was.
func (s *stepper) detachChanged() bool {
	h, d := &s.h, s.h.Wants.Detach
	if d == nil {
		if !h.Detached {
			return false
		}
		h.Detached, h.Good = false, ""
		return true
	}
	if h.Detached || !d.Force && h.State != Provisioned && h.State != ExternallyProvisioned && h.State != Available {
		return false
	}
	s.drop()
	s.endAgent()
	h.Detached, h.Problem, h.ErrorCount = true, nil, 0
	return true
}

// deleteNext moves a host that is to be deleted towards Deleting. What needs the
// BMC is given up after a few failures, so that a dead BMC never holds a host.
func (s *stepper) deleteNext() bool {
	h := &s.h
	if s.letGo() {
		return true
	}
	switch h.State {
	case Deleting:
		return false
	case None, Unmanaged, Registering:
		return s.to(Deleting)
	}
	if h.Detached {
		if h.Wants.Detach != nil && h.Wants.Detach.DelayDelete {
			return false
		}
		return s.to(Deleting)
	}
	switch h.State {
	case Provisioning, Provisioned:
		return s.to(Deprovisioning)
	case Deprovisioning:
		return s.givenUp() && s.skipDeprovision()
	case PoweringOffBeforeDelete:
		if h.Power == PowerOff && h.Media == nil || h.Wants.DisablePowerOff {
			return s.to(Deleting)
		}
		if s.givenUp() {
			h.GaveUp = PoweringOffBeforeDelete
			return s.to(Deleting)
		}
		return false
	}
	return s.to(PoweringOffBeforeDelete)
}

// wake ends a problem when its time has come or when something that it may
// depend on was changed.
func (s *stepper) wake() bool {
	h, p := &s.h, s.h.Problem
	changed := p.Generation != h.Wants.Generation || p.Secret != h.Wants.secrets()
	if now := h.Wants.SecretProblem; now != nil && now.Code == p.Code && !slices.Equal(now.Seen, p.Seen) {
		changed = true // still unusable, for another reason
	}
	if h.Wants.Deleting && p.NextTry.IsZero() {
		changed = true // met before: a deletion does not wait for ever
	}
	due := !p.NextTry.IsZero() && !s.now.Before(p.NextTry)
	if !changed && !due {
		return false
	}
	h.Problem = nil
	if h.State == Provisioning {
		// Metal3: a failed provisioning is undone before it is tried again.
		count := h.ErrorCount
		s.to(Deprovisioning)
		h.ErrorCount = count
	}
	return true
}

// obsolete drops an operation that what is declared no longer asks for.
func (s *stepper) obsolete() bool {
	h := &s.h
	switch {
	case h.State == Provisioning && h.Op.Kind == OpProvision && s.cancelled():
		if h.Node.Verb != "" {
			s.verbDone("") // whoever changed spec leads from here
		}
		return s.to(Deprovisioning)
	case h.State == Registering && !h.Wants.Managed():
		return s.to(Unmanaged)
	case s.forced():
		return true
	case h.Op.Kind == OpInspect && h.Wants.InspectionDisabled:
		s.drop()
		return true
	case h.Op.Kind == OpInspect && (h.Op.Phase == PhaseFacts) != h.Wants.FastInspect:
		s.drop() // the other way of inspection is asked for
		return true
	case h.Op.Kind == OpPowerOn && !s.wantsOn() && !isPower(h.Node.Verb),
		h.Op.Kind == OpPowerOff && h.State != PoweringOffBeforeDelete && (s.wantsOn() && !isPower(h.Node.Verb) || h.Wants.DisablePowerOff):
		s.drop()
		return true
	case s.stale():
		s.drop() // another is wanted
		return true
	case h.Op.Phase == PhaseClean && !h.Op.Entered && !h.cleans(h.Op.Kind):
		s.drop() // began before a restart, and is no longer asked for
		return true
	case s.serviceEnds():
		s.drop()
		return true
	case h.Op.Phase == PhaseSoftRAID && !h.Op.Entered && !h.makesRAID(h.Op.Kind):
		s.drop() // likewise
		return true
	}
	return false
}

// cancelled reports whether the image being written is no longer wanted.
func (s *stepper) cancelled() bool {
	img := s.h.Wants.Image
	was := s.h.LastTried
	return img == nil || was == nil || !img.same(was) || img.Live() != was.Live()
}

// carryOn enters the phase of the running operation, or ends it at its deadline.
func (s *stepper) carryOn() bool {
	op := s.h.Op
	if !op.Entered {
		s.enter()
		return true
	}
	if op.Phase == PhaseRamdisk && s.ramdiskAnswered() {
		return true
	}
	if op.Deadline.IsZero() || s.now.Before(op.Deadline) {
		return false
	}
	s.emit(Action{Verb: Cancel})
	s.h.Seq++
	s.failed(s.timeout())
	return true
}

// begin starts an operation at its first phase that is needed.
func (s *stepper) begin(kind OpKind, hard bool) bool {
	s.h.Op = &Op{Kind: kind, Started: s.now, Since: s.now, Hard: hard}
	s.next("")
	return true
}

// next moves the operation to the phase after p that is needed, or ends it.
func (s *stepper) next(p Phase) {
	op := s.h.Op
	after := p == ""
	for _, q := range phases[op.Kind] {
		if after && !s.h.skips(op.Kind, q) {
			op.Phase, op.Since, op.Deadline, op.Entered, op.StepID = q, s.now, time.Time{}, false, ""
			op.Again = false
			return
		}
		after = after || q == p
	}
	s.h.Op = nil
	s.done(op.Kind)
}

// finish ends the phase p if it is the one under way.
func (s *stepper) finish(p Phase) {
	if s.h.Op != nil && s.h.Op.Phase == p {
		s.next(p)
	}
}

// enter hands out the action of the operation's phase.
func (s *stepper) enter() {
	h, op := &s.h, s.h.Op
	op.Entered = true
	a := Action{}
	limit := s.m.BMCTimeout
	switch op.Phase {
	case PhaseVerify:
		a.Verb = VerifyBMC
	case PhaseFacts:
		a.Verb, limit = ReadFacts, s.m.StepTimeout
	case PhaseImage:
		a.Verb, limit = PrepareImage, s.m.ImageTimeout
	case PhaseOff, PhaseStop, PhaseForceOff:
		a.Verb, a.Power = SetPower, ChangeForce
	case PhaseSoftOff:
		a.Verb, a.Power, limit = SetPower, ChangeSoft, s.softOffLimit()
	case PhaseStart, PhaseRun:
		a.Verb, a.Power = SetPower, ChangeOn
	case PhaseReset:
		a.Verb, a.Power = SetPower, ChangeReset
	case PhaseNetBoot, PhaseDiskBoot:
		a.Verb, a.FromDisk, a.Legacy = SetBoot, op.Phase == PhaseDiskBoot, h.Wants.Legacy
		a.FromMedia = op.Phase == PhaseNetBoot && h.iso() != ""
	case PhasePlan:
		a.Verb, limit = PlanChange, s.m.StepTimeout
	case PhaseChange:
		if op.Change == nil || !h.asked(op.Change) {
			s.replan()
			return
		}
		a.Verb, a.Again, limit = ApplyChange, op.Again, s.m.StepTimeout
	case PhaseRestart:
		a.Verb, limit = Restart, s.m.StepTimeout
	case PhaseSettle:
		a.Verb, limit = SettleChange, s.m.ChangeTimeout
	case PhaseSecureOn, PhaseSecureOff:
		a.Verb, a.On = SetSecureBoot, op.Phase == PhaseSecureOn
		h.SecureBoot = true // until it is known not to be our doing
	case PhaseMediaBoot:
		a.Verb, a.FromMedia, a.Lasting, a.Legacy = SetBoot, true, true, h.Wants.Legacy
	case PhaseInsert, PhaseRamdiskMedia, PhaseEject:
		if !s.enterMedia(&a) {
			s.next("")
			return
		}
		limit = s.m.MediaTimeout
	case PhaseRamdisk:
		h.Seq++ // an outcome that comes late is not the answer
		op.Deadline = s.now.Add(s.m.RamdiskTimeout)
		s.emit(Action{Verb: AskRamdisk})
		return
	case PhaseOrder:
		a.Verb = OrderBoot
	case PhaseDisk:
		a.Verb = ChooseDisk
	case PhaseHello:
		if h.Boot == nil { // the record was lost: order anew
			s.next("")
			return
		}
		op.Deadline = h.Boot.Ordered.Add(s.m.HelloTimeout)
		return
	case PhaseInspect, PhaseClean, PhaseSoftRAID, PhaseWrite, PhaseDeploy:
		if !h.Agent() {
			s.next("")
			return
		}
		a.Verb, a.Step, limit = RunStep, op.Phase, s.m.StepTimeout
		if op.Phase == PhaseWrite || op.Phase == PhaseDeploy {
			h.Dirty, limit = true, s.m.ImageTimeout
		}
		if op.Phase == PhaseSoftRAID {
			h.Dirty, h.SoftRAID = true, RAIDUnknown
		}
	default: // of another version's record
		s.next("")
		return
	}
	h.Seq++
	if a.Verb == RunStep {
		if op.StepID == "" {
			op.StepID = fmt.Sprintf("%s.%d", h.Boot.ID, h.Seq)
		}
		a.StepID = op.StepID
	}
	op.Deadline = s.now.Add(limit)
	a.Seq, a.Deadline = h.Seq, op.Deadline
	s.emit(a)
}
