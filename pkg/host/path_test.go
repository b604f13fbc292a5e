package host

import (
	"slices"
	"testing"
)

func TestEntered(t *testing.T) {
	for _, tc := range []struct {
		name          string
		before, after Host
		want          []State
	}{
		{name: "none", before: Host{State: Available}, after: Host{State: Available}},
		{name: "a step", before: Host{State: Available}, after: Host{State: Provisioning}, want: []State{Provisioning}},
		{name: "new", after: Host{State: Registering}, want: []State{Registering}},
		{name: "nothing to prepare", before: Host{State: Inspecting}, after: Host{State: Available}, want: []State{Preparing, Available}},
		{name: "nothing to inspect and to prepare", before: Host{State: Registering}, after: Host{State: Available}, want: []State{Preparing, Available}},
		{name: "nothing to clean", before: Host{State: Provisioned}, after: Host{State: Available}, want: []State{Deprovisioning, Available}},
		{name: "undone", before: Host{State: Provisioning}, after: Host{State: Available}, want: []State{Deprovisioning, Available}},
		{name: "deleted while off", before: Host{State: Available}, after: Host{State: Deleting}, want: []State{PoweringOffBeforeDelete, Deleting}},
		{name: "deleted while detached", before: Host{State: Available, Detached: true}, after: Host{State: Deleting}, want: []State{Deleting}},
		{name: "written by somebody else", before: Host{State: Deleting}, after: Host{State: "ready"}, want: []State{"ready"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Entered(tc.before, tc.after); !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// Health is taken in, and nothing follows from it.
func TestHealthMovesNothing(t *testing.T) {
	m := Defaults()
	h := Host{State: Available, Power: PowerOff, Good: "v1", GoodAt: "redfish://x", Wants: Wants{Address: "redfish://x", SecretName: "s", SecretVersion: "v1"}}
	got, as := m.Step(h, epoch, PowerRead{Health: HealthCritical})
	if got.Health != HealthCritical || len(as) != 0 || got.State != Available || got.Power != PowerOff || got.Op != nil {
		t.Errorf("actions %v, host %+v", as, got)
	}
	if got, _ = m.Step(got, epoch, PowerRead{Power: PowerOff}); got.Health != HealthCritical {
		t.Errorf("a poll without a word of health made it %q", got.Health)
	}
}
