package firmware

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

const gib = 1 << 30

// controllers are a machine's: one that makes RAID of two SSDs and four disks, and
// one that does not.
func controllers(volumes ...bmc.Volume) []bmc.StorageController {
	c := bmc.StorageController{ID: "/S/RAID", Name: "PERC", RAIDTypes: []string{"RAID0", "RAID1", "RAID5"}, Volumes: volumes}
	for i, size := range []int64{480, 480, 4000, 4000, 8000, 8000} {
		media := "HDD"
		if i < 2 {
			media = "SSD"
		}
		id := string(rune('0' + i))
		c.Drives = append(c.Drives, bmc.Drive{ID: "/S/RAID/Drives/" + id, Name: "Bay " + id, Serial: "SN" + id, Bytes: size * 1e9, MediaType: media, Health: "OK"})
	}
	return []bmc.StorageController{{ID: "/S/AHCI", Name: "AHCI"}, c}
}

func drives(ids ...string) []string {
	var out []string
	for _, id := range ids {
		out = append(out, "/S/RAID/Drives/"+id)
	}
	return out
}

func TestPlanRAID(t *testing.T) {
	mirror := bmc.Volume{ID: "/S/RAID/Volumes/1", Name: "os", RAIDType: "RAID1", Bytes: 447 * gib, DriveIDs: drives("0", "1")}
	for _, tc := range []struct {
		name   string
		want   []metal3.HardwareRAIDVolume
		there  []bmc.Volume
		made   bool
		deletd string
		create *bmc.VolumeSpec
		code   string
		says   string
	}{
		{name: "none wanted, none there", want: []metal3.HardwareRAIDVolume{}},
		{name: "none wanted", there: []bmc.Volume{mirror}, deletd: mirror.ID},
		{name: "a bare disk is no volume", there: []bmc.Volume{{ID: "/S/RAID/Volumes/9", DriveIDs: drives("2")}}},
		{name: "as it is", want: []metal3.HardwareRAIDVolume{{Level: "1", Name: "another name"}}, there: []bmc.Volume{mirror}},
		{name: "as it is, by its disks", want: []metal3.HardwareRAIDVolume{{Level: "1", PhysicalDisks: []string{"SN1", "Bay 0"}, Controller: "RAID"}}, there: []bmc.Volume{mirror}},
		{name: "as it is, by its size", want: []metal3.HardwareRAIDVolume{{Level: "1", SizeGibibytes: ptr(440), Rotational: ptr(false)}}, there: []bmc.Volume{mirror}},
		{name: "another level", want: []metal3.HardwareRAIDVolume{{Level: "5"}}, there: []bmc.Volume{mirror}, deletd: mirror.ID},
		{name: "another size", want: []metal3.HardwareRAIDVolume{{Level: "1", SizeGibibytes: ptr(100)}}, there: []bmc.Volume{mirror}, deletd: mirror.ID},
		{name: "other disks", want: []metal3.HardwareRAIDVolume{{Level: "1", PhysicalDisks: []string{"SN2", "SN3"}}}, there: []bmc.Volume{mirror}, deletd: mirror.ID},
		{name: "what was made does not match", want: []metal3.HardwareRAIDVolume{{Level: "5"}}, there: []bmc.Volume{mirror}, made: true, code: "raid-readback", says: "os"},
		{
			name: "one more keeps the first", want: []metal3.HardwareRAIDVolume{{Level: "1"}, {Level: "5"}}, there: []bmc.Volume{mirror},
			create: &bmc.VolumeSpec{RAIDType: "RAID5", DriveIDs: drives("4", "5", "2")},
		},
		{
			name: "the smallest that will do", want: []metal3.HardwareRAIDVolume{{Level: "1", SizeGibibytes: ptr(1000), Name: "data"}},
			create: &bmc.VolumeSpec{Name: "data", RAIDType: "RAID1", Bytes: 1000 * gib, DriveIDs: drives("2", "3")},
		},
		{
			name: "solid state", want: []metal3.HardwareRAIDVolume{{Level: "0", Rotational: ptr(false), NumberOfPhysicalDisks: ptr(2)}},
			create: &bmc.VolumeSpec{RAIDType: "RAID0", DriveIDs: drives("0", "1")},
		},
		{name: "too few of the kind", want: []metal3.HardwareRAIDVolume{{Level: "5", Rotational: ptr(false)}}, code: "raid-impossible", says: "3 free solid-state disks are wanted, 2 of its 6 will do"},
		{name: "too large", want: []metal3.HardwareRAIDVolume{{Level: "1", SizeGibibytes: ptr(9000)}}, code: "raid-impossible", says: "hardwareRAIDVolumes[0]"},
		{name: "no such level here", want: []metal3.HardwareRAIDVolume{{Level: "6"}}, code: "raid-impossible", says: "RAID0, RAID1, RAID5"},
		{name: "no such disk", want: []metal3.HardwareRAIDVolume{{Level: "1", PhysicalDisks: []string{"SN0", "SN7"}}}, code: "raid-impossible", says: `no disk "SN7"`},
		{name: "too few disks for the level", want: []metal3.HardwareRAIDVolume{{Level: "5", NumberOfPhysicalDisks: ptr(2)}}, code: "raid-impossible", says: "takes 3 disks"},
		{name: "no such controller", want: []metal3.HardwareRAIDVolume{{Level: "1", Controller: "RAID.2"}}, code: "raid-impossible", says: "AHCI, PERC"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			step, problem := PlanRAID(tc.want, controllers(tc.there...), tc.made)
			if tc.code != "" {
				if problem == nil || problem.Code != tc.code || !strings.Contains(problem.Text, tc.says) || step != nil {
					t.Fatalf("step %+v, problem %+v", step, problem)
				}
				return
			}
			if problem != nil {
				t.Fatal(problem)
			}
			if step == nil {
				step = &RAIDStep{}
			} else if step.Text == "" {
				t.Error("nobody is told what is done")
			}
			if d := cmp.Diff(tc.create, step.Create); d != "" || step.Delete != tc.deletd {
				t.Errorf("delete %q, want %q\n%s", step.Delete, tc.deletd, d)
			}
		})
	}
}

// Whatever a controller makes of it, the plan ends: each step is carried out on a
// model of a controller until nothing is left.
func TestPlanRAIDEnds(t *testing.T) {
	want := []metal3.HardwareRAIDVolume{{Level: "1", Rotational: ptr(false)}, {Level: "5", SizeGibibytes: ptr(2000)}}
	all := controllers(bmc.Volume{ID: "/S/RAID/Volumes/7", RAIDType: "RAID0", DriveIDs: drives("3"), Bytes: gib}, bmc.Volume{ID: "/S/RAID/Volumes/8", RAIDType: "RAID1", DriveIDs: drives("4", "5"), Bytes: gib})
	c, made, steps := &all[1], false, 0
	for ; ; steps++ {
		step, problem := PlanRAID(want, all, made)
		if problem != nil {
			t.Fatal(problem)
		}
		if step == nil {
			break
		}
		if steps > 10 {
			t.Fatal("no end")
		}
		var left []bmc.Volume
		for _, v := range c.Volumes {
			if v.ID != step.Delete {
				left = append(left, v)
			}
		}
		if v := step.Create; v != nil {
			made = true
			bytes := v.Bytes
			if bytes == 0 {
				bytes = 480e9
			}
			left = append(left, bmc.Volume{ID: "/S/RAID/Volumes/" + v.RAIDType, RAIDType: v.RAIDType, Bytes: bytes, DriveIDs: v.DriveIDs})
		}
		c.Volumes = left
	}
	if steps != 4 {
		t.Errorf("%d steps, want two volumes deleted and two made", steps)
	}
}
