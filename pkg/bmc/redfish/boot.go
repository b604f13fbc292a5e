package redfish

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// Values of BootSourceOverrideEnabled (DSP0268).
const (
	overrideOff  = "Disabled"
	overrideOnce = "Once"
	overrideOn   = "Continuous"
)

// BootOverride reads the override that is set: one request.
func (s *System) BootOverride(ctx context.Context) (bmc.BootOverride, error) {
	cs, _, err := s.read(ctx, "read boot override")
	if err != nil {
		return bmc.BootOverride{}, err
	}
	return cs.Boot.override(), nil
}

func (b boot) override() bmc.BootOverride {
	o := bmc.BootOverride{Target: bmc.BootNone, Mode: bmc.BootMode(b.Mode)}
	if b.Target != "" && !strings.EqualFold(string(b.Enabled), overrideOff) && b.Enabled != "" {
		o.Target = bmc.BootTarget(b.Target)
		o.Persistent = strings.EqualFold(string(b.Enabled), overrideOn)
	}
	return o
}

// attempt is one way to write an override: a body, and where to.
type attempt struct {
	uri  string // empty: the system itself
	body bootWrite
}

type bootWrite struct {
	Boot bootFields `json:"Boot"`
}

type bootFields struct {
	Enabled string `json:"BootSourceOverrideEnabled,omitempty"`
	Target  string `json:"BootSourceOverrideTarget,omitempty"`
	Mode    string `json:"BootSourceOverrideMode,omitempty"`
}

// SetBootOverride writes an override and reads it back. BMCs differ in what they
// take: HPE refuses a mode, AMI refuses to do without, some want the write at
// their settings object; the ways are tried from the fullest on, and a way that
// was taken but changed nothing counts as refused.
func (s *System) SetBootOverride(ctx context.Context, o bmc.BootOverride) error {
	op := "set boot override: " + string(o.Target)
	cs, a, err := s.read(ctx, op)
	if err != nil {
		return err
	}
	want, err := cs.Boot.fields(op, o)
	if err != nil {
		return err
	}
	if want.Enabled == overrideOff && cs.Boot.shows(want) {
		return nil // nothing is overridden
	}
	var last error
	for _, w := range cs.attempts(want) {
		last = s.write(ctx, op, w, a.etag(cs.ETag))
		if last == nil {
			if last = s.verify(ctx, op, w, want); last == nil {
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

// write patches once with the ETag the BMC gave, and once more without, or with
// any, for those that refuse their own.
func (s *System) write(ctx context.Context, op string, w attempt, etag string) error {
	uri := w.uri
	if uri == "" {
		uri = s.uri
	} else {
		var pending computerSystem
		a, err := s.e.get(ctx, op, uri, &pending)
		if err != nil {
			return err
		}
		etag = a.etag(pending.ETag)
	}
	second := ""
	if etag == "" {
		second = "*"
	}
	var err error
	for _, match := range []string{etag, second} {
		_, err = s.e.do(ctx, call{op: op, method: http.MethodPatch, uri: uri, body: w.body, match: match})
		if bmc.ClassOf(err) != bmc.Precondition {
			return err
		}
	}
	return err
}

const (
	verifyReads = 3
	verifyPause = 500 * time.Millisecond
)

// verify reads back until the BMC shows the override: some take a moment.
func (s *System) verify(ctx context.Context, op string, w attempt, want bootFields) error {
	var got boot
	for try := range verifyReads {
		if try > 0 {
			if err := s.e.sleep(ctx, verifyPause); err != nil {
				return s.e.classify(ctx, op, err)
			}
		}
		cs, _, err := s.read(ctx, op)
		if err != nil {
			return err
		}
		if got = cs.Boot; got.shows(want) {
			return nil
		}
		if w.uri != "" {
			var pending computerSystem
			if _, err := s.e.get(ctx, op, w.uri, &pending); err == nil && pending.Boot.shows(want) {
				return nil
			}
		}
	}
	return &bmc.Error{
		Class: bmc.Protocol, Op: op,
		Detail: fmt.Sprintf("the BMC took the order, but shows target %q, %q, mode %q", clean(got.Target), clean(got.Enabled), clean(got.Mode)),
	}
}

// shows reports whether the BMC's state is what was written.
func (b boot) shows(f bootFields) bool {
	if f.Mode != "" && !strings.EqualFold(string(b.Mode), f.Mode) {
		return false
	}
	if f.Enabled == overrideOff {
		return strings.EqualFold(string(b.Enabled), overrideOff) || strings.EqualFold(string(b.Target), string(bmc.BootNone)) || b.Target == ""
	}
	return strings.EqualFold(string(b.Target), f.Target) && strings.EqualFold(string(b.Enabled), f.Enabled)
}
