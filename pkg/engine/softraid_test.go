package engine

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/host"
)

func TestSoftwareRAIDStep(t *testing.T) {
	nvme := agent.DiskRef{Name: "/dev/nvme0n1", Serial: "S1", WWN: "w1", Size: 64 << 30}
	sda := agent.DiskRef{Name: "/dev/sda", Serial: "S2", Size: 128 << 30}
	for _, tc := range []struct {
		name, wants string
		change      func(*rig)
		want        []agent.RAIDVolume
		code        string
		class       host.Class
		seen        string
	}{
		{name: "none", wants: ""},
		{name: "all disks", wants: `[{"level":"1"}]`, want: []agent.RAIDVolume{{Level: "1", Disks: []agent.DiskRef{nvme, sda}}}},
		{
			name: "by hints, in their order", wants: `[{"sizeGibibytes":10,"level":"1","physicalDisks":[{"serialNumber":"S2"},{"minSizeGigabytes":1}]}]`,
			want: []agent.RAIDVolume{{Level: "1", Size: 10 << 30, Disks: []agent.DiskRef{sda, nvme}}},
		},
		{
			name: "one disk for two hints", wants: `[{"level":"1","physicalDisks":[{"serialNumber":"S2"},{"serialNumber":"S2"}]}]`,
			code: "hint-none", class: host.Wait, seen: "spec.raid.softwareRAIDVolumes[0]: physicalDisks[1]: ",
		},
		{
			name: "too few disks", wants: `[{"level":"1"}]`, code: "softraid-disks", class: host.Wait, seen: "has 1 disks",
			change: func(r *rig) { r.inspect(agent.Inventory{Disks: disks()[:1]}) },
		},
		{
			name: "the first could not be booted", wants: `[{"sizeGibibytes":10,"level":"1"},{"level":"0"}]`,
			code: "softraid-disks", class: host.Wait, seen: "share /dev/nvme0n1",
		},
		{
			name: "but nobody wants to", wants: `[{"sizeGibibytes":10,"level":"1"},{"level":"0"}]`,
			change: func(r *rig) { r.in.BMH.Spec.RootDeviceHints = &metal3.RootDeviceHints{SerialNumber: "USB"} },
			want: []agent.RAIDVolume{
				{Level: "1", Size: 10 << 30, Disks: []agent.DiskRef{nvme, sda}}, {Level: "0", Disks: []agent.DiskRef{nvme, sda}},
			},
		},
		{name: "a stripe could not be booted", wants: `[{"level":"0"}]`, code: "softraid-disks", class: host.Wait, seen: "level 0"},
		{
			name: "disks of an array", wants: `[{"level":"1"}]`, want: []agent.RAIDVolume{{Level: "1", Disks: []agent.DiskRef{nvme, sda}}},
			change: func(r *rig) {
				ds := append(disks(), agent.Disk{Name: "/dev/md0", Serial: "u", Size: 1 << 30, Bus: agent.BusMD})
				ds[0].Holders, ds[1].Holders = []string{"md0"}, []string{"md0"}
				r.inspect(agent.Inventory{Disks: ds})
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			r.in.Host.Wants.SoftRAID = tc.wants
			r.agents.result = agent.Result{RAID: &agent.RAIDResult{For: tc.wants, Devices: []agent.DiskRef{{Name: "/dev/md0", Size: 10 << 30}}}}
			if tc.change != nil {
				tc.change(r)
			}
			a := host.Action{Verb: host.RunStep, Step: host.PhaseSoftRAID, StepID: "b1.4"}
			if tc.code != "" {
				if p := r.problem(a, tc.code, tc.class); !strings.Contains(strings.Join(p.Seen, "; "), tc.seen) {
					t.Errorf("seen %q, want %q", p.Seen, tc.seen)
				}
				if len(r.agents.steps) > 0 {
					t.Errorf("the agent was told %+v", r.agents.steps)
				}
				return
			}
			if o := r.outcome(a); o.Problem != nil || o.SoftRAID != tc.wants {
				t.Fatalf("outcome %+v", o)
			}
			s := r.agents.steps[0]
			if diff := cmp.Diff(tc.want, s.RAID.Volumes); diff != "" || s.Kind != agent.StepRAID || s.RAID.For != tc.wants {
				t.Errorf("%s for %q -want +got:\n%s", s.Kind, s.RAID.For, diff)
			}
			if diff := cmp.Diff([]agent.DiskRef{nvme, sda}, s.RAID.Disks); diff != "" {
				t.Errorf("arrays are deleted from:\n%s", diff)
			}
		})
	}
	t.Run("an agent without an answer", func(t *testing.T) {
		r := newRig(t)
		r.problem(host.Action{Verb: host.RunStep, Step: host.PhaseSoftRAID}, "softraid-failed", host.Retry)
	})
}

// An image goes to the first array; a member is never chosen, whatever names it.
func TestChooseArray(t *testing.T) {
	ds := append(disks(), agent.Disk{Name: "/dev/md0", Serial: "u", Size: 50 << 30, SectorSize: 512, Type: agent.DiskSSD, Bus: agent.BusMD})
	ds[0].Holders, ds[1].Holders = []string{"md0"}, []string{"md0"}
	choose := host.Action{Verb: host.ChooseDisk}
	r := newRig(t)
	r.in.Host.SoftRAID = `[{"level":"1"}]`
	r.inspect(agent.Inventory{Disks: ds})
	if p := r.do(choose); p.Note == nil || !strings.Contains(p.Note.Message, "/dev/md0") {
		t.Errorf("note %+v", p.Note)
	}
	r.in.Host.SoftRAID = `[{"level":"0"},{"level":"1"}]`
	r.RootVolume = func(context.Context, types.NamespacedName) (int, error) { return 1, nil }
	if p := r.problem(choose, "hint-none", host.Wait); !strings.Contains(strings.Join(p.Seen, "; "), "deviceName /dev/md1") {
		t.Errorf("seen %q", p.Seen)
	}
	r.RootVolume = func(context.Context, types.NamespacedName) (int, error) { return 0, errors.New("no API") }
	r.problem(choose, "api-slow", host.Retry)
	r.in.BMH.Spec.RootDeviceHints = &metal3.RootDeviceHints{SerialNumber: "S1"}
	r.problem(choose, "hint-none", host.Wait)
	if o := r.outcome(host.Action{Verb: host.RunStep, Step: host.PhaseClean}); o.Problem != nil || !o.Arrays || len(r.agents.steps[0].Clean.Disks) != 2 {
		t.Errorf("cleaning %+v: %+v", o, r.agents.steps)
	}
}
