package agent

import "time"

// Version is the protocol version. It is raised whenever an older agent could
// misread a step.
const Version = 1

// Paths of the agent door, all POST with JSON bodies unless noted.
const (
	PathHello    = "/agent/v1/hello"
	PathNext     = "/agent/v1/next"
	PathProgress = "/agent/v1/progress"
	PathResult   = "/agent/v1/result"
	// PathSecret + hex digest (GET) serves what is meant for this host and boot
	// alone, such as its config drive.
	PathSecret = "/agent/v1/secret/"
)

// Kernel arguments that a boot script hands to the agent. None is secret.
const (
	ArgURL  = "ingot.url"  // base URL of the agent door, https://IP:6183; more, after commas, are those of other replicas
	ArgCA   = "ingot.ca"   // lower-case hex SHA-256 of the CA certificate (DER) to trust
	ArgBoot = "ingot.boot" // public id of the boot that was ordered
	ArgMAC  = "ingot.mac"  // MAC of the interface that booted
)

// Limits that both sides hold.
const (
	MaxMessage   = 4 << 20          // bytes of a message body
	PollTimeout  = 30 * time.Second // longest wait of a next call on the server
	MaxDetail    = 200              // bytes of a progress detail
	MaxChunk     = 8 << 20          // bytes of a decoded chunk
	MaxChunks    = 1 << 20          // chunks of one manifest (8 TiB)
	MaxConfDrive = 64 << 20         // bytes of a config drive

	MaxRAIDVolumes = 2 // of a raid step
)

// Hello is the first message of a boot. It is sent over TLS to a server that
// proved itself by the pinned CA; the agent has no credential yet.
type Hello struct {
	Version   int      `json:"version"`
	BootID    string   `json:"bootID"`
	CSR       []byte   `json:"csr"` // PKCS #10, DER; ECDSA P-256; the server sets the subject
	MACs      []string `json:"macs"`
	SMBIOS    string   `json:"smbiosUUID"`
	MemoryMiB int      `json:"memoryMiB"`
	Firmware  string   `json:"firmware"` // FirmwareBIOS or FirmwareUEFI
	Build     string   `json:"build"`    // version of the agent, for people
}

// Values of Hello.Firmware and Inventory.Firmware.Mode.
const (
	FirmwareBIOS = "bios"
	FirmwareUEFI = "uefi"
)

// Welcome answers a Hello that was believed.
type Welcome struct {
	Version     int       `json:"version"`
	Certificate []byte    `json:"certificate"` // DER, for the CSR's key
	Now         time.Time `json:"now"`         // the agent's clock is set to this
	Host        string    `json:"host"`        // namespace/name, for people and the console
	Epoch       int64     `json:"epoch"`       // fence: the agent refuses steps of a lower one
}

// NextRequest asks for work and says what the agent is doing.
type NextRequest struct {
	Running string  `json:"running,omitempty"` // id of the step being run
	Last    *Result `json:"last,omitempty"`    // outcome of the last finished step
}

// Kinds of step.
const (
	StepWait     = "wait"     // nothing to do: ask again
	StepInspect  = "inspect"  // result: Inventory
	StepClean    = "clean"    // metadata erase of the disks named
	StepWrite    = "write"    // image, config drive, boot entry
	StepDeploy   = "deploy"   // a method of the ramdisk; older agents refuse it
	StepRAID     = "raid"     // arrays of software RAID
	StepReboot   = "reboot"   // end of the conversation
	StepPowerOff = "poweroff" // end of the conversation
)

// Step is one piece of work. The id is the server's and is run at most once: an
// agent that is handed the id of a step it has finished re-sends the result.
type Step struct {
	ID    string     `json:"id"`
	Epoch int64      `json:"epoch"`
	Kind  string     `json:"kind"`
	Clean *CleanStep `json:"clean,omitempty"`
	Write *WriteStep `json:"write,omitempty"`

	Deploy *DeployStep `json:"deploy,omitempty"`
	RAID   *RAIDStep   `json:"raid,omitempty"`
}

// DiskRef names one disk. Every field that is set must match the disk found at
// Name, or the agent refuses the step: a device name alone may move between
// boots.
type DiskRef struct {
	Name   string `json:"name"` // /dev/nvme0n1
	Serial string `json:"serial,omitempty"`
	WWN    string `json:"wwn,omitempty"`
	Size   int64  `json:"size"` // bytes
}

// CleanStep erases partition tables, signatures and RAID metadata of the disks.
type CleanStep struct {
	Disks []DiskRef `json:"disks"`
}

// WriteStep writes an image to one disk. Nothing is written before the manifest
// is validated against the disk; each chunk is verified before it is written.
type WriteStep struct {
	Disk      DiskRef  `json:"disk"`
	Manifest  Manifest `json:"manifest"`
	ChunkBase string   `json:"chunkBase"` // URL prefix; a chunk is at ChunkBase + Chunk.Digest
	// ConfigDrive is the digest (hex SHA-256) of the config drive, fetched from
	// PathSecret; empty: none is written.
	ConfigDrive     string `json:"configDrive,omitempty"`
	ConfigDriveSize int64  `json:"configDriveSize,omitempty"`
	BootLabel       string `json:"bootLabel,omitempty"` // name of the EFI boot entry
}

// RAIDStep deletes the software RAID that ingot made on the machine's disks and
// makes what is wanted instead. What was on the disks of a volume is lost. An
// agent of before this step refuses it by its kind.
type RAIDStep struct {
	For     string       `json:"for"`             // what is declared; said again in the result
	Disks   []DiskRef    `json:"disks,omitempty"` // where arrays may be deleted
	Volumes []RAIDVolume `json:"volumes,omitempty"`
}

// RAIDVolume is an array to be made. Volumes may share disks.
type RAIDVolume struct {
	Name  string    `json:"name,omitempty"` // empty: its number, from 0
	Level string    `json:"level"`          // 0, 1, 1+0
	Size  int64     `json:"size,omitempty"` // bytes; 0: all there is
	Disks []DiskRef `json:"disks"`
}

// Manifest lists the chunks of a decoded (raw) image in order of offset. Ranges
// that no chunk covers read as zero.
type Manifest struct {
	Size      int64   `json:"size"`      // bytes of the raw image
	SHA256    string  `json:"sha256"`    // hex digest of the raw image
	ChunkSize int64   `json:"chunkSize"` // bytes of every chunk but the last
	Chunks    []Chunk `json:"chunks"`
}

// Chunk is one zstd frame.
type Chunk struct {
	Offset int64  `json:"offset"` // in the raw image
	Length int64  `json:"length"` // bytes decoded
	Stored int64  `json:"stored"` // bytes of the frame
	Digest string `json:"digest"` // hex SHA-256 of the frame
}

// Progress of the running step.
type Progress struct {
	StepID string `json:"stepID"`
	Done   int64  `json:"done"`
	Total  int64  `json:"total"`
	Unit   string `json:"unit"`             // bytes, disks, devices
	Detail string `json:"detail,omitempty"` // what is being done, at most MaxDetail bytes
}

// Result is the outcome of a step.
type Result struct {
	StepID    string       `json:"stepID"`
	Error     *StepError   `json:"error,omitempty"`
	Inventory *Inventory   `json:"inventory,omitempty"` // of an inspect step
	Write     *WriteResult `json:"write,omitempty"`
	Clean     *CleanResult `json:"clean,omitempty"`

	Deploy *DeployResult `json:"deploy,omitempty"`
	RAID   *RAIDResult   `json:"raid,omitempty"`
}

// StepError says why a step failed. Code is one of the diagnosis codes of
// pkg/explain where the agent can tell (disk-small, disk-mismatch, disk-io,
// image-chunk, image-unreachable, clean-failed, inspect-failed, softraid-failed,
// step-refused).
type StepError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// WriteResult is the proof of a write.
type WriteResult struct {
	Disk      DiskRef `json:"disk"`
	Written   int64   `json:"written"`   // bytes written, zero ranges included
	Fetched   int64   `json:"fetched"`   // bytes that crossed the network
	BootEntry string  `json:"bootEntry"` // Boot0003, or empty on BIOS
}

// CleanResult lists what was erased.
type CleanResult struct {
	Disks []DiskRef `json:"disks"`
}

// RAIDResult lists the devices made, in the order of the volumes.
type RAIDResult struct {
	For     string    `json:"for"`
	Devices []DiskRef `json:"devices,omitempty"`
}

// Error is the body of every answer that is not 2xx.
type Error struct {
	Code    string `json:"code"` // ErrVersion, ErrNotArmed, …
	Message string `json:"message"`
	URL     string `json:"url,omitempty"` // of ErrElsewhere: base URL of the door to go to
}

// Codes of Error.
const (
	ErrVersion    = "version"     // reboot to fetch the agent of this server
	ErrNotArmed   = "not-armed"   // this boot was not ordered, or was redeemed: power off
	ErrBadRequest = "bad-request" // the message names what is wrong
	ErrGone       = "gone"        // the host or the boot is no more: power off
	ErrRetry      = "retry"       // not now: ask again
	// ErrElsewhere says that another replica of the server has the host, and at
	// which door. An agent that does not know the code asks here again, and is
	// served once its host is here.
	ErrElsewhere = "elsewhere"
)
