package dhcp

import (
	"encoding/binary"
	"encoding/hex"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Firmware is the kind of program that asks.
type Firmware string

const (
	FirmwareNone     Firmware = ""          // an operating system
	FirmwareBIOS     Firmware = "bios"      // PXE of a BIOS
	FirmwareUEFI     Firmware = "uefi"      // PXE of UEFI, x86-64
	FirmwareUEFIHTTP Firmware = "uefi-http" // HTTP boot of UEFI, x86-64
	FirmwareIPXE     Firmware = "ipxe"
	FirmwareOther    Firmware = "other" // an architecture that has no loader
)

// Names of the loaders, as Debian's package ipxe has them.
const (
	LoaderBIOS     = "undionly.kpxe"
	LoaderUEFI     = "snponly.efi"
	LoaderUEFIHTTP = "ipxe.efi"
)

// Architectures of RFC 4578 §2.1 and IANA's "Processor Architecture Types". Firmware in the field sends 7 or 9 for x86-64 (erratum 4625 of the RFC).
const (
	archBIOS         = 0
	archEFIx64       = 7
	archEFIBC        = 9
	archEFIx64HTTP   = 16
	optClientUUID    = 97  // RFC 4578 §2.3
	optEtherboot     = 175 // iPXE's encapsulated options
	optLinkSelection = 5   // sub-option of option 82, RFC 3527
	maxText          = 128 // longest text taken from a packet into an event
)

// client is what a request says about the program that sent it.
type client struct {
	firmware    Firmware
	arches      []uint16
	userClass   string
	vendorClass string
	uuid        string
}

func clientOf(req *dhcpv4.DHCPv4) client {
	c := client{
		vendorClass: printable(req.Options.Get(dhcpv4.OptionClassIdentifier)),
		userClass:   userClass(req.Options.Get(dhcpv4.OptionUserClassInformation)),
		uuid:        uuidText(req.Options.Get(dhcpv4.GenericOptionCode(optClientUUID))),
	}
	arch := req.Options.Get(dhcpv4.OptionClientSystemArchitectureType)
	for ; len(arch) >= 2 && len(c.arches) < 8; arch = arch[2:] {
		c.arches = append(c.arches, binary.BigEndian.Uint16(arch))
	}
	ipxe := c.userClass == "iPXE" || req.Options.Has(dhcpv4.GenericOptionCode(optEtherboot))
	pxe := strings.HasPrefix(c.vendorClass, "PXEClient")
	http := strings.HasPrefix(c.vendorClass, "HTTPClient")
	c.firmware = firmwareOf(ipxe, pxe, http, c.arches)
	return c
}

func firmwareOf(ipxe, pxe, http bool, arches []uint16) Firmware {
	if !ipxe && !pxe && !http {
		return FirmwareNone
	}
	if len(arches) == 0 { // RFC 4578 §2.1 wants option 93; ROMs from before it are BIOS
		arches = []uint16{archBIOS}
	}
	for _, a := range arches {
		switch {
		case a != archBIOS && a != archEFIx64 && a != archEFIBC && a != archEFIx64HTTP:
		case ipxe:
			return FirmwareIPXE
		case http && a == archEFIx64HTTP:
			return FirmwareUEFIHTTP
		case pxe && a == archBIOS:
			return FirmwareBIOS
		case pxe && a != archEFIx64HTTP:
			return FirmwareUEFI
		}
	}
	return FirmwareOther
}

// userClass reads option 77, which iPXE sends as bare text and RFC 3004 §4 wants as a list of length-prefixed items.
func userClass(b []byte) string {
	if len(b) > 1 && int(b[0]) == len(b)-1 {
		b = b[1:]
	}
	return printable(b)
}

// uuidText reads option 97: type 0 and 16 bytes.
func uuidText(b []byte) string {
	if len(b) != 17 || b[0] != 0 {
		return ""
	}
	h := hex.EncodeToString(b[1:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// printable cuts text from the network to what may stand in a log.
func printable(b []byte) string {
	b = b[:min(len(b), maxText)]
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, string(b))
}
