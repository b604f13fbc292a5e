package redfish

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

const (
	raidURI    = sysPath + "/Storage/RAID"
	volumesURI = raidURI + "/Volumes"
)

func driveURI(n int) string { return fmt.Sprintf("%s/Drives/%d", raidURI, n) }

// raid is a fake BMC with a controller, eight drives of 1 TB and the volumes
// that it is asked for. Drive 6 is a hot spare, 7 is failing, 8 is an empty bay.
type raid struct {
	*fake
	created map[string]any
	status  int // of a POST; 201 makes the volume at once
}

func newRAID(t *testing.T) *raid {
	f := &raid{fake: newFake(t), status: http.StatusCreated}
	f.change(func(system map[string]any) { system["Storage"] = map[string]any{"@odata.id": sysPath + "/Storage"} })
	f.put(sysPath+"/Storage", `{"Members": [{"@odata.id": "`+raidURI+`"}]}`)
	var drives []string
	for n := 1; n <= 8; n++ {
		more := `"CapacityBytes": 1000000000000, "Model": "M", "SerialNumber": "S", "HotspareType": "None", "Status": {"State": "Enabled", "Health": "OK"}`
		switch n {
		case 6:
			more = strings.Replace(more, `"None"`, `"Global"`, 1)
		case 7:
			more = strings.Replace(more, `"OK"`, `"Critical"`, 1)
		case 8:
			more = `"Status": {"State": "Absent"}`
		}
		f.put(driveURI(n), fmt.Sprintf(`{"@odata.id": %q, "Id": "%d", "MediaType": "HDD", "Protocol": "SAS", %s}`, driveURI(n), n, more))
		drives = append(drives, fmt.Sprintf(`{"@odata.id": %q}`, driveURI(n)))
	}
	f.put(raidURI, fmt.Sprintf(`{"@odata.id": %q, "Id": "RAID", "Name": "RAID controller", "Drives": [%s], "Volumes": {"@odata.id": %q},
		"StorageControllers": [{"Model": "PERC H755", "FirmwareVersion": "52.1", "SupportedRAIDTypes": ["RAID0", "RAID1", "RAID5", "RAID10", "None"]}]}`,
		raidURI, strings.Join(drives, ","), volumesURI))
	// As HPE's MR216i-o tells its limits (recorded tree hpe-dl360-gen12-ilo7).
	f.put(volumesURI, fmt.Sprintf(`{"Members": [], "@Redfish.OperationApplyTimeSupport": {"SupportedValues": ["Immediate", "OnReset"]},
		"@Redfish.CollectionCapabilities": {"Capabilities": [{"CapabilitiesObject": {"@odata.id": %q}, "UseCase": "VolumeCreation"}]}}`, volumesURI+"/Capabilities"))
	f.put(volumesURI+"/Capabilities", `{"RAIDType@Redfish.AllowableValues": ["RAID6"], "CapacityBytes@Redfish.AllowableNumbers": ["1073741824:3199549308928"],
		"Name@Redfish.AllowablePattern": "^.{0,15}$"}`)
	f.fault = f.handle
	return f
}

func (f *raid) handle(w http.ResponseWriter, r *http.Request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case r.Method == http.MethodPost && r.URL.Path == volumesURI:
		_ = json.NewDecoder(r.Body).Decode(&f.created)
		if f.status == http.StatusCreated {
			f.makeVolume()
		}
		w.Header().Set("Location", "/redfish/v1/TaskService/Tasks/7")
		w.WriteHeader(f.status)
		return true
	case r.Method == http.MethodDelete && f.docs[r.URL.Path] != nil:
		delete(f.docs, r.URL.Path)
		f.docs[volumesURI]["Members"] = []any{}
		w.WriteHeader(http.StatusNoContent)
		return true
	}
	return false
}

// makeVolume makes what was asked for.
func (f *raid) makeVolume() {
	doc := map[string]any{"@odata.id": volumesURI + "/1", "Id": "1", "Name": "os", "CapacityBytes": 1e12}
	for k, v := range f.created {
		doc[k] = v
	}
	f.docs[volumesURI+"/1"] = doc
	f.docs[volumesURI]["Members"] = []any{map[string]any{"@odata.id": volumesURI + "/1"}}
}

func dialRAID(t *testing.T, f *raid) *System {
	t.Helper()
	s, err := dial(t, serve(t, f), admin, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCreateVolume(t *testing.T) {
	f := newRAID(t)
	s := dialRAID(t, f)
	ctx := context.Background()
	spec := bmc.VolumeSpec{Name: "os", RAIDType: "RAID1", Bytes: 500e9, DriveIDs: []string{driveURI(2), driveURI(1) + "/"}, ApplyTime: bmc.ApplyNow}
	op, err := s.CreateVolume(ctx, raidURI, spec)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"Name": "os", "RAIDType": "RAID1", "CapacityBytes": 500e9, "@Redfish.OperationApplyTime": "Immediate",
		"Links": map[string]any{"Drives": []any{map[string]any{"@odata.id": driveURI(2)}, map[string]any{"@odata.id": driveURI(1) + "/"}}},
	}
	if d := cmp.Diff(want, f.created); d != "" {
		t.Errorf("request (-want +got):\n%s", d)
	}
	if op.Kind != opVolume || op.NeedsReset || op.Done {
		t.Errorf("op %+v", op)
	}
	data, _ := json.Marshal(op)
	var resumed bmc.Op
	if err := json.Unmarshal(data, &resumed); err != nil {
		t.Fatal(err)
	}
	if p, err := s.Poll(ctx, resumed); err != nil || !p.Done {
		t.Errorf("read back: %+v, %v", p, err)
	}
	// What is there already is not made again, whatever the order of its drives.
	f.created = nil
	if op, err := s.CreateVolume(ctx, raidURI, spec); err != nil || !op.Done || f.created != nil {
		t.Errorf("again: %+v, %v, sent %v", op, err, f.created)
	}
	all, err := s.Storage(ctx)
	if err != nil || len(all) != 1 {
		t.Fatalf("%+v, %v", all, err)
	}
	c := all[0]
	if c.ID != raidURI || c.Model != "PERC H755" || c.Firmware != "52.1" || len(c.Drives) != 7 || !c.Drives[5].IsHotSpare || c.Drives[6].Health != "Critical" {
		t.Errorf("controller %+v", c)
	}
	if d := cmp.Diff([]string{"RAID0", "RAID1", "RAID5", "RAID10"}, c.RAIDTypes); d != "" {
		t.Error(d)
	}
	volume := []bmc.Volume{{ID: volumesURI + "/1", Name: "os", RAIDType: "RAID1", Bytes: 500e9, DriveIDs: []string{driveURI(2), driveURI(1) + "/"}}}
	if d := cmp.Diff(volume, c.Volumes); d != "" {
		t.Errorf("volumes (-want +got):\n%s", d)
	}
	// An operating system sees the volume, and not the drives in it.
	inv, err := s.Inspect(ctx)
	if err != nil || len(inv.Disks) != 6 || inv.Disks[0].Name != "1" || inv.Disks[0].Model != "PERC H755" || !inv.Disks[0].Rotational || inv.Disks[0].Size != 500e9 {
		t.Errorf("disks %+v, %v", inv.Disks, err)
	}
}

func TestCreateVolumeTakesTime(t *testing.T) {
	f := newRAID(t)
	f.status = http.StatusAccepted
	f.docs[volumesURI]["@Redfish.OperationApplyTimeSupport"] = map[string]any{"SupportedValues": []any{"OnReset"}}
	s := dialRAID(t, f)
	ctx := context.Background()
	op, err := s.CreateVolume(ctx, raidURI, bmc.VolumeSpec{RAIDType: "RAID5", DriveIDs: []string{driveURI(1), driveURI(2), driveURI(3)}})
	if err != nil || !op.NeedsReset || op.Task == "" {
		t.Fatalf("%+v, %v", op, err)
	}
	f.mu.Lock()
	f.put("/redfish/v1/TaskService/Tasks/7", `{"TaskState": "Completed"}`)
	f.mu.Unlock()
	if p, err := s.Poll(ctx, op); err != nil || p.Done || p.Message != "there is no such volume yet" {
		t.Errorf("before: %+v, %v", p, err)
	}
	f.mu.Lock()
	f.makeVolume()
	f.docs[volumesURI+"/1"]["RAIDType"], f.docs[volumesURI+"/1"]["VolumeType"] = nil, "StripedWithParity" // before Volume 1.3.1
	f.mu.Unlock()
	if p, err := s.Poll(ctx, op); err != nil || !p.Done {
		t.Errorf("after: %+v, %v", p, err)
	}
	f.mu.Lock()
	f.docs[volumesURI+"/1"]["RAIDType"] = "RAID0"
	f.mu.Unlock()
	if _, err := s.Poll(ctx, op); bmc.ClassOf(err) != bmc.Protocol {
		t.Errorf("another level: %v", err)
	}
}

func TestCreateVolumeRefuses(t *testing.T) {
	drives := func(ns ...int) (out []string) {
		for _, n := range ns {
			out = append(out, driveURI(n))
		}
		return out
	}
	for _, tc := range []struct {
		name, at string
		spec     bmc.VolumeSpec
		want     string
	}{
		{"no controller", sysPath + "/Storage/X", bmc.VolumeSpec{RAIDType: "RAID1"}, "the BMC has none there"},
		{"no level", "", bmc.VolumeSpec{DriveIDs: drives(1, 2)}, "raidType is not given: the controller makes RAID0, RAID1, RAID5, RAID10, RAID6"},
		{"level", "", bmc.VolumeSpec{RAIDType: "RAID50", DriveIDs: drives(1, 2)}, "raidType RAID50: the controller makes RAID0"},
		{"no drives", "", bmc.VolumeSpec{RAIDType: "RAID1"}, "drives: none is named"},
		{"few drives", "", bmc.VolumeSpec{RAIDType: "RAID5", DriveIDs: drives(1, 2)}, "drives: 2 are named; RAID5 takes 3 or more"},
		{"odd drives", "", bmc.VolumeSpec{RAIDType: "RAID1", DriveIDs: drives(1, 2, 3)}, "drives: 3 are named; RAID1 takes 2 or more, in steps of 2"},
		{"level of the limits", "", bmc.VolumeSpec{RAIDType: "RAID6", DriveIDs: drives(1, 2, 3)}, "RAID6 takes 4 or more"},
		{"another's drive", "", bmc.VolumeSpec{RAIDType: "RAID1", DriveIDs: []string{driveURI(1), "/redfish/v1/x"}}, "drive /redfish/v1/x: it is none of this controller's"},
		{"twice", "", bmc.VolumeSpec{RAIDType: "RAID1", DriveIDs: drives(1, 1)}, "it is named twice"},
		{"spare", "", bmc.VolumeSpec{RAIDType: "RAID1", DriveIDs: drives(1, 6)}, "it is a hot spare (Global); release it first"},
		{"failing", "", bmc.VolumeSpec{RAIDType: "RAID1", DriveIDs: drives(1, 7)}, "its health is Critical; replace it"},
		{"empty bay", "", bmc.VolumeSpec{RAIDType: "RAID1", DriveIDs: drives(1, 8)}, "the bay is empty"},
		{"in use", "", bmc.VolumeSpec{RAIDType: "RAID1", DriveIDs: drives(4, 5)}, "it belongs to the volume os; delete that first"},
		{"too much", "", bmc.VolumeSpec{RAIDType: "RAID1", Bytes: 2e12, DriveIDs: drives(1, 2)}, "2 drives as RAID1 hold at most 1000000000000"},
		{"too little", "", bmc.VolumeSpec{RAIDType: "RAID1", Bytes: 1, DriveIDs: drives(1, 2)}, "bytes 1: the controller takes 1073741824:3199549308928"},
		{"negative", "", bmc.VolumeSpec{RAIDType: "RAID1", Bytes: -1, DriveIDs: drives(1, 2)}, "negative"},
		{"name", "", bmc.VolumeSpec{RAIDType: "RAID1", Name: "a name that is too long", DriveIDs: drives(1, 2)}, "names of the pattern ^.{0,15}$"},
		{"apply time", "", bmc.VolumeSpec{RAIDType: "RAID1", DriveIDs: drives(1, 2), ApplyTime: "AtNoon"}, "the BMC takes Immediate, OnReset"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newRAID(t)
			f.created = map[string]any{"RAIDType": "RAID0", "Links": map[string]any{"Drives": []any{map[string]any{"@odata.id": driveURI(5)}}}}
			f.makeVolume()
			f.created = nil
			if tc.at == "" {
				tc.at = raidURI
			}
			_, err := dialRAID(t, f).CreateVolume(context.Background(), tc.at, tc.spec)
			if err == nil || bmc.ClassOf(err) != bmc.BadRequest || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			if f.created != nil {
				t.Error("it was sent to the controller")
			}
		})
	}
}

func TestDeleteVolume(t *testing.T) {
	f := newRAID(t)
	f.makeVolume()
	s := dialRAID(t, f)
	ctx := context.Background()
	if _, err := s.DeleteVolume(ctx, raidURI); bmc.ClassOf(err) != bmc.BadRequest {
		t.Errorf("a controller is deleted: %v", err)
	}
	gone := bmc.Op{Kind: opVolume, Resource: volumesURI + "/1", Want: map[string]string{wantGone: "true"}}
	if p, err := s.Poll(ctx, gone); err != nil || p.Done {
		t.Errorf("before: %+v, %v", p, err)
	}
	// What may not be read is not gone.
	handle := f.fault
	f.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, volumesURI+"/") {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return true
		}
		return handle(w, r)
	}
	if op, err := s.DeleteVolume(ctx, volumesURI+"/1"); err == nil {
		t.Errorf("405 is taken for gone: %+v", op)
	}
	if p, err := s.Poll(ctx, gone); err == nil {
		t.Errorf("405 is taken for gone: %+v", p)
	}
	f.fault = handle
	for _, again := range []bool{false, true} {
		op, err := s.DeleteVolume(ctx, volumesURI+"/1")
		if err != nil || op.Done != again {
			t.Errorf("delete, again %t: %+v, %v", again, op, err)
		}
		if p, err := s.Poll(ctx, op); err != nil || !p.Done {
			t.Errorf("read back: %+v, %v", p, err)
		}
	}
}

func TestStorageRecordedTrees(t *testing.T) {
	for _, tc := range []struct {
		set  string
		want []string
	}{
		{"dell-r750-idrac9", []string{
			"CPU.1 3 drives 3 volumes []", "AHCI.Embedded.1-1 0 drives 0 volumes []", "AHCI.Embedded.2-1 0 drives 0 volumes []",
		}},
		{"hpe-dl360-gen12-ilo7", []string{"DE00A000 2 drives 0 volumes [RAID0 RAID1 RAID10]"}},
		{"lenovo-sr670-xcc", []string{"Direct_Attached_NVMe 2 drives 0 volumes []"}},
		{"openbmc-stock", nil},
		{"supermicro-gb300-nvl", []string{"1 0 drives 0 volumes []"}},
	} {
		t.Run(tc.set, func(t *testing.T) {
			s := dialTree(t, expandingTree{tree: openTree(t, tc.set)})
			all, err := s.Storage(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range all {
				got = append(got, fmt.Sprintf("%s %d drives %d volumes %v", tailOf(c.ID), len(c.Drives), len(c.Volumes), c.RAIDTypes))
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("controllers (-want +got):\n%s", d)
			}
		})
	}
	s, err := dial(t, serve(t, newFake(t)), admin, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Storage(context.Background()); bmc.ClassOf(err) != bmc.Unsupported {
		t.Errorf("no storage: %v", err)
	}
}
