package simbmc

import (
	"context"
	"slices"

	"github.com/bougou/go-ipmi/pkg/handlers"
	"github.com/bougou/go-ipmi/pkg/types"
)

// Bits of the boot flags, parameter 5 (IPMI 2.0 table 28-14).
const (
	bootFlags      = 5
	flagValid      = 0x80 // data 1
	flagPersistent = 0x40
	flagEFI        = 0x20
	deviceMask     = 0x3c // data 2
)

// Device selectors, in place in data 2.
const (
	devicePXE   = 0x04
	deviceDisk  = 0x08
	deviceCD    = 0x14
	deviceSetup = 0x18
)

// getBootOption is IPMI 2.0 §28.13. Set and block selectors do not apply to the
// parameters that exist here.
func (f *ipmiFace) getBootOption(ctx context.Context, _ *handlers.HandlerContext, data []byte) ([]byte, types.CompletionCode, error) {
	if len(data) < 1 {
		return nil, types.CodeRequestDataTruncated, nil
	}
	selector := data[0] & 0x7f
	f.mu.Lock()
	value := slices.Clone(f.boot[selector])
	f.mu.Unlock()
	if value == nil {
		return nil, types.CodeParameterNotSupported, nil
	}
	if selector == bootFlags {
		o, err := f.b.body.Boot(ctx)
		if err != nil {
			return nil, completion(err), nil
		}
		putFlags(value, o)
	}
	return append([]byte{0x01, selector}, value...), types.CodeOK, nil // parameter version 1
}

// setBootOption is IPMI 2.0 §28.12. "Set in progress" (parameter 0) is kept and
// not enforced, as on most BMCs: a client that died in between would block all
// others.
func (f *ipmiFace) setBootOption(ctx context.Context, _ *handlers.HandlerContext, data []byte) ([]byte, types.CompletionCode, error) {
	if len(data) < 1 {
		return nil, types.CodeRequestDataTruncated, nil
	}
	selector, value := data[0]&0x7f, data[1:]
	f.mu.Lock()
	known := f.boot[selector]
	f.mu.Unlock()
	switch {
	case known == nil:
		return nil, types.CodeParameterNotSupported, nil
	case len(value) == 0:
		return nil, types.CodeOK, nil // only the parameter's own valid bit
	case len(value) != len(known):
		return nil, types.CodeRequestDataLengthInvalid, nil
	}
	if selector == bootFlags {
		o, ok := overrideOf(value)
		if !ok {
			return nil, types.CodeRequestDataFieldInvalid, nil
		}
		if err := f.b.setBoot(ctx, o); err != nil {
			return nil, completion(err), nil
		}
	}
	f.mu.Lock()
	f.boot[selector] = slices.Clone(value)
	f.mu.Unlock()
	return nil, types.CodeOK, nil
}

// overrideOf reads boot flags; it refuses a device that no machine here has.
func overrideOf(flags []byte) (BootOverride, bool) {
	o := BootOverride{Target: BootNone, Enabled: BootDisabled, Mode: ModeLegacy}
	if flags[0]&flagEFI != 0 {
		o.Mode = ModeUEFI
	}
	if flags[0]&flagValid == 0 {
		return o, true
	}
	switch flags[1] & deviceMask {
	case 0:
		return o, true
	case devicePXE:
		o.Target = BootPXE
	case deviceDisk:
		o.Target = BootDisk
	case deviceCD:
		o.Target = BootCD
	case deviceSetup:
		o.Target = BootBIOSSetup
	default:
		return o, false
	}
	o.Enabled = BootOnce
	if flags[0]&flagPersistent != 0 {
		o.Enabled = BootContinuous
	}
	return o, true
}

// putFlags writes the override into flags and leaves the bits that it does not
// cover.
func putFlags(flags []byte, o BootOverride) {
	flags[0] &^= flagValid | flagPersistent | flagEFI
	flags[1] &^= deviceMask
	if o.Mode == ModeUEFI {
		flags[0] |= flagEFI
	}
	switch o.Enabled {
	case BootOnce:
		flags[0] |= flagValid
	case BootContinuous:
		flags[0] |= flagValid | flagPersistent
	default:
		return
	}
	switch o.Target {
	case BootPXE, BootUEFIHTTP: // there is no selector for HTTP: both are network boots
		flags[1] |= devicePXE
	case BootDisk:
		flags[1] |= deviceDisk
	case BootCD:
		flags[1] |= deviceCD
	case BootBIOSSetup:
		flags[1] |= deviceSetup
	}
}
