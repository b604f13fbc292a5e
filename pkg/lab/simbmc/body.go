package simbmc

import (
	"context"
	"errors"
)

// Body is the machine behind a BMC: a QEMU process or a pretended machine. Its
// methods are called from several goroutines at once.
type Body interface {
	// Info returns the facts that do not change while the face is served.
	Info() Info
	// Power says whether the machine is on.
	Power(ctx context.Context) (bool, error)
	// SetPower carries the action out and returns when it is done, or begun for
	// the actions that ask the operating system. An action that makes no sense
	// in the present state returns ErrState.
	SetPower(ctx context.Context, a PowerAction) error
	// Boot returns the override that the next start will follow.
	Boot(ctx context.Context) (BootOverride, error)
	// SetBoot replaces the override. The body disables a Once override when it
	// has been followed.
	SetBoot(ctx context.Context, o BootOverride) error
	// InsertMedia puts the image at url into the virtual drive, replacing what
	// is there.
	InsertMedia(ctx context.Context, url string) error
	// EjectMedia empties the drive; an empty one is no error.
	EjectMedia(ctx context.Context) error
	// Media says what is in the drive.
	Media(ctx context.Context) (url string, inserted bool, err error)
}

// Errors that a body returns for a request it refuses; faces translate them.
var (
	// ErrState refuses an action that the present power state does not allow.
	ErrState = errors.New("not possible in the present power state")
	// ErrUnsupported refuses what this body cannot do at all.
	ErrUnsupported = errors.New("not supported by this machine")
)

// Info are the facts of a machine that its BMC shows. What is left out is not
// shown: processors and disks of a body that does not tell them are none.
type Info struct {
	UUID         string // RFC 4122, lower case, with dashes
	Name         string // also the Redfish id of the system: letters, digits, - and _
	Manufacturer string
	Model        string
	Serial       string
	MACs         []string // lower case with colons, in the order of the NICs
	CPUs         int      // logical processors, x86-64
	Sockets      int      // that they sit in; 0: one
	Cores        int      // in all sockets; 0: one for each logical processor
	CPUModel     string
	MemoryMiB    int
	Disks        []Disk
}

// Disk is a drive of the machine. Protocol and Media are Redfish's words (DSP0268,
// Drive.Protocol and Drive.MediaType), empty where none fits.
type Disk struct {
	Vendor, Model, Serial string
	SizeBytes             int64
	Protocol              string // NVMe, SAS
	Media                 string // SSD, HDD
}

// PowerAction is what a client asks of the power supply and the reset line. The
// values are Redfish's ResetType (DSP0268, Resource.ResetType).
type PowerAction string

// Power actions.
const (
	PowerOn          PowerAction = "On"
	ForceOff         PowerAction = "ForceOff"
	GracefulShutdown PowerAction = "GracefulShutdown"
	ForceRestart     PowerAction = "ForceRestart"
	PowerCycle       PowerAction = "PowerCycle"
	GracefulRestart  PowerAction = "GracefulRestart"
	NMI              PowerAction = "Nmi"
)

// PowerActions lists every action, in the order in which Redfish shows them.
func PowerActions() []PowerAction {
	return []PowerAction{PowerOn, ForceOff, GracefulShutdown, ForceRestart, PowerCycle, GracefulRestart, NMI}
}

// BootTarget is the device of the next boot (ComputerSystem.BootSource).
type BootTarget string

// Boot targets.
const (
	BootNone      BootTarget = "None"
	BootPXE       BootTarget = "Pxe"
	BootDisk      BootTarget = "Hdd"
	BootCD        BootTarget = "Cd"
	BootUEFIHTTP  BootTarget = "UefiHttp"
	BootBIOSSetup BootTarget = "BiosSetup"
)

// BootTargets lists every target, in the order in which Redfish shows them.
func BootTargets() []BootTarget {
	return []BootTarget{BootNone, BootPXE, BootDisk, BootCD, BootUEFIHTTP, BootBIOSSetup}
}

// BootEnabled is how long an override holds.
type BootEnabled string

// How long an override holds.
const (
	BootDisabled   BootEnabled = "Disabled"
	BootOnce       BootEnabled = "Once"
	BootContinuous BootEnabled = "Continuous"
)

// BootMode is the firmware interface that the next boot uses.
type BootMode string

// Boot modes.
const (
	ModeUEFI   BootMode = "UEFI"
	ModeLegacy BootMode = "Legacy"
)

// BootOverride says what the next start of the machine boots. Disabled leaves
// the machine's own order.
type BootOverride struct {
	Target  BootTarget
	Enabled BootEnabled
	Mode    BootMode
	HTTPURI string // HttpBootUri, used by BootUEFIHTTP; empty: from DHCP
}
