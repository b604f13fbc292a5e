package httpboot

import (
	"net"
	"net/netip"
	"time"
)

// Kind is a line of the table.
type Kind string

const (
	KindScript Kind = "script"
	KindLoader Kind = "loader"
	KindKernel Kind = "kernel"
	KindInitrd Kind = "initrd"
	KindUKI    Kind = "uki"
	KindBlob   Kind = "blob"
	KindOther  Kind = "other" // a path that is not in the table
)

// Event is one request, told when it has ended.
type Event struct {
	Kind   Kind
	Name   string           // loader, flavour or digest
	MAC    net.HardwareAddr // of a script
	Remote netip.Addr
	Agent  string // User-Agent, printable
	Head   bool

	Begun, Ended time.Time
	Status       int
	Bytes, Size  int64  // sent, and to be sent
	Done         bool   // all of it went out; else it was cut, by the client or because it stood still
	Detail       string // why it was cut
}
