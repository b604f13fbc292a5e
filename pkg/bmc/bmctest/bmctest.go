// Package bmctest checks that a driver and the BMC behind it keep what package
// bmc promises. Drivers run it against simulators; it runs as well against real
// hardware.
package bmctest

import (
	"context"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// patience bounds the wait for a machine to change its power state.
const patience = time.Minute

// Read checks what changes nothing.
func Read(ctx context.Context, t testing.TB, conn bmc.Conn) bmc.Identity {
	t.Helper()
	id, err := conn.Identify(ctx)
	if err != nil {
		t.Fatalf("Identify: %v", err)
	}
	if id.Protocol != bmc.ProtocolRedfish && id.Protocol != bmc.ProtocolIPMI {
		t.Errorf("Identify: protocol %q", id.Protocol)
	}
	if p, ok := conn.(bmc.Power); ok {
		if got, err := p.PowerState(ctx); err != nil || got != bmc.PowerOn && got != bmc.PowerOff {
			t.Errorf("PowerState = %q, %v", got, err)
		}
	}
	if b, ok := conn.(bmc.Boot); ok {
		if got, err := b.BootOverride(ctx); err != nil || got.Target == "" {
			t.Errorf("BootOverride = %+v, %v", got, err)
		}
	}
	if d, ok := conn.(bmc.Details); ok {
		if id, err = d.Details(ctx, id); err != nil {
			t.Errorf("Details: %v", err)
		}
	}
	return id
}

// Switch sets boot overrides and switches the machine's power: it must be one
// that nobody needs. It is off in the end.
func Switch(ctx context.Context, t testing.TB, conn bmc.Conn) {
	t.Helper()
	if b, ok := conn.(bmc.Boot); ok {
		for _, target := range []bmc.BootTarget{bmc.BootPXE, bmc.BootDisk, bmc.BootNone} {
			if err := b.SetBootOverride(ctx, bmc.BootOverride{Target: target}); err != nil {
				t.Errorf("SetBootOverride(%s): %v", target, err)
			}
		}
	}
	p, ok := conn.(bmc.Power)
	if !ok {
		return
	}
	for _, step := range []struct {
		action bmc.PowerAction
		want   bmc.PowerState
	}{
		{bmc.ActionForceOff, bmc.PowerOff},
		{bmc.ActionForceOff, bmc.PowerOff}, // done already, and no error
		{bmc.ActionOn, bmc.PowerOn},
		{bmc.ActionOn, bmc.PowerOn},
		{bmc.ActionCycle, bmc.PowerOn},
		{bmc.ActionReset, bmc.PowerOn},
		{bmc.ActionForceOff, bmc.PowerOff},
		{bmc.ActionReset, bmc.PowerOn}, // of a machine that is off: switches it on
		{bmc.ActionForceOff, bmc.PowerOff},
	} {
		if err := p.SetPower(ctx, step.action); err != nil {
			t.Errorf("SetPower(%s): %v", step.action, err)
			continue
		}
		await(ctx, t, p, step.action, step.want)
	}
}

func await(ctx context.Context, t testing.TB, p bmc.Power, after bmc.PowerAction, want bmc.PowerState) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for pause := time.Millisecond; ; pause = min(2*pause, time.Second) {
		got, err := p.PowerState(ctx)
		if err != nil {
			t.Errorf("PowerState after %s: %v", after, err)
			return
		}
		if got == want {
			return
		}
		select {
		case <-ctx.Done():
			t.Errorf("power is %q after %s, want %q", got, after, want)
			return
		case <-time.After(pause):
		}
	}
}
