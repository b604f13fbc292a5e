package host

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestExplore walks every state that a host can reach by any order of outcomes,
// restarts, lost agents and changed wishes, and holds the promises of the
// package in each. Times and counters are folded, so that the walk ends.
func TestExplore(t *testing.T) {
	t.Run("led by REST", exploreLed)
	img := func(u string) *Image { return &Image{URL: u} }
	base := Wants{Generation: 1, Address: "redfish://x", SecretName: "s", SecretVersion: "v1", Online: true}
	for name, toggles := range map[string][]func(*Wants){
		"images": {
			func(w *Wants) { w.Online = !w.Online },
			func(w *Wants) { w.Image = nil },
			func(w *Wants) { w.Image = img("a") },
			func(w *Wants) { w.Image = img("b") },
			func(w *Wants) { w.CleaningDisabled = !w.CleaningDisabled },
		},
		"software raid": {
			func(w *Wants) { w.SoftRAID = "" },
			func(w *Wants) { w.SoftRAID = "a" },
			func(w *Wants) { w.SoftRAID = "b" },
			func(w *Wants) { w.Image = img("a") },
		},
		"software raid, uncleaned": {
			func(w *Wants) { w.SoftRAID = "" },
			func(w *Wants) { w.SoftRAID = "a" },
			func(w *Wants) { w.CleaningDisabled = !w.CleaningDisabled },
			func(w *Wants) { w.InspectAgain = true },
		},
		"paused": {
			func(w *Wants) { w.Paused = !w.Paused },
			func(w *Wants) { w.Image = img("a") },
		},
		"detached": {
			func(w *Wants) { w.ExternallyProvisioned = !w.ExternallyProvisioned },
			func(w *Wants) { w.Detach = &Detach{} },
			func(w *Wants) { w.Detach = &Detach{Force: true, DelayDelete: true} },
			func(w *Wants) { w.Detach = nil },
		},
		"credentials": {
			func(w *Wants) {
				w.SecretVersion, w.SecretProblem = "", &Problem{Code: "bmc-secret-missing", Class: Wait}
			},
			func(w *Wants) { w.SecretVersion, w.SecretProblem = "v2", nil },
			func(w *Wants) { w.Address, w.SecretName = "", "" },
			func(w *Wants) { w.Address, w.SecretName = "redfish://y", "s" },
		},
		"bmc options": {
			func(w *Wants) { w.Paused = !w.Paused },
			func(w *Wants) { w.BMCOptions = "o1" },
			func(w *Wants) { w.BMCOptions = "" },
			func(w *Wants) {
				w.SecretVersion, w.SecretProblem = "", &Problem{Code: "bmc-options", Class: Wait}
			},
			func(w *Wants) { w.SecretVersion, w.SecretProblem = "v1", nil },
		},
		"fast inspection": {
			func(w *Wants) { w.FastInspect = !w.FastInspect },
			func(w *Wants) { w.InspectAgain = true },
			func(w *Wants) { w.Image = img("a") },
		},
		"preparation": {
			func(w *Wants) {
				w.RAID, w.Settings, w.Updates, w.Firmware = `[{"level":"1"}]`, true, true, "f1"
			},
			func(w *Wants) { w.RAID, w.Settings, w.Updates, w.Firmware = "[]", false, false, "" },
			func(w *Wants) { w.RAID = "" },
		},
		"service": {
			func(w *Wants) { w.ExternallyProvisioned = true },
			func(w *Wants) { w.Settings, w.Firmware, w.LiveSettings = true, "f1", true },
			func(w *Wants) { w.Settings, w.Firmware, w.LiveSettings = false, "", false },
			func(w *Wants) { w.Online = !w.Online },
			func(w *Wants) { w.Reboot.Once = true },
		},
		"secure boot": {
			func(w *Wants) { w.Image = img("a") },
			func(w *Wants) { w.Image = nil },
			func(w *Wants) { w.SecureBoot = !w.SecureBoot },
		},
		"live ISO": {
			func(w *Wants) { w.Online = !w.Online },
			func(w *Wants) { w.Image = nil },
			func(w *Wants) { w.Image = &Image{URL: "a", Format: FormatLiveISO} },
		},
		"live ISO or not, never cleaned": {
			func(w *Wants) { w.CleaningDisabled = true },
			func(w *Wants) { w.Image = &Image{URL: "a", Format: FormatLiveISO} },
			func(w *Wants) { w.Image = img("a") },
		},
		"data image": {
			func(w *Wants) { w.DataImage = "d" },
			func(w *Wants) { w.DataImage = "" },
			func(w *Wants) { w.Reboot.Once = true },
			func(w *Wants) { w.Online = !w.Online },
			func(w *Wants) { w.Image, w.CleaningDisabled = img("a"), true },
		},
		"custom deploy": {
			func(w *Wants) { w.Image = nil },
			func(w *Wants) { w.Image = &Image{Method: "m"} },
			func(w *Wants) { w.Image = &Image{URL: "a", Format: FormatLiveISO, Method: "n"} },
		},
		"external ramdisk": {
			func(w *Wants) { w.BuildsRamdisk, w.Ramdisk, w.RamdiskProblem, w.RamdiskVersion = true, nil, nil, "" },
			func(w *Wants) { w.Ramdisk, w.RamdiskProblem, w.RamdiskVersion = &Ramdisk{ISO: "s"}, nil, "2" },
			func(w *Wants) {
				w.Ramdisk, w.RamdiskProblem, w.RamdiskVersion = nil, &Problem{Code: "ramdisk-build", Class: Retry}, "3"
			},
		},
		"forced reboots": {
			func(w *Wants) { w.Reboot.Once, w.Reboot.Force = true, true },
			func(w *Wants) { w.Reboot.Once, w.Reboot.Force = false, false },
			func(w *Wants) { w.Reboot.Hold, w.Reboot.HoldForce = !w.Reboot.Hold, !w.Reboot.HoldForce },
		},
		"forced reboots of an image": {
			func(w *Wants) { w.Reboot.Once, w.Reboot.Force = true, true },
			func(w *Wants) { w.Image = img("a") },
		},
		"hints": {
			func(w *Wants) { w.Hints = "sda" },
			func(w *Wants) { w.Hints = "sdb" },
			func(w *Wants) { w.Hints = "" },
		},
		"inspection disabled": {
			func(w *Wants) { w.InspectionDisabled = !w.InspectionDisabled },
			func(w *Wants) { w.InspectAgain = true },
		},
		"power": {
			func(w *Wants) { w.InspectAgain = true },
			func(w *Wants) { w.Reboot.Once = true },
			func(w *Wants) { w.Reboot.Hold = !w.Reboot.Hold },
			func(w *Wants) { w.DisablePowerOff = !w.DisablePowerOff },
			func(w *Wants) { w.Online = !w.Online },
			func(w *Wants) { w.ExternallyProvisioned = !w.ExternallyProvisioned },
		},
	} {
		toggles = append(toggles, func(w *Wants) { w.Deleting = true })
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := explorer{t: t, m: Defaults(), toggles: toggles, seen: map[string]string{}, reached: map[State]int{}}
			e.walk(Host{Key: "a/b"}, base)
			t.Logf("%d states", len(e.seen))
			for _, s := range []State{Registering, Inspecting, Preparing, Available, Deleting} {
				if e.reached[s] == 0 {
					t.Errorf("the walk never reached %q", s)
				}
			}
		})
	}
}

const maxStates = 200_000

type explorer struct {
	t       *testing.T
	m       Machine
	toggles []func(*Wants)
	seen    map[string]string // folded state → how it was reached
	reached map[State]int
	held    map[string]int // by Node.Hold
}

type node struct {
	h    Host
	path string
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (e *explorer) walk(from Host, w Wants) {
	h, as := e.m.Step(from, epoch, Observe{Wants: w})
	queue := []node{{h, "start"}}
	e.check(from, h, as, "start")
	e.seen[fold(h)] = ""
	for len(queue) > 0 && !e.t.Failed() {
		n := queue[0]
		queue = queue[1:]
		e.reached[n.h.State]++
		for _, c := range e.moves(n.h) {
			h, as := e.m.Step(c.from, epoch.Add(c.wait), c.event)
			path := n.path + " → " + c.name
			e.check(c.from, h, as, path)
			k := fold(h)
			if _, ok := e.seen[k]; ok {
				continue
			}
			if len(e.seen) > maxStates {
				e.t.Fatalf("more than %d states", maxStates)
			}
			e.seen[k] = path
			queue = append(queue, node{h, path})
		}
	}
}

type move struct {
	name  string
	from  Host
	wait  time.Duration
	event Event
}

// moves lists what may happen to a host.
func (e *explorer) moves(h Host) []move {
	var ms []move
	add := func(name string, ev Event) { ms = append(ms, move{name, h, 0, ev}) }
	for i, f := range e.toggles {
		w := h.Wants
		f(&w)
		w.Generation++
		add(fmt.Sprintf("wish%d", i), Observe{Wants: w})
	}
	if h.Op != nil && h.Op.Entered {
		o := Outcome{Seq: h.Seq, Power: h.Power}
		switch h.Op.Phase {
		case PhaseOff, PhaseStop, PhaseForceOff, PhaseSoftOff:
			o.Power = PowerOff
		case PhaseStart, PhaseRun, PhaseVerify:
			o.Power = PowerOn
		case PhaseOrder:
			o.BootID = "boot"
		case PhasePlan:
			o.RAID = h.Wants.RAID
			if h.raidDue() && h.Op.Rounds < 2 {
				c := o
				c.RAID, c.Change = "", &Change{What: ChangeRAIDDelete, Target: "v", For: Short(h.Wants.RAID)}
				add("plan-delete", c)
			}
			if h.Op.Rounds < 2 && h.Wants.Firmware != "" {
				c := o
				c.RAID, c.Change = "", &Change{What: ChangeSettings, Target: "s", For: h.Wants.Firmware}
				add("plan-settings", c)
			}
		case PhaseChange:
			c := clone(h.Op.Change)
			c.Op, c.Reset = "asked", c.What == ChangeSettings
			o.Change = c
			add("replan", Outcome{Seq: h.Seq})
		case PhaseRestart:
			o.Power = PowerOn
		case PhaseSecureOn:
			o.Switched = true
		case PhaseSoftRAID:
			// The answer to what was asked for may come when something else is.
			add("done-older", Outcome{Seq: h.Seq, Power: h.Power, SoftRAID: "a"})
			o.SoftRAID = h.Wants.SoftRAID
		}
		if h.Op.Phase != PhaseHello && h.Op.Phase != PhaseRamdisk {
			add("done", o)
			add("fail", Outcome{Seq: h.Seq, Problem: &Problem{Code: "x", Class: Retry}})
			add("fail-wait", Outcome{Seq: h.Seq, Problem: &Problem{Code: "y", Class: Wait}})
		}
	}
	if h.Boot != nil {
		if !h.Boot.Redeemed {
			add("hello", Hello{BootID: h.Boot.ID})
			add("refused", Refused{BootID: h.Boot.ID, Problem: Problem{Code: "boot-ram", Class: Retry}})
		}
		add("lost", AgentLost{BootID: h.Boot.ID})
		add("contested", Contested{BootID: h.Boot.ID, Problem: Problem{Code: "boot-token-spent", Class: Retry}})
	}
	add("power-off", PowerRead{Power: PowerOff})
	if h.State == Provisioned || h.State == ExternallyProvisioned || h.Node.Hold != "" {
		add("silent", BMCSilent{})
	}
	add("heard", BMCHeard{})
	ms = append(ms, move{"late", h, 1000 * time.Hour, Tick{}})
	ms = append(ms, move{"restart", h.Resume(), 0, Tick{}})
	return ms
}

// fold maps hosts that behave alike to one string.
func fold(h Host) string {
	p, op, b := "", "", ""
	if h.Problem != nil {
		p = fmt.Sprint(h.Problem.Code, h.Problem.Type, h.Problem.Class, h.Problem.NextTry.IsZero(), h.Problem.Generation == h.Wants.Generation)
	}
	if h.Op != nil {
		op = fmt.Sprint(h.Op.Kind, h.Op.Phase, h.Op.Entered, h.Op.StepID != "", h.Op.Hard, h.Op.Made, h.Op.Rounds,
			h.Op.Again && (h.Op.Phase == PhaseChange || h.Op.Phase == PhaseSecureOn))
		if c := h.Op.Change; c != nil {
			op += fmt.Sprint(*c)
		}
	}
	if h.Boot != nil {
		b = fmt.Sprint(h.Boot.Redeemed, h.InventoryBoot == h.Boot.ID)
	}
	w := h.Wants
	w.Generation = 0
	return fmt.Sprintln(h.State, h.Power, h.Good, h.GoodAt, h.GoodWith, min(h.ErrorCount, 4), min(h.FailCount, 5), h.Dirty, h.Detached, h.Gone,
		h.SoftRAID, w.SoftRAID, url(h.Provisioned), url(h.LastTried), p, op, b, url(w.Image), w.Detach != nil && w.Detach.Force, w.Detach != nil,
		w.Address, w.SecretVersion, w.Online, w.DisablePowerOff, w.ExternallyProvisioned, w.Paused, w.Reboot, w.InspectAgain,
		w.InspectionDisabled, w.FastInspect, w.Hints, h.Hints, w.BMCOptions, w.CleaningDisabled, w.Deleting,
		h.RAID, h.SecureBoot, w.RAID, w.SecureBoot, w.Firmware, w.Settings, w.Updates, w.LiveSettings, w.LiveUpdates,
		w.DataImage, w.BuildsRamdisk, w.RamdiskVersion, val(h.Media), val(h.Ramdisk)) + foldNode(h)
}

func val[T any](p *T) string {
	if p == nil {
		return "-"
	}
	return fmt.Sprintf("%+v", *p)
}

func url(i *Image) string {
	if i == nil {
		return "-"
	}
	return i.URL + i.Format + i.Method
}

// check holds the promises of one step.
func (e *explorer) check(before, h Host, as []Action, path string) {
	fail := func(format string, a ...any) {
		e.t.Errorf("%s\n%s: state %q op %+v problem %+v\nactions %+v", path, fmt.Sprintf(format, a...), h.State, h.Op, h.Problem, as)
	}
	awaited := 0
	for _, a := range as {
		if a.Seq == h.Seq {
			awaited++
		}
		write, clean := a.Verb == RunStep && (a.Step == PhaseWrite || a.Step == PhaseDeploy), a.Verb == RunStep && a.Step == PhaseClean
		arrays := a.Verb == RunStep && a.Step == PhaseSoftRAID
		agentless := h.Op != nil && h.Op.Kind == OpInspect && h.Wants.FastInspect
		media := a.Verb == InsertMedia || a.Verb == EjectMedia
		touches := a.Verb == SetBoot || a.Verb == RunStep || a.Verb == OrderBoot || a.Verb == SetPower || media ||
			a.Verb == ApplyChange || a.Verb == Restart || a.Verb == SetSecureBoot
		changes := a.Verb == ApplyChange || a.Verb == Restart || a.Verb == SettleChange
		switch {
		case touches && (h.Wants.Paused || h.Detached):
			fail("%s for a host that is paused or detached", a.Verb)
		case write && (h.State != Provisioning || h.Wants.Image == nil || !h.LastTried.same(h.Wants.Image) || h.Wants.Deleting):
			fail("a write that what is declared does not ask for")
		case write && (h.LastTried.Live() || (a.Step == PhaseDeploy) != (h.LastTried.Method != "")):
			fail("%s of what is to be installed otherwise", a.Step)
		case a.Verb == InsertMedia && (h.Media == nil || h.Media.URL != a.Media || h.Media.In):
			fail("an image is inserted and not on record: %+v", h.Media)
		case a.Verb == InsertMedia && h.Media.Use == MediaData && (h.Power == PowerOn || h.Wants.DataImage != a.Media || !h.installed()):
			fail("a data image is inserted at the wrong time")
		case a.Verb == InsertMedia && h.Media.Use == MediaLive && h.State != Provisioning && !h.Provisioned.Live():
			fail("a live ISO is inserted that nobody asks for")
		case a.Verb == InsertMedia && h.Media.Use == MediaRamdisk && (h.Ramdisk == nil || h.Agent()):
			fail("a ramdisk is inserted that is not to be booted")
		case a.Verb == SetBoot && a.FromMedia && (h.Media == nil || !h.Media.In):
			fail("a boot from an empty drive")
		case a.Verb == AskRamdisk && !h.Wants.BuildsRamdisk:
			fail("a builder is asked that nobody configured")
		case write && !h.Dirty:
			fail("a write that leaves the host clean")
		case clean && (h.Wants.CleaningDisabled && !(h.Node.Verb == VerbClean && h.Node.Erase != "") || h.State != Preparing && h.State != Deprovisioning):
			fail("an erase that what is declared does not ask for")
		case arrays && (h.State != Preparing || h.Wants.Deleting || before.SoftRAID == h.Wants.SoftRAID && (before.Op == nil || before.Op.Phase != PhaseClean)):
			fail("arrays are made or deleted that what is declared does not ask for")
		case arrays && (!h.Dirty || h.SoftRAID != RAIDUnknown):
			fail("arrays are believed to be there while they are made")
		case write && h.SoftRAID == RAIDUnknown:
			fail("an image for arrays that were not made")
		case (write || a.Verb == ChooseDisk || clean || arrays) && (h.Boot == nil || h.InventoryBoot != h.Boot.ID):
			fail("%s by an inventory of another boot, or the BMC's", a.Step)
		case touches && agentless:
			fail("%s in an inspection without a boot", a.Verb)
		case a.Verb == ReadFacts && !h.Wants.FastInspect:
			fail("the BMC is asked what an agent is to tell")
		case a.Verb == RunStep && !h.Agent():
			fail("a step without an agent")
		case h.State == ExternallyProvisioned && (a.Verb == SetBoot || a.Verb == OrderBoot || a.Verb == RunStep):
			fail("%s for an externally provisioned host", a.Verb)
		case a.Verb == SetPower && a.Power != ChangeOn && a.Power != ChangeReset && h.Wants.DisablePowerOff && h.Op != nil && h.Op.Kind == OpPowerOff:
			fail("power off though disablePowerOff is set")
		case changes && h.Op.Change == nil:
			fail("%s of nothing that is on record", a.Verb)
		case changes && h.Op.Kind != OpPrepare && h.Op.Kind != OpService:
			fail("%s in the course of %s", a.Verb, h.Op.Kind)
		case a.Verb == ApplyChange && h.Op.Change.destroys() && (h.State != Preparing || h.Wants.RAID == "" ||
			h.Op.Change.For != Short(h.Wants.RAID) || h.Wants.Deleting):
			fail("a RAID volume is deleted that what is declared does not ask for")
		case a.Verb == ApplyChange && h.Op.Kind == OpService && (!h.Wants.LiveSettings && h.Node.Verb != VerbService || !h.Wants.Settings):
			fail("a machine in use is changed that what is declared does not ask for")
		case a.Verb == Restart && h.Op.Kind == OpService && before.Power == PowerOn && h.Node.Verb != VerbService && !h.Wants.DisablePowerOff && before.Op == nil:
			fail("a machine that runs is restarted for a change")
		case a.Verb == SetSecureBoot && !h.SecureBoot:
			fail("Secure Boot is switched and nobody remembers")
		case a.Verb == Release && !h.Wants.Deleting:
			fail("released though not deleted")
		}
	}
	if awaited > 1 {
		fail("%d actions are awaited at once", awaited)
	}
	if h.State == Available && before.State != Available && h.Dirty && !h.Wants.CleaningDisabled && !h.Detached && before.State == Deprovisioning {
		fail("handed out though an erase is due")
	}
	if h.State == Available && before.State == Deprovisioning && h.Media != nil && h.Media.Use != MediaRamdisk {
		fail("handed out with an image in the drive")
	}
	if h.Op != nil && h.Op.Entered && h.Op.Deadline.IsZero() {
		fail("a phase without an end")
	}
	e.checkLed(before, h, as, fail)
	atRest := h.Op == nil && h.Problem == nil
	if !atRest && h.Waits() == "" && !h.Gone {
		fail("it does not say what it waits for")
	}
	settled := h.Gone || h.Wants.Paused || h.Detached || h.State == Unmanaged || h.State == Available ||
		h.State == Provisioned || h.State == ExternallyProvisioned ||
		h.Node.Hold != "" || h.Wants.Maintenance || h.Node.AwaitsOnline() && h.FollowsPower()
	if atRest && !settled {
		fail("stuck: nothing is done and nothing is awaited")
	}
	if h.Wants.Deleting && settled && !h.Gone && !h.Wants.Paused && (h.Wants.Detach == nil || !h.Wants.Detach.DelayDelete) {
		fail("stuck in deletion")
	}
	if p := h.Problem; p != nil && p.NextTry.IsZero() && h.Wants.Deleting && !h.Wants.Paused && !h.Detached {
		fail("a deletion that waits for ever")
	}
	if h.Wants.Reboot.Force && h.Op.Boots() && !h.Wants.Paused {
		fail("a reboot by force that an operation takes no notice of")
	}
	if strings.Contains(h.Waits(), "\n") {
		fail("waits on more than a line")
	}
}
