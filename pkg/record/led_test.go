package record

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/host"
)

var errKilled = errors.New("killed")

// ledLife plays a life that the REST door leads, with a machine that does all it is
// told, and is killed at some of its writes.
type ledLife struct {
	*world
	h      host.Host
	wants  host.Wants
	todo   []host.Action
	at     time.Time
	boots  int
	agent  string // the boot whose agent runs
	writes int    // so far
	every  int    // so many writes, one is not carried out; 0: none is lost
	kill   int    // the first of those
	erased int    // cleanings
	wrote  []string
}

func (l *ledLife) killed() bool {
	l.writes++
	return l.every > 0 && l.writes%l.every == l.kill
}

func (l *ledLife) step(e host.Event) {
	h, as := host.Defaults().Step(l.h, l.at, e)
	l.h, l.todo = h, append(l.todo, as...)
}

// start is a process that knows what is recorded.
func (l *ledLife) start() {
	b, hr := &metal3.BareMetalHost{}, &v1alpha1.HostRecord{}
	for _, o := range []client.Object{b, hr} {
		if err := l.Get(l.t.Context(), client.ObjectKeyFromObject(l.objs.BMH), o); err != nil {
			l.t.Fatal(err)
		}
	}
	l.objs = Objects{BMH: b, HR: hr}
	l.h, l.todo = Load(b, hr, l.wants).Resume(), nil
	l.objs.Newer = NewerOf(l.h)
	l.step(host.Observe{Wants: l.wants})
}

// settle carries out all that is decided.
func (l *ledLife) settle() {
	for range 200 {
		if err := l.store.Save(l.t.Context(), &l.objs, l.h, Extra{Inventory: &v1alpha1.InventoryRef{Digest: "sha256:aa", Boot: l.h.InventoryBoot}}); err != nil {
			if !errors.Is(err, errKilled) {
				l.t.Fatal(err)
			}
			l.start()
			continue
		}
		todo := l.todo
		l.todo = nil
		for _, a := range todo {
			if a.Seq == l.h.Seq && a.Seq != 0 {
				l.do(a)
			}
		}
		if op := l.h.Op; op != nil && op.Phase == host.PhaseHello && l.h.Boot != nil && !l.h.Boot.Redeemed {
			l.agent = l.h.Boot.ID
			l.step(host.Hello{BootID: l.h.Boot.ID})
		}
		if len(l.todo) == 0 && l.h.Op == nil {
			if err := l.store.Save(l.t.Context(), &l.objs, l.h, Extra{}); err == nil {
				return
			}
			l.start()
		}
	}
	l.t.Fatalf("it never comes to rest: %q, %+v, %+v", l.h.State, l.h.Node, l.h.Op)
}

func (l *ledLife) do(a host.Action) {
	o := host.Outcome{Seq: a.Seq, Power: l.h.Power}
	switch {
	case a.Verb == host.VerifyBMC && l.h.Power == host.PowerUnknown:
		o.Power = host.PowerOff
	case a.Verb == host.SetPower && a.Power == host.ChangeOn:
		o.Power = host.PowerOn
	case a.Verb == host.SetPower:
		o.Power, l.agent = host.PowerOff, ""
	case a.Verb == host.RunStep && (l.h.Boot == nil || l.h.Boot.ID != l.agent):
		l.t.Fatalf("killed at write %d of %d: %s is asked of the agent of %+v, and that of %q runs", l.kill, l.every, a.Step, l.h.Boot, l.agent)
	case a.Verb == host.OrderBoot:
		l.boots++
		o.BootID = fmt.Sprintf("boot-%d", l.boots)
	case a.Verb == host.RunStep && a.Step == host.PhaseClean:
		l.erased++
	case a.Verb == host.RunStep && a.Step == host.PhaseWrite:
		l.wrote = append(l.wrote, l.h.LastTried.URL)
	}
	l.step(o)
}

// Killed at whatever write, a host that the REST door leads comes to where it
// comes to without: what was asked for is done, and nothing that was not.
func TestLedSurvivesKills(t *testing.T) {
	image := func(url string) func(*host.Wants) {
		return func(w *host.Wants) { w.Image, w.Online = &host.Image{URL: url}, true }
	}
	none := func(w *host.Wants) { w.Image, w.Online = nil, false }
	script := []struct {
		verb, erase string
		declare     func(*host.Wants)
		state       host.State
		hold        string
	}{
		{verb: host.VerbManage, state: host.Registering, hold: host.Manageable},
		{verb: host.VerbInspect, state: host.Registering, hold: host.Manageable},
		{verb: host.VerbClean, erase: host.EraseMetadata, state: host.Registering, hold: host.Manageable},
		{verb: host.VerbProvide, declare: none, state: host.Available},
		{verb: host.VerbActive, declare: image("a"), state: host.Provisioned},
		{verb: host.VerbSoftReboot, state: host.Provisioned},
		{verb: host.VerbRebuild, declare: image("b"), state: host.Provisioned},
		{verb: host.VerbDeleted, declare: none, state: host.Available},
		{verb: host.VerbManage, state: host.Registering, hold: host.Manageable},
		{verb: host.VerbPowerOn, state: host.Registering, hold: host.Manageable},
		{verb: host.VerbAdopt, declare: func(w *host.Wants) { w.ExternallyProvisioned, w.Online = true, true }, state: host.ExternallyProvisioned},
		{verb: host.VerbService, state: host.ExternallyProvisioned},
		{verb: host.VerbDeleted, declare: func(w *host.Wants) { w.ExternallyProvisioned, w.Online = false, false }, state: host.Available},
	}
	play := func(every, kill int) {
		l := &ledLife{every: every, kill: kill, at: time.Unix(1_800_000_000, 0)}
		l.world = newWorld(t, nil, declared(fromREST))
		inner := l.Client.(client.WithWatch)
		l.store.Client = interceptor.NewClient(inner, interceptor.Funcs{
			SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
				if l.killed() {
					return errKilled
				}
				return c.SubResource(sub).Patch(ctx, o, p, opts...)
			},
			SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
				if l.killed() {
					return errKilled
				}
				return c.SubResource(sub).Update(ctx, o, opts...)
			},
			Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
				if l.killed() {
					return errKilled
				}
				return c.Patch(ctx, o, p, opts...)
			},
		})
		l.wants = host.Wants{Generation: 1, Address: "redfish://10.0.0.3", SecretName: "s1", SecretVersion: "42"}
		l.start()
		l.settle()
		for n, s := range script {
			if s.declare != nil {
				s.declare(&l.wants)
			}
			l.wants.Generation++
			l.wants.Ask = &host.Ask{N: int64(n + 1), Verb: s.verb, Erase: s.erase, Generation: l.wants.Generation}
			before, writes := l.erased, len(l.wrote)
			l.step(host.Observe{Wants: l.wants})
			l.settle()
			got := l.h
			if got.State != s.state || got.Node.Hold != s.hold || got.Node.Verb != "" || got.Node.Asked != int64(n+1) || got.Node.Error != "" || got.Problem != nil {
				t.Fatalf("killed at write %d of %d: %s leads to %q, %+v, %+v", kill, every, s.verb, got.State, got.Node, got.Problem)
			}
			if l.objs.HR.Spec.Hold != s.hold || string(l.objs.BMH.Status.Provisioning.State) != string(s.state) {
				t.Errorf("killed at write %d of %d: %s is recorded as %q, %q", kill, every, s.verb, l.objs.HR.Spec.Hold, l.objs.BMH.Status.Provisioning.State)
			}
			switch s.verb {
			case host.VerbClean, host.VerbProvide, host.VerbDeleted:
				if l.erased == before {
					t.Errorf("killed at write %d of %d: %s erased nothing", kill, every, s.verb)
				}
			case host.VerbActive, host.VerbRebuild:
				if len(l.wrote) == writes || l.wrote[len(l.wrote)-1] != l.wants.Image.URL || l.erased != before {
					t.Errorf("killed at write %d of %d: %s wrote %v, erased %d times", kill, every, s.verb, l.wrote[writes:], l.erased-before)
				}
			default:
				if l.erased != before || len(l.wrote) != writes {
					t.Errorf("killed at write %d of %d: %s wrote or erased", kill, every, s.verb)
				}
			}
		}
	}
	play(0, 0)
	for _, every := range []int{5, 7, 11, 13} { // so that each write is lost in one of them
		for kill := range every {
			play(every, kill)
		}
	}
}
