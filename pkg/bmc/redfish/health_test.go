package redfish

import (
	"context"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

const chassisPath = "/redfish/v1/Chassis/1"

// newChassisBMC has a machine in an enclosure with these properties.
func newChassisBMC(t *testing.T, chassis string) *routed {
	b := newRouted(t)
	b.change(func(s map[string]any) {
		s["Status"] = map[string]any{"Health": "OK", "HealthRollup": "Warning", "State": "Enabled"}
		s["Links"] = map[string]any{"Chassis": []any{map[string]any{"@odata.id": chassisPath}}}
	})
	b.put(chassisPath, chassis)
	return b
}

func TestHealth(t *testing.T) {
	ref := func(name, path string) string { return `"` + name + `": {"@odata.id": "` + path + `"}` }
	temperature := bmc.Sensor{Name: "Inlet", Kind: "temperature", Value: 21.5, Unit: "Cel", Health: "OK"}
	for _, tc := range []struct {
		name    string
		chassis string
		docs    map[string]string
		want    []bmc.Sensor
	}{
		{name: "none", chassis: `{}`, want: []bmc.Sensor{}},
		{name: "no enclosure to be had", chassis: `null`, want: []bmc.Sensor{}},
		{
			name: "sensors", chassis: `{` + ref("Sensors", "/s") + `}`,
			docs: map[string]string{
				"/s":   `{"Members": [{"@odata.id": "/s/1"}, {"@odata.id": "/s/2"}, {"@odata.id": "/s/3"}, {"@odata.id": "/s/9"}]}`,
				"/s/1": `{"Name": "Inlet", "ReadingType": "Temperature", "Reading": 21.5, "Status": {"Health": "OK", "State": "Enabled"}}`,
				"/s/2": `{"Name": "Fan 1", "ReadingType": "Percent", "ReadingUnits": "%", "Reading": "40"}`,
				"/s/3": `{"Name": "PSU2", "ReadingUnits": "W", "Reading": null, "Status": {"State": "Absent"}}`,
			},
			want: []bmc.Sensor{temperature, {Name: "Fan 1", Kind: "fan", Value: 40, Unit: "%"}, {Name: "PSU2", Kind: "power", Unit: "W", Absent: true}},
		},
		{
			name: "sensors without units (HPE), Thermal instead", chassis: `{` + ref("Sensors", "/s") + `,` + ref("Thermal", "/t") + `}`,
			docs: map[string]string{
				"/s": `{"Members": [{"@odata.id": "/s/1", "Name": "01-Inlet", "Reading": 21.5}]}`,
				"/t": `{"Temperatures": [{"Name": "Inlet", "ReadingCelsius": 21.5, "Status": {"Health": "OK"}}], "Fans": [{"FanName": "F", "Reading": 16, "ReadingUnits": "Percent"}]}`,
			},
			want: []bmc.Sensor{temperature, {Name: "F", Kind: "fan", Value: 16, Unit: "%"}},
		},
		{
			name: "Power", chassis: `{` + ref("Power", "/p") + `}`,
			docs: map[string]string{"/p": `{"PowerControl": [{"Name": "all", "PowerConsumedWatts": 300}, {"Name": "limit only"}],
				"PowerSupplies": [{"Name": "1", "LastPowerOutputWatts": 150, "Status": {"Health": "Critical"}}], "Voltages": {"Name": "12V", "ReadingVolts": 12.1}}`},
			want: []bmc.Sensor{
				{Name: "12V", Kind: "voltage", Value: 12.1, Unit: "V"},
				{Name: "all", Kind: "power", Value: 300, Unit: "W"},
				{Name: "1", Kind: "power", Value: 150, Unit: "W", Health: "Critical"},
			},
		},
		{
			name: "EnvironmentMetrics", chassis: `{` + ref("EnvironmentMetrics", "/e") + `}`,
			docs: map[string]string{"/e": `{"TemperatureCelsius": {"Reading": 39}, "PowerWatts": {"Reading": 374}, "FanSpeedsPercent": [{"DeviceName": "F1", "Reading": 45, "SpeedRPM": 1900}]}`},
			want: []bmc.Sensor{
				{Name: "Temperature", Kind: "temperature", Value: 39, Unit: "Cel"},
				{Name: "Power", Kind: "power", Value: 374, Unit: "W"},
				{Name: "F1", Kind: "fan", Value: 1900, Unit: "RPM"},
			},
		},
		{
			name: "ThermalSubsystem", chassis: `{` + ref("ThermalSubsystem", "/c") + `}`,
			docs: map[string]string{
				"/c":   `{` + ref("Fans", "/f") + `,` + ref("ThermalMetrics", "/m") + `}`,
				"/m":   `{"TemperatureReadingsCelsius": [{"DeviceName": "Intake", "Reading": 24.8}]}`,
				"/f":   `{"Members": [{"@odata.id": "/f/1"}]}`,
				"/f/1": `{"Name": "Bay 1", "SpeedPercent": {"Reading": 45}, "Status": {"Health": "OK"}}`,
			},
			want: []bmc.Sensor{{Name: "Intake", Kind: "temperature", Value: 24.8, Unit: "Cel"}, {Name: "Bay 1", Kind: "fan", Value: 45, Unit: "%", Health: "OK"}},
		},
		{
			name: "the enclosure around", chassis: `{"Links": {` + ref("ContainedBy", "/outer") + `}}`,
			docs: map[string]string{
				"/outer": `{` + ref("Thermal", "/t") + `, "Links": {` + ref("ContainedBy", chassisPath) + `}}`,
				"/t":     `{"Temperatures": [{"Name": "Inlet", "ReadingCelsius": 21.5, "Status": {"Health": "OK"}}]}`,
			},
			want: []bmc.Sensor{temperature},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newChassisBMC(t, tc.chassis)
			for path, doc := range tc.docs {
				b.put(path, doc)
			}
			got, err := b.with().Health(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(bmc.HealthReport{Status: "Warning", State: "Enabled", Sensors: tc.want}, got); d != "" {
				t.Errorf("report (-want +got):\n%s", d)
			}
		})
	}
}

func TestHealthStopsWhereTheBMCIsGone(t *testing.T) {
	b := newChassisBMC(t, `{}`)
	b.routes["GET "+chassisPath] = func(w http.ResponseWriter, _ map[string]any) { w.WriteHeader(http.StatusServiceUnavailable) }
	_, err := b.with().Health(context.Background())
	wantError(t, err, bmc.Busy, "", "")
}

func TestIndicator(t *testing.T) {
	for _, tc := range []struct {
		name            string
		system, chassis map[string]any
		refuse          string // a property that the BMC does not write
		writes          []string
		class           bmc.Class
		part            string
	}{
		{
			name: "LocationIndicatorActive", system: map[string]any{"LocationIndicatorActive": false, "IndicatorLED": "Off"},
			writes: []string{"PATCH " + sysPath + ` {"LocationIndicatorActive":true}`, "PATCH " + sysPath + ` {"LocationIndicatorActive":false}`},
		},
		{
			name: "IndicatorLED", system: map[string]any{"IndicatorLED": "Off"},
			writes: []string{"PATCH " + sysPath + ` {"IndicatorLED":"Lit"}`, "PATCH " + sysPath + ` {"IndicatorLED":"Off"}`},
		},
		{
			name: "it can only blink", system: map[string]any{"IndicatorLED": "Off", "IndicatorLED@Redfish.AllowableValues": []any{"Off", "Blinking"}},
			writes: []string{"PATCH " + sysPath + ` {"IndicatorLED":"Blinking"}`, "PATCH " + sysPath + ` {"IndicatorLED":"Off"}`},
		},
		{
			name: "the enclosure's (HPE)", chassis: map[string]any{"LocationIndicatorActive": false},
			writes: []string{"PATCH " + chassisPath + ` {"LocationIndicatorActive":true}`, "PATCH " + chassisPath + ` {"LocationIndicatorActive":false}`},
		},
		{
			name: "the new one is read-only", system: map[string]any{"LocationIndicatorActive": false, "IndicatorLED": "Off"}, refuse: "LocationIndicatorActive",
			writes: []string{
				"PATCH " + sysPath + ` {"LocationIndicatorActive":true}`, "PATCH " + sysPath + ` {"IndicatorLED":"Lit"}`,
				"PATCH " + sysPath + ` {"LocationIndicatorActive":false}`, "PATCH " + sysPath + ` {"IndicatorLED":"Off"}`,
			},
		},
		{
			name: "ignored", system: map[string]any{"LocationIndicatorActive": false}, refuse: "nothing",
			writes: []string{"PATCH " + sysPath + ` {"LocationIndicatorActive":true}`},
			class:  bmc.Protocol, part: "did not change",
		},
		{
			name: "cannot be lit", system: map[string]any{"IndicatorLED": "Off", "IndicatorLED@Redfish.AllowableValues": []any{"Off"}},
			class: bmc.Unsupported, part: "allows only Off",
		},
		{name: "none", class: bmc.Unsupported, part: "no locator light"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newChassisBMC(t, `{}`)
			for path, props := range map[string]map[string]any{sysPath: tc.system, chassisPath: tc.chassis} {
				for k, v := range props {
					b.set(path, k, v)
				}
				b.routes["PATCH "+path] = func(w http.ResponseWriter, body map[string]any) {
					for k, v := range body {
						if k == tc.refuse {
							w.WriteHeader(http.StatusBadRequest)
							return
						}
						b.set(path, k, v)
						if tc.refuse != "" { // two properties of one light
							b.set(path, "LocationIndicatorActive", v == "Lit")
						}
					}
					noContent(w)
				}
			}
			s := b.with()
			ctx := context.Background()
			err := s.SetIndicator(ctx, true)
			if tc.class == "" && err == nil {
				lit, readErr := s.Indicator(ctx)
				if !lit || readErr != nil {
					t.Errorf("lit %v, %v", lit, readErr)
				}
				if err = s.SetIndicator(ctx, true); err == nil { // nothing to do
					err = s.SetIndicator(ctx, false)
				}
			}
			if d := cmp.Diff(tc.writes, b.written(), cmp.Transformer("empty", func(s []string) []string { return append([]string{}, s...) })); d != "" {
				t.Errorf("writes (-want +got):\n%s", d)
			}
			if tc.class != "" {
				wantError(t, err, tc.class, "", tc.part)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestQuirkIndicatorBlinks: quirk.IndicatorBlinks. The recorded R750
// (dell-r750-idrac9, System.Embedded.1) has {"IndicatorLED": "Lit",
// "LocationIndicatorActive": null} while nobody looks for it. That Off becomes Lit
// again is unverified.
func TestQuirkIndicatorBlinks(t *testing.T) {
	for _, on := range []bool{false, true} {
		b := newChassisBMC(t, `{}`)
		b.set(sysPath, "IndicatorLED", "Lit")
		b.set(sysPath, "LocationIndicatorActive", nil)
		b.routes["PATCH "+sysPath] = func(w http.ResponseWriter, body map[string]any) {
			v := body["IndicatorLED"]
			if v == "Off" {
				v = "Lit"
			}
			b.set(sysPath, "IndicatorLED", v)
			noContent(w)
		}
		var set []quirk.Name
		if on {
			set = append(set, quirk.IndicatorBlinks)
		}
		s, ctx := b.with(set...), context.Background()
		if lit, err := s.Indicator(ctx); err != nil || lit == on {
			t.Errorf("quirk %t: lit %t, %v", on, lit, err)
		}
		if !on {
			wantError(t, s.SetIndicator(ctx, false), bmc.Protocol, "", "did not change")
			continue
		}
		for _, want := range []bool{true, false} {
			if err := s.SetIndicator(ctx, want); err != nil {
				t.Error(err)
			}
			if lit, err := s.Indicator(ctx); err != nil || lit != want {
				t.Errorf("lit %t, %v", lit, err)
			}
		}
		if d := cmp.Diff([]string{`PATCH ` + sysPath + ` {"IndicatorLED":"Blinking"}`, `PATCH ` + sysPath + ` {"IndicatorLED":"Lit"}`}, b.written()); d != "" {
			t.Errorf("writes (-want +got):\n%s", d)
		}
	}
}

func FuzzDecodeSensors(f *testing.F) {
	f.Add([]byte(`{"Name": "Inlet", "ReadingType": "Temperature", "Reading": 21.5, "Status": {"Health": "OK"}}`))
	f.Add([]byte(`{"Temperatures": [{"Name": "a", "ReadingCelsius": "x"}], "Fans": {"FanName": 1}, "PowerSupplies": [null, 7]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		out, _ := decodeSensors([]member{{uri: "/x", body: body}})
		for _, s := range append(out, decodeOldSensors(body)...) {
			if s.Absent && s.Value != 0 || s.Value != s.Value {
				t.Errorf("sensor %+v", s)
			}
		}
	})
}
