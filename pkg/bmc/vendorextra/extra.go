package vendorextra

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/ipmi"
)

// The providers, as an operator names them.
const (
	AMT        = "amt"
	ASRockRack = "asrockrack"
)

// Options of a provider.
type Options struct {
	// Insecure accepts any TLS certificate.
	Insecure bool
	// RootCAs replaces the system's certificate authorities.
	RootCAs *x509.CertPool
	// PinSPKI, if not empty, is the raw SHA-256 of the BMC's public key; no
	// certificate authority is asked then.
	PinSPKI []byte
	// Random is the source of nonces; nil means crypto/rand.
	Random io.Reader
	// Limit bounds one call whatever its context says; zero means a minute.
	Limit time.Duration
	// Patience is how long a machine is watched for the power state it was
	// ordered into; zero means 20 s.
	Patience time.Duration
}

// Open opens the machine at addr with the named provider.
//
// At a redfish address the provider is the whole driver: it takes the place of
// the Redfish that the BMC lacks. At an ipmi address IPMI stays the driver, and
// the provider adds what only it knows. AMT knows no IPMI.
func Open(ctx context.Context, name string, addr bmc.Address, creds bmc.Credentials, o Options) (bmc.Conn, error) {
	if err := Check(name, addr); err != nil {
		return nil, err
	}
	switch {
	case name == AMT:
		return whole(ctx, newAMT(addr, creds, o))
	case addr.Protocol == bmc.ProtocolIPMI:
		m, err := ipmi.Open(ctx, addr, creds, ipmi.Options{})
		if err != nil {
			return nil, err
		}
		return &beside{Machine: m, web: newBoard(addr, creds, o)}, nil
	default:
		return whole(ctx, newBoard(addr, creds, o))
	}
}

// whole logs in, so that a wrong password is known before the Conn is.
func whole(ctx context.Context, c bmc.Conn) (bmc.Conn, error) {
	if _, err := c.Identify(ctx); err != nil {
		_ = c.Close(context.WithoutCancel(ctx))
		return nil, err
	}
	return c, nil
}

// Check refuses what cannot be meant, before anything is sent. Its error says
// what to write.
func Check(name string, addr bmc.Address) error {
	var problem string
	switch {
	case name != AMT && name != ASRockRack:
		problem = fmt.Sprintf("extras %.40q is not known; there are %s and %s", name, AMT, ASRockRack)
	case addr.Boot != bmc.BootViaIPXE:
		problem = fmt.Sprintf("extras %s has no virtual media and no HTTP boot: write redfish:// instead of %s://", name, addr.Name)
	case name == AMT && addr.Protocol == bmc.ProtocolIPMI:
		problem = "extras amt speaks WS-MAN over HTTPS, not IPMI: write redfish:// for port 16993, or redfish+http:// for port 16992 in the clear"
	case name == ASRockRack && addr.Protocol == bmc.ProtocolRedfish && !addr.TLS:
		problem = "extras asrockrack speaks HTTPS alone: write redfish:// instead of redfish+http://"
	case addr.System != "":
		problem = fmt.Sprintf("extras %s knows one machine behind a BMC: leave the path out of the address", name)
	default:
		return nil
	}
	return &bmc.Error{Class: bmc.BadRequest, Code: bmc.CodeAddressSyntax, Op: "read extras", Detail: problem}
}
