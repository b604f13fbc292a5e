package engine

import (
	"context"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/open"
)

// Pooled opens BMCs through a pool.
type Pooled struct{ Pool *open.Pool }

// Conn implements BMCs.
func (b Pooled) Conn(ctx context.Context, h *metal3.BareMetalHost, creds bmc.Credentials, version string) (bmc.Conn, error) {
	c, done, err := b.Pool.Get(ctx, open.Key{
		Address: h.Spec.BMC.Address, Version: version,
		Options: open.Options{Insecure: h.Spec.BMC.DisableCertificateVerification},
	}, creds)
	if err != nil {
		return nil, err
	}
	// The pool keeps it open for the next action, which comes soon.
	done()
	return c, nil
}
