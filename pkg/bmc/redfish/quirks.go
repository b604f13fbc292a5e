package redfish

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// Quirks lists the quirks of the machine's BMC, as far as they are known by now:
// opening the machine tells those that its service root shows, reading it more.
func (s *System) Quirks() []quirk.Name { return s.quirkSet().Names() }

// detection is what a BMC has said of itself so far, and the quirks that follow.
// It costs no request: it listens to what is read anyway.
type detection struct {
	fixed    quirk.Set // not nil: given, nothing is detected
	override quirk.Override

	mu    sync.Mutex
	facts quirk.Facts
	round int       // counts the changes of facts
	set   quirk.Set // nil until asked for
}

func newDetection(o Options) *detection {
	return &detection{fixed: o.Quirks, override: o.QuirkOverride}
}

// Has reports whether the BMC has a quirk. What is asked of the Endpoint, not of
// one of its machines, goes by the machine that was read first.
func (d *detection) Has(n quirk.Name) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.set == nil {
		d.set = d.of(d.facts)
	}
	return d.set.Has(n)
}

func (d *detection) of(f quirk.Facts) quirk.Set {
	if d.fixed != nil {
		return quirk.Apply(d.fixed, d.override)
	}
	return quirk.Apply(quirk.Detect(f), d.override)
}

// learn sets facts that were empty; the first word counts.
func (d *detection) learn(facts ...fact) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range facts {
		if to := f.to(&d.facts); *to == "" && f.is != "" {
			*to = f.is
			d.round++
			d.set = nil
		}
	}
}

// fact is a property of the BMC and where it is kept.
type fact struct {
	to func(*quirk.Facts) *string
	is string
}

// root takes in the service root.
func (d *detection) root(r *serviceRoot) {
	d.mu.Lock()
	d.facts.OEM = r.OEM
	d.round++
	d.set = nil
	d.mu.Unlock()
	d.learn(
		fact{func(f *quirk.Facts) *string { return &f.Vendor }, clean(r.Vendor)},
		fact{func(f *quirk.Facts) *string { return &f.Product }, clean(r.Product)},
		fact{func(f *quirk.Facts) *string { return &f.RootName }, clean(r.Name)},
		fact{func(f *quirk.Facts) *string { return &f.RedfishVersion }, clean(r.Version)},
	)
}

// manager takes in a Manager, whoever reads one.
func (d *detection) manager(model, firmware text) {
	d.learn(
		fact{func(f *quirk.Facts) *string { return &f.ManagerModel }, clean(model)},
		fact{func(f *quirk.Facts) *string { return &f.BMCFirmware }, clean(firmware)},
	)
}

// ofSystem is the detection of one machine: several behind one BMC may be of
// different makers.
type ofSystem struct {
	mu                  sync.Mutex
	manufacturer, model string
	round               int       // of the facts that set is of
	set                 quirk.Set // nil until asked for
}

// learn takes in the machine's resource.
func (s *System) learn(cs *computerSystem) {
	manufacturer, model := clean(cs.Manufacturer), clean(cs.Model)
	s.quirks.mu.Lock()
	if s.quirks.manufacturer != manufacturer || s.quirks.model != model {
		s.quirks.manufacturer, s.quirks.model, s.quirks.set = manufacturer, model, nil
	}
	s.quirks.mu.Unlock()
	s.e.quirks.learn(
		fact{func(f *quirk.Facts) *string { return &f.Manufacturer }, manufacturer},
		fact{func(f *quirk.Facts) *string { return &f.Model }, model},
	)
}

// quirkSet is detected anew when there are more facts, and kept between.
func (s *System) quirkSet() quirk.Set {
	d := s.e.quirks
	d.mu.Lock()
	facts, round := d.facts, d.round
	d.mu.Unlock()
	s.quirks.mu.Lock()
	defer s.quirks.mu.Unlock()
	if s.quirks.set == nil || s.quirks.round != round {
		if s.quirks.manufacturer != "" || s.quirks.model != "" {
			facts.Manufacturer, facts.Model = s.quirks.manufacturer, s.quirks.model
		}
		s.quirks.set, s.quirks.round = d.of(facts), round
	}
	return s.quirks.set
}

// keys are the names in an object; anything else has none.
type keys []string

// maxKeys bounds them: a service root names one vendor, or two.
const maxKeys = 16

func (k *keys) UnmarshalJSON(b []byte) error {
	var object map[string]json.RawMessage
	*k = nil
	if json.Unmarshal(b, &object) != nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if len(*k) < maxKeys && !strings.Contains(name, "@") {
			*k = append(*k, name)
		}
	}
	return nil
}
