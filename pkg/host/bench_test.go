package host

import (
	"testing"
	"time"
)

// BenchmarkStep is what most events cost: something was read of a host at rest,
// and nothing follows.
func BenchmarkStep(b *testing.B) {
	m := Defaults()
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	w := Wants{Address: "redfish://10.0.0.3", SecretName: "s", SecretVersion: "1", Online: true}
	h := Host{
		Key: "rack/w1", Wants: w, State: Available, StateSince: now, Power: PowerOn, Good: "1", GoodAt: w.Address,
		Boot: &Boot{ID: "b1", Ordered: now, Redeemed: true},
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, as := m.Step(h, now, Observe{Wants: w}); len(as) > 0 {
			b.Fatalf("actions %+v", as)
		}
	}
}
