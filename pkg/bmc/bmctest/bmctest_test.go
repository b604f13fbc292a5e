package bmctest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// machine is a Conn that keeps the contract, but for what a test changes.
type machine struct {
	mu       sync.Mutex
	on       bool
	override bmc.BootOverride
	orders   []string

	powerErr error
	state    bmc.PowerState // instead of the true one
	stuck    bool           // orders do nothing
}

func (m *machine) Identify(context.Context) (bmc.Identity, error) {
	return bmc.Identity{Protocol: bmc.ProtocolIPMI, Model: "m"}, nil
}
func (m *machine) Close(context.Context) error { return nil }

func (m *machine) PowerState(context.Context) (bmc.PowerState, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.state != "":
		return m.state, m.powerErr
	case m.on:
		return bmc.PowerOn, m.powerErr
	}
	return bmc.PowerOff, m.powerErr
}

func (m *machine) SetPower(_ context.Context, a bmc.PowerAction) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.orders = append(m.orders, string(a))
	if !m.stuck {
		m.on = a != bmc.ActionForceOff && a != bmc.ActionSoftOff
	}
	return nil
}

func (m *machine) BootOverride(context.Context) (bmc.BootOverride, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.override, nil
}

func (m *machine) SetBootOverride(_ context.Context, o bmc.BootOverride) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.override = o
	return nil
}

// lamp cannot, and says so.
type lamp struct{ *machine }

func (lamp) Indicator(context.Context) (bool, error) {
	return false, &bmc.Error{Class: bmc.Unsupported, Op: "read light", Detail: "none"}
}
func (lamp) SetIndicator(context.Context, bool) error { return errors.New("not to be called") }

// bios has attributes of a wrong type.
type bios struct{ *machine }

func (bios) BIOS(context.Context) (bmc.BIOS, error) {
	return bmc.BIOS{Attributes: map[string]any{"NumCores": 4.5}}, nil
}

func (bios) StageBIOS(context.Context, map[string]any, bmc.ApplyTime) (bmc.Op, error) {
	return bmc.Op{}, errors.New("not to be called")
}
func (bios) ResetBIOS(context.Context) (bmc.Op, error) { return bmc.Op{}, errors.New("no") }

func outcomes(results []Result) []string {
	var out []string
	for _, r := range results {
		line := fmt.Sprintf("%s: %s: %s", r.Capability, r.Check, r.Outcome)
		if r.Outcome != Passed {
			line += " " + r.Detail
		}
		out = append(out, strings.TrimSpace(line))
	}
	return out
}

func TestRun(t *testing.T) {
	none := bmc.BootOverride{Target: bmc.BootNone}
	read := []string{"identity: who the machine is: passed", "power: power state: passed", "boot: boot override: passed"}
	for _, tc := range []struct {
		name string
		conn bmc.Conn
		want []string
	}{
		{name: "good", conn: &machine{override: none}, want: read},
		{name: "unsupported", conn: lamp{&machine{override: none}}, want: append(read[:3:3], "indicator: locator light: unsupported read light: none")},
		{name: "wrong type", conn: bios{&machine{override: none}}, want: append(read[:3:3], "bios: BIOS settings: failed breaks the contract: attribute NumCores is a float64")},
		{name: "state that is none", conn: &machine{override: none, state: "PoweringOn"}, want: []string{read[0], `power: power state: failed breaks the contract: power state "PoweringOn"`, read[2]}},
		{name: "error without a class", conn: &machine{override: none, powerErr: errors.New("oops")}, want: []string{read[0], "power: power state: failed an error without a class: oops", read[2]}},
		{name: "no target", conn: &machine{}, want: []string{read[0], read[1], "boot: boot override: failed breaks the contract: no target, enabled once or for good: false, mode \"\""}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := outcomes(Run(t.Context(), tc.conn, Options{}))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("results (-want +got):\n%s", diff)
			}
		})
	}
}

// A check that writes leaves the machine as it was, however it ends.
func TestWriteRestores(t *testing.T) {
	was := bmc.BootOverride{Target: bmc.BootDisk, Persistent: true, Mode: bmc.BootModeUEFI}
	t.Run("to its end", func(t *testing.T) {
		m := &machine{on: true, override: was}
		heard := 0
		results := Run(t.Context(), m, Options{Write: true, Each: func(Result) { heard++ }})
		if !m.on || m.override != was || heard != len(results) {
			t.Errorf("on %t, override %+v, heard %d of %d", m.on, m.override, heard, len(results))
		}
		for _, r := range results {
			if r.Outcome != Passed {
				t.Errorf("%+v", r)
			}
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		m := &machine{on: true, override: was}
		ctx, cancel := context.WithCancel(t.Context())
		results := Run(ctx, m, Options{Write: true, Each: func(r Result) {
			if r.Check == "off" {
				cancel()
			}
		}})
		if !m.on || m.override != was {
			t.Errorf("on %t, override %+v", m.on, m.override)
		}
		if n := len(m.orders); n != 2 {
			t.Errorf("orders %v, want off and on again", m.orders)
		}
		skipped := 0
		for _, r := range results {
			if r.Outcome == Skipped {
				skipped++
			}
		}
		if skipped != len(steps())-1 {
			t.Errorf("%d skipped: %v", skipped, outcomes(results))
		}
	})
	t.Run("reading alone orders nothing", func(t *testing.T) {
		m := &machine{on: true, override: was}
		Run(t.Context(), m, Options{})
		if len(m.orders) > 0 || m.override != was {
			t.Errorf("orders %v", m.orders)
		}
	})
}

// Nothing waits for ever.
func TestStuck(t *testing.T) {
	m := &machine{on: true, stuck: true, override: bmc.BootOverride{Target: bmc.BootNone}}
	for _, r := range Run(t.Context(), m, Options{Write: true, Patience: 20 * time.Millisecond}) {
		if r.Check == "off" && (r.Outcome != Failed || !strings.Contains(r.Detail, `power is "On", want "Off"`)) {
			t.Errorf("%+v", r)
		}
	}
}

// recorder is a TB that keeps what failed.
type recorder struct{ errors, fatal int }

func (*recorder) Helper()                 {}
func (r *recorder) Errorf(string, ...any) { r.errors++ }
func (r *recorder) Fatalf(string, ...any) { r.fatal++ }

func TestWrapper(t *testing.T) {
	var r recorder
	m := &machine{override: bmc.BootOverride{Target: bmc.BootNone}}
	if id := Read(t.Context(), &r, m); id.Model != "m" {
		t.Errorf("identity %+v", id)
	}
	Switch(t.Context(), &r, m)
	if r.errors+r.fatal > 0 || m.on {
		t.Errorf("%+v, on %t", r, m.on)
	}
	m.state = "Broken"
	if Read(t.Context(), &r, m); r.errors != 1 {
		t.Errorf("%+v", r)
	}
}

func TestCapabilities(t *testing.T) {
	var has []string
	for _, c := range Capabilities(lamp{&machine{}}) {
		if c.Driver {
			has = append(has, c.Name)
		}
	}
	if diff := cmp.Diff([]string{"power", "boot", "indicator"}, has); diff != "" {
		t.Errorf("capabilities (-want +got):\n%s", diff)
	}
}
