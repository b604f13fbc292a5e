package engine

import (
	"context"
	"strings"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/inventory"
)

// readFacts inspects the machine through its BMC, without a boot. What it tells
// is hostile until checked, and of no boot: whoever needs devices inspects again
// with the agent.
func (e *Engine) readFacts(ctx context.Context, in Input, a host.Action) Post {
	fail := func(code string, seen ...string) Post {
		return failed(a, NewProblem(code, map[string]string{"host": in.BMH.Name, "namespace": in.BMH.Namespace}, seen...))
	}
	c, err := e.conn(ctx, in)
	if err != nil {
		return failed(a, bmcProblem(ctx, in, err))
	}
	i, ok := c.(bmc.Inspector)
	if !ok {
		return fail("inspect-fast-unsupported", "this BMC's protocol tells no hardware")
	}
	inv, err := i.Inspect(ctx)
	switch {
	case err != nil && bmc.ClassOf(err) == bmc.Unsupported:
		return fail("inspect-fast-unsupported", err.Error())
	case err != nil:
		return failed(a, bmcProblem(ctx, in, err))
	}
	inventory.Clean(&inv)
	if err := inventory.CheckBMC(inv); err != nil {
		return fail("inspect-failed", "the BMC's inventory: "+err.Error())
	}
	if lacks := lacking(in, inv); len(lacks) > 0 {
		seen := []string{"the BMC tells no " + strings.Join(lacks, ", no ")}
		if in.Host.Power != host.PowerOn {
			seen = append(seen, "the machine is off: some BMCs tell it only of one that is on, or was")
		}
		for _, s := range inv.Skipped[:min(len(inv.Skipped), 4)] {
			seen = append(seen, "not read: "+s.What+": "+s.Reason)
		}
		return fail("inspect-fast-unsupported", seen...)
	}
	p := e.keep(ctx, in, a, &inv, "")
	p.Extra.Session = session(c)
	return p
}

// lacking lists what nobody can do without: a machine is scheduled by its CPUs
// and memory, and known to the network by its MAC.
func lacking(in Input, inv agent.Inventory) []string {
	var lacks []string
	if inv.CPU.Threads == 0 && inv.CPU.Cores == 0 {
		lacks = append(lacks, "CPU")
	}
	if inv.Memory.Physical == 0 {
		lacks = append(lacks, "memory")
	}
	if len(inv.NICs) == 0 && in.BMH.Spec.BootMACAddress == "" {
		lacks = append(lacks, "network interface")
	}
	return lacks
}
