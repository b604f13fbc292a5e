package dhcp

import (
	"net/netip"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// reply begins an answer: the fields of RFC 2131 table 3 that come from the request, the options that are handed back as they came.
func (s *Server) reply(req *dhcpv4.DHCPv4, kind dhcpv4.MessageType) *dhcpv4.DHCPv4 {
	r := &dhcpv4.DHCPv4{
		OpCode:        dhcpv4.OpcodeBootReply,
		HWType:        iana.HWTypeEthernet,
		TransactionID: req.TransactionID,
		Flags:         req.Flags,
		ClientHWAddr:  req.ClientHWAddr,
		GatewayIPAddr: req.GatewayIPAddr,
		Options:       dhcpv4.Options{},
	}
	r.UpdateOption(dhcpv4.OptMessageType(kind))
	r.UpdateOption(dhcpv4.OptServerIdentifier(ipOf(s.cfg.ServerIP)))
	for _, code := range []dhcpv4.OptionCode{
		dhcpv4.OptionClientIdentifier,           // RFC 6842 §3
		dhcpv4.OptionRelayAgentInformation,      // RFC 3046 §2.2
		dhcpv4.GenericOptionCode(optClientUUID), // PXE 2.1 §2.2.1: ROMs want theirs back
	} {
		if v := req.Options.Get(code); v != nil {
			r.UpdateOption(dhcpv4.OptGeneric(code, v))
		}
	}
	return r
}

// network adds what an operating system and a firmware alike want to know of the network.
func (s *Server) network(r *dhcpv4.DHCPv4, hostname string) {
	c := &s.cfg
	r.UpdateOption(dhcpv4.OptSubnetMask(maskOf(c.Subnet)))
	r.UpdateOption(dhcpv4.OptBroadcastAddress(ipOf(c.broadcast())))
	if c.Gateway.IsValid() {
		r.UpdateOption(dhcpv4.OptRouter(ipOf(c.Gateway)))
	}
	if len(c.DNS) > 0 {
		r.UpdateOption(dhcpv4.OptDNS(ipsOf(c.DNS)...))
	}
	if len(c.NTP) > 0 {
		r.UpdateOption(dhcpv4.OptNTPServers(ipsOf(c.NTP)...))
	}
	if validLabel(hostname) {
		r.UpdateOption(dhcpv4.OptHostName(hostname))
	}
}

// lease adds the address and its times (RFC 2131 §4.4.5: T1 is half, T2 seven eighths).
func (s *Server) lease(r *dhcpv4.DHCPv4, ip netip.Addr) {
	d := s.cfg.LeaseTime.Truncate(time.Second)
	r.YourIPAddr = ipOf(ip)
	r.UpdateOption(dhcpv4.OptIPAddressLeaseTime(d))
	r.UpdateOption(dhcpv4.OptRenewTimeValue(d / 2))
	r.UpdateOption(dhcpv4.OptRebindingTimeValue(d * 7 / 8))
}

// boot adds what the client is to load, and returns its name ("" where there is none).
func (s *Server) boot(r *dhcpv4.DHCPv4, mac MAC, f Firmware) string {
	var name string
	switch f {
	case FirmwareIPXE:
		name = s.cfg.ScriptURL(mac.HardwareAddr())
		if s.cfg.Mode == ModeProxy {
			// iPXE takes a proxy's answer only with option 60, and passes over one without a next server or a menu (its dhcp.c: dhcp_has_pxeopts).
			s.pxeClass(r)
			r.ServerIPAddr = ipOf(s.cfg.ServerIP)
			break
		}
		// no-pxedhcp: do not wait three seconds for a proxy. Neither 60 nor 43 here, so that no iPXE goes on to ask port 4011.
		r.UpdateOption(dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(optEtherboot), []byte{0xb0, 1, 1}))
	case FirmwareUEFIHTTP:
		if s.cfg.HTTPBase == "" {
			return ""
		}
		// UEFI 2.10 §24.7.3.1: the answer is an HTTP one by its option 60, and the URL is in option 67.
		name = strings.TrimSuffix(s.cfg.HTTPBase, "/") + "/boot/file/" + LoaderUEFIHTTP
		r.UpdateOption(dhcpv4.OptClassIdentifier("HTTPClient"))
	case FirmwareBIOS, FirmwareUEFI:
		name = LoaderBIOS
		if f == FirmwareUEFI {
			name = LoaderUEFI
		}
		s.pxeClass(r)
		r.ServerIPAddr = ipOf(s.cfg.TFTPAddr)
		r.UpdateOption(dhcpv4.OptTFTPServerName(s.cfg.TFTPAddr.String()))
	default:
		return ""
	}
	// Option 67 for clients that read options, the field for ROMs that do not; a name that does not fit would be cut, so it is left out there.
	r.UpdateOption(dhcpv4.OptBootFileName(name))
	if len(name) < 128 {
		r.BootFileName = name
	}
	return name
}

// pxeClass marks an answer as PXE's. Option 60 never goes without option 43: OVMF would say PXE-E16. 06 01 08 is PXE_DISCOVERY_CONTROL with bit 3: take the
// boot file named here, ask no boot server (PXE 2.1 table 2-1).
func (s *Server) pxeClass(r *dhcpv4.DHCPv4) {
	r.UpdateOption(dhcpv4.OptClassIdentifier("PXEClient"))
	r.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionVendorSpecificInformation, []byte{6, 1, 8, 0xff}))
}

// destination says where an answer goes (RFC 2131 §4.1). A client without an address gets it by broadcast even if it could take unicast: that would need a
// frame to an address nobody answers ARP for yet, and the same section allows this.
func destination(req, r *dhcpv4.DHCPv4) netip.AddrPort {
	nak := r.MessageType() == dhcpv4.MessageTypeNak
	if relay := addrOf(req.GatewayIPAddr); relay.IsValid() {
		if nak {
			r.SetBroadcast() // §4.3.2: so that the relay broadcasts it
		}
		return netip.AddrPortFrom(relay, ServerPort)
	}
	if ciaddr := addrOf(req.ClientIPAddr); ciaddr.IsValid() && !nak {
		return netip.AddrPortFrom(ciaddr, ClientPort)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), ClientPort)
}

func maskOf(p netip.Prefix) []byte {
	m := ^uint32(0) << (32 - p.Bits())
	a := address(m).As4()
	return a[:]
}

// validLabel reports whether a name may be given to a machine as its own (RFC 1123 §2.1).
func validLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == ""
}
