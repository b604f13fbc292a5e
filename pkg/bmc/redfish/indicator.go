package redfish

import (
	"context"
	"strings"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

var _ bmc.Indicator = (*System)(nil)

const (
	lampReads = 5
	lampPause = time.Second
)

// lamps are the two properties for a locator that DSP0268 has had: IndicatorLED
// and, since 2020, LocationIndicatorActive in its place.
type lamps struct {
	LED     text       `json:"IndicatorLED"`
	Allowed list[text] `json:"IndicatorLED@Redfish.AllowableValues"`
	Active  tristate   `json:"LocationIndicatorActive"`
	blinks  bool       // quirk.IndicatorBlinks: blinking is lit, and lit is dark
}

// lit reports what the lamps show; false if there are none.
func (l lamps) lit() (lit, known bool) {
	if l.Active.known {
		return l.Active.value, true
	}
	switch strings.ToLower(string(l.LED)) {
	case "lit":
		return !l.blinks, true
	case "blinking":
		return true, true
	case "off":
		return false, true
	}
	return false, false
}

// writes lists the ways to switch, the newer property first.
func (l lamps) writes(on bool) []map[string]any {
	var out []map[string]any
	if l.Active.known {
		out = append(out, map[string]any{"LocationIndicatorActive": on})
	}
	if l.LED == "" {
		return out
	}
	var wanted []string
	switch {
	case on && l.blinks:
		wanted = []string{"Blinking"}
	case on:
		wanted = []string{"Lit", "Blinking"}
	case l.blinks:
		wanted = []string{"Lit", "Off"}
	default:
		wanted = []string{"Off"}
	}
	if len(l.Allowed) > 0 {
		if v := pick(wanted, words(l.Allowed)); v != "" {
			out = append(out, map[string]any{"IndicatorLED": v})
		}
		return out
	}
	for _, v := range wanted {
		out = append(out, map[string]any{"IndicatorLED": v})
	}
	return out
}

// lamp finds the locator: the machine's, or else its enclosure's.
func (s *System) lamp(ctx context.Context, op string) (string, lamps, error) {
	var cs struct {
		lamps
		Links struct {
			Chassis list[link] `json:"Chassis"`
		} `json:"Links"`
	}
	if err := s.readInto(ctx, op, &cs); err != nil {
		return "", lamps{}, err
	}
	cs.blinks = s.has(quirk.IndicatorBlinks)
	if _, known := cs.lit(); known {
		return s.uri, cs.lamps, nil
	}
	for _, uri := range cs.Links.Chassis[:min(len(cs.Links.Chassis), maxChassis)] {
		c := lamps{blinks: cs.blinks}
		if _, err := s.e.get(ctx, op, string(uri), &c); err != nil {
			if !passable(err) {
				return "", c, err
			}
			continue
		}
		if _, known := c.lit(); known {
			return string(uri), c, nil
		}
	}
	return "", lamps{}, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC shows no locator light"}
}

// Indicator implements bmc.Indicator.
func (s *System) Indicator(ctx context.Context) (bool, error) {
	_, l, err := s.lamp(ctx, "read locator light")
	lit, _ := l.lit()
	return lit, err
}

// SetIndicator implements bmc.Indicator.
func (s *System) SetIndicator(ctx context.Context, lit bool) error {
	const op = "switch locator light"
	uri, l, err := s.lamp(ctx, op)
	if err != nil {
		return err
	}
	if now, _ := l.lit(); now == lit {
		return nil
	}
	var last error = &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC allows only " + some(words(l.Allowed))}
	for _, body := range l.writes(lit) {
		if _, last = s.patch(ctx, op, uri, body); last == nil {
			last = s.awaitLamp(ctx, op, uri, lit)
		}
		if last == nil || !passable(last) {
			return last
		}
	}
	return last
}

func (s *System) awaitLamp(ctx context.Context, op, uri string, want bool) error {
	for try := range lampReads {
		if try > 0 {
			if err := s.e.sleep(ctx, lampPause); err != nil {
				return s.e.classify(ctx, op, err)
			}
		}
		l := lamps{blinks: s.has(quirk.IndicatorBlinks)}
		if _, err := s.e.get(ctx, op, uri, &l); err != nil {
			return err
		}
		if lit, known := l.lit(); known && lit == want {
			return nil
		}
	}
	return &bmc.Error{Class: bmc.Protocol, Op: op, Detail: "the BMC took the order, but the light did not change"}
}
