package ipmi

import (
	"context"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// PowerState reads whether the machine is on.
func (m *Machine) PowerState(ctx context.Context) (bmc.PowerState, error) {
	state, _, err := m.Glance(ctx)
	return state, err
}

// Glance implements bmc.Glance: one command, which tells faults of the chassis
// too (chapter 28.2).
func (m *Machine) Glance(ctx context.Context) (bmc.PowerState, string, error) {
	status, err := m.read(ctx, "read power state", request{netFn: netFnChassis, cmd: 0x01}, 1)
	if err != nil {
		return bmc.PowerUnknown, "", err
	}
	health := ""
	if len(status) >= 3 {
		health = chassisVerdict(status)
	}
	if status[0]&1 != 0 {
		return bmc.PowerOn, health, nil
	}
	return bmc.PowerOff, health, nil
}

// SetPower orders an action, unless the machine is already in the state that it
// leads to.
func (m *Machine) SetPower(ctx context.Context, a bmc.PowerAction) error {
	op := "set power: " + string(a)
	state, err := m.PowerState(ctx)
	if err != nil {
		return err
	}
	switch on := state == bmc.PowerOn; {
	case on && a == bmc.ActionOn, !on && (a == bmc.ActionForceOff || a == bmc.ActionSoftOff):
		return nil
	case !on && (a == bmc.ActionCycle || a == bmc.ActionReset || a == bmc.ActionSoftReset):
		a = bmc.ActionOn // neither does anything to a machine that is off
	}
	if a == bmc.ActionCycle && m.has(ctx, op, quirk.IPMINoCycle) {
		return m.offAndOn(ctx, op)
	}
	sends := tries
	var control byte // chapter 28.3
	switch a {
	case bmc.ActionForceOff:
		control = 0
	case bmc.ActionOn:
		control = 1
	case bmc.ActionCycle:
		control, sends = 2, 1 // what was perhaps done is not ordered again
	case bmc.ActionReset:
		control, sends = 3, 1
	case bmc.ActionNMI:
		control, sends = 4, 1
	case bmc.ActionSoftOff:
		control = 5
	case bmc.ActionSoftReset:
		return &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "IPMI can ask an operating system to shut down, not to restart"}
	default:
		return &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: "no such power action"}
	}
	return m.write(ctx, op, request{netFn: netFnChassis, cmd: 0x02, data: []byte{control}}, sends)
}

// offReads times Options.Pause is how long a machine may take to go off.
const offReads = 30

// offAndOn is a cycle of a BMC that has none. If it is interrupted, a cycle of a
// machine that is off switches it on.
func (m *Machine) offAndOn(ctx context.Context, op string) error {
	if err := m.write(ctx, op, request{netFn: netFnChassis, cmd: 0x02, data: []byte{0}}, tries); err != nil {
		return err
	}
	for range offReads {
		state, err := m.PowerState(ctx)
		if err != nil {
			return err
		}
		if state == bmc.PowerOff {
			return m.write(ctx, op, request{netFn: netFnChassis, cmd: 0x02, data: []byte{1}}, tries)
		}
		select {
		case <-time.After(m.o.Pause):
		case <-ctx.Done():
			return classify(ctx, op, ctx.Err())
		}
	}
	return &bmc.Error{Class: bmc.Busy, Op: op, Detail: "the machine does not go off"}
}
