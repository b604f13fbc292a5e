package redfish

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// TestRecordedTreesOfMediaAndHealth reads drives, sensors, logs, accounts,
// subscriptions and locator of the recorded trees. What is wanted was counted in
// their JSON by hand.
func TestRecordedTreesOfMediaAndHealth(t *testing.T) {
	for _, tc := range []struct {
		set       string
		quirks    quirk.Set
		slots     []string // below the last folder; inserted ones with an exclamation mark
		drive     string   // the one that would be used
		kinds     map[string]int
		status    string
		entries   int
		lastEntry string
		noLog     bool
		accounts  []string
		subs      int
		eventsOff bool
		lit       bool
		requests  map[string]int // at most; those not named: 5
	}{
		{
			set: "dell-r750-idrac9", quirks: quirk.Set{quirk.IndicatorBlinks: true}, slots: []string{"RemovableDisk", "CD"}, drive: "CD", status: "OK",
			// 33 sensors; two of type Frequency and four of Percent are "other".
			kinds:   map[string]int{"temperature": 6, "fan": 6, "voltage": 8, "current": 2, "power": 5, "other": 6},
			entries: 5, lastEntry: "1024",
			accounts: []string{"root Administrator", "forge_admin Administrator", "fwupd None off"},
			subs:     1, eventsOff: true,
			requests: map[string]int{"log": 6},
		},
		{
			// Its drives have no actions. Of 41 sensors 7 have a unit (Cel) and no type;
			// the four fans are of type Percent; 1 battery's health, 3 energies and 2
			// frequencies are "other". Its second account is in no list.
			set: "dmtf-public-rackmount1", slots: []string{"Floppy1!", "CD1!"}, status: "OK",
			kinds:   map[string]int{"temperature": 8, "fan": 4, "voltage": 10, "current": 10, "power": 3, "other": 6},
			entries: 2, lastEntry: "2", accounts: []string{"Administrator Administrator"}, subs: 4,
			requests: map[string]int{"log": 6},
		},
		{
			// Its 35 sensors have no type: Thermal has 35 temperatures (13 of them absent)
			// and 7 fans, Power 2 voltages, 1 control, 2 supplies.
			set: "hpe-dl360-gen12-ilo7", slots: []string{"1", "2"}, drive: "2", status: "OK",
			kinds: map[string]int{"temperature": 35, "fan": 7, "voltage": 2, "power": 3}, entries: 5, lastEntry: "5",
			accounts: []string{"Administrator Administrator", "ctobmaas Administrator"}, lit: true,
			requests: map[string]int{"log": 6},
		},
		{
			set: "lenovo-sr670-xcc", quirks: quirk.Set{quirk.MediaPatch: true}, drive: "EXT1", status: "OK",
			slots: []string{"RDOC1", "RDOC2", "EXT1", "EXT2", "EXT3", "EXT4", "Remote1", "Remote2", "Remote3", "Remote4"},
			// 230 sensors; the fans are 10 of type AirFlow in RPM, 143 discrete ones are
			// "other".
			kinds:   map[string]int{"temperature": 39, "fan": 10, "power": 21, "current": 12, "voltage": 5, "other": 143},
			entries: 30, lastEntry: "30",
			accounts: []string{"USERID Administrator", "Egxadmin Administrator", "dcops Administrator", "NVIDIA Administrator"},
			requests: map[string]int{"log": 6},
		},
		{
			set: "openbmc-stock", status: "OK", kinds: map[string]int{}, accounts: []string{"root Administrator"},
			requests: map[string]int{"log": 8, "health": 6},
		},
		{
			// Its log services were not recorded, the links to them were. Chassis_0 around
			// BMC_0 has 30 sensors, BMC_0 one.
			set: "supermicro-gb300-nvl", slots: []string{"USB2", "USB1", "Slot_0"}, drive: "USB2", status: "OK",
			kinds: map[string]int{"temperature": 2, "fan": 24, "voltage": 4, "power": 1}, noLog: true,
			accounts: []string{"root Administrator"},
			requests: map[string]int{"log": 14, "health": 6},
		},
	} {
		t.Run(tc.set, func(t *testing.T) {
			tr := &expanding{tree: openTree(t, tc.set)}
			if tc.quirks == nil {
				tc.quirks = quirk.Set{"none": false}
			}
			s, err := dial(t, serve(t, tr), admin, Options{Quirks: tc.quirks})
			if err != nil {
				t.Fatal(err)
			}
			ctx := context.Background()
			count := func(what string, read func()) {
				tr.nth = 0
				read()
				most := 5
				if n, ok := tc.requests[what]; ok {
					most = n
				}
				t.Logf("%-13s %2d requests", what, tr.nth)
				if tr.nth > most {
					t.Errorf("%s took %d requests, want at most %d", what, tr.nth, most)
				}
			}
			count("media", func() { treeMedia(ctx, t, s, tc.slots, tc.drive) })
			count("health", func() {
				h, err := s.Health(ctx)
				if err != nil || h.Status != tc.status {
					t.Errorf("health %q, %v; want %q", h.Status, err, tc.status)
				}
				got := map[string]int{}
				for _, x := range h.Sensors {
					got[x.Kind]++
				}
				if d := cmp.Diff(tc.kinds, got); d != "" {
					t.Errorf("sensors (-want +got):\n%s", d)
				}
			})
			count("log", func() {
				got, err := s.EventLog(ctx, 100)
				if tc.noLog {
					wantError(t, err, bmc.Unsupported, "", "")
					return
				}
				last := ""
				if len(got) > 0 {
					last = got[len(got)-1].ID
				}
				if err != nil || len(got) != tc.entries || last != tc.lastEntry {
					t.Errorf("%d entries, the last %q, %v; want %d and %q", len(got), last, err, tc.entries, tc.lastEntry)
				}
			})
			count("accounts", func() {
				all, err := s.Accounts(ctx)
				var got []string
				for _, a := range all {
					line := a.Username + " " + a.Role
					if !a.Enabled {
						line += " off"
					}
					got = append(got, line)
				}
				if d := cmp.Diff(tc.accounts, got); err != nil || d != "" {
					t.Errorf("accounts, %v (-want +got):\n%s", err, d)
				}
			})
			count("subscriptions", func() {
				got, err := s.Subscriptions(ctx)
				if err != nil || len(got) != tc.subs {
					t.Errorf("%d subscriptions, %v; want %d", len(got), err, tc.subs)
				}
				service, err := s.eventService(ctx, "read event service")
				if off := service.Enabled.known && !service.Enabled.value; err != nil || off != tc.eventsOff {
					t.Errorf("events off %v, %v; want %v", off, err, tc.eventsOff)
				}
			})
			count("indicator", func() {
				lit, err := s.Indicator(ctx)
				if err != nil || lit != tc.lit {
					t.Errorf("lit %v, %v; want %v", lit, err, tc.lit)
				}
			})
			if tc.drive != "" {
				slot, err := s.InsertMedia(ctx, bmc.MediaRequest{URL: imageURL})
				if err != nil || !slot.Inserted || !strings.HasSuffix(slot.ID, "/"+tc.drive) {
					t.Errorf("inserted %+v, %v", slot, err)
				}
				if err := s.EjectMedia(ctx, ""); err != nil {
					t.Errorf("eject: %v", err)
				}
			} else if _, err := s.InsertMedia(ctx, bmc.MediaRequest{URL: imageURL}); bmc.ClassOf(err) != bmc.Unsupported {
				t.Errorf("insert: %v", err)
			}
			if err := s.SetIndicator(ctx, !tc.lit); err != nil {
				t.Errorf("switch the locator: %v", err)
			}
			if lit, err := s.Indicator(ctx); err != nil || lit == tc.lit {
				t.Errorf("lit %v, %v", lit, err)
			}
			if !tc.noLog {
				if err := s.ClearEventLog(ctx); err != nil {
					t.Errorf("clear: %v", err)
				}
				if got, err := s.EventLog(ctx, 5); err != nil || len(got) > 0 {
					t.Errorf("%d entries after clearing, %v", len(got), err)
				}
			}
		})
	}
}

func treeMedia(ctx context.Context, t *testing.T, s *System, want []string, drive string) {
	t.Helper()
	all, err := s.mediaSlots(ctx, "list virtual media")
	if len(want) == 0 {
		wantError(t, err, bmc.Unsupported, "", "no virtual media")
		return
	}
	if err != nil {
		t.Error(err)
		return
	}
	var got []string
	for _, v := range all {
		line := clean(v.ID)
		if v.holds() {
			line += "!"
		}
		got = append(got, line)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("slots (-want +got):\n%s", d)
	}
	first := ""
	if drives := s.drives(all); len(drives) > 0 {
		first = fmt.Sprint(drives[0].ID)
	}
	if first != drive {
		t.Errorf("drive %q, want %q", first, drive)
	}
}
