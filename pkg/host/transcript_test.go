package host

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite testdata/*.txt with what Step answers; read the diff")

// Each file of testdata is a story of one host, told in blocks: commands, a line
// of four dashes, and what the host looks like afterwards. A line that starts
// with # is for the reader.
//
//	wants KEY=VALUE…    what is declared from now on (see applyWants); an empty value unsets
//	done [power=on|off] [switched]  the awaited action was done
//	fail CODE [wait] [SEEN…]  the awaited action failed
//	plan KIND TARGET|none  what is to be changed next was read
//	asked [reset]       the BMC was asked for the change, which may wait for a start
//	led HOLD            the host was born at the REST door (the story's first line)
//	ask VERB [KEY=VALUE…]  the REST door asks for a verb, and declares what goes with it
//	hello               the agent calls home with the boot that was ordered
//	refuse CODE         the agent that calls home is sent away
//	lost                the agent fell silent
//	power on|off        a poll found the power so
//	seen dhcp|script|kernel|other=IP
//	after DURATION      time passes
//	restart             the server is killed and starts from what it recorded
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := replay(t, string(raw))
			if *update {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(string(raw), got); d != "" {
				t.Errorf("%s (-want +got):\n%s", f, d)
			}
		})
	}
}

// replay returns the transcript with the answers that Step gives.
func replay(t *testing.T, text string) string {
	p := player{t: t, m: Defaults(), h: Host{Key: "default/worker-3"}, now: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)}
	var out strings.Builder
	answering := false
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		switch {
		case line == "----":
			answering = true
			out.WriteString("----\n" + p.show())
		case line == "":
			answering = false
			out.WriteString("\n")
		case answering:
		case strings.HasPrefix(line, "#"):
			out.WriteString(line + "\n")
		default:
			p.command(line)
			out.WriteString(line + "\n")
		}
	}
	return out.String()
}

type player struct {
	t       *testing.T
	m       Machine
	h       Host
	now     time.Time
	actions []Action
	boots   int
}

func (p *player) step(e Event) {
	var as []Action
	p.h, as = p.m.Step(p.h, p.now, e)
	p.actions = append(p.actions, as...)
}

func (p *player) command(line string) {
	p.t.Helper()
	f := strings.Fields(line)
	if p.h.Boot == nil && (f[0] == "hello" || f[0] == "lost" || f[0] == "refuse" || f[0] == "contest" || f[0] == "seen") {
		p.t.Fatalf("%s: no boot is ordered; the host is %q, doing %+v", f[0], p.h.State, p.h.Op)
	}
	switch f[0] {
	case "wants":
		w := p.h.Wants
		if !strings.HasPrefix(f[1], "data=") && !strings.HasPrefix(f[1], "dataimage=") && !strings.HasPrefix(f[1], "ramdisk") { // another object's change is none of the host's
			w.Generation++
		}
		for _, kv := range f[1:] {
			k, v, _ := strings.Cut(kv, "=")
			p.applyWants(&w, k, v)
		}
		p.step(Observe{Wants: w})
	case "led":
		p.h.Node.Hold = strings.Join(f[1:], " ")
	case "ask":
		w, a := p.h.Wants, Ask{N: p.h.Node.Asked + 1}
		w.Generation++
		var words []string
		for _, x := range f[1:] {
			switch k, v, found := strings.Cut(x, "="); {
			case !found:
				words = append(words, x)
			case k == "erase":
				a.Erase = v
			case k == "step":
				a.Hold = v == "hold"
			case k == "timeout":
				var err error
				if a.Timeout, err = time.ParseDuration(v); err != nil {
					p.t.Fatal(err)
				}
			default:
				p.applyWants(&w, k, v)
			}
		}
		a.Verb, a.Generation = strings.Join(words, " "), w.Generation
		w.Ask = &a
		p.step(Observe{Wants: w})
	case "done":
		o := Outcome{Seq: p.h.Seq}
		for _, kv := range f[1:] {
			if o.Switched = kv == "switched"; !o.Switched {
				o.Power = Power(strings.TrimPrefix(kv, "power="))
			}
		}
		if p.h.Op != nil && p.h.Op.Phase == PhaseOrder {
			p.boots++
			o.BootID = fmt.Sprintf("boot%d", p.boots)
		}
		if p.h.Op != nil && p.h.Op.Phase == PhaseSoftRAID {
			o.SoftRAID = p.h.Wants.SoftRAID
		}
		p.step(o)
	case "plan":
		o := Outcome{Seq: p.h.Seq, RAID: p.h.Wants.RAID}
		if f[1] != "none" {
			c := &Change{What: ChangeKind(f[1]), Target: strings.Join(f[2:], " "), For: p.h.Wants.Firmware}
			if strings.HasPrefix(f[1], "raid") {
				o.RAID, c.For = "", Short(p.h.Wants.RAID)
			}
			o.Change = c
		}
		p.step(o)
	case "asked":
		c := *p.h.Op.Change
		c.Op, c.Reset = "task", len(f) > 1
		p.step(Outcome{Seq: p.h.Seq, Change: &c})
	case "fail":
		pr := &Problem{Code: f[1], Class: Retry}
		if len(f) > 2 && f[2] == "wait" {
			pr.Class, f = Wait, f[1:]
		}
		if len(f) > 2 {
			pr.Seen = []string{strings.Join(f[2:], " ")}
		}
		p.step(Outcome{Seq: p.h.Seq, Problem: pr})
	case "hello":
		p.step(Hello{BootID: p.h.Boot.ID})
	case "refuse":
		p.step(Refused{BootID: p.h.Boot.ID, Problem: Problem{Code: f[1], Class: Retry}})
	case "contest":
		p.step(Contested{BootID: p.h.Boot.ID, Problem: Problem{Code: "boot-token-spent", Class: Retry}})
	case "lost":
		p.step(AgentLost{BootID: p.h.Boot.ID})
	case "silent":
		p.step(BMCSilent{})
	case "heard":
		p.step(BMCHeard{})
	case "power":
		p.step(PowerRead{Power: Power(f[1])})
	case "seen":
		s := p.h.Boot.Seen
		for _, x := range f[1:] {
			switch k, v, _ := strings.Cut(x, "="); k {
			case "dhcp":
				s.DHCP = true
			case "script":
				s.Script = true
			case "kernel":
				s.Kernel = true
			case "other":
				s.OtherServer = v
			default:
				p.t.Fatalf("seen %q?", x)
			}
		}
		p.step(BootSeen{Seen: s})
	case "after":
		d, err := time.ParseDuration(f[1])
		if err != nil {
			p.t.Fatal(err)
		}
		p.now = p.now.Add(d)
		p.step(Tick{})
	case "restart":
		p.h = p.h.Resume()
		p.step(Tick{})
	default:
		p.t.Fatalf("unknown command %q", line)
	}
}

func (p *player) applyWants(w *Wants, k, v string) {
	p.t.Helper()
	on := v != "no"
	switch k {
	case "bmc":
		w.Address = v
	case "secret":
		w.SecretName, w.SecretVersion, w.SecretProblem = "s1", v, nil
		if v == "" {
			w.SecretProblem = &Problem{Code: "bmc-secret-missing", Class: Wait, Seen: []string{"no Secret default/s1"}}
		}
	case "data":
		w.DataVersion = v
	case "online":
		w.Online = on
	case "image":
		w.Image = nil
		if v != "" {
			w.Image = &Image{URL: v, Checksum: "c", ChecksumType: "sha256"}
		}
	case "live":
		w.Image = nil
		if v != "" {
			w.Image = &Image{URL: v, Format: FormatLiveISO}
		}
	case "method":
		w.Image = nil
		if v != "" {
			w.Image = &Image{Method: v}
		}
	case "dataimage":
		w.DataImage = v
	case "builder":
		w.BuildsRamdisk = on
	case "ramdisk", "ramdiskiso", "ramdiskerror":
		w.Ramdisk, w.RamdiskProblem, w.RamdiskVersion = nil, nil, k+" "+v
		switch k {
		case "ramdisk":
			w.Ramdisk = &Ramdisk{Initrd: v}
		case "ramdiskiso":
			w.Ramdisk = &Ramdisk{ISO: v}
		case "ramdiskerror":
			w.RamdiskProblem = &Problem{Code: "ramdisk-build", Class: Retry, Seen: []string{v}}
		}
	case "external":
		w.ExternallyProvisioned = on
	case "paused":
		w.Paused = on
	case "detached":
		w.Detach = nil
		if on {
			w.Detach = &Detach{DelayDelete: v == "delay", Force: v == "force"}
		}
	case "reboot":
		w.Reboot.Once = on
		w.Reboot.Hard = v == "hard"
		w.Reboot.Force = v == "force"
	case "hold":
		w.Reboot.Hold = on
	case "hints":
		w.Hints = v
	case "inspect":
		w.InspectAgain = on
	case "inspection":
		w.InspectionDisabled = !on
	case "fast":
		w.FastInspect = on
	case "options":
		w.BMCOptions = v
	case "cleaning":
		w.CleaningDisabled = !on
	case "poweroff":
		w.DisablePowerOff = !on
	case "deleted":
		w.Deleting = on
	case "raid":
		w.RAID = v
	case "secure":
		w.SecureBoot = on
	case "settings":
		w.Settings, w.Firmware = v != "", v
	case "updates":
		w.Updates, w.Firmware = v != "", v
	case "service":
		w.LiveSettings, w.LiveUpdates = on, on
	case "softraid":
		w.SoftRAID = v
	case "driver":
		w.Fake = v == "fake-hardware"
	case "maintenance":
		w.Maintenance = on
	default:
		p.t.Fatalf("unknown wish %q", k)
	}
}

// show prints the host as an operator would want to read it, and what it had
// done since the last time.
func (p *player) show() string {
	var b strings.Builder
	line := func(k, v string) {
		if v != "" {
			fmt.Fprintf(&b, "%-8s %s\n", k, v)
		}
	}
	st := string(p.h.State)
	if p.h.Detached {
		st += ", detached"
	}
	if p.h.Gone {
		st += ", gone"
	}
	if p.h.Power != PowerUnknown {
		st += ", power " + string(p.h.Power)
	}
	if m := p.h.Media; m != nil {
		st += ", " + string(m.Use) + " in the drive"
		if !m.In {
			st += ", perhaps"
		}
	}
	line("state", st)
	if n := p.h.Node; n.Led() {
		st := n.Hold
		if n.Verb != "" {
			st = strings.TrimSpace(st + " doing " + n.Verb)
		}
		if n.Power != "" {
			st += ", " + n.Power
		}
		line("node", st)
		line("said", n.Error)
	}
	if pr := p.h.Problem; pr != nil {
		line("error", fmt.Sprintf("%s: %s (%d)", pr.Type, pr.Code, pr.Attempts))
		for _, s := range pr.Seen {
			line("seen", s)
		}
		if !pr.NextTry.IsZero() {
			line("next", "in "+pr.NextTry.Sub(p.now).Round(time.Second).String())
		}
	}
	if p.h.Op != nil {
		line("doing", fmt.Sprintf("%s: %s", p.h.Op.Kind, p.h.Op.Phase))
		if c := p.h.Op.Change; c != nil {
			line("change", string(c.What)+" "+c.Target)
		}
	}
	line("waits", p.h.Waits())
	for _, a := range p.actions {
		line("action", a.text())
	}
	p.actions = nil
	return b.String()
}

func (a Action) text() string {
	switch a.Verb {
	case SetPower:
		return "SetPower " + string(a.Power)
	case SetBoot:
		switch {
		case a.FromDisk:
			return "SetBoot disk"
		case a.FromMedia && a.Lasting:
			return "SetBoot media"
		case a.FromMedia:
			return "SetBoot media once"
		}
		return "SetBoot network once"
	case RunStep:
		return fmt.Sprintf("RunStep %s %s", a.Step, a.StepID)
	case Unannotate:
		return "Unannotate " + a.Annotation
	case InsertMedia:
		return "InsertMedia " + a.Media
	}
	return string(a.Verb)
}
