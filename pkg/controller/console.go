package controller

import (
	"context"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/host"
)

// Consoles records what machines print while something is done to them.
type Consoles interface {
	// Follow is told of a host after each of its steps, before what follows from
	// the step is carried out. It must not block.
	Follow(k types.NamespacedName, b *metal3.BareMetalHost, h host.Host)
	// Printed keeps what a machine printed in the operation that has just failed.
	// old is what was kept of an earlier one, and is no longer wanted.
	Printed(ctx context.Context, k types.NamespacedName, h host.Host, old *v1alpha1.ConsoleRef) *v1alpha1.ConsoleRef
	// Leave ends what is open for a host that lives on with another replica.
	Leave(k types.NamespacedName)
	// Forget is told of a host that is gone.
	Forget(k types.NamespacedName, old *v1alpha1.ConsoleRef)
}

// consolePrinted has what the machine printed kept, if an operation that booted it
// failed in this step. It is written with the problem.
func (c *Hosts) consolePrinted(ctx context.Context, k types.NamespacedName, l *live, before host.Host) {
	p := l.h.Problem
	if c.Consoles == nil || p == nil || before.Problem != nil && before.Problem.Since.Equal(p.Since) || !before.Op.Boots() {
		return
	}
	l.extra.Console = c.Consoles.Printed(ctx, k, l.h, l.consoleRef())
}

// consoleGone forgets a host's console with the host.
func (c *Hosts) consoleGone(k types.NamespacedName, l *live) {
	if c.Consoles != nil {
		c.Consoles.Forget(k, l.consoleRef())
	}
}

func (l *live) consoleRef() *v1alpha1.ConsoleRef {
	if l.objs.HR == nil {
		return nil
	}
	return l.objs.HR.Status.Console
}
