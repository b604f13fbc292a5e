package redfish

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// attempt is one way to write an override: a body, and where to.
type attempt struct {
	uri  string // empty: the system itself
	body bootWrite
}

type bootWrite struct {
	Boot bootFields `json:"Boot"`
}

type bootFields struct {
	Enabled string    `json:"BootSourceOverrideEnabled,omitempty"`
	Target  string    `json:"BootSourceOverrideTarget,omitempty"`
	Mode    string    `json:"BootSourceOverrideMode,omitempty"`
	HTTPURI *nullable `json:"HttpBootUri,omitempty"`
}

// nullable is a string that is null when it is empty.
type nullable string

// MarshalJSON writes null for nothing.
func (n nullable) MarshalJSON() ([]byte, error) {
	if n == "" {
		return []byte("null"), nil
	}
	return json.Marshal(string(n))
}

// uefi reports whether a machine starts by UEFI: as asked, or as it is set.
func (b boot) uefi(asked bmc.BootMode) bool {
	if asked == "" {
		asked = bmc.BootMode(b.Mode)
	}
	return !strings.EqualFold(string(asked), string(bmc.BootModeLegacy))
}

// bootFields translates an override into what this BMC calls it.
func (s *System) bootFields(op string, b boot, o bmc.BootOverride) (bootFields, error) {
	if o.Target == bmc.BootCD && s.has(quirk.CDIsUSBCD) &&
		(len(b.AllowedTarget) == 0 || pick([]string{targetUSBCD}, words(b.AllowedTarget)) != "") {
		o.Target = targetUSBCD
	}
	if s.has(quirk.BootMinimalBody) {
		if o.Mode != "" && b.Mode != "" && !strings.EqualFold(string(o.Mode), string(b.Mode)) {
			return bootFields{}, &bmc.Error{
				Class: bmc.Unsupported, Op: op,
				Detail: fmt.Sprintf("the BMC does not change the boot mode, which is %s, with the override: change it in the BIOS settings", clean(b.Mode)),
			}
		}
		o.Mode = ""
	}
	return b.fields(op, o)
}

// fields translates an override into what this BMC calls it.
func (b boot) fields(op string, o bmc.BootOverride) (bootFields, error) {
	f := bootFields{Enabled: overrideOnce, Target: string(o.Target)}
	switch {
	case o.Target == bmc.BootNone || o.Target == "":
		f.Enabled, f.Target = overrideOff, string(bmc.BootNone)
	case o.Persistent:
		f.Enabled = overrideOn
	}
	for _, v := range []struct {
		value   *string
		allowed list[text]
		what    string
	}{{&f.Target, b.AllowedTarget, "boot target"}, {&f.Enabled, b.AllowedEnabled, "override"}} {
		if len(v.allowed) == 0 {
			continue
		}
		allowed := words(v.allowed)
		spelt := pick([]string{*v.value}, allowed)
		if spelt == "" && *v.value != overrideOff && *v.value != string(bmc.BootNone) {
			return f, &bmc.Error{
				Class: bmc.Unsupported, Op: op,
				Detail: fmt.Sprintf("the BMC has no %s %s, but %s", v.what, *v.value, some(allowed)),
			}
		}
		if spelt != "" {
			*v.value = spelt
		}
	}
	if err := b.httpURI(op, o, &f); err != nil {
		return f, err
	}
	// A BMC without the property has one mode only, and says no more about it.
	if o.Mode == "" || b.Mode == "" {
		return f, nil
	}
	f.Mode = string(o.Mode)
	if len(b.AllowedMode) > 0 && pick([]string{f.Mode}, words(b.AllowedMode)) == "" {
		return f, &bmc.Error{
			Class: bmc.Unsupported, Op: op,
			Detail: fmt.Sprintf("the BMC has no boot mode %s, but %s", f.Mode, some(words(b.AllowedMode))),
		}
	}
	return f, nil
}

// httpURI adds where to boot from. One that was set before would win over DHCP,
// so it is taken out when none is asked for.
func (b boot) httpURI(op string, o bmc.BootOverride, f *bootFields) error {
	switch {
	case o.HTTPURI != "" && o.Target != bmc.BootUEFIHTTP:
		return &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: "an address to boot from goes with the target " + string(bmc.BootUEFIHTTP) + " alone"}
	case o.HTTPURI != "" && !b.HTTPURI.present:
		return &bmc.Error{
			Class: bmc.Unsupported, Op: op,
			Detail: "the BMC takes no address for an HTTP boot (HttpBootUri): leave it out, and let DHCP give it",
		}
	case o.Target == bmc.BootUEFIHTTP && (o.HTTPURI != "" || b.HTTPURI.value != ""):
		uri := nullable(o.HTTPURI)
		f.HTTPURI = &uri
	}
	return nil
}

// bootWays lists the ways to write f: the one that a known BMC takes, or those
// that are tried with one of which nothing is known.
func (s *System) bootWays(cs *computerSystem, at bootPlace, f bootFields) []attempt {
	full, minimal := s.has(quirk.BootFullBody), s.has(quirk.BootMinimalBody)
	if !full && !minimal && !s.has(quirk.BootViaSettings) && !s.has(quirk.BootAlwaysEnabled) {
		return cs.attempts(f)
	}
	switch {
	case full && f.Mode == "":
		f.Mode = string(at.boot.Mode)
	case minimal && f.Enabled == overrideOff:
		f.Target = "" // iLO refuses None beside Disabled
	}
	return []attempt{{uri: at.uri, body: bootWrite{f}}}
}

// attempts lists the ways to write f, without repetition.
func (cs *computerSystem) attempts(f bootFields) []attempt {
	var out []attempt
	add := func(uri string, f bootFields) {
		for _, a := range out {
			if a.uri == uri && a.body.Boot == f {
				return
			}
		}
		out = append(out, attempt{uri: uri, body: bootWrite{f}})
	}
	bare, full := f, f
	bare.Mode = ""
	if full.Mode == "" {
		full.Mode = string(cs.Boot.Mode)
	}
	add("", f)
	add("", bare)
	add("", full)
	if cs.Settings.Object != "" {
		add(string(cs.Settings.Object), f)
		add(string(cs.Settings.Object), bare)
	}
	return out
}

// write patches what w says. If the ETag is not known, it is read.
func (s *System) write(ctx context.Context, op string, w attempt, etag string, known bool) error {
	uri := w.uri
	if uri == "" {
		uri = s.uri
	}
	if !known {
		var pending computerSystem
		a, err := s.e.get(ctx, op, uri, &pending)
		if err != nil {
			return err
		}
		etag = a.etag(pending.ETag)
	}
	_, err := s.patchTagged(ctx, op, uri, etag, w.body)
	return err
}

// confirm reads back an override. Some BMCs change the mode with the target;
// there the mode that was asked for, or else the one that was, is written again.
func (s *System) confirm(ctx context.Context, op string, w attempt, want bootFields, before text) error {
	if !s.has(quirk.BootModeFlips) {
		_, _, err := s.verify(ctx, op, w, want)
		return err
	}
	mode := want.Mode
	if mode == "" {
		mode = string(before)
	}
	want.Mode = ""
	got, etag, err := s.verify(ctx, op, w, want)
	if err != nil || mode == "" || strings.EqualFold(string(got.Mode), mode) {
		return err
	}
	again := bootFields{Mode: mode}
	if s.has(quirk.BootAlwaysEnabled) || s.has(quirk.BootFullBody) {
		again = w.body.Boot
		again.Mode = mode
	}
	if err := s.write(ctx, op, attempt{uri: w.uri, body: bootWrite{again}}, etag, etag != ""); err != nil {
		return err
	}
	want.Mode = mode
	_, _, err = s.verify(ctx, op, w, want)
	return err
}

const (
	verifyReads = 3
	verifyPause = 500 * time.Millisecond
)

// verify reads back until the BMC shows the override: some take a moment. It
// returns what it saw, and the ETag of what was written to.
func (s *System) verify(ctx context.Context, op string, w attempt, want bootFields) (boot, string, error) {
	var got boot
	for try := range verifyReads {
		if try > 0 {
			if err := s.e.sleep(ctx, verifyPause); err != nil {
				return got, "", s.e.classify(ctx, op, err)
			}
		}
		if w.uri != "" {
			var pending computerSystem
			if a, err := s.e.get(ctx, op, w.uri, &pending); err == nil && pending.Boot.shows(want) {
				return pending.Boot, a.etag(pending.ETag), nil
			}
		}
		cs, a, err := s.read(ctx, op)
		if err != nil {
			return got, "", err
		}
		if got = cs.Boot; got.shows(want) {
			etag := a.etag(cs.ETag)
			if w.uri != "" {
				etag = "" // of another resource
			}
			return got, etag, nil
		}
	}
	return got, "", &bmc.Error{
		Class: bmc.Protocol, Op: op,
		Detail: fmt.Sprintf("the BMC took the order, but shows target %q, %q, mode %q", clean(got.Target), clean(got.Enabled), clean(got.Mode)),
	}
}

// shows reports whether the BMC's state is what was written.
func (b boot) shows(f bootFields) bool {
	if f.Mode != "" && !strings.EqualFold(string(b.Mode), f.Mode) {
		return false
	}
	if f.HTTPURI != nil && string(b.HTTPURI.value) != string(*f.HTTPURI) {
		return false
	}
	if f.Enabled == overrideOff {
		return strings.EqualFold(string(b.Enabled), overrideOff) || strings.EqualFold(string(b.Target), string(bmc.BootNone)) || b.Target == ""
	}
	return strings.EqualFold(string(b.Target), f.Target) && strings.EqualFold(string(b.Enabled), f.Enabled)
}
