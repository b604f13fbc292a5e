package engine

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/host"
)

// glanced is a BMC that tells its machine's health with the power.
type glanced struct {
	*polled
	health *string
}

func (g glanced) Glance(ctx context.Context) (bmc.PowerState, string, error) {
	p, err := g.PowerState(ctx)
	return p, *g.health, err
}

// A health counts once two polls in a row found it: a sensor that flickers is not
// written down again and again. It costs no request of its own.
func TestHealthTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		health := "OK"
		board := glanced{polled: &polled{power: bmc.PowerOn}, health: &health}
		var told []host.Health
		p := NewPoller(ctx, &Engine{BMCs: bmcs{conn: board}}, time.Minute,
			func(_ types.NamespacedName, p host.Power) { t.Errorf("the power is told: %s", p) },
			func(types.NamespacedName) { t.Error("it is silent") })
		p.Healths = func(_ types.NamespacedName, h host.Health) { told = append(told, h) }
		in := Input{Key: rowKey("w1"), Host: host.Host{Power: host.PowerOn, Health: host.Healthy}}
		p.Watch(in)
		poll := func(says string) {
			t.Helper()
			health = says
			board.count()
			p.Wake(in.Key)
			time.Sleep(10 * time.Second) // pretended
			synctest.Wait()
			if n := board.count(); n < 1 {
				t.Fatal("it was not polled")
			}
		}
		poll("OK")
		if len(told) != 0 {
			t.Fatalf("told %v of what was known", told)
		}
		// A poll that was asked for has a second look 5 s after it.
		poll("Critical")
		if len(told) != 1 || told[0] != host.HealthCritical {
			t.Fatalf("told %v, want Critical once", told)
		}
		poll("Critical")
		poll("Absurd")
		poll("")
		if len(told) != 1 {
			t.Fatalf("told %v of what was known, or is no health", told)
		}
	})
}

func TestHealthFlickers(t *testing.T) {
	w := &watched{in: Input{Host: host.Host{Health: host.Healthy}}}
	for i, found := range []host.Health{
		host.HealthWarning, host.Healthy, host.HealthWarning, host.HealthCritical, host.Healthy, host.HealthUnknown, host.HealthWarning,
	} {
		if w.healthNews(found, nil) {
			t.Errorf("step %d: %s is news", i, found)
		}
	}
	if !w.healthNews(host.HealthWarning, nil) {
		t.Error("what was found twice is no news")
	}
	if w.healthNews(host.HealthWarning, nil) {
		t.Error("it is told again")
	}
}
