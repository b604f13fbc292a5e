package dhcp

import (
	"net"
	"net/netip"
	"time"
)

// Kind says what an [Event] is about.
type Kind string

const (
	// Seen: a known machine sent a message.
	Seen Kind = "seen"
	// Unknown: a machine that is not on record sent a message; it was given no answer.
	Unknown Kind = "unknown"
	// Replied: a known machine was answered (Reply, Address, Boot).
	Replied Kind = "replied"
	// WrongArch: a known machine's firmware is of an architecture for which there is no loader (Arch); it was given an address only.
	WrongArch Kind = "wrong-arch"
	// OtherServer: another DHCP server answered, or a client chose it (Server, ServerMAC if seen, Address and Boot if seen).
	OtherServer Kind = "other-server"
	// Conflict: a known machine could not be given its reserved address, since another holds it (Address).
	Conflict Kind = "conflict"
	// NoAddress: the range is used up, there is none, or the store of leases failed (Detail).
	NoAddress Kind = "no-address"
	// Declined: a machine found its address (Address) in use by somebody else (RFC 2131 §3.1 step 5).
	Declined Kind = "declined"
)

// Event is one thing that was seen on the wire. Fields that do not apply are zero.
type Event struct {
	Kind Kind
	Time time.Time
	MAC  net.HardwareAddr // the client's

	Message string // what the client sent: DISCOVER, REQUEST …; of OtherServer: what was seen
	Reply   string // what we answered: OFFER, ACK, NAK

	Firmware    Firmware
	Arch        []uint16 // option 93
	UserClass   string   // option 77
	VendorClass string   // option 60
	UUID        string   // option 97, as the firmware wrote it (SMBIOS byte order), lower case
	Relay       netip.Addr

	Address netip.Addr // given, refused, declined, or offered by the other server
	Boot    string     // loader or URL named in the answer

	Server    netip.Addr       // of OtherServer: its option 54
	ServerMAC net.HardwareAddr // of OtherServer, if it was seen
	Detail    string
}
