package redfish

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// detecting opens the fake's system with detection on.
func detecting(t *testing.T, f *fake, o Options) *System {
	t.Helper()
	addr := serve(t, f)
	s, err := NewEndpoint(addr, admin, o).System(context.Background(), addr.System)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

// has tells by name, so that these tests of the detection do not count as tests
// of a quirk.
func has(s *System, name string) bool { return slices.Contains(s.Quirks(), quirk.Name(name)) }

func TestQuirksAreDetectedAsMoreIsRead(t *testing.T) {
	f := newFake(t)
	f.put("/redfish/v1/Managers/1", `{"Model": "17G Monolithic", "FirmwareVersion": "1.20.80.50"}`)
	f.change(func(system map[string]any) {
		system["Manufacturer"], system["Model"] = "Dell Inc.", "PowerEdge"
		system["Links"] = map[string]any{"ManagedBy": []any{map[string]any{"@odata.id": "/redfish/v1/Managers/1"}}}
	})
	s := detecting(t, f, Options{})
	ctx := context.Background()
	if !has(s, "vmedia-patch") || has(s, "serial-is-sku") {
		t.Errorf("a service root without a sign: %v, want the generic ones", s.Quirks())
	}
	before := len(f.requests())
	id, err := s.Identify(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(f.requests()) - before; n != 1 {
		t.Errorf("%d requests to identify", n)
	}
	if has(s, "vmedia-patch") || !has(s, "serial-is-sku") || has(s, "vmedia-first-slot") {
		t.Errorf("a Dell of some kind: %v", s.Quirks())
	}
	if _, err := s.Details(ctx, id); err != nil {
		t.Fatal(err)
	}
	if !has(s, "vmedia-first-slot") {
		t.Errorf("an iDRAC10: %v", s.Quirks())
	}
	if !s.e.quirks.Has("serial-is-sku") {
		t.Error("the Endpoint did not learn of its machine")
	}
}

func TestQuirksFromTheServiceRoot(t *testing.T) {
	for _, tc := range []struct {
		name, root, want string
	}{
		{"its vendor", `"Vendor": "HPE"`, "eject-empty-object"},
		{"its OEM", `"Oem": {"@odata.type": "x", "Ami": {}}`, "boot-full-body"},
		{"its name", `"Name": "Redvirt Service"`, "bios-path"},
		{"wrong types", `"Vendor": {"a": 1}, "Product": [], "Name": null, "Oem": "Dell"`, "etag-ladder"},
		{"a list for Oem", `"Oem": ["Dell"]`, "etag-ladder"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake(t)
			f.put("/redfish/v1", `{"RedfishVersion": "1.15.0", "Systems": {"@odata.id": "/redfish/v1/Systems"},
				"Links": {"Sessions": {"@odata.id": "/redfish/v1/SessionService/Sessions"}}, `+tc.root+`}`)
			if s := detecting(t, f, Options{}); !has(s, tc.want) {
				t.Errorf("%s is not among %v", tc.want, s.Quirks())
			}
		})
	}
}

func TestQuirksGivenAndOverridden(t *testing.T) {
	f := newFake(t)
	f.change(func(system map[string]any) { system["Manufacturer"] = "Lenovo" })
	for _, tc := range []struct {
		name string
		o    Options
		want []quirk.Name
	}{
		{"given", Options{Quirks: quirk.Set{"one-task": true}}, []quirk.Name{"one-task"}},
		{"none given", Options{Quirks: quirk.Set{}}, []quirk.Name{}},
		{
			"given and overridden",
			Options{Quirks: quirk.Set{"one-task": true}, QuirkOverride: quirk.Override{Force: []quirk.Name{"bios-path"}, Forbid: []quirk.Name{"one-task"}}},
			[]quirk.Name{"bios-path"},
		},
	} {
		s := detecting(t, f, tc.o)
		if _, err := s.Identify(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := s.Quirks(); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
	s := detecting(t, f, Options{QuirkOverride: quirk.Override{Forbid: []quirk.Name{"etag-required"}}})
	if _, err := s.Identify(context.Background()); err != nil {
		t.Fatal(err)
	}
	if has(s, "etag-required") || !has(s, "no-continuous") {
		t.Errorf("detected and overridden: %v", s.Quirks())
	}
}

// TestQuirksOfSiblings: machines behind one BMC may be of different makers.
func TestQuirksOfSiblings(t *testing.T) {
	f := newFake(t)
	f.put("/redfish/v1/Systems/2", `{"@odata.id": "/redfish/v1/Systems/2", "Manufacturer": "Lenovo", "PowerState": "On"}`)
	f.change(func(system map[string]any) { system["Manufacturer"] = "Nokia" })
	addr := serve(t, f)
	e := NewEndpoint(addr, admin, Options{})
	ctx := context.Background()
	var all sync.WaitGroup
	for uri, want := range map[string]string{"/redfish/v1/Systems/1": "vmedia-transfer", "/redfish/v1/Systems/2": "no-continuous"} {
		all.Go(func() {
			s, err := e.System(ctx, uri)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close(ctx)
			for range 5 {
				if _, err := s.Identify(ctx); err != nil { // a poll reads too little to tell
					t.Error(err)
				}
				if !has(s, want) {
					t.Errorf("%s: %v", uri, s.Quirks())
				}
			}
		})
	}
	all.Wait()
}
