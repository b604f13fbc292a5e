package sushytools

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/bmctest"
	"github.com/ingot-metal/ingot/pkg/bmc/redfish"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// What of the conformance kit the emulator cannot pass as it is, and why. A
// driver that knows (a quirk of the emulator's) may pass.
func limits() map[string]string {
	const continuous = "Enabled is Continuous whatever is asked for (main.py, system_resource)"
	return map[string]string{
		"override Pxe, once":      continuous,
		"override Hdd, once":      continuous,
		"override None, once":     "no device is called None: 500 (libvirtdriver.py, set_boot_device)",
		"firmware inventory":      "linked, and 404 (update_service.py)",
		"BIOS settings":           "the registry it names is not there",
		"storage controllers":     "500 where none are configured (storage.py, get_storage_col)",
		"hardware without a boot": "Memory is linked, and 404",
	}
}

func TestDriverConformance(t *testing.T) {
	l := newLab(t, simbmc.ModeUEFI, Options{Username: admin.Username, Password: admin.Password})
	s, err := l.system(admin)
	if err != nil {
		t.Fatal(err)
	}
	limits := limits()
	results := bmctest.Run(testContext(t), s, bmctest.Options{Write: true})
	for _, r := range results {
		why, limited := limits[r.Check]
		switch {
		case r.Outcome == bmctest.Failed && limited:
			t.Logf("%s: %s (%s)", r.Check, r.Detail, why)
		case r.Outcome == bmctest.Failed || r.Outcome == bmctest.Skipped:
			t.Errorf("%s: %s: %s", r.Capability, r.Check, r.Detail)
		}
	}
	if len(results) < 15 {
		t.Errorf("only %d results", len(results))
	}
}

// Every feature set can be enrolled.
func TestDriverReads(t *testing.T) {
	for _, tc := range []struct {
		set  FeatureSet
		want bmc.Identity
		macs int
	}{
		{set: Full, want: bmc.Identity{Manufacturer: "Sushy Emulator", BMCVersion: "1.00"}, macs: 2},
		{set: VMedia, macs: 2},
		{set: Minimum},
	} {
		t.Run(string(tc.set), func(t *testing.T) {
			l := newLab(t, simbmc.ModeUEFI, Options{FeatureSet: tc.set})
			s, err := l.system(admin) // the emulator asks nobody who he is
			if err != nil {
				t.Fatal(err)
			}
			ctx := testContext(t)
			id, err := s.Identify(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if id, err = s.Details(ctx, id); err != nil {
				t.Fatal(err)
			}
			if len(id.MACs) != tc.macs {
				t.Errorf("MAC addresses %v", id.MACs)
			}
			tc.want.Protocol, tc.want.SystemUUID, tc.want.SystemID, id.MACs = bmc.ProtocolRedfish, uuid1, sys1, nil
			if diff := cmp.Diff(tc.want, id); diff != "" {
				t.Errorf("identity (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDriverBoot(t *testing.T) {
	l := newLab(t, simbmc.ModeUEFI, Options{})
	s, err := l.system(admin)
	if err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	// What lasts is taken and shown.
	for _, target := range []bmc.BootTarget{bmc.BootPXE, bmc.BootCD, bmc.BootDisk} {
		want := bmc.BootOverride{Target: target, Persistent: true, Mode: bmc.BootModeUEFI}
		if err := s.SetBootOverride(ctx, want); err != nil {
			t.Errorf("%s: %v", target, err)
		}
		if got, err := s.BootOverride(ctx); err != nil || got.Target != want.Target || !got.Persistent || got.Mode != want.Mode {
			t.Errorf("override %+v, %v; want %+v", got, err, want)
		}
	}
	// What nobody has is refused before it is asked for.
	if err := s.SetBootOverride(ctx, bmc.BootOverride{Target: bmc.BootSetup}); bmc.ClassOf(err) != bmc.Unsupported {
		t.Errorf("setup: %v", err)
	}
}

func TestDriverPower(t *testing.T) {
	l := newLab(t, simbmc.ModeUEFI, Options{})
	s, err := l.system(admin)
	if err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	for _, step := range []struct {
		action bmc.PowerAction
		want   bmc.PowerState
		starts int
	}{
		{bmc.ActionReset, bmc.PowerOn, 1}, // of a machine that is off: the emulator would do nothing
		{bmc.ActionCycle, bmc.PowerOn, 1}, // there is no PowerCycle: ForceRestart
		{bmc.ActionNMI, bmc.PowerOn, 0},
		{bmc.ActionSoftOff, bmc.PowerOff, 0},
		{bmc.ActionOn, bmc.PowerOn, 1},
		{bmc.ActionForceOff, bmc.PowerOff, 0},
	} {
		if err := s.SetPower(ctx, step.action); err != nil {
			t.Errorf("%s: %v", step.action, err)
		}
		if got, err := s.PowerState(ctx); err != nil || got != step.want {
			t.Errorf("%s: power %q, %v", step.action, got, err)
		}
		if n := len(l.starts); n != step.starts {
			t.Errorf("%s: %d starts, want %d", step.action, n, step.starts)
		}
		for range len(l.starts) {
			<-l.starts
		}
	}
}

func TestDriverErrors(t *testing.T) {
	l := newLab(t, simbmc.ModeUEFI, Options{Username: admin.Username, Password: admin.Password})
	if _, err := l.system(bmc.Credentials{Username: "admin", Password: "hunter2"}); bmc.ClassOf(err) != bmc.Auth {
		// A login is no request of its own with Basic: the first read shows it.
		s, _ := l.system(bmc.Credentials{Username: "admin", Password: "hunter2"})
		if s == nil {
			t.Fatalf("wrong password: %v", err)
		}
		if _, err := s.PowerState(testContext(t)); bmc.ClassOf(err) != bmc.Auth {
			t.Errorf("wrong password: %v", err)
		}
	}
	s, err := l.system(admin)
	if err != nil {
		t.Fatal(err)
	}
	// An error body that is no JSON, with 404, is a classed error all the same.
	ghost, err := bmc.ParseAddress("redfish+" + l.url + "/redfish/v1/Systems/ghost")
	if err != nil {
		t.Fatal(err)
	}
	g, err := redfish.Open(testContext(t), ghost, admin, redfish.Options{})
	if err == nil {
		_, err = g.PowerState(testContext(t))
		_ = g.Close(testContext(t))
	}
	if c := bmc.ClassOf(err); err == nil || c == bmc.Transient {
		t.Errorf("a system that is not there: class %s, %v", c, err)
	}
	if _, err := s.PowerState(testContext(t)); err != nil {
		t.Error(err)
	}
}
