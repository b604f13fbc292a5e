package redfish

import (
	"encoding/json"
	"net/url"
	"testing"
	"unicode/utf8"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// membersOf takes bytes apart as a collection, as a walk does.
func membersOf(data []byte) []json.RawMessage {
	var page struct {
		Members list[resourceRef] `json:"Members"`
	}
	if decode("", data, &page) != nil {
		return nil
	}
	var out []json.RawMessage
	for _, m := range page.Members {
		if m.full() {
			out = append(out, m.raw)
		}
	}
	return out
}

func FuzzInspect(f *testing.F) {
	for _, seed := range []string{
		`{"Members": [{"Id": "CPU", "ProcessorType": "CPU", "TotalCores": 8, "TotalThreads": "16", "MaxSpeedMHz": 1e99, "Status": {"State": "Absent"}}]}`,
		`{"Members": {"@odata.id": "/x", "DeviceLocator": "A1", "CapacityMiB": -1, "Location": {"PartLocation": {"ServiceLabel": 5}}}}`,
		`{"Members": [{"MACAddress": "52:54:00:00:00:01", "SpeedMbps": 25000, "Links": {"HostInterface": "x"}}, null, "y", 5, [[]]]}`,
		`{"Members": [{"Controllers": [{"FirmwarePackageVersion": ["SCP"]}], "Ethernet": {"MACAddress": "00"}, "CurrentSpeedGbps": 1e308}]}`,
		`{"Members": [{"Devices": [{"Name": "a", "CapacityBytes": 1}], "PCIeInterface": {"PCIeType": "Gen4", "LanesInUse": 16}}]}`,
		`{"ProcessorSummary": {"Count": "2"}, "MemorySummary": {"TotalSystemMemoryGiB": 0.5}, "BiosVersion": "x (01/02/2024)"}`,
		`{"Members": [{"Id": "\u0000\u202e", "CapacityMiB": 1}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		raws := membersOf(data)
		var in inspection
		_ = decode("", data, &in.hw)
		cpu, accelerators := cpusOf(decodeAll[processor](raws))
		cpu = summarised(cpu, in.hw)
		modules, total := modulesOf(decodeAll[dimm](raws))
		for _, a := range decodeAll[networkAdapter](raws) {
			in.functions(a, decodeAll[deviceFunction](raws))
		}
		for _, p := range decodeAll[portResource](raws) {
			if p.mbps() < 0 {
				t.Errorf("speed %d", p.mbps())
			}
		}
		inv := agent.Inventory{
			CPU: cpu, Accelerators: accelerators, Memory: agent.Memory{Physical: total, Modules: modules},
			NICs: in.inv.NICs, PCI: pciOf(decodeAll[pcieDevice](raws)), Disks: simpleDisks(decodeAll[simpleStorage](raws)),
		}
		inv.Firmware.Date = firstOf(dateIn(clean(in.hw.BIOSVersion)), usDate(clean(in.hw.BIOSVersion)))
		believable(t, inv)
	})
}

func FuzzStorage(f *testing.F) {
	for _, seed := range []string{
		`{"Members": [{"@odata.id": "/s", "Drives": [{"@odata.id": "/d", "Id": "1", "CapacityBytes": 5, "Protocol": "NVMe", "Identifiers": [{"DurableName": "58CE38EE236E3840", "DurableNameFormat": "NAA"}]}],
			"Volumes": {"Members": [{"@odata.id": "/v", "RAIDType": "RAID1", "Links": {"Drives": [{"@odata.id": "/D/"}]}}]}, "StorageControllers": [{"SupportedRAIDTypes": ["RAID1"]}]}]}`,
		`{"Members": [{"Drives": "x", "Volumes": 5, "StorageControllers": {"Model": "m", "SupportedRAIDTypes": "RAID0"}}]}`,
		`{"RAIDType@Redfish.AllowableValues": ["RAID1"], "CapacityBytes@Redfish.AllowableNumbers": ["1:2", ":", "x"], "Name@Redfish.AllowablePattern": "(((", "Members": [{}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var subs []subsystem
		for _, st := range decodeAll[storageResource](membersOf(data)) {
			sub := subsystem{storageResource: st, controllers: st.Inline}
			for _, d := range st.Drives {
				sub.drives = append(sub.drives, decodeAll[driveResource]([]json.RawMessage{d.raw})...)
			}
			sub.volumes = decodeAll[volumeResource](membersOf(st.Volumes.raw))
			subs = append(subs, sub)
		}
		believable(t, agent.Inventory{Disks: disksOf(subs)})
		var limits volumeLimits
		_ = decode("", data, &limits)
		for _, sub := range subs {
			c := sub.controller()
			spec := bmc.VolumeSpec{Name: "n", RAIDType: "RAID1", Bytes: 1}
			for _, d := range c.Drives {
				spec.DriveIDs = append(spec.DriveIDs, d.ID)
			}
			_ = checkVolume("", sub, limits, spec)
			madeAlready(sub.volumes, bmc.Op{Want: map[string]string{wantRAID: "RAID1", wantDrives: driveSet(spec.DriveIDs)}})
		}
	})
}

func FuzzFirmwareInventory(f *testing.F) {
	for _, seed := range []string{
		`{"Members": [{"@odata.id": "/f/BIOS", "Id": "BIOS", "Name": "System BIOS", "Version": "1.0", "RelatedItem": "/redfish/v1/Systems/1/Bios", "Updateable": "true"}]}`,
		`{"Members": [{"@odata.id": "/f/1", "Name": "BMC", "Version": 7, "RelatedItem": [{"@odata.id": "/m"}, [], null], "Status": []}]}`,
		`{"ServiceEnabled": "yes", "MaxImageSizeBytes": "x", "HttpPushUriTargets": 5, "Actions": {"#UpdateService.SimpleUpdate": {"target": 1, "TransferProtocol@Redfish.AllowableValues": [["SCP"]]}}}`,
		`{"Version": null, "Controllers": [{"FirmwarePackageVersion": "1"}]}`,
	} {
		f.Add([]byte(seed))
	}
	s := &System{e: NewEndpoint(bmc.Address{}, bmc.Credentials{}, Options{Quirks: quirk.Set{}})}
	f.Fuzz(func(t *testing.T, data []byte) {
		all := decodeAll[software](membersOf(data))
		bestBIOS(all, "/s", "1.0")
		if b := bestBMC(all, "/m", "/f/1", ""); b != nil && clean(b.Version) == "" {
			t.Error("a component without version is the BMC's")
		}
		for _, sw := range all {
			if c := sw.component(""); len(c.Name) > 2000 || !utf8.ValidString(c.Version) {
				t.Errorf("component %+v", c)
			}
		}
		var svc updateService
		_ = decode("", data, &svc)
		_ = s.cannotPull(svc, &url.URL{Scheme: "http", Host: "h"})
		var v versioned
		_ = decode("", data, &v)
		_ = v.version()
	})
}

// believable holds for every inventory, whatever the BMC said.
func believable(t *testing.T, inv agent.Inventory) {
	t.Helper()
	for _, n := range []int{inv.CPU.Sockets, inv.CPU.Cores, inv.CPU.Threads, inv.CPU.MHz} {
		if n < 0 {
			t.Errorf("CPU %+v", inv.CPU)
		}
	}
	names := map[string]bool{}
	for _, d := range inv.Disks {
		if d.Name == "" || names[d.Name] || d.Size < 0 || d.SectorSize < 0 {
			t.Errorf("disk %+v", d)
		}
		names[d.Name] = true
	}
	for _, n := range inv.NICs {
		if len(n.MAC) != 17 || n.MTU < 0 || n.SpeedMbps < 0 {
			t.Errorf("NIC %+v", n)
		}
	}
	if inv.Memory.Physical < 0 {
		t.Errorf("memory %d", inv.Memory.Physical)
	}
	data, err := json.Marshal(inv)
	if err != nil || !utf8.Valid(data) {
		t.Errorf("%v", err)
	}
}
