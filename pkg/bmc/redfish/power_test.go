package redfish

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// allow sets the reset types of the fake's system.
func allow(f *fake, state string, types ...any) {
	f.change(func(s map[string]any) {
		s["PowerState"] = state
		s["Actions"].(map[string]any)["#ComputerSystem.Reset"].(map[string]any)["ResetType@Redfish.AllowableValues"] = types
	})
}

// resets are the orders that the fake carried out.
func resets(f *fake) string {
	var out []string
	for _, l := range f.requests() {
		if kind, ok := strings.CutPrefix(l, "reset "); ok {
			out = append(out, kind)
		}
	}
	return strings.Join(out, " ")
}

func TestSetPowerMore(t *testing.T) {
	for _, tc := range []struct {
		name    string
		state   string
		action  bmc.PowerAction
		allowed []any
		want    string
		class   bmc.Class
	}{
		{name: "on by button", state: "Off", action: bmc.ActionOn, allowed: []any{"PushPowerButton", "Nmi"}, want: "PushPowerButton"},
		{name: "no button in the dark", state: "", action: bmc.ActionOn, allowed: []any{"PushPowerButton"}, class: bmc.Unsupported},
		{name: "no button in the dark, soft off", state: "", action: bmc.ActionSoftOff, allowed: []any{"PushPowerButton"}, class: bmc.Unsupported},
		{name: "soft reset", state: "On", action: bmc.ActionSoftReset, allowed: []any{"ForceRestart", "GracefulRestart"}, want: "GracefulRestart"},
		{name: "soft reset never forces", state: "On", action: bmc.ActionSoftReset, allowed: []any{"ForceRestart"}, class: bmc.Unsupported},
		{name: "soft reset when off", state: "Off", action: bmc.ActionSoftReset, allowed: []any{"On"}, want: "On"},
		{name: "cycle, piece by piece", state: "On", action: bmc.ActionCycle, allowed: []any{"On", "ForceOff", "GracefulShutdown"}, want: "ForceOff On"},
		{name: "cycle, piece by piece, was interrupted", state: "Off", action: bmc.ActionCycle, allowed: []any{"On", "ForceOff"}, want: "On"},
		{name: "reset, piece by piece", state: "On", action: bmc.ActionReset, allowed: []any{"ForceOn", "ForceOff"}, want: "ForceOff ForceOn"},
		{name: "cycle, but no way back on", state: "On", action: bmc.ActionCycle, allowed: []any{"ForceOff"}, class: bmc.Unsupported},
		{name: "cycle, state unknown", state: "", action: bmc.ActionCycle, allowed: []any{"On", "ForceOff"}, class: bmc.Unsupported},
		{name: "nmi not offered", state: "On", action: bmc.ActionNMI, allowed: []any{"On"}, class: bmc.Unsupported},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake(t)
			allow(f, tc.state, tc.allowed...)
			err := mustDial(t, f).SetPower(context.Background(), tc.action)
			if tc.class != "" {
				wantError(t, err, tc.class, "", "")
			} else if err != nil {
				t.Error(err)
			}
			if got := resets(f); got != tc.want {
				t.Errorf("sent %q, want %q", got, tc.want)
			}
		})
	}
}

// slowOff makes a machine that is off only after some reads.
func slowOff(f *fake, reads int) {
	left := -1
	f.fault = func(w http.ResponseWriter, r *http.Request) bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		switch {
		case r.URL.Path == resetURI && left < 0:
			left = reads
			f.log = append(f.log, "reset ForceOff")
			w.WriteHeader(http.StatusNoContent)
			return true
		case r.URL.Path == sysPath && left > 0:
			if left--; left == 0 {
				f.docs[sysPath]["PowerState"] = "Off"
			}
		}
		return false
	}
}

func TestCycleByPieces(t *testing.T) {
	f := newFake(t)
	allow(f, "On", "On", "ForceOff")
	s := mustDial(t, f)
	z := timeless(s)
	f.mu.Lock()
	slowOff(f, 4)
	f.mu.Unlock()
	if err := s.SetPower(context.Background(), bmc.ActionCycle); err != nil {
		t.Fatal(err)
	}
	if got := resets(f); got != "ForceOff On" || z.total() != 3*powerPause {
		t.Errorf("sent %q in %v", got, z.total())
	}

	// It hangs on to its power: bounded, and then the caller's turn.
	f = newFake(t)
	allow(f, "On", "On", "ForceOff")
	s = mustDial(t, f)
	z = timeless(s)
	f.mu.Lock()
	slowOff(f, 1000)
	f.mu.Unlock()
	wantError(t, s.SetPower(context.Background(), bmc.ActionCycle), bmc.Busy, "", `still shows power state "On", not Off`)
	if got := resets(f); got != "ForceOff" || z.total() != (powerReads-1)*powerPause {
		t.Errorf("sent %q in %v", got, z.total())
	}

	// Cancelled in between, by a restart of ours; done again, it goes on.
	f = newFake(t)
	allow(f, "On", "On", "ForceOff")
	s = mustDial(t, f)
	f.mu.Lock()
	slowOff(f, 1000)
	f.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	timeless(s)
	z2 := s.e.sleep
	s.e.sleep = func(ctx context.Context, d time.Duration) error { cancel(); return z2(ctx, d) }
	wantError(t, s.SetPower(ctx, bmc.ActionCycle), bmc.Transient, "", "canceled")
	f.change(func(s map[string]any) { s["PowerState"] = "Off" })
	if err := s.SetPower(context.Background(), bmc.ActionCycle); err != nil {
		t.Error(err)
	}
	if got := resets(f); got != "ForceOff On" {
		t.Errorf("sent %q", got)
	}
}

// What is done already is refused by iDRAC (409; dell/dellemc-openmanage-ansible-modules#132)
// and by iLO (400; "Power is on"): the state decides.
func TestSetPowerDoneAlready(t *testing.T) {
	for _, tc := range []struct {
		name string
		code int
		body string
	}{
		{name: "iDRAC", code: 409, body: `{"error":{"@Message.ExtendedInfo":[{"Message":"Server is already powered ON.","MessageArgs":[],"MessageId":"IDRAC.1.6.PSU501"}]}}`},
		{name: "iLO", code: 400, body: `{"error":{"code":"iLO.0.10.ExtendedInfo","message":"See @Message.ExtendedInfo for more information.","@Message.ExtendedInfo":[{"MessageArgs":["Power is on"],"MessageId":"iLO.2.16.InvalidOperationForSystemState"}]}}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, turnedOn := range []bool{true, false} {
				f := newFake(t)
				s := mustDial(t, f)
				f.mu.Lock()
				f.fault = func(w http.ResponseWriter, r *http.Request) bool {
					if r.URL.Path != resetURI {
						return false
					}
					if turnedOn { // by somebody else, since we looked
						f.change(func(s map[string]any) { s["PowerState"] = "On" })
					}
					w.WriteHeader(tc.code)
					fmt.Fprint(w, tc.body)
					return true
				}
				f.mu.Unlock()
				err := s.SetPower(context.Background(), bmc.ActionOn)
				if turnedOn && err != nil {
					t.Error(err)
				}
				if !turnedOn {
					wantError(t, err, bmc.Busy, "", "")
				}
			}
		})
	}
}

func TestPowerOp(t *testing.T) {
	f := newFake(t)
	allow(f, "On", "GracefulShutdown")
	s := mustDial(t, f)
	o := bmc.Op{Kind: opPower, Want: map[string]string{"PowerState": "Off"}}
	want := bmc.Progress{Percent: -1, State: "On"}
	got, err := s.Poll(context.Background(), o)
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("progress (-want +got), %v:\n%s", err, d)
	}
	if err := s.SetPower(context.Background(), bmc.ActionSoftOff); err != nil {
		t.Fatal(err)
	}
	if got, err = s.Poll(context.Background(), o); err != nil || !got.Done {
		t.Errorf("progress %+v, %v", got, err)
	}
}
