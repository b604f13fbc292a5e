package host

import (
	"fmt"
	"testing"
)

// ask is the wish that asks for a verb next.
func ask(verb string, also ...func(*Wants)) func(*Wants) {
	return func(w *Wants) {
		for _, f := range also {
			f(w)
		}
		a := Ask{N: 1, Verb: verb, Generation: w.Generation + 1}
		if w.Ask != nil {
			a.N = w.Ask.N + 1
		}
		if verb == VerbClean {
			a.Erase = EraseMetadata
		}
		w.Ask = &a
	}
}

// exploreLed walks what a host may reach that the REST door leads, as the door
// asks for verbs, in whatever state, and declares what goes with them; while people
// change what is declared behind its back.
func exploreLed(t *testing.T) {
	image := func(w *Wants) { w.Image, w.Online = &Image{URL: "a"}, true }
	none := func(w *Wants) { w.Image, w.Online, w.ExternallyProvisioned = nil, false, false }
	external := func(w *Wants) { w.ExternallyProvisioned, w.Image = true, nil }
	base := Wants{Generation: 1, Address: "redfish://x", SecretName: "s", SecretVersion: "v1"}
	bare := base
	bare.Address, bare.SecretName, bare.SecretVersion = "", "", ""
	fake := bare
	fake.Fake = true
	enrolled := Host{Key: "a/b", Node: Node{Hold: Enroll}}
	for _, tc := range []struct {
		name    string
		wants   Wants
		from    Host
		toggles []func(*Wants)
		reach   []string
	}{
		{
			name: "enrolled", wants: base, from: enrolled, reach: []string{Enroll, Manageable, InspectFailed, CleanFailed},
			toggles: []func(*Wants){
				ask(VerbManage), ask(VerbInspect), ask(VerbProvide, none), ask(VerbClean), ask(VerbAbort),
			},
		},
		{
			name: "deployed", wants: base, from: enrolled, reach: []string{Manageable, DeployFailed, ErrorState, CleanFailed},
			toggles: []func(*Wants){
				ask(VerbManage), ask(VerbProvide, none), ask(VerbActive, image), ask(VerbDeleted, none), ask(VerbAbort),
			},
		},
		{
			// The change of an image may be seen before the ask that goes with it.
			name: "rebuilt", wants: base, reach: []string{DeployFailed},
			toggles: []func(*Wants){image, func(w *Wants) { w.Image = &Image{URL: "b"} }, ask(VerbRebuild)},
		},
		{
			name: "adopted", wants: base, from: enrolled, reach: []string{Manageable, AdoptFailed, ErrorState},
			toggles: []func(*Wants){
				ask(VerbManage), ask(VerbAdopt, external), ask(VerbDeleted, none), ask(VerbPowerOn), func(w *Wants) { w.Online = !w.Online },
			},
		},
		{
			name: "power", wants: base, from: enrolled, reach: []string{Enroll, Manageable},
			toggles: []func(*Wants){
				ask(VerbManage), ask(VerbPowerOn), ask(VerbPowerOff), ask(VerbSoftOff), ask(VerbReboot), ask(VerbSoftReboot),
				func(w *Wants) { w.Online = !w.Online }, func(w *Wants) { w.DisablePowerOff = !w.DisablePowerOff },
			},
		},
		{
			name: "power of a machine in use", wants: base, reach: []string{""},
			toggles: []func(*Wants){
				func(w *Wants) { w.ExternallyProvisioned = true },
				ask(VerbPowerOn, func(w *Wants) { w.Online = true }), ask(VerbPowerOff, func(w *Wants) { w.Online = false }),
				ask(VerbSoftOff), ask(VerbSoftReboot, func(w *Wants) { w.Online = true }), func(w *Wants) { w.Online = !w.Online },
			},
		},
		{
			name: "serviced", wants: base, reach: []string{ServiceFailed},
			toggles: []func(*Wants){
				func(w *Wants) { w.ExternallyProvisioned = true },
				func(w *Wants) { w.Settings, w.Firmware = true, "f1" },
				ask(VerbService), ask(VerbAbort), ask(VerbPowerOff),
			},
		},
		{
			name: "credentials", wants: bare, from: enrolled, reach: []string{Enroll, Manageable, CleanFailed},
			toggles: []func(*Wants){
				func(w *Wants) { w.Address, w.SecretName, w.SecretVersion = "", "", "" },
				func(w *Wants) {
					w.Address, w.SecretName, w.SecretVersion, w.SecretProblem = "redfish://x", "s", "v1", nil
				},
				func(w *Wants) {
					w.Address, w.SecretName, w.SecretVersion, w.SecretProblem = "redfish://x", "s", "", &Problem{Code: "bmc-secret-missing", Class: Wait}
				},
				ask(VerbManage), ask(VerbProvide, none), func(w *Wants) { w.Fake = !w.Fake },
			},
		},
		{
			name: "maintenance", wants: base, reach: []string{"", Manageable, CleanFailed},
			toggles: []func(*Wants){
				func(w *Wants) { w.Maintenance = !w.Maintenance }, image,
				ask(VerbManage), ask(VerbProvide, none),
			},
		},
		{
			name: "paused, detached", wants: base, from: enrolled, reach: []string{Enroll, Manageable},
			toggles: []func(*Wants){
				func(w *Wants) { w.Paused = !w.Paused }, func(w *Wants) { w.Detach = &Detach{Force: true} }, func(w *Wants) { w.Detach = nil },
				ask(VerbManage), ask(VerbProvide, none),
			},
		},
		{
			name: "fake", wants: fake, from: enrolled, reach: []string{
				Enroll, Manageable, NodeAvailable, Active, DeployFailed, DeployHold, CleanHold, CleanFailed, Rescue, ServiceHold, ServiceFailed,
			},
			toggles: []func(*Wants){
				ask(VerbManage), ask(VerbProvide), ask(VerbInspect), ask(VerbClean), ask(VerbAdopt), ask(VerbActive), ask(VerbRebuild), ask(VerbDeleted),
				ask(VerbRescue), ask(VerbUnrescue), ask(VerbUnhold), ask(VerbAbort), ask(VerbService), ask(VerbPowerOn), ask(VerbSoftOff),
				func(w *Wants) { ask(VerbActive)(w); w.Ask.Hold = true }, func(w *Wants) { ask(VerbClean)(w); w.Ask.Hold = true },
				func(w *Wants) { ask(VerbService)(w); w.Ask.Hold = true },
			},
		},
	} {
		tc.toggles = append(tc.toggles, func(w *Wants) { w.Deleting = true })
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			e := explorer{t: t, m: Defaults(), toggles: tc.toggles, seen: map[string]string{}, reached: map[State]int{}, held: map[string]int{}}
			e.walk(tc.from, tc.wants)
			t.Logf("%d states, %v", len(e.seen), e.held)
			for _, hold := range tc.reach {
				if e.held[hold] == 0 {
					t.Errorf("the walk never reached %q", hold)
				}
			}
			if e.reached[Deleting] == 0 {
				t.Error("the walk never reached a deletion")
			}
		})
	}
}

// foldNode folds what the REST door adds; numbers are folded to whether an ask is
// open.
func foldNode(h Host) string {
	open := ""
	if a := h.Wants.Ask; a != nil && a.N > h.Node.Asked {
		open = a.Verb
	}
	n := h.Node
	return fmt.Sprint(n.Hold, ".", n.Verb, ".", n.Erase, n.Error != "", n.Power, open, n.Led(), h.Wants.Fake, h.Wants.Maintenance)
}

// checkLed holds the promises to the REST door.
func (e *explorer) checkLed(before, h Host, as []Action, fail func(string, ...any)) {
	if e.held != nil {
		e.held[h.Node.Hold]++
	}
	w := h.Wants
	asked := h.Node.Asked != before.Node.Asked
	rested := before.Node.Hold != "" && before.Node.Verb == "" && !asked && !w.Deleting
	for _, a := range as {
		switch a.Verb {
		case EndAgent, Unannotate, Release, Cancel:
			continue
		}
		switch {
		case rested:
			fail("%s at a host that rests in %q and was asked for nothing", a.Verb, before.Node.Hold)
		case h.fake():
			fail("%s of a machine that is none", a.Verb)
		case h.Node.Verb == VerbAdopt && a.Verb != VerifyBMC:
			fail("%s while a machine is adopted", a.Verb)
		case isPower(h.Node.Verb) && a.Verb != VerifyBMC && a.Verb != SetPower && a.Verb != EjectMedia:
			fail("%s for %s", a.Verb, h.Node.Verb)
		case softly(h.Node.Verb) && a.Power == ChangeForce && (before.Op == nil || before.Op.Phase != PhaseForceOff):
			fail("switched off hard for %s", h.Node.Verb)
		case w.Maintenance && before.Wants.Maintenance && before.Op == nil && before.Node.Verb == "" && h.Node.Verb == "" && !asked:
			fail("%s in maintenance", a.Verb)
		}
	}
	if rested && h.State != before.State && h.State != Registering && h.State != Unmanaged {
		fail("a host that rests in %q moved to %q by itself", before.Node.Hold, h.State)
	}
	if h.Node.Hold != "" && h.Problem != nil && !h.Problem.NextTry.IsZero() {
		fail("what is led is tried again by itself")
	}
	if h.Node.Hold != "" && h.Node.Verb == "" && h.Op != nil {
		fail("it is at work in %q", h.Node.Hold)
	}
	if a := w.Ask; a != nil && a.N > h.Node.Asked && a.Generation <= w.Generation && !w.Paused && !w.Deleting && !h.Gone {
		fail("an ask is not taken up: %+v", *a)
	}
	if h.Node.Verb != "" && h.Problem != nil {
		fail("a verb that goes on in spite of a problem")
	}
	if e.held != nil && h.State == Available && before.State != Available && h.Dirty && !w.CleaningDisabled && !h.Detached {
		fail("handed out though an erase is due")
	}
	if !w.Fake && h.Node.Hold != "" && !realHolds[h.Node.Hold] && !w.Paused {
		fail("a machine rests where only a pretended one does: %q", h.Node.Hold)
	}
	if t := h.Wake(); w.Maintenance && h.Op == nil && !t.IsZero() {
		fail("it wakes for nothing in maintenance")
	}
}
