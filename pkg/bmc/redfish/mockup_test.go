package redfish

import (
	"context"
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// tree serves a recorded Redfish tree, and obeys resets and boot writes of its
// systems. Paths match without regard to case and trailing slash, as the links
// of the HPE set need.
type tree struct {
	files map[string]string

	mu      sync.Mutex
	changed map[string]map[string]any
	resets  []string
	nth     int
}

func openTree(t *testing.T, set string) *tree {
	t.Helper()
	root := os.Getenv("INGOT_MOCKUPS")
	if root == "" {
		root = "../../../../shared/redfish-mockups"
	}
	if _, err := os.Stat(root); err != nil {
		t.Skipf("no recorded trees: set INGOT_MOCKUPS to the folder of redfish-mockups (%v)", err)
	}
	tr := &tree{files: map[string]string{}, changed: map[string]map[string]any{}}
	dir := filepath.Join(root, set)
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "index.json" {
			rel, _ := filepath.Rel(dir, filepath.Dir(p))
			tr.files[strings.ToLower("/"+filepath.ToSlash(rel))] = p
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func (tr *tree) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.nth++
	p := strings.ToLower(strings.TrimRight(r.URL.EscapedPath(), "/"))
	switch {
	case r.Method == http.MethodPost && strings.HasSuffix(p, "/sessionservice/sessions"):
		w.Header().Set("X-Auth-Token", "t")
		w.Header().Set("Location", p+"/1")
		w.WriteHeader(http.StatusCreated)
		return
	case r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
		return
	case r.Method == http.MethodPost && strings.HasSuffix(p, "/actions/computersystem.reset"):
		var body struct{ ResetType string }
		_ = json.NewDecoder(r.Body).Decode(&body)
		tr.resets = append(tr.resets, body.ResetType)
		state := "On"
		if strings.Contains(body.ResetType, "Off") || strings.Contains(body.ResetType, "Shutdown") {
			state = "Off"
		}
		if doc := tr.doc(strings.TrimSuffix(p, "/actions/computersystem.reset")); doc != nil {
			doc["PowerState"] = state
		}
		w.WriteHeader(http.StatusNoContent)
		return
	}
	doc := tr.doc(p)
	if doc == nil {
		http.NotFound(w, r)
		return
	}
	if r.Method == http.MethodPatch {
		var body struct{ Boot map[string]any }
		_ = json.NewDecoder(r.Body).Decode(&body)
		for k, v := range body.Boot {
			doc["Boot"].(map[string]any)[k] = v
		}
		w.WriteHeader(http.StatusNoContent)
		return
	}
	_ = json.NewEncoder(w).Encode(doc)
}

func (tr *tree) doc(p string) map[string]any {
	if doc, ok := tr.changed[p]; ok {
		return doc
	}
	data, err := os.ReadFile(tr.files[p])
	if err != nil {
		return nil
	}
	var doc map[string]any
	if json.Unmarshal(data, &doc) != nil {
		return nil
	}
	tr.changed[p] = doc
	return doc
}

func TestRecordedTrees(t *testing.T) {
	for _, tc := range []struct {
		set   string
		want  bmc.Identity
		bmc   string
		macs  int
		power bmc.PowerState
		cycle string
	}{
		{set: "dell-r750-idrac9", power: bmc.PowerOn, cycle: "PowerCycle", bmc: "6.00.30.00", macs: 5, want: bmc.Identity{
			Manufacturer: "Dell Inc.", Model: "PowerEdge R750", Serial: "F54P1G3",
			SystemUUID: "4c4c4544-0035-3410-8050-c6c04f314733", SystemID: "/redfish/v1/Systems/System.Embedded.1",
		}},
		{set: "dmtf-public-rackmount1", power: bmc.PowerOn, cycle: "ForceRestart", bmc: "1.45.455b66-rev4", macs: 3, want: bmc.Identity{
			Manufacturer: "Contoso", Model: "3500", Serial: "437XR1138R2",
			SystemUUID: "38947555-7742-3448-3784-823347823834", SystemID: "/redfish/v1/Systems/437XR1138R2",
		}},
		{set: "hpe-dl360-gen12-ilo7", power: bmc.PowerOn, cycle: "ForceRestart", bmc: "1.14.00 May 28 2025", macs: 2, want: bmc.Identity{
			Manufacturer: "HPE", Model: "HPE ProLiant Compute DL360 Gen12 -- SIMULATED", Serial: "3M1D2V13TW",
			SystemUUID: "31323750-3637-4d33-3144-325631335457", SystemID: "/redfish/v1/Systems/1",
		}},
		{set: "lenovo-sr670-xcc", power: bmc.PowerOn, cycle: "ForceRestart", bmc: "TGBT20E 1.40 2021-05-17", macs: 1, want: bmc.Identity{
			Manufacturer: "Lenovo", Model: "ThinkSystem SR670 V2", Serial: "J101RZ43",
			SystemUUID: "bc20d65a-1a53-11ec-8c43-7e8ae1d5a277", SystemID: "/redfish/v1/Systems/1",
		}},
		{set: "openbmc-stock", power: bmc.PowerOff, cycle: "On", bmc: "2.15.0-dev-686-g100c36de90", want: bmc.Identity{
			SystemID: "/redfish/v1/Systems/system",
		}},
		{set: "supermicro-gb300-nvl", power: bmc.PowerOn, cycle: "PowerCycle", bmc: "70.01.00.09", want: bmc.Identity{
			Manufacturer: "Supermicro", Model: "GB NVL", Serial: "S964512X5913271",
			SystemUUID: "5f1cf000-643d-11f0-8000-7cc25590513a", SystemID: "/redfish/v1/Systems/System_0",
		}},
	} {
		t.Run(tc.set, func(t *testing.T) {
			tr := openTree(t, tc.set)
			s, err := dial(t, serve(t, tr), admin, Options{Quirks: quirk.Set{quirk.SerialIsSKU: tc.set == "dell-r750-idrac9"}})
			if err != nil {
				t.Fatal(err)
			}
			ctx := context.Background()
			id, err := s.Identify(ctx)
			if err != nil {
				t.Fatal(err)
			}
			tc.want.Protocol = bmc.ProtocolRedfish
			if d := cmp.Diff(tc.want, id); d != "" {
				t.Errorf("identity (-want +got):\n%s", d)
			}
			if got, err := s.PowerState(ctx); err != nil || got != tc.power {
				t.Errorf("power %q, %v; want %q", got, err, tc.power)
			}
			if tr.nth > 5 {
				t.Errorf("verify took %d requests, want at most 5", tr.nth)
			}
			more, err := s.Details(ctx, id)
			if err != nil || more.BMCVersion != tc.bmc || len(more.MACs) != tc.macs {
				t.Errorf("BMC %q, MACs %v, %v; want %q and %d", more.BMCVersion, more.MACs, err, tc.bmc, tc.macs)
			}
			once := bmc.BootOverride{Target: bmc.BootPXE}
			if err := s.SetBootOverride(ctx, once); err != nil {
				t.Error(err)
			}
			got, err := s.BootOverride(ctx)
			if got.Mode = ""; err != nil || got != once {
				t.Errorf("override %+v, %v", got, err)
			}
			if err := s.SetPower(ctx, bmc.ActionCycle); err != nil {
				t.Error(err)
			}
			if d := cmp.Diff([]string{tc.cycle}, tr.resets); d != "" {
				t.Errorf("resets (-want +got):\n%s", d)
			}
		})
	}
}
