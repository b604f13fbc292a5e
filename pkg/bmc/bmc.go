package bmc

import (
	"context"
	"net"
)

// Credentials open a session on a BMC. They print as nothing.
type Credentials struct {
	Username string
	Password string
}

// String hides both, so that a %v in a log line leaks nothing.
func (Credentials) String() string { return "(credentials)" }

// GoString hides both for %#v.
func (Credentials) GoString() string { return "(credentials)" }

// PowerState of a machine.
type PowerState string

// Power states as Redfish names them (DSP0268, ComputerSystem.PowerState);
// anything in between is reported as what it comes from.
const (
	PowerOn      PowerState = "On"
	PowerOff     PowerState = "Off"
	PowerUnknown PowerState = ""
)

// PowerAction is what to do with a machine's power. A driver maps it to what its
// BMC allows.
type PowerAction string

// The power actions.
const (
	ActionOn       PowerAction = "On"
	ActionForceOff PowerAction = "ForceOff"
	ActionSoftOff  PowerAction = "SoftOff" // ask the operating system
	ActionReset    PowerAction = "Reset"   // without a clean shutdown
	ActionCycle    PowerAction = "Cycle"   // off, then on
	ActionNMI      PowerAction = "NMI"

	// ActionSoftReset asks the operating system to restart.
	ActionSoftReset PowerAction = "SoftReset"
)

// BootTarget is where a machine looks for its operating system.
type BootTarget string

// Boot targets (Redfish BootSourceOverrideTarget; IPMI 2.0 §28.13).
const (
	BootNone     BootTarget = "None"
	BootPXE      BootTarget = "Pxe"
	BootDisk     BootTarget = "Hdd"
	BootCD       BootTarget = "Cd"
	BootUEFIHTTP BootTarget = "UefiHttp"
	BootSetup    BootTarget = "BiosSetup"
)

// BootMode is the firmware mode; empty leaves it as it is.
type BootMode string

// Boot modes.
const (
	BootModeUEFI   BootMode = "UEFI"
	BootModeLegacy BootMode = "Legacy"
)

// BootOverride replaces the boot order, once or until changed.
type BootOverride struct {
	Target     BootTarget
	Persistent bool // false: for the next start alone
	Mode       BootMode
	// HTTPURI is what to boot from with BootUEFIHTTP; empty leaves it to DHCP.
	HTTPURI string
	// Renew, in what is read after a Persistent override was set, says that this
	// BMC overrides one start only: set it again before each power-on.
	Renew bool
}

// Identity is what a BMC says of itself and its machine without booting it.
type Identity struct {
	Protocol     string // redfish, ipmi, or a provider of package vendorextra
	Manufacturer string
	Model        string
	Serial       string
	SystemUUID   string
	SystemID     string // Redfish: the URI of the ComputerSystem
	BMCVersion   string // firmware of the BMC
	MACs         []net.HardwareAddr
}

// Conn is an open way to one machine behind a BMC. It is safe for concurrent
// use; Close ends its session.
type Conn interface {
	// Identify reads who the machine is. It is cheap enough to run at every
	// registration (at most four requests).
	Identify(ctx context.Context) (Identity, error)
	Close(ctx context.Context) error
}

// Power is a Conn that can switch its machine.
type Power interface {
	PowerState(ctx context.Context) (PowerState, error)
	// SetPower returns once the BMC has taken the order; the caller reads the
	// state to see it done.
	SetPower(ctx context.Context, a PowerAction) error
}

// Boot is a Conn that can choose where its machine starts from.
type Boot interface {
	BootOverride(ctx context.Context) (BootOverride, error)
	// SetBootOverride writes and reads back; a BMC that ignored the write is an
	// error of class Protocol.
	SetBootOverride(ctx context.Context, o BootOverride) error
}

// Details is a Conn that can find out more than Identify, at a price: some
// requests per network interface, so not for every registration.
type Details interface {
	// Details fills what id lacks: the BMC's firmware version, MAC addresses,
	// over IPMI the maker, model and serial. What the BMC does not tell stays
	// empty.
	Details(ctx context.Context, id Identity) (Identity, error)
}
