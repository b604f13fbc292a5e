package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/record"
)

// maxMACs bounds how many MACs of a BMC's answer are kept in the record.
const maxMACs = 16

func (e *Engine) conn(ctx context.Context, in Input) (bmc.Conn, error) {
	return e.BMCs.Conn(ctx, in.BMH, in.Creds, in.Host.Wants.SecretVersion)
}

// verify logs in to the BMC and reads who the machine is and whether it is on.
func (e *Engine) verify(ctx context.Context, in Input, a host.Action) Post {
	c, err := e.conn(ctx, in)
	if err != nil {
		return failed(a, bmcProblem(ctx, in, err))
	}
	id, err := c.Identify(ctx)
	if err != nil {
		return failed(a, bmcProblem(ctx, in, err))
	}
	if d, ok := c.(bmc.Details); ok && in.BMH.Spec.BootMACAddress == "" {
		// Nobody said which MAC will ask for an address: the BMC may know.
		if id, err = d.Details(ctx, id); err != nil {
			return failed(a, bmcProblem(ctx, in, err))
		}
	}
	power, health, err := glance(ctx, c)
	if err != nil {
		return failed(a, bmcProblem(ctx, in, err))
	}
	found := &v1alpha1.BMC{Protocol: id.Protocol, SystemID: id.SystemID, SystemUUID: id.SystemUUID}
	told(c, found, in.BMH)
	for _, m := range id.MACs[:min(len(id.MACs), maxMACs)] {
		found.MACs = append(found.MACs, m.String())
	}
	return Post{
		Event: host.Outcome{Seq: a.Seq, Power: power, Health: health},
		Extra: record.Extra{BMC: found, Session: session(c)},
		Note:  &Note{Reason: record.ReasonAccessValidated, Message: "Verified access to BMC"},
	}
}

// glance reads the power, and the health where that costs no further request:
// hosts are many, and a BMC's sensors are dozens.
func glance(ctx context.Context, c bmc.Conn) (host.Power, host.Health, error) {
	if g, ok := c.(bmc.Glance); ok {
		s, health, err := g.Glance(ctx)
		return fromBMC(s), healthFromBMC(health), err
	}
	p, ok := c.(bmc.Power)
	if !ok {
		return host.PowerUnknown, host.HealthUnknown, nil
	}
	s, err := p.PowerState(ctx)
	return fromBMC(s), host.HealthUnknown, err
}

// healthFromBMC takes the three words that DSP0268 has for it, and no others.
func healthFromBMC(s string) host.Health {
	switch h := host.Health(s); h {
	case host.Healthy, host.HealthWarning, host.HealthCritical:
		return h
	}
	return host.HealthUnknown
}

func fromBMC(s bmc.PowerState) host.Power {
	switch s {
	case bmc.PowerOn:
		return host.PowerOn
	case bmc.PowerOff:
		return host.PowerOff
	}
	return host.PowerUnknown
}

// Glance polls a host's power and health for the one who keeps its life cycle. It
// is no action: nothing is awaited, and everything else goes ahead of it.
func (e *Engine) Glance(ctx context.Context, in Input) (host.Power, host.Health, error) {
	ctx = bmc.WithPriority(ctx, bmc.Background)
	c, err := e.conn(ctx, in)
	if err != nil {
		return host.PowerUnknown, host.HealthUnknown, err
	}
	return glance(ctx, c)
}

// setPower orders a power change and reads back until it is so.
func (e *Engine) setPower(ctx context.Context, in Input, a host.Action) Post {
	c, err := e.conn(ctx, in)
	if err != nil {
		return failed(a, bmcProblem(ctx, in, err))
	}
	p, ok := c.(bmc.Power)
	if !ok {
		return failed(a, NewProblem("bmc-unsupported", nil, "this BMC cannot switch power"))
	}
	action, want := bmc.ActionOn, bmc.PowerOn
	switch a.Power {
	case host.ChangeForce:
		action, want = bmc.ActionForceOff, bmc.PowerOff
	case host.ChangeSoft:
		action, want = bmc.ActionSoftOff, bmc.PowerOff
	case host.ChangeReset:
		action = bmc.ActionReset
	}
	if action == bmc.ActionOn && in.Host.State == host.Provisioned && !in.Host.Provisioned.Live() {
		e.renewBoot(ctx, in, c)
	}
	if err := bmc.Fenced(ctx); err != nil {
		return failed(a, bmcProblem(ctx, in, err))
	}
	if err := p.SetPower(ctx, action); err != nil {
		return failed(a, bmcProblem(ctx, in, err))
	}
	if err := waitPower(ctx, p, want); err != nil {
		return failed(a, bmcProblem(ctx, in, err))
	}
	return Post{Event: host.Outcome{Seq: a.Seq, Power: fromBMC(want)}, Extra: record.Extra{Session: session(c)}}
}

// waitPower reads the power until it is as wanted. A read that fails on the way
// is repeated: some BMCs answer nothing while they switch.
func waitPower(ctx context.Context, p bmc.Power, want bmc.PowerState) error {
	pause := 200 * time.Millisecond
	var last error
	for {
		got, err := p.PowerState(ctx)
		if err == nil && got == want {
			return nil
		}
		if err != nil {
			if c := bmc.ClassOf(err); c == bmc.Auth || c == bmc.TLSIdentity {
				return err
			}
			last = err
		} else {
			last = fmt.Errorf("the power is %q, want %q", got, want)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return &bmc.Error{Class: bmc.Busy, Op: "waiting for the power to be " + string(want), Detail: last.Error(), Err: ctx.Err()}
		}
		pause = min(pause*2, 3*time.Second)
	}
}

// setBoot overrides where the machine starts from.
func (e *Engine) setBoot(ctx context.Context, in Input, a host.Action) Post {
	c, err := e.conn(ctx, in)
	if err != nil {
		return failed(a, bmcProblem(ctx, in, err))
	}
	b, ok := c.(bmc.Boot)
	if !ok {
		return failed(a, NewProblem("bmc-unsupported", nil, "this BMC cannot choose a boot device"))
	}
	o := bmc.BootOverride{Target: e.netTarget(in), Mode: bmc.BootModeUEFI}
	if a.Legacy {
		o.Mode = bmc.BootModeLegacy
	}
	if a.FromDisk {
		o.Target, o.Persistent = bmc.BootDisk, true
	}
	if a.FromMedia {
		o.Target, o.Persistent = bmc.BootCD, a.Lasting && !e.LiveISOOnce
	}
	if o.Target == bmc.BootUEFIHTTP && e.LoaderURL != nil {
		o.HTTPURI = e.LoaderURL()
	}
	if err := bmc.Fenced(ctx); err != nil {
		return failed(a, bmcProblem(ctx, in, err))
	}
	err = b.SetBootOverride(ctx, o)
	if err != nil && o.HTTPURI != "" && (bmc.ClassOf(err) == bmc.Unsupported || bmc.ClassOf(err) == bmc.BadRequest) {
		o.HTTPURI = "" // DHCP gives it (option 67)
		err = b.SetBootOverride(ctx, o)
	}
	if err != nil && o.Persistent && (bmc.ClassOf(err) == bmc.Unsupported || bmc.ClassOf(err) == bmc.BadRequest) {
		// Some BMCs know no Continuous: once is enough for this start, and the
		// boot script sends later ones to the disk.
		o.Persistent = false
		err = b.SetBootOverride(ctx, o)
	}
	if err != nil {
		return failed(a, bmcProblem(ctx, in, err))
	}
	return Post{Event: host.Outcome{Seq: a.Seq}, Extra: record.Extra{Session: session(c)}}
}

func (e *Engine) netTarget(in Input) bmc.BootTarget {
	if addr, err := bmc.ParseAddress(in.BMH.Spec.BMC.Address); err == nil && addr.Boot == bmc.BootViaUEFIHTTP {
		return bmc.BootUEFIHTTP
	}
	return bmc.BootPXE
}

func (e *Engine) orderBoot(_ context.Context, _ Input, a host.Action) Post {
	return Post{Event: host.Outcome{Seq: a.Seq, BootID: e.NewID()}}
}
