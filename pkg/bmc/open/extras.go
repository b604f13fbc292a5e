package open

import (
	"context"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/vendorextra"
)

// AnnotationExtras of a BareMetalHost names the provider of package vendorextra
// that its BMC needs: amt or asrockrack.
const AnnotationExtras = "ingot.dev/bmc-extras"

// extras opens a BMC that neither Redfish nor IPMI is enough for. It proves
// itself as others do, by authority, by pin, or not at all; TrustOnFirstUse and
// Legacy are for Redfish, and without them an unknown key is refused.
func extras(ctx context.Context, addr bmc.Address, creds bmc.Credentials, o Options) (bmc.Conn, error) {
	return vendorextra.Open(ctx, o.Extras, addr, creds, vendorextra.Options{
		Insecure: o.Insecure, RootCAs: o.RootCAs, PinSPKI: []byte(o.PinSPKI),
	})
}
