package redfish

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// Power and health come in one request: polls are many.
func TestGlance(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status any
		want   string
	}{
		{name: "with all its parts", status: map[string]any{"Health": "OK", "HealthRollup": "Warning"}, want: "Warning"},
		{name: "its own alone", status: map[string]any{"Health": "Critical"}, want: "Critical"},
		{name: "not said", status: map[string]any{"State": "Enabled"}},
		{name: "null", status: nil},
		{name: "nonsense", status: map[string]any{"Health": []any{1}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newChassisBMC(t, `{}`)
			b.change(func(s map[string]any) { s["Status"] = tc.status })
			s := b.with()
			if _, err := s.PowerState(context.Background()); err != nil { // it is logged in
				t.Fatal(err)
			}
			b.forget()
			power, health, err := s.Glance(context.Background())
			if err != nil || power != bmc.PowerOff || health != tc.want {
				t.Errorf("power %q, health %q, %v; want off, %q", power, health, err, tc.want)
			}
			if d := cmp.Diff([]string{"GET " + sysPath}, b.requests()); d != "" {
				t.Errorf("requests (-want +got):\n%s", d)
			}
		})
	}
}
