package bmc

import (
	"context"
	"io"
	"time"

	"github.com/ingot-metal/ingot/api/agent"
)

// The interfaces below are capabilities of a Conn, found by type assertion. A
// BMC that lacks one answers with an error of class Unsupported. What a BMC
// carries out over time is an Op.

// Op is a change that a BMC was asked for and may still be carrying out. It is
// plain data: recorded, it can be polled after a restart. Nothing in it is
// secret.
type Op struct {
	Kind string `json:"kind"` // bios, boot-order, firmware, secure-boot, volume …
	// Task is the URI of a Redfish Task or task monitor; empty if the BMC named none.
	Task string `json:"task,omitempty"`
	// Resource is what the change is about, for the read-back.
	Resource string `json:"resource,omitempty"`
	// Want is what the read-back must show, property by property.
	Want map[string]string `json:"want,omitempty"`
	// NeedsReset says that the change waits for the machine's next reset.
	NeedsReset bool `json:"needsReset,omitempty"`
	// Done says that the change has been read back.
	Done bool `json:"done,omitempty"`
}

// Progress is how far an Op is. An Op that failed is an error of Poll's, not a
// Progress.
type Progress struct {
	Done    bool
	Percent int    // -1: the BMC does not say
	State   string // the task's state, in the BMC's word
	Message string
	// RetryAfter is when the BMC wants to be asked again; zero if it did not say.
	RetryAfter time.Duration
}

// Ops is a Conn whose writes return Ops.
type Ops interface {
	// Poll asks how far an Op is: the task first, then, when it is over or there
	// is none, the resource itself. A task that the BMC has forgotten is decided
	// by the resource alone.
	Poll(ctx context.Context, o Op) (Progress, error)
}

// ApplyTime is when a BMC applies a staged change (DSP0268
// Settings.OperationApplyTime). Empty leaves it to the BMC.
type ApplyTime string

// Apply times.
const (
	ApplyNow     ApplyTime = "Immediate"
	ApplyOnReset ApplyTime = "OnReset"
)

// BootOption is an entry of the machine's boot order.
type BootOption struct {
	Reference   string // as BootOrder names it
	Name        string // for people
	UEFIPath    string // UEFI device path, where known
	Description string
}

// BootOrder is a Conn that can read and change the lasting order of boot.
type BootOrder interface {
	BootOrder(ctx context.Context) ([]BootOption, error)
	SetBootOrder(ctx context.Context, references []string) (Op, error)
}

// Slot is a virtual drive.
type Slot struct {
	ID       string // URI
	Types    []string
	Image    string // with credentials and query taken out
	Inserted bool
}

// MediaRequest asks for an image in a virtual CD drive.
type MediaRequest struct {
	URL                string
	Username, Password string
}

// Media is a Conn with virtual media.
type Media interface {
	Slots(ctx context.Context) ([]Slot, error)
	// InsertMedia puts the image into a CD drive, taking out what is there, and
	// reads back. It returns the drive.
	InsertMedia(ctx context.Context, r MediaRequest) (Slot, error)
	// EjectMedia empties the drive, or all CD drives if slot is empty. An empty
	// drive is no error.
	EjectMedia(ctx context.Context, slot string) error
}

// BIOSAttribute is what the registry says of an attribute (DSP0268
// AttributeRegistry).
type BIOSAttribute struct {
	Type                 string // String, Integer, Boolean, Enumeration, Password
	Values               []string
	LowerBound           *int64
	UpperBound           *int64
	MinLength, MaxLength *int64
	ReadOnly             bool
	NeedsReset           bool
	Hidden               bool
	DisplayName          string
}

// BIOS is the state of a machine's firmware settings. Values are string, int64
// or bool.
type BIOS struct {
	Attributes map[string]any
	Pending    map[string]any // staged, not yet applied; nil if the BMC does not show it
	RegistryID string
	Registry   map[string]BIOSAttribute // nil if the BMC has none
}

// Settings is a Conn that can change BIOS attributes.
type Settings interface {
	BIOS(ctx context.Context) (BIOS, error)
	// StageBIOS checks each attribute against the registry (name, type, bounds,
	// read-only), writes those that differ and reads the pending settings back.
	StageBIOS(ctx context.Context, attributes map[string]any, at ApplyTime) (Op, error)
	ResetBIOS(ctx context.Context) (Op, error)
}

// SecureBootState of a machine (DSP0268 SecureBoot).
type SecureBootState struct {
	Enabled bool   // at the next start
	Current bool   // in force now
	Mode    string // SetupMode, UserMode, AuditMode, DeployedMode
	// Unknown says that the BMC shows neither Enabled nor Current.
	Unknown bool
	// Databases are those in use (PK, KEK, db, dbx …; the factory's Default ones
	// are left out) with their number of certificates, -1 where the BMC does not
	// show it; nil if it has no databases.
	Databases map[string]int
}

// KeyReset says what becomes of the Secure Boot keys.
type KeyReset string

// Key resets (DSP0268 SecureBoot.ResetKeys).
const (
	KeysToDefault  KeyReset = "ResetAllKeysToDefault"
	KeysDeleteAll  KeyReset = "DeleteAllKeys"
	KeysDeletePlat KeyReset = "DeletePK"
)

// SecureBoot is a Conn that can read and switch Secure Boot.
type SecureBoot interface {
	SecureBoot(ctx context.Context) (SecureBootState, error)
	SetSecureBoot(ctx context.Context, enable bool) (Op, error)
	ResetSecureBootKeys(ctx context.Context, k KeyReset) (Op, error)
	// EnrollSecureBootCertificate adds one certificate (PEM) to a database, db as
	// a rule. One that is there already is no error.
	EnrollSecureBootCertificate(ctx context.Context, database string, pem []byte) (Op, error)
}

// FirmwareComponent is something with firmware.
type FirmwareComponent struct {
	ID        string // URI
	Name      string
	Version   string
	Updatable bool
	Component string // bios, bmc, or nic:ID as HostFirmwareComponents name them; else empty
}

// FirmwareUpdate asks for new firmware: URL for the BMC to fetch, or Image to be
// pushed.
type FirmwareUpdate struct {
	URL                string
	Username, Password string // for URL
	Image              io.Reader
	Size               int64
	Name               string   // file name of Image
	Targets            []string // URIs; empty: the BMC decides
	ApplyTime          ApplyTime
	Want               map[string]string // component URI (FirmwareComponent.ID) → version to read back
}

// Firmware is a Conn that can read and update firmware.
type Firmware interface {
	FirmwareInventory(ctx context.Context) ([]FirmwareComponent, error)
	UpdateFirmware(ctx context.Context, u FirmwareUpdate) (Op, error)
}

// Volume is a logical disk of a storage controller.
type Volume struct {
	ID        string // URI
	Name      string
	RAIDType  string // RAID0, RAID1 …
	Bytes     int64
	DriveIDs  []string
	Encrypted bool
}

// Drive is a physical disk behind a storage controller.
type Drive struct {
	ID         string // URI
	Name       string
	Model      string
	Serial     string
	Bytes      int64
	BlockSize  int64
	MediaType  string // HDD, SSD
	Protocol   string // SATA, SAS, NVMe
	Health     string
	IsHotSpare bool
}

// StorageController is DSP0268 Storage with its controllers, drives and volumes.
type StorageController struct {
	ID        string // URI of the Storage resource
	Name      string
	Model     string
	Firmware  string
	RAIDTypes []string // empty: it makes no volumes
	Drives    []Drive
	Volumes   []Volume
}

// VolumeSpec asks for a logical disk.
type VolumeSpec struct {
	Name     string
	RAIDType string
	Bytes    int64    // zero: all there is
	DriveIDs []string // URIs
	// ApplyTime, if set, must be one that the controller offers.
	ApplyTime ApplyTime
}

// Storage is a Conn that can make and delete RAID volumes. Deleting destroys
// data: callers ask only where the declared state says so.
type Storage interface {
	Storage(ctx context.Context) ([]StorageController, error)
	CreateVolume(ctx context.Context, controller string, v VolumeSpec) (Op, error)
	DeleteVolume(ctx context.Context, volume string) (Op, error)
}

// Sensor is one reading.
type Sensor struct {
	Name   string
	Kind   string // temperature, fan, voltage, power, current, other
	Value  float64
	Unit   string // Cel, RPM, V, W, A, %
	Health string // OK, Warning, Critical, or empty
	State  string // of a sensor that measures nothing: what it says
	Absent bool   // no reading
}

// HealthReport is how a machine is.
type HealthReport struct {
	Status  string // OK, Warning, Critical
	State   string // Enabled, StandbyOffline …
	Sensors []Sensor
}

// Health is a Conn that reads health and sensors.
type Health interface {
	Health(ctx context.Context) (HealthReport, error)
}

// Glance is a Conn that tells with the power state, in the same request, how the
// machine is as a whole: OK, Warning, Critical, or nothing where it does not say.
type Glance interface {
	Glance(ctx context.Context) (PowerState, string, error)
}

// LogEntry is one line of the BMC's event log.
type LogEntry struct {
	ID       string
	Time     time.Time // zero if the BMC does not know
	Severity string
	Sensor   string
	Message  string
}

// Log is a Conn with a system event log.
type Log interface {
	// EventLog returns at most limit entries, the newest last.
	EventLog(ctx context.Context, limit int) ([]LogEntry, error)
	ClearEventLog(ctx context.Context) error
}

// Indicator is a Conn that can light the machine's locator.
type Indicator interface {
	Indicator(ctx context.Context) (lit bool, err error)
	SetIndicator(ctx context.Context, lit bool) error
}

// Account of a BMC.
type Account struct {
	ID       string // URI or slot
	Username string
	Role     string // Administrator, Operator, ReadOnly
	Enabled  bool
	Locked   bool
}

// Accounts is a Conn that manages accounts of its BMC.
type Accounts interface {
	Accounts(ctx context.Context) ([]Account, error)
	CreateAccount(ctx context.Context, a Account, password string) (Account, error)
	DeleteAccount(ctx context.Context, id string) error
	// SetPassword checks the length the BMC allows, writes, and logs in with the
	// new password to see it taken.
	SetPassword(ctx context.Context, username, password string) error
}

// Subscription is an order for Redfish events (DSP0266 §12.1).
type Subscription struct {
	ID          string // URI, once made
	Destination string
	Context     string
	EventTypes  []string
	Headers     map[string]string // secret: sent with each event
}

// Events is a Conn that pushes events.
type Events interface {
	Subscriptions(ctx context.Context) ([]Subscription, error)
	// Subscribe finds the subscription with the same destination and context, or
	// makes it.
	Subscribe(ctx context.Context, s Subscription) (Subscription, error)
	Unsubscribe(ctx context.Context, id string) error
}

// Inspector is a Conn that knows the machine's hardware without booting it.
type Inspector interface {
	// Inspect reads CPUs, memory modules, drives, NICs and firmware. What the BMC
	// does not tell stays empty.
	Inspect(ctx context.Context) (agent.Inventory, error)
}

// Console is a Conn with a serial console.
type Console interface {
	// OpenConsole takes the console. Read returns what the machine prints, Write
	// types; both end when ctx does or Close is called. A stale session of a
	// console that only one may hold is ended first.
	OpenConsole(ctx context.Context) (io.ReadWriteCloser, error)
}
