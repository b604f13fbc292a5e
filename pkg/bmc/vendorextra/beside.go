package vendorextra

import (
	"context"
	"errors"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/ipmi"
)

// beside is an IPMI machine of which a web API knows more. Everything that IPMI
// can do is IPMI's; the web API is spoken to when it is asked something.
type beside struct {
	*ipmi.Machine
	web *board
}

// Inspect is part of bmc.Inspector, which IPMI has nothing for.
func (b *beside) Inspect(ctx context.Context) (agent.Inventory, error) { return b.web.Inspect(ctx) }

// Health is IPMI's, with the POST code if there is one to be had.
func (b *beside) Health(ctx context.Context) (bmc.HealthReport, error) {
	report, err := b.Machine.Health(ctx)
	if err != nil {
		return report, err
	}
	if code, err := b.web.postCode(ctx); err == nil {
		report.Sensors = append(report.Sensors, code)
	}
	return report, nil
}

// Close ends both sessions.
func (b *beside) Close(ctx context.Context) error {
	return errors.Join(b.web.Close(ctx), b.Machine.Close(ctx))
}
