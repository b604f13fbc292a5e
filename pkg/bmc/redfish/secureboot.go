package redfish

import (
	"context"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

func (s *System) readBackSecureBoot(_ context.Context, op string, _ bmc.Op) (bmc.Progress, error) {
	return bmc.Progress{}, &bmc.Error{Class: bmc.Unsupported, Op: op}
}
