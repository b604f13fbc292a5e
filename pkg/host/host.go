package host

import "time"

// State is a host's provisioning state, as Metal3 writes it into
// status.provisioning.state.
type State string

// The states.
const (
	None                    State = ""
	Unmanaged               State = "unmanaged"
	Registering             State = "registering"
	Inspecting              State = "inspecting"
	Preparing               State = "preparing"
	Available               State = "available"
	Provisioning            State = "provisioning"
	Provisioned             State = "provisioned"
	ExternallyProvisioned   State = "externally provisioned"
	Deprovisioning          State = "deprovisioning"
	PoweringOffBeforeDelete State = "powering off before delete"
	Deleting                State = "deleting"
)

// Power is the last power state read from the BMC.
type Power string

// Power states.
const (
	PowerUnknown Power = ""
	PowerOn      Power = "on"
	PowerOff     Power = "off"
)

// Health is what the BMC last said of the machine as a whole.
type Health string

// The healths.
const (
	HealthUnknown  Health = ""
	Healthy        Health = "OK"
	HealthWarning  Health = "Warning"
	HealthCritical Health = "Critical"
)

// Image is what a person wants on a host's disk.
type Image struct {
	URL          string
	Checksum     string
	ChecksumType string
	Format       string
	Method       string // spec.customDeploy: what the ramdisk runs instead of writing it
}

// Detach is the annotation that takes a host out of our hands.
type Detach struct {
	DelayDelete bool // a deletion waits until the annotation is gone
	Force       bool // in any state
}

// Reboot sums up the reboot annotations.
type Reboot struct {
	Once      bool // reboot.metal3.io: off, then on again; removed when seen off
	Hold      bool // reboot.metal3.io/KEY: off until it is removed
	Hard      bool // do not ask the operating system
	Force     bool // Once, in available too, and against an operation that is under way
	HoldForce bool // Hold, in available too
}

// Wants is what is declared: spec, annotations and the Secret's version. It is
// replaced as a whole by an Observe event.
type Wants struct {
	Generation            int64  // metadata.generation
	Address               string // spec.bmc.address
	SecretName            string // spec.bmc.credentialsName
	SecretVersion         string // of usable credentials; empty: see SecretProblem
	SecretProblem         *Problem
	DataVersion           string // of the Secrets that the config drive is made of
	BMCOptions            string // another text when the BMC is to be spoken to otherwise
	Online                bool
	DisablePowerOff       bool
	Image                 *Image
	ExternallyProvisioned bool
	Paused                bool
	Detach                *Detach
	Reboot                Reboot
	InspectAgain          bool // inspect.metal3.io annotation
	InspectionDisabled    bool
	FastInspect           bool // spec.inspectionMode: fast
	CleaningDisabled      bool
	Legacy                bool   // spec.bootMode: legacy
	DataImage             string // URL that a DataImage wants in the virtual drive
	BuildsRamdisk         bool   // an external builder is asked for the ramdisk
	Ramdisk               *Ramdisk
	RamdiskProblem        *Problem
	RamdiskVersion        string // another text with each of the builder's answers
	Hints                 string // another text when another root disk is asked for; empty: the one known stays
	Deleting              bool

	// What is declared of firmware and RAID (change.go).
	RAID         string // hardware RAID volumes, as one text; empty: they are left alone
	SecureBoot   bool   // spec.bootMode: UEFISecureBoot
	Firmware     string // another text for other settings, updates or policy
	Settings     bool   // firmware settings are declared that are not in force
	Updates      bool   // firmware updates are declared that were not carried out
	LiveSettings bool   // a machine in use may be changed when it next starts
	LiveUpdates  bool

	SoftRAID string // software RAID volumes, as one text; empty: there are to be none

	Ask         *Ask // what the REST door asked for last
	Fake        bool // there is no machine: asks are done at once (the driver fake-hardware)
	Maintenance bool // somebody is at work at the machine: nothing is begun by itself
}

// Managed reports whether the host names a BMC.
func (w Wants) Managed() bool { return w.Address != "" || w.SecretName != "" }

// secrets is another text whenever a Secret that a problem may depend on changed.
func (w Wants) secrets() string {
	s := w.SecretVersion
	for _, more := range []string{w.DataVersion, w.BMCOptions, w.Firmware, digest(w.DataImage), w.RamdiskVersion} {
		if more != "" {
			s += " " + more
		}
	}
	return s
}

// Boot is one start of the machine into the agent that we ordered.
type Boot struct {
	ID       string
	Ordered  time.Time
	Redeemed bool // an agent called home with it
	Seen     Seen // how far it got; kept in memory only
}

// Seen is how far a boot got, gathered by the boot servers. Its fields are
// evidence for a person; none of them moves the life cycle.
type Seen struct {
	DHCP, Loader, Script, Kernel, Initrd bool
	OtherServer                          string // address of another DHCP server that answered
	WrongArch                            string // client architecture that has no loader
}

// And is what both have seen.
func (s Seen) And(more Seen) Seen {
	s.DHCP = s.DHCP || more.DHCP
	s.Loader = s.Loader || more.Loader
	s.Script = s.Script || more.Script
	s.Kernel = s.Kernel || more.Kernel
	s.Initrd = s.Initrd || more.Initrd
	if more.OtherServer != "" {
		s.OtherServer = more.OtherServer
	}
	if more.WrongArch != "" {
		s.WrongArch = more.WrongArch
	}
	return s
}

// Op is what is being done to a host.
type Op struct {
	Kind     OpKind
	Phase    Phase
	Entered  bool // the phase's action was handed out by this process
	Started  time.Time
	Since    time.Time // start of the phase
	Deadline time.Time // of the phase; zero: none
	StepID   string    // of the agent step that the phase runs
	Hard     bool      // power: do not ask the operating system

	Change *Change // that is under way
	Made   bool    // it made a RAID volume
	Rounds int     // changes that are behind it
	Again  bool    // its phase was entered by an earlier process
}

// RAIDUnknown is Host.SoftRAID from the moment that arrays are made or deleted
// until that is known to be done. It is never what is declared.
const RAIDUnknown = "[]"

// Host is all that the life cycle knows of one host.
type Host struct {
	Key   string // namespace/name; spreads retries, nothing else
	Wants Wants

	State      State
	StateSince time.Time
	Seq        int64 // grows with every action, so that late outcomes are told apart
	Op         *Op
	Problem    *Problem
	ErrorCount int
	Power      Power
	Health     Health // shown to people; nothing follows from it
	Good       string // version of the credentials that last worked
	GoodAt     string // address they worked at
	GoodWith   string // Wants.BMCOptions they worked with

	Boot          *Boot
	InventoryBoot string // boot whose inventory is known; empty: the BMC told it, if any
	Provisioned   *Image // what is on the disk
	LastTried     *Image
	FailCount     int
	Hints         string   // Wants.Hints as of the last preparation or provisioning
	Dirty         bool     // a write was handed out since the disks were last cleaned
	Media         *Media   // in the virtual drive, or about to be
	Ramdisk       *Ramdisk // that the boot is made of; nil: ours
	Detached      bool
	Gone          bool  // released: the finalizer may go
	GaveUp        State // left unfinished, so that the host could be deleted

	RAID       string // Wants.RAID that was last found to be so
	SoftRAID   string // Wants.SoftRAID that is on the disks, or RAIDUnknown
	SecureBoot bool   // switched on by us

	Node Node // led by the REST door
}

// Agent reports whether an agent of ours is believed to run in the machine.
func (h Host) Agent() bool { return h.Boot != nil && h.Boot.Redeemed }

// Boots reports whether the machine runs what we boot in it: an operation with an
// agent, from its first step at the machine on.
func (o *Op) Boots() bool {
	if o == nil {
		return false
	}
	switch o.Phase {
	case PhaseImage, PhaseRamdisk, PhasePlan, PhaseChange, PhaseRestart, PhaseSettle, PhaseSecureOff:
		return false
	}
	switch o.Kind {
	case OpInspect, OpPrepare, OpProvision, OpDeprovision:
		return true
	}
	return false
}

// OpKind names an operation.
type OpKind string

// The operations.
const (
	OpVerify      OpKind = "verify"
	OpInspect     OpKind = "inspect"
	OpPrepare     OpKind = "prepare"
	OpProvision   OpKind = "provision"
	OpDeprovision OpKind = "deprovision"
	OpPowerOn     OpKind = "power-on"
	OpPowerOff    OpKind = "power-off"
	OpReset       OpKind = "reset"
	OpService     OpKind = "service" // change the firmware of a machine in use
	OpEject       OpKind = "eject"
)

// Phase is one part of an operation: one action and the wait for its outcome.
type Phase string

// The phases.
const (
	PhaseVerify   Phase = "verify"       // log in to the BMC, read who the machine is
	PhaseFacts    Phase = "facts"        // read the hardware from the BMC, without a boot
	PhaseImage    Phase = "image"        // fetch, verify and cut the image on the server
	PhaseOff      Phase = "off"          // hard power off before a boot
	PhaseNetBoot  Phase = "boot-network" // next start from the network
	PhaseOrder    Phase = "order"        // make and record a boot id
	PhaseStart    Phase = "start"        // power on
	PhaseHello    Phase = "hello"        // wait for the agent to call home
	PhaseInspect  Phase = "inspect"      // agent: inventory
	PhaseDisk     Phase = "disk"         // choose the disk by the root device hints
	PhaseClean    Phase = "clean"        // agent: metadata erase
	PhaseWrite    Phase = "write"        // agent: image and config drive
	PhaseStop     Phase = "stop"         // hard power off of the agent
	PhaseDiskBoot Phase = "boot-disk"    // later starts from the disk
	PhaseRun      Phase = "run"          // power on into the disk
	PhaseSoftOff  Phase = "soft-off"     // ask the operating system to stop
	PhaseForceOff Phase = "force-off"    // power off
	PhaseReset    Phase = "reset"        // restart without powering off

	PhasePlan         Phase = "plan"            // read what is, name the next change
	PhaseChange       Phase = "change"          // ask the BMC for it
	PhaseRestart      Phase = "restart"         // the machine, if the change waits for that
	PhaseSettle       Phase = "settle"          // until it can be read back
	PhaseSecureOn     Phase = "secure-boot-on"  // from the next start on
	PhaseSecureOff    Phase = "secure-boot-off" // if we switched it on
	PhaseRamdisk      Phase = "ramdisk"         // an external builder makes the ramdisk
	PhaseRamdiskMedia Phase = "insert-ramdisk"  // its ISO into the virtual drive
	PhaseDeploy       Phase = "deploy"          // agent: a method of the ramdisk
	PhaseInsert       Phase = "insert-media"    // an image into the virtual drive
	PhaseEject        Phase = "eject-media"     // the virtual drive is emptied
	PhaseMediaBoot    Phase = "boot-media"      // later starts from the virtual drive

	PhaseSoftRAID Phase = "software-raid" // agent: arrays, or none
)

// phases lists each operation's phases in order. Those that a host does not need
// are passed over by Host.skips.
var phases = map[OpKind][]Phase{
	OpVerify:  {PhaseVerify},
	OpInspect: {PhaseFacts, PhaseRamdisk, PhaseOff, PhaseRamdiskMedia, PhaseNetBoot, PhaseOrder, PhaseStart, PhaseHello, PhaseInspect, PhaseStop},
	OpPrepare: {
		PhasePlan, PhaseChange, PhaseRestart, PhaseSettle,
		PhaseRamdisk, PhaseOff, PhaseRamdiskMedia, PhaseNetBoot, PhaseOrder, PhaseStart, PhaseHello, PhaseInspect, PhaseClean, PhaseSoftRAID, PhaseStop,
	},
	OpProvision: {
		PhaseImage, PhaseRamdisk, PhaseOff, PhaseRamdiskMedia, PhaseNetBoot, PhaseOrder, PhaseStart, PhaseHello, PhaseInspect,
		PhaseDisk, PhaseWrite, PhaseDeploy, PhaseStop, PhaseSecureOn, PhaseEject, PhaseDiskBoot, PhaseInsert, PhaseMediaBoot, PhaseRun,
	},
	OpDeprovision: {
		PhaseRamdisk, PhaseSecureOff, PhaseOff, PhaseEject, PhaseRamdiskMedia, PhaseNetBoot, PhaseOrder, PhaseStart, PhaseHello, PhaseInspect, PhaseClean, PhaseStop,
	},
	OpPowerOn:  {PhaseEject, PhaseInsert, PhaseMediaBoot, PhaseStart},
	OpPowerOff: {PhaseSoftOff, PhaseForceOff, PhaseEject},
	OpReset:    {PhaseReset},
	OpService:  {PhasePlan, PhaseChange, PhaseRestart, PhaseSettle},
	OpEject:    {PhaseEject},
}

// skips reports whether the operation can do without a phase as things stand.
func (h *Host) skips(kind OpKind, p Phase) bool {
	if skip, known := h.skipsChange(kind, p); known {
		return skip
	}
	erases := kind == OpPrepare || kind == OpDeprovision
	if erases && !h.cleans(kind) && p != PhaseStop && (p == PhaseClean || !h.makesRAID(kind)) && (!h.ejects(kind) || p != PhaseOff && p != PhaseEject) {
		return true
	}
	if kind == OpInspect && h.Wants.FastInspect {
		return p != PhaseFacts
	}
	if skip, ok := h.skipsMedia(kind, p); ok {
		return skip
	}
	switch p {
	case PhaseFacts:
		return true
	case PhaseOff, PhaseNetBoot, PhaseOrder, PhaseHello:
		return h.Agent()
	case PhaseStart:
		return h.Agent() && kind != OpPowerOn
	case PhaseSoftRAID:
		return !h.makesRAID(kind)
	case PhaseInspect:
		return kind != OpInspect && h.Agent() && h.InventoryBoot == h.Boot.ID
	case PhaseStop:
		if kind == OpInspect {
			// Ironic switches a node off that it inspected.
			return h.Node.Verb != VerbInspect || h.Power == PowerOff || h.Wants.DisablePowerOff
		}
		if !erases {
			return false
		}
		// An available host that should be on keeps its agent: the next
		// operation then needs no boot. What runs in a machine where we neither
		// booted the agent nor wrote a disk is not ours to switch off.
		keep := h.Wants.Online && !h.Wants.Deleting && h.Agent() && h.Node.Verb != VerbClean
		ours := h.Agent() || h.Dirty || h.Provisioned != nil
		return keep || !ours || h.Power == PowerOff || h.Wants.DisablePowerOff
	case PhaseRun:
		return !h.Wants.Online
	case PhaseSoftOff:
		return h.Op != nil && h.Op.Hard
	}
	return false
}

// makesRAID reports whether an operation makes the declared arrays, or deletes
// those that are no longer declared. What an interrupted one left is made anew.
func (h *Host) makesRAID(kind OpKind) bool {
	return kind == OpPrepare && h.Wants.SoftRAID != h.SoftRAID
}

// cleans reports whether an operation erases disks: only while the declared
// state asks for it, and after a provisioning only if something was written.
func (h *Host) cleans(kind OpKind) bool {
	if kind == OpPrepare && h.Node.Verb == VerbClean {
		return h.Node.Erase == EraseMetadata
	}
	if h.Wants.CleaningDisabled {
		return false
	}
	return kind == OpPrepare || h.Dirty || h.Provisioned != nil
}
