package bmctest

import (
	"context"
	"fmt"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// restoreTime bounds putting things back after ctx has ended.
const restoreTime = 3 * time.Minute

// step is a power action and the state that it must lead to.
type step struct {
	name   string
	action bmc.PowerAction
	want   bmc.PowerState
}

// steps is what a machine is put through. The first makes the state known.
func steps() []step {
	return []step{
		{"off", bmc.ActionForceOff, bmc.PowerOff},
		{"off when off", bmc.ActionForceOff, bmc.PowerOff}, // done already, and no error
		{"on", bmc.ActionOn, bmc.PowerOn},
		{"on when on", bmc.ActionOn, bmc.PowerOn},
		{"cycle", bmc.ActionCycle, bmc.PowerOn},
		{"reset", bmc.ActionReset, bmc.PowerOn},
		{"off again", bmc.ActionForceOff, bmc.PowerOff},
		{"reset when off", bmc.ActionReset, bmc.PowerOn}, // switches it on
		{"off at last", bmc.ActionForceOff, bmc.PowerOff},
	}
}

// write changes boot overrides and power, and puts both back as found, even if
// ctx ends in between.
func (k *kit) write(ctx context.Context) {
	state, o, known := k.found(ctx)
	k.overrides(ctx)
	k.switchPower(ctx)
	if known {
		k.restore(context.WithoutCancel(ctx), state, o)
	}
}

// found reads what is to be put back.
func (k *kit) found(ctx context.Context) (state bmc.PowerState, o bmc.BootOverride, known bool) {
	if p, ok := k.conn.(bmc.Power); ok {
		s, err := p.PowerState(ctx)
		state, known = s, err == nil
	}
	if b, ok := k.conn.(bmc.Boot); ok {
		if read, err := b.BootOverride(ctx); err == nil {
			o, known = read, true
		}
	}
	return state, o, known
}

func (k *kit) overrides(ctx context.Context) {
	b, ok := k.conn.(bmc.Boot)
	if !ok {
		return
	}
	for _, target := range []bmc.BootTarget{bmc.BootPXE, bmc.BootDisk, bmc.BootNone} {
		k.check(ctx, "boot", fmt.Sprintf("override %s, once", target), func(ctx context.Context) (string, error) {
			return "", b.SetBootOverride(ctx, bmc.BootOverride{Target: target})
		})
	}
}

func (k *kit) switchPower(ctx context.Context) {
	p, ok := k.conn.(bmc.Power)
	if !ok {
		return
	}
	for _, s := range steps() {
		k.within(ctx, k.o.Patience, "power", s.name, func(ctx context.Context) (string, error) {
			if err := p.SetPower(ctx, s.action); err != nil {
				return "", err
			}
			return "", await(ctx, p, s.want)
		})
	}
}

func (k *kit) restore(ctx context.Context, state bmc.PowerState, o bmc.BootOverride) {
	ctx, cancel := context.WithTimeout(ctx, restoreTime)
	defer cancel()
	if b, ok := k.conn.(bmc.Boot); ok && o.Target != "" && o.Target != bmc.BootNone {
		k.check(ctx, "boot", "override as it was", func(ctx context.Context) (string, error) {
			return words(string(o.Target), once(o), string(o.Mode)), b.SetBootOverride(ctx, o)
		})
	}
	if p, ok := k.conn.(bmc.Power); ok && state == bmc.PowerOn {
		k.within(ctx, k.o.Patience, "power", "on as it was", func(ctx context.Context) (string, error) {
			if err := p.SetPower(ctx, bmc.ActionOn); err != nil {
				return "", err
			}
			return "", await(ctx, p, bmc.PowerOn)
		})
	}
}

// settle is how long a state must have been seen for: a BMC answers an order
// before it carries it out, and a machine that restarts may be off for a moment.
const settle = 60 * time.Millisecond

// await reads the power until it is, and stays, as wanted.
func await(ctx context.Context, p bmc.Power, want bmc.PowerState) error {
	var since time.Time
	for pause := time.Millisecond; ; pause = min(2*pause, time.Second) {
		got, err := p.PowerState(ctx)
		if err != nil {
			return err
		}
		switch {
		case got != want:
			since = time.Time{}
		case since.IsZero():
			since, pause = time.Now(), settle
		case time.Since(since) >= settle:
			return nil
		}
		select {
		case <-ctx.Done():
			return broken("power is %q, want %q", got, want)
		case <-time.After(pause):
		}
	}
}
