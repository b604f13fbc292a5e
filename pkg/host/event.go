package host

import "time"

// Event is something that was seen. It is one of Observe, Tick, Outcome,
// PowerRead, Hello, Refused, Contested, BootSeen, AgentLost, BMCSilent and
// BMCHeard.
type Event interface{ event() }

// Observe replaces what is declared.
type Observe struct{ Wants Wants }

// Tick says that time has passed.
type Tick struct{}

// Outcome ends an action: without a Problem it was done, and verified where the
// BMC can be read back.
type Outcome struct {
	Seq     int64
	Problem *Problem
	Power   Power  // after a power action or VerifyBMC, if it was read
	Health  Health // after VerifyBMC, if it was read
	BootID  string // of OrderBoot
	// Change that comes next, after PlanChange, nil if there is none; after
	// ApplyChange with what the BMC answered, nil if it has to be planned anew.
	Change   *Change
	RAID     string // of PlanChange: Wants.RAID, if the volumes are so
	Switched bool   // of SetSecureBoot: it was not so before

	SoftRAID string // of PhaseSoftRAID: the Wants.SoftRAID that was made
	Arrays   bool   // of PhaseClean: there were arrays, and the disks are others now
}

// PowerRead is a poll that found something: another power, or another health.
type PowerRead struct {
	Power  Power  // unknown: as before
	Health Health // unknown: as before
}

// Hello is an agent that called home with the boot that we ordered, and proved
// to be the first to do so.
type Hello struct{ BootID string }

// Refused is an agent that called home with the boot that we ordered, from a
// machine that is of no use as it is.
type Refused struct {
	BootID  string
	Problem Problem
}

// Contested is a second agent that claimed a boot which was redeemed before: one
// of the two is not the machine, and which one cannot be told.
type Contested struct {
	BootID  string
	Problem Problem
}

// BootSeen is what a boot server has seen of the boot that we ordered.
type BootSeen struct{ Seen Seen }

// AgentLost says that an agent has not been heard of for too long.
type AgentLost struct{ BootID string }

// BMCSilent says that polls have failed for some time: the way to the BMC is
// verified anew, which says why.
type BMCSilent struct{}

// BMCHeard says that the BMC made itself heard. What it said is not believed, but
// a BMC that was waited for is tried at once.
type BMCHeard struct{}

func (Observe) event()   {}
func (Tick) event()      {}
func (Outcome) event()   {}
func (PowerRead) event() {}
func (Hello) event()     {}
func (Refused) event()   {}
func (Contested) event() {}
func (BootSeen) event()  {}
func (AgentLost) event() {}
func (BMCSilent) event() {}
func (BMCHeard) event()  {}

// Verb is what an Action does.
type Verb string

// The verbs.
const (
	VerifyBMC     Verb = "VerifyBMC"     // log in, identify, read the power state
	ReadFacts     Verb = "ReadFacts"     // read the machine's hardware from the BMC
	SetPower      Verb = "SetPower"      // and read back until it is so
	SetBoot       Verb = "SetBoot"       // override the boot device
	OrderBoot     Verb = "OrderBoot"     // make a boot id; the outcome carries it
	PrepareImage  Verb = "PrepareImage"  // fetch, verify, cut
	ChooseDisk    Verb = "ChooseDisk"    // by the hints, from this boot's inventory
	PlanChange    Verb = "PlanChange"    // read what is, name the next change
	ApplyChange   Verb = "ApplyChange"   // ask the BMC for it
	Restart       Verb = "Restart"       // the machine, unless the change is in force
	SettleChange  Verb = "SettleChange"  // wait until it is read back
	SetSecureBoot Verb = "SetSecureBoot" // from the next start on
	RunStep       Verb = "RunStep"       // hand a step to the agent, wait for its result
	EndAgent      Verb = "EndAgent"      // forget the agent's session; no outcome
	Cancel        Verb = "Cancel"        // stop what is being done; no outcome
	Unannotate    Verb = "Unannotate"    // remove an annotation; no outcome
	Release       Verb = "Release"       // let go of BMC, Secrets, records; no outcome
	InsertMedia   Verb = "InsertMedia"   // put an image into the virtual drive, and read back
	EjectMedia    Verb = "EjectMedia"    // empty the virtual drive
	AskRamdisk    Verb = "AskRamdisk"    // ask an external builder; no outcome, its answer is declared
)

// PowerChange is how SetPower changes power.
type PowerChange string

// The power changes.
const (
	ChangeOn    PowerChange = "on"
	ChangeSoft  PowerChange = "soft-off"
	ChangeForce PowerChange = "force-off"
	ChangeReset PowerChange = "reset"
)

// Action is something to do. Seq is zero where no outcome is awaited.
type Action struct {
	Verb       Verb
	Seq        int64
	Power      PowerChange // SetPower
	FromDisk   bool        // SetBoot: from the disk from now on; else from the network, once
	FromMedia  bool        // SetBoot: from the virtual drive
	Lasting    bool        // SetBoot FromMedia: from now on; else once
	Media      string      // InsertMedia: URL
	Legacy     bool        // SetBoot: BIOS, not UEFI
	Step       Phase       // RunStep: PhaseInspect, PhaseClean, PhaseSoftRAID, PhaseWrite, PhaseDeploy
	StepID     string      // RunStep
	Annotation string      // Unannotate
	BootID     string      // EndAgent
	On         bool        // SetSecureBoot
	Again      bool        // ApplyChange: an earlier process may have asked for it
	Deadline   time.Time   // after which the outcome no longer counts
}
