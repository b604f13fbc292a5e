package redfish

import (
	"context"
	"net/url"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// Values of BootSourceOverrideEnabled (DSP0268).
const (
	overrideOff  = "Disabled"
	overrideOnce = "Once"
	overrideOn   = "Continuous"
)

// targetUSBCD is where some BMCs have their virtual CD.
const targetUSBCD = "UsbCd"

// BootOverride reads the override that is set: one request, and one more where
// the BMC keeps it elsewhere.
func (s *System) BootOverride(ctx context.Context) (bmc.BootOverride, error) {
	const op = "read boot override"
	cs, a, err := s.read(ctx, op)
	if err != nil {
		return bmc.BootOverride{}, err
	}
	at, err := s.bootPlace(ctx, op, cs, a)
	if err != nil {
		return bmc.BootOverride{}, err
	}
	o := at.boot.override()
	if s.has(quirk.CDIsUSBCD) && strings.EqualFold(string(o.Target), targetUSBCD) {
		o.Target = bmc.BootCD
	}
	if o.Target == bmc.BootNone && s.has(quirk.DellVirtualCDBoot) {
		if o.Target, o.Persistent, err = s.dellOverride(ctx, op, cs); err != nil {
			return bmc.BootOverride{}, err
		}
	}
	s.mu.Lock()
	o.Renew = s.renew
	s.mu.Unlock()
	return o, nil
}

func (b boot) override() bmc.BootOverride {
	o := bmc.BootOverride{Target: bmc.BootNone, Mode: bmc.BootMode(b.Mode)}
	if b.Target != "" && !strings.EqualFold(string(b.Enabled), overrideOff) && b.Enabled != "" {
		o.Target = bmc.BootTarget(b.Target)
		o.Persistent = strings.EqualFold(string(b.Enabled), overrideOn)
	}
	if o.Target == bmc.BootUEFIHTTP {
		o.HTTPURI = withoutUser(string(b.HTTPURI.value))
	}
	return o
}

// withoutUser takes user and password out of a URL.
func withoutUser(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	u.User = nil
	return u.String()
}

// SetBootOverride writes an override and reads it back. BMCs differ in what they
// take: HPE refuses a mode, AMI refuses to do without, some want the write at
// their settings object. One whose ways are known gets what it takes; with all
// others the ways are tried from the fullest on, and a way that was taken but
// changed nothing counts as refused.
func (s *System) SetBootOverride(ctx context.Context, o bmc.BootOverride) error {
	op := "set boot override: " + string(o.Target)
	cs, a, err := s.read(ctx, op)
	if err != nil {
		return err
	}
	if s.has(quirk.OnlyContinuous) {
		o.Persistent = true
		if o.Target == bmc.BootNone || o.Target == "" {
			o.Target = bmc.BootDisk // what such a machine starts from when nothing was set
		}
	}
	renew := o.Persistent && o.Target != bmc.BootNone && s.has(quirk.NoContinuous)
	if renew {
		o.Persistent = false
	}
	if err := s.setBootOverride(ctx, op, o, cs, a); err != nil {
		return err
	}
	s.mu.Lock()
	s.renew = renew
	s.mu.Unlock()
	return nil
}

func (s *System) setBootOverride(ctx context.Context, op string, o bmc.BootOverride, cs *computerSystem, a *answer) error {
	if s.has(quirk.DellVirtualCDBoot) {
		if o.Target == bmc.BootCD {
			return s.setDellVirtualCD(ctx, op, cs, o)
		}
		if err := s.clearDellVirtualCD(ctx, op, cs); err != nil {
			return err
		}
	}
	at, err := s.bootPlace(ctx, op, cs, a)
	if err != nil {
		return err
	}
	if s.has(quirk.NoBootWrite) && o.Target == bmc.BootDisk && at.boot.uefi(o.Mode) {
		// Any order that is given now drops the entry that the agent has made in
		// UEFI's own (Launchpad 2053064): what is left is to end an override.
		o = bmc.BootOverride{Target: bmc.BootNone}
	}
	want, err := s.bootFields(op, at.boot, o)
	if err != nil {
		return err
	}
	if want.Enabled == overrideOff && at.boot.shows(want) && cs.Boot.shows(want) {
		return nil // nothing is overridden
	}
	var last error
	for _, w := range s.bootWays(cs, at, want) {
		etag, known := at.etag, w.uri == at.uri
		if last = s.write(ctx, op, w, etag, known); last == nil {
			if last = s.confirm(ctx, op, w, want, at.boot.Mode); last == nil {
				return nil
			}
		}
		switch bmc.ClassOf(last) {
		case bmc.BadRequest, bmc.Unsupported, bmc.Protocol, bmc.Transient:
		default:
			return last // another body would not help
		}
	}
	return last
}

// bootPlace is where a BMC keeps the override.
type bootPlace struct {
	uri  string // empty: the system itself
	boot boot
	etag string
}

// bootPlace reads the settings object of a system that keeps its override there:
// iDRAC10 has a Boot that is read-only, AMI one that changes at the next start
// alone. Those that stage but the boot order there (Lenovo) are not meant.
func (s *System) bootPlace(ctx context.Context, op string, cs *computerSystem, a *answer) (bootPlace, error) {
	at := bootPlace{boot: cs.Boot, etag: a.etag(cs.ETag)}
	if !s.has(quirk.BootViaSettings) || cs.Settings.Object == "" {
		return at, nil
	}
	var pending computerSystem
	pa, err := s.e.get(ctx, op, string(cs.Settings.Object), &pending)
	if unsupported(err) {
		return at, nil
	}
	if err != nil {
		return at, err
	}
	b := pending.Boot
	overrides := b.Target != "" || b.Enabled != ""
	if !overrides && len(b.Order) > 0 {
		return at, nil
	}
	at.uri, at.etag = string(cs.Settings.Object), pa.etag(pending.ETag)
	if !overrides {
		return at, nil // it shows nothing before the first write
	}
	if b.Mode == "" {
		b.Mode = cs.Boot.Mode
	}
	for _, l := range []struct{ here, there *list[text] }{
		{&b.AllowedTarget, &cs.Boot.AllowedTarget}, {&b.AllowedEnabled, &cs.Boot.AllowedEnabled}, {&b.AllowedMode, &cs.Boot.AllowedMode},
	} {
		if len(*l.here) == 0 {
			*l.here = *l.there
		}
	}
	at.boot = b
	return at, nil
}
