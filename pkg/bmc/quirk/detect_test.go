package quirk

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDetect(t *testing.T) {
	dell := Facts{Vendor: "Dell", OEM: []string{"Dell"}, RedfishVersion: "1.20.1", Manufacturer: "Dell Inc."}
	with := func(f Facts, edit func(*Facts)) Facts {
		edit(&f)
		return f
	}
	supermicro := Facts{Vendor: "Supermicro", RedfishVersion: "1.11.0", Manufacturer: "Supermicro"}
	for _, tc := range []struct {
		name  string
		facts Facts
		has   []Name
		lacks []Name
	}{
		{
			name: "nothing known: generic", facts: Facts{},
			has: []Name{ETagLadder, MediaPatch}, lacks: []Name{NoSessions, SerialIsSKU},
		},
		{
			name: "sushy-tools", facts: Facts{RootName: "Redvirt Service"},
			has: []Name{OnlyContinuous, MediaFileName, BIOSPath}, lacks: []Name{NoContinuous, ETagLadder},
		},
		{
			name: "VirtualBMC", facts: Facts{DeviceID: "0000010002" + strings.Repeat("00", 9)},
			has: []Name{IPMIPlainBoot, IPMINoCycle}, lacks: []Name{IPMIUEFIDisk, ETagLadder},
		},
		{
			name: "a BMC of another maker", facts: Facts{DeviceID: "2001011002bf7c2a0000000000"},
			lacks: []Name{IPMIPlainBoot, IPMINoCycle, IPMIUEFIDisk},
		},
		{
			name: "a vendor's sign ends the generic set", facts: Facts{Vendor: "Fujitsu"},
			has: []Name{ETagRequired}, lacks: []Name{MediaPatch},
		},
		{
			name: "iDRAC10 by its model", facts: with(dell, func(f *Facts) { f.Model = "PowerEdge R770" }),
			has: []Name{MediaFirstSlot, BootViaSettings, DellVirtualCDBoot}, lacks: []Name{AccountSlots},
		},
		{
			name: "iDRAC10 by its manager", facts: with(dell, func(f *Facts) { f.ManagerModel = "17G Monolithic" }),
			has: []Name{MediaFirstSlot, BootViaSettings, DellVirtualCDBoot},
		},
		{
			name: "iDRAC9, not old", facts: with(dell, func(f *Facts) { f.Model = "PowerEdge R750" }),
			has: []Name{AccountSlots, SerialIsSKU}, lacks: []Name{MediaFirstSlot, BootViaSettings, DellVirtualCDBoot},
		},
		{
			name: "a five-figure model of the 15th generation", facts: with(dell, func(f *Facts) { f.Model = "PowerEdge R7525" }),
			lacks: []Name{MediaFirstSlot, DellVirtualCDBoot},
		},
		{
			name: "iDRAC9 below 6.00, by its firmware",
			facts: with(dell, func(f *Facts) {
				f.Model, f.ManagerModel, f.BMCFirmware = "PowerEdge R640", "14G Monolithic", "5.10.50.00"
			}),
			has: []Name{DellVirtualCDBoot}, lacks: []Name{MediaFirstSlot},
		},
		{
			name:  "iDRAC9 below 6.00, by the version of Redfish",
			facts: with(dell, func(f *Facts) { f.Model, f.RedfishVersion = "PowerEdge R640", "1.11.0" }),
			has:   []Name{DellVirtualCDBoot},
		},
		{
			name: "what the manager says outdoes the version of Redfish",
			facts: with(dell, func(f *Facts) {
				f.ManagerModel, f.BMCFirmware, f.RedfishVersion = "15G Monolithic", "6.10.30.00", "1.11.0"
			}),
			lacks: []Name{DellVirtualCDBoot},
		},
		{
			name: "Supermicro", facts: with(supermicro, func(f *Facts) { f.Model = "SYS-510T-MR" }),
			has: []Name{CDIsUSBCD, MediaMinimalBody, BootAlwaysEnabled}, lacks: []Name{OnePerSecond},
		},
		{
			name: "Supermicro's exception", facts: with(supermicro, func(f *Facts) { f.Model = "ARS-111GL-NHR" }),
			has: []Name{MediaMinimalBody}, lacks: []Name{CDIsUSBCD},
		},
		{
			name: "Supermicro X10", facts: with(supermicro, func(f *Facts) { f.RedfishVersion = "1.0.1" }),
			has: []Name{OnePerSecond},
		},
		{
			name:  "Supermicro's Grace board is NVIDIA's and OpenBMC's",
			facts: with(supermicro, func(f *Facts) { f.Product = "GB NVL" }),
			has:   []Name{HostSystem, BootViaSettings, FirmwareMultipart}, lacks: []Name{CDIsUSBCD, MediaMinimalBody},
		},
		{
			name: "OpenBMC by its manager", facts: Facts{ManagerModel: "OpenBmc"},
			has: []Name{FirmwareMultipart, IPMIBootTimer}, lacks: []Name{MediaPatch},
		},
		{
			name: "HPE", facts: Facts{Vendor: "HPE", Product: "ProLiant DL380 Gen10 Plus"},
			has: []Name{GzipRegistry, NoKeepAlive, EjectEmptyObject},
		},
		{
			name: "HPE, newer", facts: Facts{Vendor: "HPE", Product: "ProLiant Compute DL360 Gen12"},
			has: []Name{EjectEmptyObject}, lacks: []Name{GzipRegistry, NoKeepAlive},
		},
		{
			name: "sushy-tools", facts: Facts{RootName: "Redvirt Service", RedfishVersion: "1.5.0"},
			has: []Name{NoSessions, OneTask, BIOSPath}, lacks: []Name{MediaPatch},
		},
		{name: "AMI by its OEM key", facts: Facts{OEM: []string{"Public", "Ami"}}, has: []Name{BootFullBody}},
		{name: "Gigabyte", facts: Facts{Manufacturer: "Giga Computing"}, has: []Name{ETagRequired}},
		{name: "ASRockRack", facts: Facts{Manufacturer: "ASRockRack"}, has: []Name{BootViaSettings}},
		{name: "Cisco", facts: Facts{Manufacturer: "Cisco Systems Inc"}, has: []Name{MediaSkipSlot}},
		{name: "Nokia", facts: Facts{Manufacturer: "Nokia Solutions and Networks"}, has: []Name{MediaTransfer}},
		{name: "Lenovo by its manager", facts: Facts{ManagerModel: "Lenovo XClarity Controller"}, has: []Name{MediaPatch, NoContinuous}},
		{name: "Intel", facts: Facts{Vendor: "Intel Corporation"}, has: []Name{PushPath}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := Detect(tc.facts)
			for _, n := range tc.has {
				if !got.Has(n) {
					t.Errorf("%s is missing in %v", n, got.Names())
				}
			}
			for _, n := range tc.lacks {
				if got.Has(n) {
					t.Errorf("%s is one too many in %v", n, got.Names())
				}
			}
		})
	}
}

func TestGlob(t *testing.T) {
	for _, tc := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"a*", "a", true},
		{"*a", "ba", true},
		{"*ab", "aab", true},
		{"a*b*c", "axxbyyc", true},
		{"a*b*c", "axxc", false},
		{"?", "", false},
		{"@#", "r7", true},
		{"@#", "77", false},
		{"?#", "rr", false},
		{"gb*nvl*", "gb200 nvl", true},
		{"*a*b*", strings.Repeat("a", 200), false},
	} {
		if got := glob(tc.pattern, tc.s); got != tc.want {
			t.Errorf("glob(%q, %q) = %v", tc.pattern, tc.s, got)
		}
	}
}

func TestParseVersion(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want version
		ok   bool
	}{
		{"6.00.30.00", version{6, 0, 30, 0}, true},
		{"1.14.00 May 28 2025", version{1, 14}, true},
		{"TGBT20E 1.40 2021-05-17", version{1, 40}, true},
		{"2.15.0-dev-686-g100c36de90", version{2, 15}, true},
		{"GB200Nvl-25.07-7", version{25, 7}, true},
		{"1.2.3.4.5", version{1, 2, 3, 4}, true},
		{"9999999999999999999.1", version{1 << 20, 1}, true},
		{"", version{}, false},
		{"7", version{}, false},
		{"...", version{}, false},
		{".5", version{}, false},
		{"5.", version{}, false},
	} {
		got, ok := parseVersion(tc.in)
		if ok != tc.ok || got != tc.want {
			t.Errorf("parseVersion(%q) = %v, %v; want %v, %v", tc.in, got, ok, tc.want, tc.ok)
		}
	}
	for _, tc := range []struct {
		r    Range
		v    string
		want bool
	}{
		{Range{}, "", true},
		{Range{Below: "6.00"}, "", false},
		{Range{Below: "6.00"}, "5.10.50.00", true},
		{Range{Below: "6.00"}, "6.00.00.00", false},
		{Range{From: "1.13"}, "1.13.0", true},
		{Range{From: "1.13", Below: "1.20"}, "1.9.0", false},
	} {
		if got := tc.r.has(tc.v); got != tc.want {
			t.Errorf("%+v has %q: %v", tc.r, tc.v, got)
		}
	}
}

func TestParseOverride(t *testing.T) {
	for _, tc := range []struct {
		in    string
		want  Override
		error string
	}{
		{in: ""},
		{in: " , ,"},
		{in: "vmedia-patch,-etag-required", want: Override{Force: []Name{MediaPatch}, Forbid: []Name{ETagRequired}}},
		{in: " VMedia-Patch , - etag-required , vmedia-patch", want: Override{Force: []Name{MediaPatch}, Forbid: []Name{ETagRequired}}},
		{in: "vmedia-pach", error: `no quirk is called "vmedia-pach"; the closest are vmedia-patch`},
		{in: "-etag", error: `no quirk is called "etag"; the closest are etag-`},
		{in: "-", error: `no quirk is called ""`},
		{in: "one-task,-one-task", error: "one-task is both forced and forbidden"},
		{in: strings.Repeat("one-task,", 1000), error: "longer than"},
		{in: strings.Repeat("x", 3000), error: "no quirk is called"},
	} {
		got, err := ParseOverride(tc.in)
		switch {
		case tc.error == "" && err != nil, tc.error != "" && (err == nil || !strings.Contains(err.Error(), tc.error)):
			t.Errorf("%.40q: error %v, want %q", tc.in, err, tc.error)
		case err != nil && len(err.Error()) > 300:
			t.Errorf("%.40q: the error has %d bytes", tc.in, len(err.Error()))
		}
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("%.40q (-want +got):\n%s", tc.in, d)
		}
	}
}

func TestApply(t *testing.T) {
	set := Set{ETagRequired: true, MediaStale: true}
	got := Apply(set, Override{Force: []Name{MediaPatch}, Forbid: []Name{ETagRequired, OneTask}})
	if d := cmp.Diff([]Name{MediaPatch, MediaStale}, got.Names()); d != "" {
		t.Errorf("applied (-want +got):\n%s", d)
	}
	if len(set) != 2 {
		t.Error("the given set was changed")
	}
	if Apply(nil, Override{}) == nil {
		t.Error("nothing applied to nothing is nil, which would mean: not yet detected")
	}
}

func FuzzDetect(f *testing.F) {
	f.Add("Dell", "Integrated Dell Remote Access Controller", "Root Service", "1.13.1", "Dell", "Dell Inc.", "PowerEdge R750", "6.00.30.00", "15G Monolithic")
	f.Add("", "", "Redvirt Service", "1.5.0", "", "", "", "", "")
	f.Add("\xff*?#[", strings.Repeat("*", 300), "\x00", "1..2", strings.Repeat("é", 200), "%s", "poweredge @@#7*", "99999999999999999999999.9", "OpenBmc")
	f.Fuzz(func(t *testing.T, vendor, product, name, redfish, oem, manufacturer, model, firmware, manager string) {
		facts := Facts{
			Vendor: vendor, Product: product, RootName: name, RedfishVersion: redfish, OEM: []string{oem},
			Manufacturer: manufacturer, Model: model, BMCFirmware: firmware, ManagerModel: manager,
		}
		got := Detect(facts)
		for _, n := range got.Names() {
			if !Known(n) {
				t.Errorf("detected %q, which is no quirk", n)
			}
		}
		if d := cmp.Diff(got, Detect(facts)); d != "" {
			t.Error("not the same twice")
		}
	})
}

func FuzzParseOverride(f *testing.F) {
	f.Add("vmedia-patch,-etag-required")
	f.Add("-,--,,-one-task")
	f.Add("\xff\x00,é")
	f.Fuzz(func(t *testing.T, s string) {
		o, err := ParseOverride(s)
		if err != nil {
			if len(err.Error()) > 500 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		again, err := ParseOverride(o.String())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(o, again); d != "" {
			t.Errorf("read again (-first +second):\n%s", d)
		}
		Apply(Detect(Facts{}), o)
	})
}
