package controller

import (
	"context"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/engine"
	"github.com/ingot-metal/ingot/pkg/host"
)

// recorded counts what a Hosts asks of its Consoles.
type recorded struct{ printed, gone int }

func (*recorded) Follow(types.NamespacedName, *metal3.BareMetalHost, host.Host) {}

func (r *recorded) Printed(context.Context, types.NamespacedName, host.Host, *v1alpha1.ConsoleRef) *v1alpha1.ConsoleRef {
	r.printed++
	return &v1alpha1.ConsoleRef{Digest: "sha256:1"}
}

func (*recorded) Leave(types.NamespacedName) {}

func (r *recorded) Forget(types.NamespacedName, *v1alpha1.ConsoleRef) { r.gone++ }

// A failure has its console kept once, and only if the machine ran.
func TestConsolePrinted(t *testing.T) {
	problem := &host.Problem{Code: "x", Since: time.Unix(1, 0)}
	op := func(k host.OpKind, p host.Phase) host.Host { return host.Host{Op: &host.Op{Kind: k, Phase: p}} }
	for _, tc := range []struct {
		name   string
		before host.Host
		after  host.Host
		want   int
	}{
		{name: "a boot failed", before: op(host.OpInspect, host.PhaseHello), after: host.Host{Problem: problem}, want: 1},
		{name: "a boot goes on", before: op(host.OpInspect, host.PhaseHello), after: op(host.OpInspect, host.PhaseInspect)},
		{name: "no image", before: op(host.OpProvision, host.PhaseImage), after: host.Host{Problem: problem}},
		{name: "no BMC", before: op(host.OpVerify, host.PhaseVerify), after: host.Host{Problem: problem}},
		{name: "it stands", before: host.Host{Problem: problem}, after: host.Host{Problem: problem}},
		{name: "nothing was done", after: host.Host{Problem: problem}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &recorded{}
			c := &Hosts{Consoles: r, Engine: &engine.Engine{}}
			l := &live{h: tc.after}
			c.consolePrinted(t.Context(), key("w1"), l, tc.before)
			if r.printed != tc.want || (l.extra.Console != nil) != (tc.want == 1) {
				t.Errorf("kept %d times, extra %v", r.printed, l.extra.Console)
			}
		})
	}
	(&Hosts{}).consolePrinted(t.Context(), key("w1"), &live{h: host.Host{Problem: problem}}, op(host.OpInspect, host.PhaseHello))
}

func TestConsoleGone(t *testing.T) {
	c := doors(t)
	r := &recorded{}
	c.Consoles = r
	c.live(key("w1"))
	c.forget(key("w1"))
	c.forget(key("w1")) // nobody knows it any more
	if r.gone != 1 {
		t.Errorf("forgotten %d times", r.gone)
	}
}
