package ipmi

import (
	"context"
	"fmt"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// Parameters of the boot options (chapter 28.13, table 28-14).
const (
	paramProgress = 0
	paramValidBit = 3
	paramAck      = 4
	paramFlags    = 5
)

// uefiDisk is Supermicro's selector of a UEFI disk, 0x24 in its place in the
// flags; in the specification it is the primary remote medium.
const uefiDisk = 0x09

const (
	flagValid      = 0x80
	flagPersistent = 0x40
	flagEFI        = 0x20
)

// bootFlags are the first two bytes of paramFlags.
type bootFlags struct{ flags, device byte }

func (b bootFlags) override() bmc.BootOverride {
	o := bmc.BootOverride{Target: bmc.BootNone, Mode: bmc.BootModeLegacy}
	if b.flags&flagEFI != 0 {
		o.Mode = bmc.BootModeUEFI
	}
	if b.flags&flagValid == 0 {
		return o
	}
	o.Persistent = b.flags&flagPersistent != 0
	switch b.device {
	case 0x01:
		o.Target = bmc.BootPXE
	case 0x02, uefiDisk:
		o.Target = bmc.BootDisk
	case 0x05:
		o.Target = bmc.BootCD
	case 0x06:
		o.Target = bmc.BootSetup
	default:
		o.Persistent = false
	}
	return o
}

func device(t bmc.BootTarget) (byte, bool) {
	switch t {
	case bmc.BootNone, "":
		return 0, true
	case bmc.BootPXE:
		return 0x01, true
	case bmc.BootDisk:
		return 0x02, true
	case bmc.BootCD:
		return 0x05, true
	case bmc.BootSetup:
		return 0x06, true
	}
	return 0, false
}

// BootOverride reads the boot flags.
func (m *Machine) BootOverride(ctx context.Context) (bmc.BootOverride, error) {
	b, err := m.bootFlags(ctx, "read boot override")
	if err != nil {
		return bmc.BootOverride{}, err
	}
	o := b.override()
	if m.has(ctx, "read boot override", quirk.IPMIPlainBoot) {
		o.Mode, o.Persistent = "", o.Target != bmc.BootNone
	}
	return o, nil
}

func (m *Machine) bootFlags(ctx context.Context, op string) (bootFlags, error) {
	// The answer: version, parameter, then its data.
	data, err := m.read(ctx, op, request{netFn: netFnChassis, cmd: 0x09, data: []byte{paramFlags, 0, 0}}, 4)
	if err != nil {
		return bootFlags{}, err
	}
	return bootFlags{flags: data[2], device: data[3] >> 2 & 0x0f}, nil
}

// SetBootOverride writes the boot flags and reads them back. Not all BMCs can
// read them, and some forget them at once though they honour them: only flags
// that say something else are an error.
func (m *Machine) SetBootOverride(ctx context.Context, o bmc.BootOverride) error {
	op := "set boot override: " + string(o.Target)
	if o.HTTPURI != "" {
		return &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "IPMI takes no address to boot from: leave it out, and let DHCP give it"}
	}
	plain := m.has(ctx, op, quirk.IPMIPlainBoot)
	if plain && (o.Target == bmc.BootNone || o.Target == "") {
		o.Target = bmc.BootDisk // what such a machine starts from when nothing was set
	}
	selector, ok := device(o.Target)
	if !ok {
		return &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "IPMI has no such boot target"}
	}
	want := bootFlags{device: selector}
	if selector != 0 {
		want.flags = flagValid
		if o.Persistent {
			want.flags |= flagPersistent
		}
	}
	efi := o.Mode == bmc.BootModeUEFI
	if o.Mode == "" && !plain {
		if now, err := m.bootFlags(ctx, op); err == nil {
			efi = now.flags&flagEFI != 0
		}
	}
	if efi {
		want.flags |= flagEFI
		if o.Target == bmc.BootDisk && m.has(ctx, op, quirk.IPMIUEFIDisk) {
			want.device = uefiDisk
		}
	}
	if err := m.writeFlags(ctx, op, want); err != nil {
		return err
	}
	got, err := m.bootFlags(ctx, op)
	switch {
	case err != nil && bmc.ClassOf(err) == bmc.Unreachable:
		return err
	case err != nil, got.flags&flagValid == 0:
		return nil
	}
	shown, wanted := got.override(), want.override()
	if o.Mode == "" || plain {
		shown.Mode, wanted.Mode = "", ""
	}
	if plain {
		shown.Persistent = wanted.Persistent
	}
	if shown == wanted {
		return nil
	}
	return &bmc.Error{
		Class: bmc.Protocol, Op: op,
		Detail: fmt.Sprintf("the BMC took the order, but shows %+v", got.override()),
	}
}

// writeFlags does as ipmitool does. Without the second step the BMC drops the
// flags when the machine is not reset within 60 s; of the steps, only the flags
// themselves must succeed.
func (m *Machine) writeFlags(ctx context.Context, op string, want bootFlags) error {
	steps := []struct {
		data       []byte
		must, skip bool
	}{
		{data: []byte{paramProgress, 1}},
		{data: []byte{paramValidBit, 0x08}, skip: m.has(ctx, op, quirk.IPMIBootTimer)},
		{data: []byte{paramAck, 1, 1}}, // the firmware has not yet seen them
		{data: []byte{paramFlags, want.flags, want.device << 2, 0, 0, 0}, must: true},
		{data: []byte{paramProgress, 0}},
	}
	var failed error
	for _, step := range steps {
		if step.skip {
			continue
		}
		err := m.write(ctx, op, request{netFn: netFnChassis, cmd: 0x08, data: step.data}, tries)
		switch {
		case err == nil:
		case step.must:
			failed = err // still ends the progress
		case bmc.ClassOf(err) == bmc.Unreachable, bmc.ClassOf(err) == bmc.Forbidden, bmc.ClassOf(err) == bmc.Auth:
			return err
		}
	}
	return failed
}
