package host

import (
	"fmt"
	"time"
)

// outcome ends the phase under way, well or not.
func (s *stepper) outcome(e Outcome) {
	h := &s.h
	if h.Op == nil || !h.Op.Entered || e.Seq != h.Seq {
		return
	}
	if e.Power != PowerUnknown {
		h.Power = e.Power
	}
	if e.Health != HealthUnknown {
		h.Health = e.Health
	}
	if e.Problem != nil {
		s.failed(*e.Problem)
		return
	}
	if s.changeOutcome(e) {
		return
	}
	switch p := h.Op.Phase; p {
	case PhaseVerify:
		h.Good, h.GoodAt, h.GoodWith = h.Wants.SecretVersion, h.Wants.Address, h.Wants.BMCOptions
	case PhaseFacts:
		h.InventoryBoot = "" // the agent's, of which nothing is known by this
	case PhaseOff, PhaseStop, PhaseForceOff, PhaseSoftOff:
		if h.Power == PowerOff {
			s.endAgent()
		}
		if p == PhaseSoftOff && h.Power == PowerOff {
			s.finish(PhaseSoftOff)
			s.finish(PhaseForceOff)
			return
		}
	case PhaseOrder:
		s.endAgent()
		h.Boot = &Boot{ID: e.BootID, Ordered: s.now}
	case PhaseInspect:
		h.InventoryBoot = h.Boot.ID
	case PhaseClean:
		h.Dirty = false
		arrays := e.Arrays || h.SoftRAID != ""
		h.SoftRAID = "" // they went with what they were made of
		if arrays && !h.makesRAID(h.Op.Kind) {
			h.InventoryBoot = ""
		}
	case PhaseSoftRAID:
		// The disks are others than were seen before.
		h.SoftRAID, h.InventoryBoot = e.SoftRAID, ""
	case PhaseInsert, PhaseRamdiskMedia:
		if h.Media != nil {
			h.Media = &Media{URL: h.Media.URL, Use: h.Media.Use, In: true}
		}
	case PhaseEject:
		h.Media = nil
	case PhaseReset:
		s.endAgent()
		s.unannotate(AnnotationReboot)
	}
	s.finish(h.Op.Phase)
}

// done follows an operation that reached its end.
func (s *stepper) done(kind OpKind) {
	h := &s.h
	if h.Node.Verb != "" {
		s.ledDone(kind)
		return
	}
	switch kind {
	case OpVerify:
		if h.State == Registering {
			switch {
			case h.Wants.ExternallyProvisioned:
				s.to(ExternallyProvisioned)
			case h.Wants.InspectionDisabled:
				s.to(Preparing)
			default:
				s.to(Inspecting)
			}
		}
	case OpInspect:
		s.to(Preparing)
	case OpPrepare:
		s.hinted()
		s.to(Available)
	case OpProvision:
		s.provisioned()
	case OpDeprovision:
		s.deprovisioned()
	}
	h.ErrorCount = 0
}

func (s *stepper) provisioned() {
	s.h.Provisioned, s.h.FailCount = s.h.LastTried, 0
	s.hinted()
	s.to(Provisioned)
}

func (s *stepper) deprovisioned() {
	h := &s.h
	h.Provisioned, h.Dirty = nil, h.Dirty && h.Wants.CleaningDisabled
	if h.Wants.Deleting {
		s.to(PoweringOffBeforeDelete)
	} else {
		s.to(Available)
	}
}

// failed ends the running operation with a problem.
func (s *stepper) failed(p Problem) {
	h, kind := &s.h, s.h.Op.Kind
	if h.Op.Phase == PhaseSoftOff {
		// The operating system does not listen, or the BMC cannot ask it.
		if !s.staysOn(p) {
			s.next(PhaseSoftOff)
		}
		return
	}
	if h.Op.Phase == PhaseSoftRAID && p.Code == "step-refused" {
		s.endAgent() // it is older than the step: boot the one of today
	}
	h.Op = nil
	if p.Code == "disk-mismatch" {
		h.InventoryBoot = "" // the disks are others than we know: look again
	}
	s.problem(kind, p)
}

// problem records why the host stands still and when it goes on.
func (s *stepper) problem(kind OpKind, p Problem) {
	h := &s.h
	h.ErrorCount++
	p.Attempts = h.ErrorCount
	if kind == OpProvision {
		// A failed provisioning is undone in between, which clears ErrorCount.
		h.FailCount++
		p.Attempts = h.FailCount
	}
	p.Type, p.Since = errorType(kind, h.State), s.now
	p.Generation, p.Secret = h.Wants.Generation, h.Wants.secrets()
	if h.Node.Verb != "" {
		s.verbFailed()
	}
	switch {
	case h.Node.Hold != "":
		p.Class = Wait // for the REST client
	case p.Class == Retry:
		p.NextTry = s.now.Add(s.m.backoff(kind, h.Key, p.Attempts))
	case h.Wants.Deleting:
		p.NextTry = s.now.Add(deleteGrace * s.m.RetryUnit)
	}
	h.Problem = &p
}

// powerRead takes in what a poll found. A machine that went off by itself has
// lost its agent.
func (s *stepper) powerRead(e PowerRead) {
	if e.Health != HealthUnknown {
		s.h.Health = e.Health
	}
	if e.Power == PowerUnknown {
		return
	}
	s.h.Power = e.Power
	if e.Power == PowerOff && s.h.Agent() && (s.h.Op == nil || s.h.Op.Phase != PhaseStart) {
		s.lost()
	}
}

// heardAfter is how long ago the last try must be for a BMC's word to bring on the
// next: a BMC that talks all the time is not asked all the time.
const heardAfter = 10 * time.Second

// heard brings on the next try to verify a BMC.
func (s *stepper) heard() {
	p := clone(s.h.Problem)
	if p == nil || p.NextTry.IsZero() || s.now.Sub(p.Since) < heardAfter {
		return
	}
	if p.Type != RegistrationError && p.Type != ProvisionedRegistrationErr {
		return
	}
	p.NextTry = s.now
	s.h.Problem = p
}

// lost follows an agent that is no more.
func (s *stepper) lost() {
	h := &s.h
	id := h.Boot.ID
	s.endAgent()
	if h.Op == nil {
		return
	}
	switch h.Op.Phase {
	case PhaseInspect, PhaseClean, PhaseSoftRAID, PhaseDisk, PhaseWrite, PhaseDeploy:
		s.emit(Action{Verb: Cancel})
		h.Seq++
		s.failed(Problem{Code: "agent-lost", Class: Retry, Seen: []string{
			fmt.Sprintf("the agent of boot %s fell silent in phase %s", short(id), h.Op.Phase),
		}})
	}
}

// refused ends a boot whose agent was not let in. What was believed before is not
// touched: anybody may claim a boot.
func (s *stepper) refused(e Refused) {
	h := &s.h
	if h.Op == nil || h.Boot == nil || h.Boot.ID != e.BootID || h.Boot.Redeemed {
		return
	}
	switch h.Op.Phase {
	case PhaseHello:
	case PhaseStart: // it was quicker than the BMC's answer
		s.emit(Action{Verb: Cancel})
		h.Seq++
	default:
		return
	}
	s.endAgent()
	s.failed(e.Problem)
}

// contestedTries is how often a boot that two agents claim is made anew before a
// person is waited for.
const contestedTries = 3

// contested quarantines a boot that two agents claim: neither is told or handed
// anything more. It is made anew, and when that happens again and again, a person
// has to look.
func (s *stepper) contested(e Contested) {
	h, p := &s.h, e.Problem
	if !h.Agent() || h.Boot.ID != e.BootID {
		return
	}
	s.endAgent()
	if max(h.ErrorCount, h.FailCount) >= contestedTries-1 {
		p.Class = Wait
	}
	switch {
	case h.Op == nil:
		if h.Problem == nil && !h.Wants.Paused && !h.Detached && h.Node.Hold == "" {
			s.problem(OpInspect, p)
		}
	case h.Op.Phase == PhaseInspect || h.Op.Phase == PhaseClean || h.Op.Phase == PhaseSoftRAID || h.Op.Phase == PhaseDisk || h.Op.Phase == PhaseWrite || h.Op.Phase == PhaseDeploy:
		if h.Op.Entered {
			s.emit(Action{Verb: Cancel})
			h.Seq++
		}
		s.failed(p)
	}
	// What remains of an operation after its write needs no agent.
}

// endAgent forgets the boot, so that no agent is believed until another is
// ordered.
func (s *stepper) endAgent() {
	if s.h.Boot == nil {
		return
	}
	s.emit(Action{Verb: EndAgent, BootID: s.h.Boot.ID})
	s.h.Boot = nil
}

// timeout is the problem of a phase that took too long.
func (s *stepper) timeout() Problem {
	h, op := &s.h, s.h.Op
	after := s.now.Sub(op.Since).Round(1e9)
	switch op.Phase {
	case PhaseHello:
		return bootProblem(h.Boot.Seen, s.now.Sub(h.Boot.Ordered).Round(1e9).String())
	case PhaseInspect:
		return Problem{Code: "inspect-failed", Class: Retry, Seen: []string{fmt.Sprintf("no inventory after %s", after)}}
	case PhaseClean:
		return Problem{Code: "clean-failed", Class: Retry, Seen: []string{fmt.Sprintf("not finished after %s", after)}}
	case PhaseSoftRAID:
		return Problem{Code: "softraid-failed", Class: Retry, Seen: []string{fmt.Sprintf("not made after %s", after)}}
	case PhaseWrite:
		return Problem{Code: "image-write-slow", Class: Retry, Seen: []string{fmt.Sprintf("not finished after %s", after)}}
	case PhaseImage:
		return Problem{Code: "image-unreachable", Class: Retry, Seen: []string{fmt.Sprintf("not fetched after %s", after)}}
	}
	if op.Phase == PhaseSettle && op.Change != nil {
		return Problem{Code: "change-slow", Class: Retry, Seen: []string{fmt.Sprintf("%s: not read back after %s", op.Change.Target, after)}}
	}
	return s.mediaTimeout(op, after)
}

// slowBMC is the problem of a BMC that does not get done.
func slowBMC(op *Op, after time.Duration) Problem {
	return Problem{Code: "bmc-slow", Class: Retry, Seen: []string{fmt.Sprintf("%s not done after %s", op.Phase, after)}}
}

// bootProblem names the first thing that a boot lacked.
func bootProblem(seen Seen, after string) Problem {
	p := Problem{Class: Retry, Seen: []string{"no call from the agent " + after + " after the boot was ordered"}}
	switch {
	case seen.OtherServer != "" && !seen.Script:
		p.Code = "boot-other-dhcp"
		p.Facts = map[string]string{"server": seen.OtherServer}
		p.Seen = append(p.Seen, "a DHCP answer from "+seen.OtherServer)
	case seen.WrongArch != "":
		p.Code = "boot-wrong-arch"
		p.Facts = map[string]string{"arch": seen.WrongArch}
		p.Seen = append(p.Seen, "client architecture "+seen.WrongArch)
	case seen.Kernel:
		p.Code = "boot-kernel-no-callhome"
		p.Seen = append(p.Seen, "the kernel was fetched")
	case seen.Script:
		p.Code = "boot-kernel-no-callhome"
		p.Seen = append(p.Seen, "the boot script was fetched, the kernel was not")
	case seen.DHCP:
		p.Code = "boot-tftp-stalled"
		p.Seen = append(p.Seen, "DHCP was answered, no boot script was asked for")
	default:
		p.Code = "boot-no-dhcp"
		p.Seen = append(p.Seen, "no DHCP packet from its MAC addresses")
	}
	return p
}

// short is enough of an id for a person.
func short(id string) string { return id[:min(8, len(id))] }
