package redfish

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

var _ bmc.Settings = (*System)(nil)

// opBIOSReset is the Op that brings the factory's BIOS settings back.
const opBIOSReset = "bios-reset"

// waitsForReset is the Progress of what is staged.
const waitsForReset = "waits for a reset of the machine"

// biosResource is DSP0268 Bios, and the settings object beside it.
type biosResource struct {
	ETag         text           `json:"@odata.etag"`
	Attributes   attributes     `json:"Attributes"`
	Registry     text           `json:"AttributeRegistry"`
	Settings     settingsObject `json:"@Redfish.Settings"`
	Preferred    preferredTime  `json:"@Redfish.SettingsApplyTime"`
	ResetPending text           `json:"ResetBiosToDefaultsPending"`
	Actions      struct {
		Reset action `json:"#Bios.ResetBios"`
	} `json:"Actions"`
}

// settingsObject is @Redfish.Settings (DSP0266 §9.9) with what came of the last
// settings that were applied.
type settingsObject struct {
	object
	Messages list[struct {
		ID       text       `json:"MessageId"`
		Message  text       `json:"Message"`
		Severity text       `json:"Severity"`
		Related  list[text] `json:"RelatedProperties"`
	}] `json:"Messages"`
}

// preferredTime says in older services when changes can be applied.
type preferredTime struct {
	Allowed list[text] `json:"ApplyTime@Redfish.AllowableValues"`
}

// action of a resource; what it allows stands beside it or in its ActionInfo.
type action struct {
	Target text `json:"target"`
	Info   link `json:"@Redfish.ActionInfo"`
}

// biosState is what a BIOS read brings.
type biosState struct {
	uri     string
	version string
	biosResource
	registry registry
	pending  *biosResource // the settings object; nil if there is none to be seen
	etag     string        // of what is written to
}

// target is where settings are written: DSP0268 has them patched in place where
// there is no settings object.
func (b *biosState) target() string { return cmp.Or(string(b.Settings.Object), b.uri) }

// staged is what the next start brings: what waits, or else what is.
func (b *biosState) staged(name string) any {
	if b.pending != nil {
		if v, ok := b.pending.Attributes[name]; ok && v != nil {
			return v
		}
	}
	return b.Attributes[name]
}

// waiting are the staged attributes that are not in force. Some BMCs stage a
// whole copy (HPE, Lenovo), some only what differs (Dell).
func (b *biosState) waiting() attributes {
	if b.pending == nil {
		return nil
	}
	out := attributes{}
	for name, v := range b.pending.Attributes {
		if v != nil && v != b.Attributes[name] {
			out[name] = v
		}
	}
	return out
}

// BIOS reads the settings in force, those that wait, and the registry: three
// requests, and three more the first time for the registry.
func (s *System) BIOS(ctx context.Context) (bmc.BIOS, error) {
	const op = "read BIOS"
	b, err := s.readBIOS(ctx, op)
	if err != nil {
		return bmc.BIOS{}, err
	}
	b.registry, err = s.e.registry(ctx, string(b.Registry), b.version)
	if err != nil && (bmc.ClassOf(err) != bmc.Transient || ctx.Err() != nil) {
		return bmc.BIOS{}, err
	}
	out := bmc.BIOS{
		Attributes: b.registry.show(b.Attributes),
		RegistryID: clean(b.Registry),
		Registry:   b.registry,
	}
	if b.pending != nil {
		out.Pending = b.registry.show(b.waiting())
	}
	return out, nil
}

// readBIOS reads the Bios resource and its settings object.
func (s *System) readBIOS(ctx context.Context, op string) (*biosState, error) {
	_, a, err := s.read(ctx, op)
	if err != nil {
		return nil, err
	}
	var cs struct {
		BIOS    link `json:"Bios"`
		Version text `json:"BiosVersion"`
	}
	if err := decode(op, a.body, &cs); err != nil {
		return nil, err
	}
	if cs.BIOS == "" && s.has(quirk.BIOSPath) {
		cs.BIOS = link(strings.TrimRight(s.uri, "/") + "/BIOS")
	}
	if cs.BIOS == "" {
		return nil, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC shows no BIOS settings of this system"}
	}
	b := &biosState{uri: string(cs.BIOS), version: string(cs.Version)}
	return b, s.fillBIOS(ctx, op, b)
}

// fillBIOS reads what stands at b.uri.
func (s *System) fillBIOS(ctx context.Context, op string, b *biosState) error {
	a, err := s.e.get(ctx, op, b.uri, &b.biosResource)
	if err != nil {
		return err
	}
	b.etag = a.etag(b.ETag)
	if b.Settings.Object == "" {
		return nil
	}
	var pending biosResource
	switch a, err = s.e.get(ctx, op, string(b.Settings.Object), &pending); {
	case unsupported(err): // cannot be seen; it may still be written
		b.etag = ""
		return nil
	case err != nil:
		return err
	}
	b.pending, b.etag = &pending, a.etag(pending.ETag)
	return nil
}

// biosWrite is the body of a change.
type biosWrite struct {
	ApplyTime  *preferredApply `json:"@Redfish.SettingsApplyTime,omitempty"`
	Attributes map[string]any  `json:"Attributes"`
}

// preferredApply is DSP0268 Settings.PreferredApplyTime.
type preferredApply struct {
	At bmc.ApplyTime `json:"ApplyTime"`
}

// applyAt is the apply time to write, nil for none: it is sent only where the
// BMC says that it takes one, or is known to want one.
func (s *System) applyAt(op string, at bmc.ApplyTime, supported []string) (*preferredApply, error) {
	if at == "" {
		if !s.has(quirk.BIOSApplyTime) {
			return nil, nil
		}
		at = bmc.ApplyOnReset
		if len(supported) > 0 && pick([]string{string(at)}, supported) == "" {
			return nil, nil
		}
		return &preferredApply{at}, nil
	}
	switch spelt := pick([]string{string(at)}, supported); {
	case spelt != "":
		return &preferredApply{bmc.ApplyTime(spelt)}, nil
	case len(supported) > 0:
		return nil, &bmc.Error{
			Class: bmc.Unsupported, Op: op,
			Detail: fmt.Sprintf("the BMC does not apply settings %s, but %s", at, some(supported)),
		}
	case s.has(quirk.BIOSApplyTime):
		return &preferredApply{at}, nil
	case at == bmc.ApplyOnReset:
		return nil, nil // what a settings object is for
	}
	return nil, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC does not say that it can apply settings " + string(at)}
}

// StageBIOS implements bmc.Settings. What the machine has or what waits already
// is not written again; what the registry does not allow is not sent.
func (s *System) StageBIOS(ctx context.Context, wanted map[string]any, at bmc.ApplyTime) (bmc.Op, error) {
	const op = "change BIOS settings"
	b, err := s.readBIOS(ctx, op)
	if err != nil {
		return bmc.Op{}, err
	}
	if len(b.Attributes) == 0 {
		return bmc.Op{}, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC shows no BIOS attributes of this system"}
	}
	if b.registry, err = s.e.registry(ctx, string(b.Registry), b.version); err != nil {
		return bmc.Op{}, err
	}
	checked, err := b.registry.checkAttributes(op, wanted, b.Attributes)
	if err != nil {
		return bmc.Op{}, err
	}
	o := bmc.Op{Kind: opBIOS, Resource: b.uri, Want: map[string]string{}}
	write := map[string]any{}
	for name, v := range checked {
		if b.registry.secret(name) {
			write[name] = v // and nothing of it is kept
			continue
		}
		if b.staged(name) != v {
			write[name] = v
		}
		if b.staged(name) != v || b.Attributes[name] != v {
			o.Want[name], _ = plain(v)
		}
	}
	if len(write) == 0 {
		o.Done = len(o.Want) == 0
		o.NeedsReset = !o.Done
		return o, nil
	}
	supported := slices.Concat(words(b.Settings.ApplyTimes), words(b.Preferred.Allowed))
	apply, err := s.applyAt(op, at, supported)
	if err != nil {
		return bmc.Op{}, err
	}
	c := call{op: op, method: http.MethodPatch, uri: b.target(), body: biosWrite{apply, write}, match: b.etag}
	if o, err = s.begin(ctx, c, o); err != nil {
		return bmc.Op{}, err
	}
	o.NeedsReset = apply == nil || apply.At != bmc.ApplyNow
	return s.verifyStaged(ctx, op, o)
}

// verifyStaged reads back what was staged. Where the BMC made a task of it, the
// task will tell.
func (s *System) verifyStaged(ctx context.Context, op string, o bmc.Op) (bmc.Op, error) {
	var lost []string
	for try := range verifyReads {
		if try > 0 {
			if err := s.e.sleep(ctx, verifyPause); err != nil {
				return o, s.e.classify(ctx, op, err)
			}
		}
		b := &biosState{uri: o.Resource}
		if err := s.fillBIOS(ctx, op, b); err != nil {
			return o, err
		}
		var inForce []string
		inForce, lost = b.missing(o.Want)
		if len(inForce) == 0 {
			// Want is empty if all that was written are passwords: nothing shows them.
			o.Done = o.Task == "" && len(o.Want) > 0
			o.NeedsReset = o.NeedsReset && !o.Done
			return o, nil
		}
		if len(lost) == 0 || o.Task != "" || b.pending == nil {
			return o, nil
		}
	}
	return o, &bmc.Error{
		Class: bmc.Protocol, Op: op,
		Detail: "the BMC took the settings, but shows neither as staged nor in force: " + some(lost),
	}
}

// missing names what is not in force of want, and of that what does not wait
// either.
func (b *biosState) missing(want map[string]string) (inForce, staged []string) {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if same(b.Attributes[name], want[name]) {
			continue
		}
		inForce = append(inForce, name)
		if !same(b.staged(name), want[name]) {
			staged = append(staged, name)
		}
	}
	return inForce, staged
}

// readBackBIOS compares the settings in force with what is wanted.
func (s *System) readBackBIOS(ctx context.Context, op string, o bmc.Op) (bmc.Progress, error) {
	b := &biosState{uri: o.Resource}
	if err := s.fillBIOS(ctx, op, b); err != nil {
		return bmc.Progress{}, err
	}
	inForce, staged := b.missing(o.Want)
	switch {
	case len(inForce) == 0:
		return bmc.Progress{Done: true, Percent: 100}, nil
	case b.pending != nil && len(staged) == 0:
		return bmc.Progress{Percent: -1, State: "Pending", Message: waitsForReset}, nil
	case b.pending != nil:
		if why := b.refused(staged); why != "" {
			return bmc.Progress{}, &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: "the BIOS did not take " + some(staged) + ": " + why}
		}
	}
	// Applied, and not shown yet, or the machine has not been reset; some BMCs
	// show nothing in between.
	return bmc.Progress{Percent: -1, Message: "not in force yet: " + some(inForce)}, nil
}

// refused is what the BMC says of why it did not apply one of names, empty if it
// says nothing of them (DSP0268 Settings.Messages).
func (b *biosState) refused(names []string) string {
	for _, m := range b.Settings.Messages {
		// Registry.Major.Minor.Key: PropertyUnknown, SettingsFailed, or RebootRequired,
		// which is no refusal.
		key := strings.ToLower(string(m.ID)[strings.LastIndex(string(m.ID), ".")+1:])
		if m.Severity != "Critical" && !strings.Contains(key, "fail") && !strings.Contains(key, "error") && !strings.HasPrefix(key, "property") {
			continue
		}
		for _, r := range m.Related {
			if slices.Contains(names, string(r)[strings.LastIndex(string(r), "/")+1:]) {
				return cmp.Or(clean(m.Message), clean(m.ID))
			}
		}
	}
	return ""
}

// ResetBIOS implements bmc.Settings: the factory's settings, from the next start
// on.
func (s *System) ResetBIOS(ctx context.Context) (bmc.Op, error) {
	const op = "reset BIOS settings"
	b, err := s.readBIOS(ctx, op)
	if err != nil {
		return bmc.Op{}, err
	}
	if b.Actions.Reset.Target == "" {
		return bmc.Op{}, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC offers no reset of BIOS settings"}
	}
	body, err := s.resetBIOSBody(ctx, op, b.Actions.Reset)
	if err != nil {
		return bmc.Op{}, err
	}
	return s.begin(ctx, call{op: op, method: http.MethodPost, uri: string(b.Actions.Reset.Target), body: body},
		bmc.Op{Kind: opBIOSReset, Resource: b.uri, Want: map[string]string{"ResetBiosToDefaultsPending": "false"}, NeedsReset: true})
}

// resetBIOSBody is nil, for DSP0268 gives the action no parameters; {} where the
// BMC wants a body; or the parameters that its ActionInfo requires, of which
// each has but one value.
func (s *System) resetBIOSBody(ctx context.Context, op string, a action) (any, error) {
	body := map[string]string{}
	params, err := s.actionParameters(ctx, op, a.Info)
	if err != nil {
		return nil, err
	}
	for _, p := range params {
		if p.Required != "true" {
			continue
		}
		if len(p.Allowed) != 1 {
			return nil, &bmc.Error{
				Class: bmc.Unsupported, Op: op,
				Detail: fmt.Sprintf("the BMC wants a %s with the reset: %s", clean(p.Name), some(words(p.Allowed))),
			}
		}
		body[string(p.Name)] = string(p.Allowed[0])
	}
	if len(body) == 0 && !s.has(quirk.BIOSResetBody) {
		return nil, nil
	}
	return body, nil
}

// actionParameter is DSP0268 ActionInfo.Parameters.
type actionParameter struct {
	Name     text       `json:"Name"`
	Required text       `json:"Required"`
	Allowed  list[text] `json:"AllowableValues"`
}

// actionParameters reads an ActionInfo; none, if there is none to be read.
func (s *System) actionParameters(ctx context.Context, op string, info link) ([]actionParameter, error) {
	if info == "" {
		return nil, nil
	}
	var doc struct {
		Parameters list[actionParameter] `json:"Parameters"`
	}
	if _, err := s.e.get(ctx, op, string(info), &doc); err != nil && !unsupported(err) {
		return nil, err
	}
	return doc.Parameters, nil
}

// readBackBIOSReset asks whether the reset to defaults still waits. Not all BMCs
// tell; then there is nothing to wait for.
func (s *System) readBackBIOSReset(ctx context.Context, op string, o bmc.Op) (bmc.Progress, error) {
	var b biosResource
	if _, err := s.e.get(ctx, op, o.Resource, &b); err != nil {
		return bmc.Progress{}, err
	}
	switch b.ResetPending {
	case "true":
		return bmc.Progress{Percent: -1, State: "Pending", Message: waitsForReset}, nil
	case "":
		return bmc.Progress{Done: true, Percent: -1, Message: "the BMC does not show whether the defaults are in force"}, nil
	}
	return bmc.Progress{Done: true, Percent: 100}, nil
}
