package treebmc_test

import (
	"context"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/open"
	"github.com/ingot-metal/ingot/pkg/bmc/redfish"
	"github.com/ingot-metal/ingot/pkg/lab/treebmc"
)

var update = flag.Bool("update", false, "rewrite testdata/detect.txt")

var admin = bmc.Credentials{Username: "admin", Password: "secret"}

// sets are the recorded trees (INDEX.md beside them).
var sets = []string{
	"dell-r750-idrac9", "dmtf-public-rackmount1", "hpe-dl360-gen12-ilo7",
	"lenovo-sr670-xcc", "openbmc-stock", "supermicro-gb300-nvl",
}

// serve starts a BMC made of a recorded tree.
func serve(t *testing.T, set string, o treebmc.Options) (*treebmc.Server, string) {
	t.Helper()
	tree, err := treebmc.Mockup(set)
	if err != nil {
		t.Skip(err)
	}
	o.Username, o.Password = admin.Username, admin.Password
	s, err := treebmc.New(tree, o)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, "redfish+" + srv.URL
}

func dial(t *testing.T, address string, o open.Options) *redfish.System {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	conn, err := open.Open(ctx, address, admin, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(ctx)) })
	return conn.(*redfish.System)
}

// TestRecordedTreesEnrol takes every tree through what enrolment needs of a BMC,
// with the product's own driver.
func TestRecordedTreesEnrol(t *testing.T) {
	for _, tc := range []struct {
		set, manufacturer, model, serial string
		on                               bool
	}{
		{set: "dell-r750-idrac9", manufacturer: "Dell Inc.", model: "PowerEdge R750", serial: "F54P1G3", on: true},
		{set: "dmtf-public-rackmount1", manufacturer: "Contoso", model: "3500", serial: "437XR1138R2", on: true},
		{set: "hpe-dl360-gen12-ilo7", manufacturer: "HPE", model: "HPE ProLiant Compute DL360 Gen12 -- SIMULATED", serial: "3M1D2V13TW", on: true},
		{set: "lenovo-sr670-xcc", manufacturer: "Lenovo", model: "ThinkSystem SR670 V2", serial: "J101RZ43", on: true},
		{set: "openbmc-stock"},
		{set: "supermicro-gb300-nvl", manufacturer: "Supermicro", model: "GB NVL", serial: "S964512X5913271", on: true},
	} {
		t.Run(tc.set, func(t *testing.T) {
			b, address := serve(t, tc.set, treebmc.Options{CheckETags: true, MaxSessions: 1})
			s := dial(t, address, open.Options{})
			ctx := context.Background()
			if n := b.Sessions(); n != 1 {
				t.Errorf("%d sessions after login", n)
			}
			id, err := s.Identify(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if id.Manufacturer != tc.manufacturer || id.Model != tc.model || id.Serial != tc.serial {
				t.Errorf("identity %+v, want %+v", id, tc)
			}
			power(ctx, t, s, tc.on)
			override(ctx, t, s, b)
			if err := s.Close(ctx); err != nil || b.Sessions() != 0 {
				t.Errorf("closed: %v; %d sessions are left", err, b.Sessions())
			}
		})
	}
}

func power(ctx context.Context, t *testing.T, s *redfish.System, on bool) {
	t.Helper()
	state := map[bool]bmc.PowerState{true: bmc.PowerOn, false: bmc.PowerOff}
	if got, err := s.PowerState(ctx); err != nil || got != state[on] {
		t.Fatalf("power %q, %v; recorded as on: %v", got, err, on)
	}
	for _, step := range []struct {
		action bmc.PowerAction
		want   bmc.PowerState
	}{
		{bmc.ActionForceOff, bmc.PowerOff},
		{bmc.ActionOn, bmc.PowerOn},
		{bmc.ActionCycle, bmc.PowerOn},
		{bmc.ActionReset, bmc.PowerOn},
		{bmc.ActionSoftOff, bmc.PowerOff},
	} {
		if err := s.SetPower(ctx, step.action); err != nil {
			t.Errorf("%s: %v", step.action, err)
			continue
		}
		if got, err := s.PowerState(ctx); err != nil || got != step.want {
			t.Errorf("after %s: %q, %v", step.action, got, err)
		}
	}
}

// override boots the machine, which is off, once from each source.
func override(ctx context.Context, t *testing.T, s *redfish.System, b *treebmc.Server) {
	t.Helper()
	for _, target := range []bmc.BootTarget{bmc.BootPXE, bmc.BootCD} {
		want := bmc.BootOverride{Target: target, Mode: bmc.BootModeUEFI}
		if err := s.SetBootOverride(ctx, want); err != nil {
			t.Errorf("boot from %s: %v", target, err)
			continue
		}
		got, err := s.BootOverride(ctx)
		if got.Mode == "" {
			want.Mode = "" // a BMC that shows no mode has one only
		}
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("boot from %s: %v (-want +got):\n%s", target, err, d)
		}
		for _, action := range []bmc.PowerAction{bmc.ActionOn, bmc.ActionForceOff} {
			if err := s.SetPower(ctx, action); err != nil {
				t.Error(err)
			}
		}
		boots := b.Boots()
		if last := boots[len(boots)-1]; last != string(target) {
			t.Errorf("it booted from %s, not from %s", last, target)
		}
		if got, err := s.BootOverride(ctx); err != nil || got.Target != bmc.BootNone {
			t.Errorf("after the start: override %+v, %v", got, err)
		}
	}
}

// TestDetectedQuirks writes down what is detected of each tree as more is read.
func TestDetectedQuirks(t *testing.T) {
	var got strings.Builder
	for _, set := range sets {
		b, address := serve(t, set, treebmc.Options{})
		s := dial(t, address, open.Options{})
		ctx := context.Background()
		before := len(b.Journal())
		line := func(when string) {
			names := make([]string, 0, 16)
			for _, n := range s.Quirks() {
				names = append(names, string(n))
			}
			fmt.Fprintf(&got, "%-7s %s\n", when, strings.Join(names, " "))
		}
		fmt.Fprintf(&got, "%s\n", set)
		line("root")
		if len(b.Journal()) != before {
			t.Errorf("%s: detection took requests of its own", set)
		}
		id, err := s.Identify(ctx)
		if err != nil {
			t.Fatal(err)
		}
		line("system")
		if _, err := s.Details(ctx, id); err != nil {
			t.Fatal(err)
		}
		line("manager")
		got.WriteByte('\n')
	}
	const golden = "testdata/detect.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got.String()); d != "" {
		t.Errorf("detected (-want +got; -update rewrites):\n%s", d)
	}
}

// TestAnOperatorHasTheLastWord over what is detected.
func TestAnOperatorHasTheLastWord(t *testing.T) {
	_, address := serve(t, "lenovo-sr670-xcc", treebmc.Options{})
	s := dial(t, address, open.Options{Quirks: "one-task,-vmedia-patch"})
	if _, err := s.Identify(context.Background()); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(s.Quirks())
	if !strings.Contains(got, "one-task") || strings.Contains(got, "vmedia-patch") {
		t.Errorf("quirks %s", got)
	}
}
