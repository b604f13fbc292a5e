package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/firmware"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/record"
)

// A change of a machine's firmware or RAID goes in circles: what is true is read
// and the next change named (planChange); once that is recorded, the BMC is asked
// for it (applyChange); once its answer is recorded, the machine is restarted, if
// it has to be, and the change waited for (settleChange); then it is looked again.

// planChange reads what is, and names the next change.
func (e *Engine) planChange(ctx context.Context, in Input, a host.Action) Post {
	w, prepares := in.Host.Wants, in.Host.Op.Kind == host.OpPrepare
	c, err := e.conn(ctx, in)
	if err != nil {
		return failed(a, bmcProblem(ctx, in, err))
	}
	out := host.Outcome{Seq: a.Seq}
	if prepares && w.RAID != "" && w.RAID != in.Host.RAID {
		step, problem := e.planRAID(ctx, in, c)
		switch {
		case problem != nil:
			return failed(a, problem)
		case step == nil:
			out.RAID = w.RAID
		default:
			out.Change = &host.Change{What: host.ChangeRAIDMake, Target: step.Text, For: host.Short(w.RAID)}
			if step.Delete != "" {
				out.Change.What, out.Change.Target = host.ChangeRAIDDelete, step.Delete
			}
			return Post{Event: out, Extra: record.Extra{Session: session(c)}}
		}
	}
	asked := prepares || in.Host.Node.Verb == host.VerbService
	settings, updates := w.Settings && (asked || w.LiveSettings), w.Updates && (asked || w.LiveUpdates)
	found, err := readFirmware(ctx, c, settings, updates)
	if err != nil {
		return failed(a, bmcProblem(ctx, in, err))
	}
	switch names, u := e.settingsToDo(in, found), e.nextUpdate(in, found); {
	case settings && len(names) > 0:
		out.Change = &host.Change{What: host.ChangeSettings, Target: "settings " + strings.Join(slices.Sorted(maps.Keys(names)), ", "), For: w.Firmware}
		if len(out.Change.Target) > 200 {
			out.Change.Target = fmt.Sprintf("%d settings", len(names))
		}
	case updates && u != nil:
		out.Change = &host.Change{What: host.ChangeFirmware, Target: u.Component + " " + u.URL, For: w.Firmware, Before: version(found.Components, u.Component)}
	}
	return Post{Event: out, Extra: record.Extra{Session: session(c)}, Firmware: found}
}

func changeProblem(in Input, code string, seen ...string) *host.Problem {
	return NewProblem(code, map[string]string{"host": in.BMH.Name, "namespace": in.BMH.Namespace}, seen...)
}

// planRAID reads the volumes and names the next change of them.
func (e *Engine) planRAID(ctx context.Context, in Input, c bmc.Conn) (*firmware.RAIDStep, *host.Problem) {
	want, err := record.Volumes(in.Host.Wants.RAID)
	if err != nil {
		return nil, changeProblem(in, "raid-impossible", "spec.raid: "+err.Error())
	}
	s, ok := c.(bmc.Storage)
	if !ok {
		return nil, changeProblem(in, "raid-unsupported", "this BMC's protocol knows no RAID")
	}
	controllers, err := s.Storage(ctx)
	switch {
	case err != nil && bmc.ClassOf(err) == bmc.Unsupported:
		return nil, changeProblem(in, "raid-unsupported", err.Error())
	case err != nil:
		return nil, bmcProblem(ctx, in, err)
	}
	step, problem := firmware.PlanRAID(want, controllers, in.Host.Op.Made)
	if problem != nil {
		return nil, changeProblem(in, problem.Code, problem.Text)
	}
	return step, nil
}

// readFirmware reads what is asked for. What a BMC cannot tell at all is no error.
func readFirmware(ctx context.Context, c bmc.Conn, settings, components bool) (*firmware.Reading, error) {
	out := &firmware.Reading{}
	if s, ok := c.(bmc.Settings); settings && !ok {
		out.NoBIOS = "its protocol knows none"
	} else if settings {
		b, err := s.BIOS(ctx)
		switch {
		case err == nil:
			out.BIOS = &b
		case bmc.ClassOf(err) == bmc.Unsupported:
			out.NoBIOS = err.Error()
		default:
			return nil, err
		}
	}
	if f, ok := c.(bmc.Firmware); components && !ok {
		out.NoComponents = "its protocol knows none"
	} else if components {
		all, err := f.FirmwareInventory(ctx)
		switch {
		case err == nil:
			out.Components = all
		case bmc.ClassOf(err) == bmc.Unsupported:
			out.NoComponents = err.Error()
		default:
			return nil, err
		}
	}
	return out, nil
}

// ReadFirmware reads a machine's settings and firmware for the one who shows them.
// It is no action: nothing is awaited, and everything else goes ahead of it.
func (e *Engine) ReadFirmware(ctx context.Context, in Input) (*firmware.Reading, error) {
	ctx = bmc.WithPriority(ctx, bmc.Background)
	c, err := e.conn(ctx, in)
	if err != nil {
		return nil, err
	}
	return readFirmware(ctx, c, true, true)
}

// settingsToDo are the declared settings that are not in force, unless one is
// invalid: then none is changed, as in Metal3.
func (e *Engine) settingsToDo(in Input, found *firmware.Reading) map[string]any {
	if in.HFS == nil || found.BIOS == nil {
		return nil
	}
	want, actual := in.HFS.Spec.Settings, firmware.Settings(*found.BIOS)
	if len(firmware.Invalid(want, actual, firmware.Schema(*found.BIOS))) > 0 {
		return nil
	}
	out := map[string]any{}
	for _, name := range firmware.Differing(want, actual) {
		v := want[name]
		out[name] = v.String()
	}
	return out
}

// nextUpdate is the first update that was not carried out, unless one is invalid.
func (e *Engine) nextUpdate(in Input, found *firmware.Reading) *metal3.FirmwareUpdate {
	todo := firmware.Todo(in.HFC)
	if len(todo) == 0 || found.Components == nil {
		return nil
	}
	known := firmware.Components(nil, found.Components, nil, time.Time{})
	if len(firmware.InvalidUpdates(in.HFC.Spec.Updates, known)) > 0 {
		return nil
	}
	return &todo[0]
}

func version(all []bmc.FirmwareComponent, component string) string {
	for _, c := range all {
		if c.Component == component {
			return c.Version
		}
	}
	return ""
}

// refusedCode is what a change is called that the BMC does not take.
func refusedCode(k host.ChangeKind) string {
	switch k {
	case host.ChangeSettings:
		return "settings-refused"
	case host.ChangeFirmware:
		return "firmware-failed"
	}
	return "raid-failed"
}

// asking sorts an error of a change.
func asking(ctx context.Context, in Input, err error) *host.Problem {
	ch := in.Host.Op.Change
	switch bmc.ClassOf(err) {
	case bmc.BadRequest, bmc.Unsupported, bmc.Protocol:
		return changeProblem(in, refusedCode(ch.What), ch.Target, err.Error())
	}
	return bmcProblem(ctx, in, err)
}

// applyChange asks the BMC for the change that is on record.
func (e *Engine) applyChange(ctx context.Context, in Input, a host.Action) Post {
	c, err := e.conn(ctx, in)
	if err != nil {
		return failed(a, bmcProblem(ctx, in, err))
	}
	var o *bmc.Op
	var problem *host.Problem
	switch in.Host.Op.Change.What {
	case host.ChangeRAIDDelete, host.ChangeRAIDMake:
		o, problem = e.changeRAID(ctx, in, c)
	case host.ChangeSettings:
		o, problem = e.changeSettings(ctx, in, c)
	case host.ChangeFirmware:
		o, problem = e.changeFirmware(ctx, in, c, a.Again)
	}
	out := host.Outcome{Seq: a.Seq, Problem: problem}
	if o != nil {
		ch := *in.Host.Op.Change
		text, err := json.Marshal(o)
		if err != nil {
			return failed(a, bmcProblem(ctx, in, err))
		}
		ch.Op, ch.Reset = string(text), o.NeedsReset && !o.Done
		out.Change = &ch
	}
	return Post{Event: out, Extra: record.Extra{Session: session(c)}}
}

// changeRAID makes or deletes a volume, if what is there still asks for just that.
func (e *Engine) changeRAID(ctx context.Context, in Input, c bmc.Conn) (*bmc.Op, *host.Problem) {
	ch := in.Host.Op.Change
	step, problem := e.planRAID(ctx, in, c)
	if problem != nil || step == nil {
		return nil, problem
	}
	s := c.(bmc.Storage) // planRAID has seen it
	var o bmc.Op
	var err error
	switch {
	case ch.What == host.ChangeRAIDDelete && step.Delete == ch.Target:
		o, err = s.DeleteVolume(ctx, step.Delete)
	case ch.What == host.ChangeRAIDMake && step.Create != nil:
		o, err = s.CreateVolume(ctx, step.Controller, *step.Create)
	default:
		return nil, nil // it is otherwise by now
	}
	if err != nil {
		return nil, asking(ctx, in, err)
	}
	return &o, nil
}

func (e *Engine) changeSettings(ctx context.Context, in Input, c bmc.Conn) (*bmc.Op, *host.Problem) {
	found, err := readFirmware(ctx, c, true, false)
	if err != nil {
		return nil, bmcProblem(ctx, in, err)
	}
	todo := e.settingsToDo(in, found)
	if len(todo) == 0 {
		return nil, nil
	}
	// What waits already is not written again: this may be said twice.
	o, err := c.(bmc.Settings).StageBIOS(ctx, todo, "")
	if err != nil {
		return nil, asking(ctx, in, err)
	}
	o.Want = nil // it is declared: no need to record it
	return &o, nil
}

// taskFinder is a Conn that knows what its BMC is at.
type taskFinder interface {
	// RunningTask is the newest task that is not over, empty if there is none.
	RunningTask(ctx context.Context) string
}

func (e *Engine) changeFirmware(ctx context.Context, in Input, c bmc.Conn, again bool) (*bmc.Op, *host.Problem) {
	ch := in.Host.Op.Change
	u := updateOf(ch)
	if !slices.Contains(firmware.Todo(in.HFC), u) {
		return nil, nil
	}
	if again {
		// An earlier process may have asked for it, and did not live to record the
		// answer.
		found, err := readFirmware(ctx, c, false, true)
		if err != nil {
			return nil, bmcProblem(ctx, in, err)
		}
		if v := version(found.Components, u.Component); v != "" && v != ch.Before {
			return &bmc.Op{Kind: "firmware", Done: true}, nil
		}
		if t, ok := c.(taskFinder); ok {
			if task := t.RunningTask(ctx); task != "" {
				return &bmc.Op{Kind: "firmware", Task: task}, nil
			}
		}
	}
	f, ok := c.(bmc.Firmware)
	if !ok {
		return nil, changeProblem(in, "firmware-failed", "this BMC's protocol knows no updates")
	}
	o, err := f.UpdateFirmware(ctx, bmc.FirmwareUpdate{URL: u.URL})
	if err != nil {
		return nil, asking(ctx, in, err)
	}
	return &o, nil
}

func updateOf(ch *host.Change) metal3.FirmwareUpdate {
	component, url, _ := strings.Cut(ch.Target, " ")
	return metal3.FirmwareUpdate{Component: component, URL: url}
}

// operation is the recorded one of the change that is under way. What it wants is
// not recorded where it is declared.
func operation(in Input) (bmc.Op, error) {
	var o bmc.Op
	ch := in.Host.Op.Change
	if err := json.Unmarshal([]byte(ch.Op), &o); err != nil {
		return o, fmt.Errorf("the recorded operation cannot be read: %w", err)
	}
	if ch.What == host.ChangeSettings && in.HFS != nil {
		o.Want = map[string]string{}
		for name, v := range in.HFS.Spec.Settings {
			o.Want[name] = v.String()
		}
	}
	return o, nil
}

// restart starts the machine, or anew, so that a change comes into force; not, if
// it is in force already.
func (e *Engine) restart(ctx context.Context, in Input, a host.Action) Post {
	c, err := e.conn(ctx, in)
	if err != nil {
		return failed(a, bmcProblem(ctx, in, err))
	}
	power, _, err := glance(ctx, c)
	if err != nil {
		return failed(a, bmcProblem(ctx, in, err))
	}
	if o, err := operation(in); err == nil {
		if ops, ok := c.(bmc.Ops); ok {
			if p, err := ops.Poll(ctx, o); err == nil && p.Done {
				return Post{Event: host.Outcome{Seq: a.Seq, Power: power}, Extra: record.Extra{Session: session(c)}}
			}
		}
	}
	a.Power = host.ChangeOn
	if power == host.PowerOn {
		a.Power = host.ChangeReset
	}
	return e.setPower(ctx, in, a)
}

// settleChange waits until a change can be read back.
func (e *Engine) settleChange(ctx context.Context, in Input, a host.Action) Post {
	ch := in.Host.Op.Change
	o, err := operation(in)
	if err != nil {
		return failed(a, changeProblem(in, refusedCode(ch.What), err.Error()))
	}
	if ch.What == host.ChangeSettings && ch.For != in.Host.Wants.Firmware {
		return Post{Event: host.Outcome{Seq: a.Seq}} // something else is declared by now
	}
	if err := e.poll(ctx, in, o); err != nil {
		return failed(a, asking(ctx, in, err))
	}
	// The BMC may be starting anew: it is asked until it answers.
	var found *firmware.Reading
	err = e.insist(ctx, in, func(c bmc.Conn) (_ time.Duration, done bool, err error) {
		found, err = readFirmware(ctx, c, ch.What == host.ChangeSettings, ch.What == host.ChangeFirmware)
		return 0, err == nil, err
	})
	if err != nil {
		return failed(a, asking(ctx, in, err))
	}
	if ch.What == host.ChangeFirmware {
		u := updateOf(ch)
		found.Flashed = &u
	}
	p := Post{Event: host.Outcome{Seq: a.Seq}, Firmware: found}
	if ch.What == host.ChangeFirmware {
		p.Note = &Note{Reason: "FirmwareUpdated", Message: fmt.Sprintf("The firmware of %s was updated from %s to %s", updateOf(ch).Component, ch.Before, version(found.Components, updateOf(ch).Component))}
	}
	return p
}

// poll asks for an operation until it is over.
func (e *Engine) poll(ctx context.Context, in Input, o bmc.Op) error {
	if o.Done {
		return nil
	}
	return e.insist(ctx, in, func(c bmc.Conn) (time.Duration, bool, error) {
		ops, ok := c.(bmc.Ops)
		if !ok {
			return 0, false, &bmc.Error{Class: bmc.Unsupported, Op: "poll " + o.Kind, Detail: "this BMC's protocol knows no operations"}
		}
		p, err := ops.Poll(ctx, o)
		if err == nil && !p.Done {
			e.Progress.Set(in.Host.Key, Progress{Step: "change", Done: int64(max(p.Percent, 0)), Total: 100, Unit: "percent", Detail: p.Message})
		}
		return p.RetryAfter, p.Done, err
	})
}

// insist repeats ask until it is done. A BMC that does not answer, or not now, is
// asked again: many start anew in the course of an update. It ends with the
// phase's deadline.
func (e *Engine) insist(ctx context.Context, in Input, ask func(bmc.Conn) (after time.Duration, done bool, err error)) error {
	defer e.Progress.Clear(in.Host.Key)
	pause := 100 * time.Millisecond
	for {
		c, err := e.conn(ctx, in)
		var after time.Duration
		if err == nil {
			var done bool
			if after, done, err = ask(c); done {
				return nil
			}
		}
		if err != nil && !passing(err) {
			return err
		}
		select {
		case <-time.After(max(pause, min(after, time.Minute))):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
		pause = min(pause*2, 5*time.Second)
	}
}

// passing reports whether an error may be over soon.
func passing(err error) bool {
	switch bmc.ClassOf(err) {
	case bmc.Unreachable, bmc.Busy, bmc.Transient, bmc.Precondition:
		return true
	}
	return false
}

// setSecureBoot switches Secure Boot from the next start on.
func (e *Engine) setSecureBoot(ctx context.Context, in Input, a host.Action) Post {
	c, err := e.conn(ctx, in)
	if err != nil {
		return failed(a, bmcProblem(ctx, in, err))
	}
	s, ok := c.(bmc.SecureBoot)
	if !ok {
		return failed(a, changeProblem(in, "secure-boot", "this BMC's protocol knows no Secure Boot"))
	}
	st, err := s.SecureBoot(ctx)
	if err == nil && st.Unknown {
		err = &bmc.Error{Class: bmc.Unsupported, Op: "read Secure Boot", Detail: "the BMC does not show whether it is on"}
	}
	switched := err == nil && st.Enabled != a.On
	if switched {
		_, err = s.SetSecureBoot(ctx, a.On)
	}
	if err != nil {
		switch bmc.ClassOf(err) {
		case bmc.BadRequest, bmc.Unsupported, bmc.Protocol:
			return failed(a, changeProblem(in, "secure-boot", err.Error()))
		}
		return failed(a, bmcProblem(ctx, in, err))
	}
	return Post{Event: host.Outcome{Seq: a.Seq, Switched: switched}, Extra: record.Extra{Session: session(c)}}
}
