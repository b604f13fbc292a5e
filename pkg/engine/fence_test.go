package engine

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/shard"
)

// lease is a claim that can be taken away.
type lease struct{ epoch atomic.Int64 }

func (l *lease) Claim(string) (shard.Claim, bool) {
	e := l.epoch.Load()
	return shard.Claim{Epoch: e}, e > 0
}

// slowly opens BMCs when it is told to.
type slowly struct {
	BMCs
	open func()
}

func (s slowly) Conn(ctx context.Context, b *metal3.BareMetalHost, c bmc.Credentials, v string) (bmc.Conn, error) {
	s.open()
	return s.BMCs.Conn(ctx, b, c, v)
}

// Nothing is ordered of a BMC for a host that is another replica's, and nobody is
// told what came of what was begun before.
func TestFence(t *testing.T) {
	for _, tc := range []struct {
		name string
		lose func(*lease)
	}{
		{name: "lost", lose: func(l *lease) { l.epoch.Store(0) }},
		{name: "lost and gained again", lose: func(l *lease) { l.epoch.Add(1) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			l := &lease{}
			l.epoch.Store(3)
			r.Claims = l
			begun, goOn := make(chan struct{}), make(chan struct{})
			r.BMCs = slowly{BMCs: r.BMCs, open: func() { close(begun); <-goOn }}
			r.Do(t.Context(), r.in, host.Action{Verb: host.SetPower, Power: host.ChangeOn, Seq: 1})
			<-begun
			tc.lose(l)
			ended := r.Stop(r.in.Key)
			close(goOn)
			select {
			case <-ended:
			case <-time.After(time.Minute):
				t.Fatal("the action does not end")
			}
			r.Wait()
			if n := len(r.board.ordered); n != 0 || len(r.posts) != 0 {
				t.Errorf("%d orders, %d outcomes", n, len(r.posts))
			}
		})
	}
	t.Run("never ours", func(t *testing.T) {
		r := newRig(t)
		r.Claims = &lease{}
		r.Do(t.Context(), r.in, host.Action{Verb: host.SetPower, Power: host.ChangeOn})
		r.Wait()
		if len(r.board.ordered) != 0 || len(r.posts) != 0 {
			t.Error("an action was carried out")
		}
	})
}

// An inventory whose bytes lie with another replica is the agent's to send again.
func TestInventoryAgain(t *testing.T) {
	r := newRig(t)
	r.in.HR.Status.Inventory.Digest = "sha256:" + "00000000000000000000000000000000000000000000000000000000000000aa"
	r.in.HR.Status.Inventory.Boot, r.in.HR.Status.Inventory.StepID = "b1", "b1.4"
	inv := agent.Inventory{CPU: agent.CPU{Arch: "x86_64"}, Disks: disks()}
	r.agents.result.Inventory = &inv
	got, err := r.inventory(t.Context(), r.in)
	if err != nil || len(got.Disks) != len(disks()) {
		t.Fatalf("%v, %v", got, err)
	}
	if n := len(r.agents.steps); n != 1 || r.agents.steps[0].ID != "b1.4" {
		t.Errorf("the agent was asked %+v", r.agents.steps)
	}
	r.in.Host.Boot.ID = "b2"
	if _, err := r.inventory(t.Context(), r.in); err == nil {
		t.Error("an inventory of another boot is asked for")
	}
}
