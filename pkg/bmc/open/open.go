package open

import (
	"context"
	"crypto/x509"
	"log/slog"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/ipmi"
	"github.com/ingot-metal/ingot/pkg/bmc/redfish"
)

// Options of a way to a BMC. They are comparable: two ways with equal address,
// credentials and Options are one.
type Options struct {
	// Insecure accepts any TLS certificate.
	Insecure bool
	// TrustOnFirstUse and Legacy are redfish.Options' of the same names.
	TrustOnFirstUse, Legacy bool
	// RootCAs replaces the system's certificate authorities.
	RootCAs *x509.CertPool
	// PinSPKI, if not empty, is the raw SHA-256 of the BMC's public key.
	PinSPKI string
	// Quirks is an operator's word on the BMC's quirks, as quirk.ParseOverride
	// reads it: "vmedia-patch,-etag-required".
	Quirks string
	// Extras names the provider of package vendorextra that this BMC needs; empty
	// for nearly all.
	Extras string
	// Log may be nil.
	Log *slog.Logger
}

// Open opens the machine at a BMC address of a BareMetalHost, with the driver
// that the scheme asks for.
func Open(ctx context.Context, address string, creds bmc.Credentials, o Options) (bmc.Conn, error) {
	addr, err := bmc.ParseAddress(address)
	if err != nil {
		return nil, err
	}
	end, err := newEndpoint(addr, creds, o, nil)
	if err != nil {
		return nil, err
	}
	return dial(ctx, addr, creds, o, end, nil)
}

// newEndpoint prepares the way to a Redfish BMC; nil for another protocol.
// Nothing is sent yet.
func newEndpoint(addr bmc.Address, creds bmc.Credentials, o Options, observe func(error)) (*redfish.Endpoint, error) {
	override, err := quirks(o.Quirks)
	if err != nil || addr.Protocol != bmc.ProtocolRedfish {
		return nil, err
	}
	return redfish.NewEndpoint(addr, creds, redfish.Options{
		Insecure: o.Insecure, RootCAs: o.RootCAs, PinSPKI: []byte(o.PinSPKI), QuirkOverride: override, Log: o.Log,
		TrustOnFirstUse: o.TrustOnFirstUse, Legacy: o.Legacy, Observe: observe,
	}), nil
}

// dial opens the machine at addr. Over Redfish it is one of those behind end.
func dial(ctx context.Context, addr bmc.Address, creds bmc.Credentials, o Options, end *redfish.Endpoint, observe func(error)) (bmc.Conn, error) {
	if o.Extras != "" {
		return extras(ctx, addr, creds, o)
	}
	if end != nil {
		return typed(end.System(ctx, addr.System))
	}
	override, err := quirks(o.Quirks)
	if err != nil {
		return nil, err
	}
	return typed(ipmi.Open(ctx, addr, creds, ipmi.Options{QuirkOverride: override, Log: o.Log, Observe: observe}))
}

// typed keeps a nil driver from becoming a Conn that is not nil.
func typed[C bmc.Conn](c C, err error) (bmc.Conn, error) {
	if err != nil {
		return nil, err
	}
	return c, nil
}
