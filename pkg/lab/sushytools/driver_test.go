package sushytools

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/bmctest"
	"github.com/ingot-metal/ingot/pkg/bmc/redfish"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

func TestDriverConformance(t *testing.T) {
	l := newLab(t, simbmc.ModeUEFI, Options{Username: admin.Username, Password: admin.Password})
	s, err := l.system(admin)
	if err != nil {
		t.Fatal(err)
	}
	bmctest.Conform(testContext(t), t, s, 15)
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

func TestDriverBoot(t *testing.T) { // quirk.OnlyContinuous, as it is detected
	l := newLab(t, simbmc.ModeUEFI, Options{})
	s, err := l.system(admin)
	if err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	// What is asked for one start lasts, and is shown as what it is; none is the disk.
	for _, target := range []bmc.BootTarget{bmc.BootPXE, bmc.BootCD, bmc.BootDisk, bmc.BootNone} {
		for _, persistent := range []bool{true, false} {
			if err := s.SetBootOverride(ctx, bmc.BootOverride{Target: target, Persistent: persistent, Mode: bmc.BootModeUEFI}); err != nil {
				t.Errorf("%s: %v", target, err)
			}
			want := bmc.BootOverride{Target: target, Persistent: true, Mode: bmc.BootModeUEFI}
			if target == bmc.BootNone {
				want.Target = bmc.BootDisk
			}
			if got, err := s.BootOverride(ctx); err != nil || got != want {
				t.Errorf("override %+v, %v; want %+v", got, err, want)
			}
		}
	}
	// What nobody has is refused before it is asked for.
	if err := s.SetBootOverride(ctx, bmc.BootOverride{Target: bmc.BootSetup}); bmc.ClassOf(err) != bmc.Unsupported {
		t.Errorf("setup: %v", err)
	}
}

func TestDriverMedia(t *testing.T) { // quirk.MediaFileName, as it is detected
	for _, where := range []struct {
		name      string
		onManager bool
	}{{name: "below the system"}, {name: "below the manager", onManager: true}} {
		t.Run(where.name, func(t *testing.T) {
			l := newLab(t, simbmc.ModeUEFI, Options{MediaOnManager: where.onManager})
			s, err := l.system(admin)
			if err != nil {
				t.Fatal(err)
			}
			ctx := testContext(t)
			for _, tc := range []struct {
				name  string
				req   bmc.MediaRequest
				shown string
				class bmc.Class
			}{
				{name: "an image", req: bmc.MediaRequest{URL: "/a/boot.iso?token=1"}, shown: "boot.iso"},
				{name: "another of the same name", req: bmc.MediaRequest{URL: "/b/boot.iso"}, shown: "boot.iso"},
				{name: "one whose server names it", req: bmc.MediaRequest{URL: "/named"}, shown: "other.iso"},
				{name: "one without a name", req: bmc.MediaRequest{URL: "/"}, shown: "image.iso"},
				{name: "with credentials", req: bmc.MediaRequest{URL: "/secret.iso", Username: "u", Password: "p"}, shown: "secret.iso"},
				{name: "with wrong ones", req: bmc.MediaRequest{URL: "/secret.iso", Username: "u", Password: "wrong"}, class: bmc.BadRequest},
				{name: "gone", req: bmc.MediaRequest{URL: "/gone.iso"}, class: bmc.BadRequest},
				{name: "broken", req: bmc.MediaRequest{URL: "/broken.iso"}, class: bmc.Transient},
			} {
				tc.req.URL = l.images + tc.req.URL
				slot, err := s.InsertMedia(ctx, tc.req)
				url, inserted, _ := l.body.Media(ctx)
				if tc.class != "" {
					if bmc.ClassOf(err) != tc.class || inserted {
						t.Errorf("%s: %v; inserted %t", tc.name, err, inserted)
					}
					continue
				}
				if err != nil || !slot.Inserted || slot.Image != tc.shown || url != tc.req.URL {
					t.Errorf("%s: %+v, %v; the machine has %q", tc.name, slot, err, url)
				}
			}
			if _, err := s.InsertMedia(ctx, bmc.MediaRequest{URL: l.images + "/boot.iso"}); err != nil {
				t.Fatal(err)
			}
			// It boots from there; with the image its drive goes, and the disk is first.
			if err := s.SetBootOverride(ctx, bmc.BootOverride{Target: bmc.BootCD}); err != nil {
				t.Fatal(err)
			}
			if err := s.SetPower(ctx, bmc.ActionOn); err != nil {
				t.Fatal(err)
			}
			if o := <-l.starts; o.Target != simbmc.BootCD {
				t.Errorf("started with %+v", o)
			}
			for range 2 { // of an empty drive: done already
				if err := s.EjectMedia(ctx, ""); err != nil {
					t.Error(err)
				}
			}
			if _, inserted, _ := l.body.Media(ctx); inserted {
				t.Error("the machine still has the image")
			}
			if o, err := s.BootOverride(ctx); err != nil || o.Target != bmc.BootDisk {
				t.Errorf("override %+v, %v", o, err)
			}
		})
	}
}

// The registry that is named is not there, and values are Python's strings.
func TestDriverSettings(t *testing.T) {
	l := newLab(t, simbmc.ModeUEFI, Options{})
	s, err := l.system(admin)
	if err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	b, err := s.BIOS(ctx)
	if err != nil || len(b.Attributes) == 0 || b.Registry != nil || len(b.Pending) > 0 {
		t.Fatalf("%+v, %v", b, err)
	}
	for range 2 { // the second time there is nothing to write
		o, err := s.StageBIOS(ctx, map[string]any{"QuietBoot": false, "NumCores": 4, "ProcTurboMode": "Disabled"}, "")
		if err != nil || !o.Done || o.NeedsReset {
			t.Errorf("%+v, %v", o, err)
		}
	}
	if b, err = s.BIOS(ctx); err != nil {
		t.Fatal(err)
	}
	got := []any{b.Attributes["QuietBoot"], b.Attributes["NumCores"], b.Attributes["ProcTurboMode"]}
	if diff := cmp.Diff([]any{"false", "4", "Disabled"}, got); diff != "" {
		t.Errorf("in force (-want +got):\n%s", diff)
	}
	if _, err := s.StageBIOS(ctx, map[string]any{"New": 1}, ""); bmc.ClassOf(err) != bmc.BadRequest {
		t.Errorf("an attribute that is not there: %v", err)
	}
	o, err := s.ResetBIOS(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := s.Poll(ctx, o); err != nil || !p.Done {
		t.Errorf("%+v, %v", p, err)
	}
	if b, err = s.BIOS(ctx); err != nil || b.Attributes["NumCores"] != "10" {
		t.Errorf("after the reset: %v, %v", b.Attributes, err)
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
