package redfish

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// newInspectable is a fake machine with two CPUs, two modules, a drive, and two
// NICs, on a BMC that does not expand.
func newInspectable(t *testing.T) *fake {
	f := newFake(t)
	f.change(func(system map[string]any) {
		system["BiosVersion"] = "2.0 (01/02/2024)"
		for _, c := range []string{"Processors", "Memory", "Storage", "EthernetInterfaces"} {
			system[c] = map[string]any{"@odata.id": sysPath + "/" + c}
		}
		system["MemorySummary"] = map[string]any{"TotalSystemMemoryGiB": 64}
		system["Links"] = map[string]any{"ManagedBy": []any{map[string]any{"@odata.id": "/redfish/v1/Managers/1"}}}
	})
	f.put("/redfish/v1/Managers/1", `{"FirmwareVersion": "9.9"}`)
	list := func(name string, members ...string) {
		var links []string
		for n, m := range members {
			uri := fmt.Sprintf("%s/%s/%d", sysPath, name, n+1)
			links = append(links, fmt.Sprintf(`{"@odata.id": %q}`, uri))
			f.put(uri, m)
		}
		f.put(sysPath+"/"+name, `{"Members": [`+strings.Join(links, ",")+`]}`)
	}
	cpu := `{"ProcessorType": "CPU", "ProcessorArchitecture": "x86", "InstructionSet": "x86-64", "Model": "X", "MaxSpeedMHz": 3000, "TotalCores": 8, "TotalThreads": 16}`
	list("Processors", cpu, cpu)
	list("Memory", `{"DeviceLocator": "A1", "CapacityMiB": 32768}`, `{"DeviceLocator": "A2", "CapacityMiB": 32768}`)
	list("Storage", `{"Id": "S", "Drives": [{"@odata.id": "/redfish/v1/d/1"}]}`)
	f.put("/redfish/v1/d/1", `{"Id": "D1", "Model": "M", "CapacityBytes": 1000, "MediaType": "SSD", "Protocol": "SATA", "Links": {"Volumes": []}}`)
	list("EthernetInterfaces",
		`{"Id": "E1", "MACAddress": "52:54:00:00:00:01", "LinkStatus": "LinkUp", "SpeedMbps": 25000, "MTUSize": 9000}`,
		`{"Id": "E 2", "MACAddress": "52:54:00:00:00:02"}`)
	return f
}

func inspectFake(t *testing.T, f *fake, quirks quirk.Set) (agent.Inventory, error) {
	t.Helper()
	s, err := dial(t, serve(t, f), admin, Options{Quirks: quirks})
	if err != nil {
		t.Fatal(err)
	}
	return s.Inspect(context.Background())
}

func TestInspectOneByOne(t *testing.T) {
	inv, err := inspectFake(t, newInspectable(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := agent.Inventory{
		Vendor:   agent.Vendor{Manufacturer: "ingot", Product: "fake", Serial: "S1", UUID: "38947555-7742-3448-3784-823347823834"},
		Firmware: agent.Firmware{Mode: agent.FirmwareUEFI, Vendor: "ingot", Version: "2.0 (01/02/2024)", Date: "01/02/2024", BMC: "9.9"},
		CPU:      agent.CPU{Arch: "x86_64", Model: "X", MHz: 3000, Sockets: 2, Cores: 16, Threads: 32},
		Memory:   agent.Memory{Physical: 64 << 30, Modules: []agent.Module{{Slot: "A1", Size: 32 << 30}, {Slot: "A2", Size: 32 << 30}}},
		Disks:    []agent.Disk{{Name: "D1", Type: agent.DiskSSD, Size: 1000, Model: "M", Bus: "ata"}},
		NICs: []agent.NIC{
			{Name: "E1", MAC: "52:54:00:00:00:01", Link: true, SpeedMbps: 25000, MTU: 9000}, {Name: "E-2", MAC: "52:54:00:00:00:02"},
		},
	}
	if d := cmp.Diff(want, inv); d != "" {
		t.Errorf("inventory (-want +got):\n%s", d)
	}
}

// What one resource does wrong costs that resource, and is said; what the BMC as
// a whole does ends the inspection with its class.
func TestInspectFaults(t *testing.T) {
	const one = sysPath + "/Memory/1"
	answer := func(code int, body string) func(w http.ResponseWriter) {
		return func(w http.ResponseWriter) { http.Error(w, body, code) }
	}
	for _, tc := range []struct {
		name    string
		uri     string
		answer  func(w http.ResponseWriter)
		skipped string
		modules int
		ram     int64
		class   bmc.Class
	}{
		{name: "not found", uri: one, answer: answer(404, ""), skipped: "HTTP 404", modules: 1, ram: 64},
		{name: "internal error", uri: one, answer: answer(500, `{"error": {"message": "sorry"}}`), skipped: "sorry", modules: 1, ram: 64},
		{name: "no JSON", uri: one, answer: answer(200, "<html>"), skipped: "no JSON", modules: 1, ram: 64},
		{name: "forbidden", uri: one, answer: answer(403, ""), skipped: "HTTP 403", modules: 1, ram: 64},
		{name: "array", uri: one, answer: answer(200, "[1]"), modules: 1, ram: 32},
		{name: "odd types", uri: one, answer: answer(200, `{"CapacityMiB": "32768", "DeviceLocator": ["x"], "Status": "OK", "Location": 5, "SerialNumber": 12, "OperatingSpeedMhz": {}}`), modules: 2, ram: 64},
		{name: "absurd numbers", uri: one, answer: answer(200, `{"CapacityMiB": 1e300}`), modules: 1, ram: 32},
		{name: "collection gone", uri: sysPath + "/Memory", answer: answer(404, ""), skipped: "HTTP 404", ram: 64},
		{name: "members as one", uri: sysPath + "/Memory", answer: answer(200, `{"Members": {"@odata.id": "`+one+`"}}`), modules: 1, ram: 32},
		{name: "members twice", uri: sysPath + "/Memory", answer: answer(200, `{"Members": [{"@odata.id": "`+one+`"}, "`+one+`"]}`), modules: 1, ram: 32},
		{name: "link astray", uri: sysPath + "/Memory", answer: answer(200, `{"Members": [{"@odata.id": "http://evil/"}, {"@odata.id": "x"}]}`), skipped: "link does not parse", ram: 64},
		{name: "busy", uri: one, answer: answer(503, ""), class: bmc.Busy},
		{name: "refused", uri: one, answer: answer(401, ""), class: bmc.Auth},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newInspectable(t)
			f.fault = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == tc.uri {
					tc.answer(w)
				}
				return r.URL.Path == tc.uri
			}
			inv, err := inspectFake(t, f, nil)
			if tc.class != "" {
				if bmc.ClassOf(err) != tc.class {
					t.Errorf("got %v, want class %s", err, tc.class)
				}
				return
			}
			if err != nil || len(inv.Memory.Modules) != tc.modules || inv.Memory.Physical != tc.ram<<30 || inv.CPU.Sockets != 2 || len(inv.Disks) != 1 {
				t.Errorf("%d modules, %d bytes, %d sockets, %v", len(inv.Memory.Modules), inv.Memory.Physical, inv.CPU.Sockets, err)
			}
			if said := fmt.Sprint(inv.Skipped); !strings.Contains(said, tc.skipped) || tc.skipped == "" && len(inv.Skipped) > 0 {
				t.Errorf("skipped %s, want %q", said, tc.skipped)
			}
		})
	}
}

// A service root may promise to expand and not keep it, or give a collection in
// parts.
func TestInspectExpand(t *testing.T) {
	for _, tc := range []struct {
		name   string
		answer func(w http.ResponseWriter, r *http.Request) bool
	}{
		{"refused", func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.RawQuery != "" {
				http.Error(w, `{"error": {"code": "Base.1.8.QueryNotSupported"}}`, http.StatusNotImplemented)
			}
			return r.URL.RawQuery != ""
		}},
		{"bad request", func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.RawQuery != "" {
				http.Error(w, "", http.StatusBadRequest)
			}
			return r.URL.RawQuery != ""
		}},
		{"ignored", func(http.ResponseWriter, *http.Request) bool { return false }},
		{"in parts", func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != sysPath+"/Memory" {
				return false
			}
			if r.URL.Query().Get("$skip") == "" {
				_, _ = fmt.Fprintf(w, `{"Members": [{"Id": "A1", "CapacityMiB": 32768}], "Members@odata.nextLink": "%s/Memory?$skip=1"}`, sysPath)
			} else {
				_, _ = fmt.Fprintf(w, `{"Members": [{"@odata.id": "%s/Memory/2"}]}`, sysPath)
			}
			return true
		}},
		{"parts without end", func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != sysPath+"/Memory" {
				return false
			}
			n := len(r.URL.RawQuery) % 2
			_, _ = fmt.Fprintf(w, `{"Members": [{"@odata.id": "/m/%d", "Id": "A%d", "CapacityMiB": 32768}], "Members@odata.nextLink": "%s/Memory?p=%s"}`,
				n, n, sysPath, strings.Repeat("x", n+1))
			return true
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newInspectable(t)
			f.docs["/redfish/v1"]["ProtocolFeaturesSupported"] = map[string]any{"ExpandQuery": map[string]any{"NoLinks": true}}
			f.fault = func(w http.ResponseWriter, r *http.Request) bool { return tc.answer(w, r) }
			inv, err := inspectFake(t, f, nil)
			if err != nil || len(inv.Memory.Modules) != 2 || inv.CPU.Sockets != 2 {
				t.Errorf("%d modules, %d sockets, %v (%v)", len(inv.Memory.Modules), inv.CPU.Sockets, err, inv.Skipped)
			}
		})
	}
}

// A BMC that lists without end is asked no more than walkMost times.
func TestInspectIsBounded(t *testing.T) {
	f := newInspectable(t)
	var many []string
	for n := range 900 {
		many = append(many, fmt.Sprintf(`{"@odata.id": "/redfish/v1/p/%d"}`, n))
	}
	f.put(sysPath+"/Processors", `{"Members": [`+strings.Join(many, ",")+`]}`)
	inv, err := inspectFake(t, f, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(f.requests()); n > walkMost+5 {
		t.Errorf("%d requests", n)
	}
	if len(inv.Skipped) != maxSkipped {
		t.Errorf("%d notes", len(inv.Skipped))
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := mustDial(t, f)
	f.fault = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/redfish/v1/p/") {
			cancel()
		}
		return false
	}
	if _, err := s.Inspect(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Functions of an adapter complete what the system tells of its interfaces.
func TestInspectAdapters(t *testing.T) {
	f := newInspectable(t)
	f.change(func(system map[string]any) {
		system["Links"].(map[string]any)["Chassis"] = []any{map[string]any{"@odata.id": "/redfish/v1/Chassis/1"}}
	})
	f.put("/redfish/v1/Chassis/1", `{"NetworkAdapters": {"@odata.id": "/redfish/v1/Chassis/1/NA"}}`)
	f.put("/redfish/v1/Chassis/1/NA", `{"Members": [{"@odata.id": "/redfish/v1/Chassis/1/NA/X", "Id": "X", "Controllers": [{"FirmwarePackageVersion": "1.2"}],
		"NetworkDeviceFunctions": {"Members": [
			{"Id": "0", "NetDevFuncType": "Ethernet", "Ethernet": {"PermanentMACAddress": "52:54:00:00:00:02", "MTUSize": 1500}},
			{"Id": "1", "NetDevFuncType": "Ethernet", "Ethernet": {"MACAddress": "52-54-00-00-00-03"}},
			{"Id": "2", "NetDevFuncType": "InfiniBand", "Ethernet": {"MACAddress": "52:54:00:00:00:04"}},
			{"Id": "3", "NetDevFuncType": "FibreChannel"}, {"Id": "4", "NetDevFuncType": "Ethernet", "Ethernet": {"MACAddress": "00:00:00:00:00:00"}}]},
		"Ports": {"Members": [{"Id": "P", "LinkStatus": "LinkUp", "CurrentSpeedGbps": 2.5, "Ethernet": {"AssociatedMACAddresses": ["52:54:00:00:00:03"]}}]}}]}`)
	inv, err := inspectFake(t, f, nil)
	want := []agent.NIC{
		{Name: "E1", MAC: "52:54:00:00:00:01", Link: true, SpeedMbps: 25000, MTU: 9000},
		{Name: "E-2", MAC: "52:54:00:00:00:02", MTU: 1500, Firmware: "1.2"},
		{Name: "X-1", MAC: "52:54:00:00:00:03", Link: true, SpeedMbps: 2500, Firmware: "1.2"},
	}
	if d := cmp.Diff(want, inv.NICs); d != "" || err != nil {
		t.Errorf("%v, NICs (-want +got):\n%s", err, d)
	}
}

func TestWWN(t *testing.T) {
	for _, tc := range []struct{ name, format, base, extension string }{
		{"58CE38EE236E3840", "NAA", "0x58ce38ee236e3840", ""}, // recorded tree hpe-dl360-gen12-ilo7
		{"600062B21F1A8BC06E2A1226CF22AEFF", "NAA", "0x600062b21f1a8bc0", "6e2a1226cf22aeff"},
		{"naa.58CE38EE236E3840", "NAA", "0x58ce38ee236e3840", ""},
		{"36-44-44-30-54-A0-12-34-00-25-38-45-00-00-00-01", "NGUID", "eui.3644443054a012340025384500000001", ""},
		{"00253800:00000001", "EUI", "eui.0025380000000001", ""},
		{"", "NAA", "", ""},
		{"not hex", "NAA", "", ""},
		{"1234", "NAA", "", ""},
		{"58CE38EE236E3840", "UUID", "", ""},
	} {
		base, extension := wwn([]identifier{{}, {Name: text(tc.name), Format: text(tc.format)}})
		if base != tc.base || extension != tc.extension {
			t.Errorf("%s %s: %q %q", tc.format, tc.name, base, extension)
		}
	}
}

func TestDiskNames(t *testing.T) {
	a := driveResource{ID: "0", Bytes: 1}
	got := disksOf([]subsystem{
		{storageResource: storageResource{ID: "A"}, drives: []driveResource{a, a}},
		{storageResource: storageResource{ID: "B"}, drives: []driveResource{a, {Bytes: 1}}},
	})
	var names []string
	for _, d := range got {
		names = append(names, d.Name)
	}
	if d := cmp.Diff([]string{"0", "A/0", "B/0", "#2"}, names); d != "" {
		t.Errorf("names (-want +got):\n%s", d)
	}
}

// quirk.SerialIsSKU. Recorded tree dell-r750-idrac9, Systems/System.Embedded.1:
// "SerialNumber": "CNIVC0014M0388" is the main board's, "SKU": "F54P1G3" is the
// service tag, which the machine's SMBIOS has as its serial number (Launchpad
// 2146585).
func TestQuirkSerialIsSKU(t *testing.T) {
	withoutAndWith(t, quirk.SerialIsSKU, func(t *testing.T, quirks ...quirk.Name) error {
		f := newInspectable(t)
		f.change(func(system map[string]any) {
			system["Manufacturer"], system["SerialNumber"], system["SKU"] = "Dell Inc.", "CNIVC0014M0388", "F54P1G3"
		})
		return identifies(t, f, quirks, func(id bmc.Identity) string { return id.Serial }, func(inv agent.Inventory) string { return inv.Vendor.Serial }, "F54P1G3")
	})
}

// quirk.NoManufacturer. A blade's iDRAC leaves the system's Manufacturer blank
// (facts/bmc.md: a PowerEdge M640 data set, not at hand); its service root has
// "Vendor": "Dell" (recorded tree dell-r750-idrac9).
func TestQuirkNoManufacturer(t *testing.T) {
	withoutAndWith(t, quirk.NoManufacturer, func(t *testing.T, quirks ...quirk.Name) error {
		f := newInspectable(t)
		f.change(func(system map[string]any) { system["Manufacturer"] = "" })
		f.docs["/redfish/v1"]["Vendor"] = "Dell"
		return identifies(t, f, quirks, func(id bmc.Identity) string { return id.Manufacturer },
			func(inv agent.Inventory) string { return inv.Vendor.Manufacturer }, "Dell")
	})
}

func identifies(t *testing.T, f *fake, quirks []quirk.Name, short func(bmc.Identity) string, long func(agent.Inventory) string, want string) error {
	t.Helper()
	set := quirk.Set{}
	for _, q := range quirks {
		set[q] = true
	}
	s, err := dial(t, serve(t, f), admin, Options{Quirks: set})
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.Identify(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	inv, err := s.Inspect(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if short(id) != want || long(inv) != want {
		return fmt.Errorf("got %q and %q, want %q", short(id), long(inv), want)
	}
	return nil
}

// quirk.HostSystem. NVIDIA's boards list GPUs on a system of their own (recorded
// tree supermicro-gb300-nvl: Systems/HGX_Baseboard_0/Processors/GPU_0, "Model":
// "NVIDIA GB300"); a host that lists its own CPUs is asked for more only then.
func TestQuirkHostSystemInspect(t *testing.T) {
	withoutAndWith(t, quirk.HostSystem, func(t *testing.T, quirks ...quirk.Name) error {
		f := newInspectable(t)
		f.put("/redfish/v1/Systems", `{"Members": [{"@odata.id": "/redfish/v1/Systems/1"}, {"@odata.id": "/redfish/v1/Systems/HGX_Baseboard_0"}]}`)
		f.put("/redfish/v1/Systems/HGX_Baseboard_0", `{"Processors": {"@odata.id": "/redfish/v1/Systems/HGX_Baseboard_0/Processors"}}`)
		f.put("/redfish/v1/Systems/HGX_Baseboard_0/Processors", `{"Members": [{"Id": "GPU_0", "ProcessorType": "GPU", "Model": "NVIDIA GB300"}, {"Id": "CPU_0", "ProcessorType": "CPU", "TotalCores": 72}]}`)
		set := quirk.Set{}
		for _, q := range quirks {
			set[q] = true
		}
		inv, err := inspectFake(t, f, set)
		if err == nil && (len(inv.Accelerators) != 1 || inv.CPU.Sockets != 2) {
			err = fmt.Errorf("%d accelerators, %d sockets", len(inv.Accelerators), inv.CPU.Sockets)
		}
		return err
	})
}
