package redfish

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/api/agent"
)

var update = flag.Bool("update", false, "rewrite the golden files; read the difference")

// expandingTree makes a recorded tree answer $expand (DSP0266 §7.3.1) as far as its
// service root offers it. HPE's set is served as if it expanded collections alone,
// the harder case.
type expandingTree struct {
	*tree
	collectionsOnly bool
}

func (e expandingTree) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet || !strings.Contains(r.URL.RawQuery, "$expand") {
		e.tree.ServeHTTP(w, r)
		return
	}
	e.mu.Lock()
	offered, _ := json.Marshal(e.doc("/redfish/v1")["ProtocolFeaturesSupported"])
	e.mu.Unlock()
	if !strings.Contains(string(offered), `"NoLinks":true`) {
		http.Error(w, `{"error": {"code": "Base.1.8.QueryNotSupported"}}`, http.StatusNotImplemented)
		return
	}
	rec := httptest.NewRecorder()
	e.tree.ServeHTTP(rec, r)
	var doc map[string]any
	if rec.Code != http.StatusOK || json.Unmarshal(rec.Body.Bytes(), &doc) != nil {
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
		return
	}
	if _, ok := doc["Members"]; ok || !e.collectionsOnly {
		for k, v := range doc {
			if k != "Links" && k != "Oem" && k != "Actions" {
				doc[k] = e.expandLink(v)
			}
		}
	}
	_ = json.NewEncoder(w).Encode(doc)
}

// expandLink puts resources in place of links, one level deep.
func (e expandingTree) expandLink(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = e.expandLink(v[i])
		}
	case map[string]any:
		if uri, ok := v["@odata.id"].(string); ok && len(v) == 1 {
			e.mu.Lock()
			defer e.mu.Unlock()
			if doc := e.doc(strings.ToLower(strings.TrimRight(uri, "/"))); doc != nil {
				return doc
			}
		}
	}
	return v
}

// dialTree opens the system of a recorded tree with the quirks that it shows by
// itself.
func dialTree(t *testing.T, h http.Handler) *System {
	t.Helper()
	addr := serve(t, h)
	s, err := NewEndpoint(addr, admin, Options{}).System(context.Background(), addr.System)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

// treeFact is what the JSON of a recorded set says, written down by hand from the
// files (not from our output).
type treeFact struct {
	set, uuid, serial, sku, maker, product string
	bios, biosDate, bmc                    string
	arch, cpu                              string
	sockets, cores, threads, mhz           int
	gib, dimms                             int
	disks                                  []string // name model serial GB
	nics                                   []string // name MAC
	accelerators                           []string
	pci                                    int
}

var facts = []treeFact{
	{
		set: "dell-r750-idrac9", uuid: "4c4c4544-0035-3410-8050-c6c04f314733", serial: "F54P1G3", sku: "F54P1G3",
		maker: "Dell Inc.", product: "PowerEdge R750", bios: "1.8.2", biosDate: "09/16/2022", bmc: "6.00.30.00",
		arch: "x86_64", cpu: "Intel(R) Xeon(R) Gold 6354 CPU @ 3.00GHz", sockets: 2, cores: 36, threads: 72, mhz: 4000,
		gib: 512, dimms: 16,
		disks: []string{
			"Disk.Bay.0:Enclosure.Internal.0-1 Dell Ent NVMe CM6 RI 1.92TB 61X0A002TCD8 1920 NVME",
			"Disk.Bay.1:Enclosure.Internal.0-1 Dell Ent NVMe CM6 RI 1.92TB 61M0A08ZTCD8 1920 NVME",
			"Disk.Bay.2:Enclosure.Internal.0-1 Dell Ent NVMe CM6 RI 1.92TB 61P0A06CTCD8 1920 NVME",
		},
		nics: []string{
			"NIC.Embedded.1-1-1 70:b5:e8:f0:52:dc", "NIC.Embedded.2-1-1 70:b5:e8:f0:52:dd", "NIC.Integrated.1-1-1 e4:3d:1a:13:27:f0",
			"NIC.Integrated.1-2-1 e4:3d:1a:13:27:f1", "NIC.Slot.5-1 b8:3f:d2:90:97:c4",
		},
		accelerators: []string{"Video.Slot.2-1 GPU NVIDIA H100 PCIe 1654422007043"}, pci: 13,
	},
	{
		set: "dmtf-public-rackmount1", uuid: "38947555-7742-3448-3784-823347823834", serial: "437XR1138R2", sku: "8675309",
		maker: "Contoso", product: "3500", bios: "P79 v1.45 (12/06/2017)", biosDate: "12/06/2017", bmc: "1.45.455b66-rev4",
		arch: "x86_64", cpu: "Multi-Core Intel(R) Xeon(R) processor 7xxx Series", sockets: 1, cores: 8, threads: 16, mhz: 3700,
		gib: 96, dimms: 3,
		disks:        []string{"SATA Bay 1 3000GT8  8000 SSD", "SATA Bay 2 3000GT7  4000 SSD"},
		nics:         []string{"12446A3B0411 12:44:6a:3b:04:11", "12446A3B8890 12:44:6a:3b:88:90"},
		accelerators: []string{"FPGA1 FPGA Stratix 10 ", "GPU1 GPU GPU1 2M220100SL"},
	},
	{
		set: "hpe-dl360-gen12-ilo7", uuid: "31323750-3637-4d33-3144-325631335457", serial: "3M1D2V13TW", sku: "P72176-B21",
		maker: "HPE", product: "HPE ProLiant Compute DL360 Gen12 -- SIMULATED", bios: "U68 v1.40 (05/22/2025)", biosDate: "05/22/2025",
		bmc: "1.14.00 May 28 2025", arch: "x86_64", cpu: "Intel(R) Xeon(R) 6517P", sockets: 2, cores: 32, threads: 64, mhz: 4000,
		gib: 256, dimms: 16,
		disks: []string{"0 MO001600PXVRU 5F90A0810UG3 1600 SSD", "1 MO001600PXVRU 5F90A08R0UG3 1600 SSD"},
		nics:  []string{"13 58:a2:e1:48:93:ae", "14 58:a2:e1:48:93:af"}, pci: 4,
	},
	{
		set: "lenovo-sr670-xcc", uuid: "bc20d65a-1a53-11ec-8c43-7e8ae1d5a277", serial: "J101RZ43", sku: "7Z23CTO1WW",
		maker: "Lenovo", product: "ThinkSystem SR670 V2", bios: "U8E112A", biosDate: "05/07/2021", bmc: "TGBT20E 1.40 2021-05-17",
		arch: "x86_64", cpu: "Intel(R) Xeon(R) Gold 6354 CPU @ 3.00GHz", sockets: 2, cores: 36, threads: 72, mhz: 3600,
		gib: 512, dimms: 16,
		disks: []string{"Drive.Bay_0 SSDPF2KE016T9L PHAB1234034Z1P9SGN 1600 NVME", "Drive.Bay_1 SSDPF2KE016T9L PHAB123401GY1P9SGN 1600 NVME"},
		// The only interface listed leads to the XCC itself; the adapters are dumb.
		accelerators: []string{"GPU1 GPU  1322221026831", "GPU2 GPU  1322221028609"}, pci: 7,
	},
	{set: "openbmc-stock", bmc: "2.15.0-dev-686-g100c36de90"},
	{
		// CPUs, memory and GPUs belong to the second system, HGX_Baseboard_0.
		set: "supermicro-gb300-nvl", uuid: "5f1cf000-643d-11f0-8000-7cc25590513a", serial: "S964512X5913271",
		maker: "Supermicro", product: "GB NVL", bios: "2.1b", bmc: "70.01.00.09",
		arch: "aarch64", cpu: "Grace A02P", sockets: 2, cores: 144, threads: 144, mhz: 4000, gib: 960, dimms: 2,
		accelerators: []string{
			"GPU_0 GPU NVIDIA GB300 1653125034241", "GPU_1 GPU NVIDIA GB300 1653125034241",
			"GPU_2 GPU NVIDIA GB300 1653125033721", "GPU_3 GPU NVIDIA GB300 1653125033721",
		},
	},
}

func TestInspectRecordedTrees(t *testing.T) {
	var table strings.Builder
	for _, want := range facts {
		t.Run(want.set, func(t *testing.T) {
			tr := openTree(t, want.set)
			s := dialTree(t, expandingTree{tree: tr, collectionsOnly: strings.HasPrefix(want.set, "hpe")})
			before := tr.requests()
			inv, err := s.Inspect(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			got, requests := factOf(want.set, inv), tr.requests()-before
			if d := cmp.Diff(want, got, cmp.AllowUnexported(treeFact{})); d != "" {
				t.Errorf("facts (-want +got):\n%s", d)
			}
			if requests > walkGoal {
				t.Errorf("%d requests, the budget is %d", requests, walkGoal)
			}
			t.Logf("%d requests; left out: %v", requests, inv.Skipped)
			if want.set == "dell-r750-idrac9" || want.set == "hpe-dl360-gen12-ilo7" {
				// pkg/inventory tests with these that Metal3 gets its facts.
				data, err := json.MarshalIndent(inv, "", " ")
				if err != nil {
					t.Fatal(err)
				}
				checkGolden(t, filepath.Join("testdata", want.set+".json"), string(data)+"\n")
			}
			table.WriteString(got.line(inv, requests))
		})
	}
	if t.Failed() || table.Len() == 0 {
		return
	}
	checkGolden(t, filepath.Join("testdata", "trees.txt"), treesHead+table.String())
}

func (tr *tree) requests() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.nth
}

func factOf(set string, inv agent.Inventory) treeFact {
	f := treeFact{
		set: set, uuid: inv.Vendor.UUID, serial: inv.Vendor.Serial, sku: inv.Vendor.SKU, maker: inv.Vendor.Manufacturer,
		product: inv.Vendor.Product, bios: inv.Firmware.Version, biosDate: inv.Firmware.Date, bmc: inv.Firmware.BMC,
		arch: inv.CPU.Arch, cpu: inv.CPU.Model, sockets: inv.CPU.Sockets, cores: inv.CPU.Cores, threads: inv.CPU.Threads, mhz: inv.CPU.MHz,
		gib: int(inv.Memory.Physical >> 30), dimms: len(inv.Memory.Modules), pci: len(inv.PCI),
	}
	for _, d := range inv.Disks {
		f.disks = append(f.disks, fmt.Sprintf("%s %s %s %d %s", d.Name, d.Model, d.Serial, d.Size/1e9, d.Type))
	}
	for _, n := range inv.NICs {
		f.nics = append(f.nics, n.Name+" "+n.MAC)
	}
	slices.Sort(f.disks) // BMCs list in no order
	slices.Sort(f.nics)
	for _, a := range inv.Accelerators {
		f.accelerators = append(f.accelerators, fmt.Sprintf("%s %s %s %s", a.Name, a.Type, a.Model, a.Serial))
	}
	return f
}

const treesHead = "| tree | UUID, serial | CPUs | memory | disks | NICs with MAC | accelerators | PCIe devices | BIOS | BMC | requests |\n" +
	"|---|---|---|---|---|---|---|---|---|---|---|\n"

// line is the tree's row in the table of the docs.
func (f treeFact) line(inv agent.Inventory, requests int) string {
	said := func(v string) string {
		if v == "" {
			return "not said"
		}
		return v
	}
	cpu := "not said"
	if f.sockets > 0 {
		cpu = fmt.Sprintf("%d × %d cores %s", f.sockets, f.cores/f.sockets, f.arch)
	}
	memory := "not said"
	if f.gib > 0 {
		memory = fmt.Sprintf("%d GiB in %d", f.gib, f.dimms)
	}
	id := said(f.serial)
	if f.uuid != "" {
		id = "both"
	}
	bios := said(strings.TrimSpace(f.bios))
	if inv.Firmware.Date != "" && !strings.Contains(bios, inv.Firmware.Date) {
		bios += " (" + inv.Firmware.Date + ")"
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %d | %d | %d | %d | %s | %s | %d |\n", f.set, id, cpu, memory,
		len(f.disks), len(f.nics), len(f.accelerators), f.pci, bios, said(f.bmc), requests)
}

func checkGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (run with -update)", err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got), rewrite with -update:\n%s", file, d)
	}
}
