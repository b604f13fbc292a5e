package redfish

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

var _ bmc.BootOrder = (*System)(nil)

// wantOrder is what an Op wants of a boot order: its references, with commas.
const wantOrder = "BootOrder"

// maxBootOptions bounds the entries that are read one by one.
const maxBootOptions = 256

// bootOption is DSP0268 BootOption.
type bootOption struct {
	ID          text `json:"@odata.id"`
	Reference   text `json:"BootOptionReference"`
	DisplayName text `json:"DisplayName"`
	Name        text `json:"Name"`
	Description text `json:"Description"`
	Path        text `json:"UefiDevicePath"`
}

// BootOrder implements bmc.BootOrder: the entries in the order in force.
func (s *System) BootOrder(ctx context.Context) ([]bmc.BootOption, error) {
	const op = "read boot order"
	cs, _, err := s.read(ctx, op)
	if err != nil {
		return nil, err
	}
	known, err := s.bootOptions(ctx, op, cs)
	if err != nil {
		return nil, err
	}
	out := make([]bmc.BootOption, 0, len(cs.Boot.Order))
	for _, ref := range cs.Boot.Order {
		o := bmc.BootOption{Reference: string(ref)}
		if i := slices.IndexFunc(known, func(b bootOption) bool { return b.Reference == ref }); i >= 0 {
			b := known[i]
			o.Name, o.UEFIPath, o.Description = clean(b.DisplayName), clip(string(b.Path)), clean(b.Description)
			if o.Name == "" {
				o.Name = clean(b.Name)
			}
		}
		out = append(out, o)
	}
	return out, nil
}

// bootOptions reads the entries that there are; a BMC with an order need not
// show them.
func (s *System) bootOptions(ctx context.Context, op string, cs *computerSystem) ([]bootOption, error) {
	if len(cs.Boot.Order) == 0 && cs.Boot.Options == "" {
		return nil, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC shows no boot order of this system"}
	}
	if cs.Boot.Options == "" {
		return nil, nil
	}
	known, err := readMembers(ctx, s.e, op, string(cs.Boot.Options), maxBootOptions, func(b bootOption) (string, bool) {
		return string(b.ID), b.Reference == ""
	})
	if unsupported(err) {
		return nil, nil
	}
	return known, err
}

// SetBootOrder implements bmc.BootOrder. Entries of the order that are not named
// follow in the order they had: some BMCs refuse an order that is not whole.
func (s *System) SetBootOrder(ctx context.Context, references []string) (bmc.Op, error) {
	const op = "set boot order"
	cs, a, err := s.read(ctx, op)
	if err != nil {
		return bmc.Op{}, err
	}
	known, err := s.bootOptions(ctx, op, cs)
	if err != nil {
		return bmc.Op{}, err
	}
	order, err := cs.Boot.wholeOrder(op, references, known)
	if err != nil {
		return bmc.Op{}, err
	}
	o := bmc.Op{Kind: opBootOrder, Resource: s.uri, Want: map[string]string{wantOrder: strings.Join(order, ",")}}
	uri, etag := s.uri, a.etag(cs.ETag)
	var apply *preferredApply
	staged := cs.Boot
	if cs.Settings.Object != "" {
		var pending computerSystem
		pa, err := s.e.get(ctx, op, string(cs.Settings.Object), &pending)
		switch {
		case err != nil && !unsupported(err):
			return bmc.Op{}, err
		case err == nil && (len(pending.Boot.Order) > 0 || s.has(quirk.BootViaSettings)):
			uri, etag, staged = string(cs.Settings.Object), pa.etag(pending.ETag), pending.Boot
			if apply, err = s.applyAt(op, "", words(cs.Settings.ApplyTimes)); err != nil {
				return bmc.Op{}, err
			}
		}
	}
	if cs.Boot.inOrder(order) && (staged.inOrder(order) || len(staged.Order) == 0) {
		o.Done = true
		return o, nil
	}
	o.NeedsReset = true
	if staged.inOrder(order) {
		return o, nil // it waits already
	}
	body := struct {
		ApplyTime *preferredApply `json:"@Redfish.SettingsApplyTime,omitempty"`
		Boot      any             `json:"Boot"`
	}{apply, map[string][]string{wantOrder: order}}
	if o, err = s.begin(ctx, call{op: op, method: http.MethodPatch, uri: uri, body: body, match: etag}, o); err != nil {
		return bmc.Op{}, err
	}
	return s.verifyOrder(ctx, op, o)
}

// wholeOrder completes an order that was asked for.
func (b boot) wholeOrder(op string, references []string, known []bootOption) ([]string, error) {
	have := words(b.Order)
	for _, k := range known {
		if k.Reference != "" && !slices.Contains(have, string(k.Reference)) {
			have = append(have, string(k.Reference))
		}
	}
	wrong := func(detail string) error { return &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: detail} }
	if len(references) == 0 {
		return nil, wrong("no boot option is named: name at least one of " + some(have))
	}
	var out []string
	for _, r := range references {
		switch {
		case !slices.Contains(have, r):
			return nil, wrong("the machine has no boot option " + clip(r) + ": it has " + some(have))
		case slices.Contains(out, r):
			return nil, wrong("the boot option " + clip(r) + " is named twice: name it once")
		}
		out = append(out, r)
	}
	for _, r := range b.Order {
		if !slices.Contains(out, string(r)) {
			out = append(out, string(r))
		}
	}
	return out, nil
}

func (b boot) inOrder(order []string) bool { return slices.Equal(words(b.Order), order) }

// verifyOrder reads back an order that was written.
func (s *System) verifyOrder(ctx context.Context, op string, o bmc.Op) (bmc.Op, error) {
	for try := range verifyReads {
		if try > 0 {
			if err := s.e.sleep(ctx, verifyPause); err != nil {
				return o, s.e.classify(ctx, op, err)
			}
		}
		inForce, waits, err := s.orderIs(ctx, op, o)
		switch {
		case err != nil:
			return o, err
		case inForce && o.Task == "":
			o.Done, o.NeedsReset = true, false
			return o, nil
		case inForce, waits, o.Task != "":
			return o, nil
		}
	}
	return o, &bmc.Error{Class: bmc.Protocol, Op: op, Detail: "the BMC took the order, but shows another one"}
}

// orderIs reports whether the order is in force, or else waits.
func (s *System) orderIs(ctx context.Context, op string, o bmc.Op) (inForce, waits bool, err error) {
	cs, _, err := s.read(ctx, op)
	if err != nil {
		return false, false, err
	}
	want := strings.Split(o.Want[wantOrder], ",")
	if cs.Boot.inOrder(want) {
		return true, false, nil
	}
	if cs.Settings.Object == "" {
		return false, false, nil
	}
	var pending computerSystem
	if _, err := s.e.get(ctx, op, string(cs.Settings.Object), &pending); err != nil && !unsupported(err) {
		return false, false, err
	}
	return false, pending.Boot.inOrder(want), nil
}

func (s *System) readBackBootOrder(ctx context.Context, op string, o bmc.Op) (bmc.Progress, error) {
	inForce, waits, err := s.orderIs(ctx, op, o)
	switch {
	case err != nil:
		return bmc.Progress{}, err
	case inForce:
		return bmc.Progress{Done: true, Percent: 100}, nil
	case waits:
		return bmc.Progress{Percent: -1, State: "Pending", Message: waitsForReset}, nil
	}
	return bmc.Progress{Percent: -1, Message: "the order is not in force yet"}, nil
}
