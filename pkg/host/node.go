package host

import "time"

// What a host that the REST door leads is asked for, and where it rests. The words
// are Ironic's own (api/ironic; this package imports none of ours).

// The Ironic states in which a host may rest. A real one rests in those up to
// ServiceFailed; in the others only a machine that is none (Wants.Fake).
const (
	Enroll        = "enroll"
	Manageable    = "manageable"
	InspectFailed = "inspect failed"
	CleanFailed   = "clean failed"
	AdoptFailed   = "adopt failed"
	DeployFailed  = "deploy failed"
	ErrorState    = "error"
	ServiceFailed = "service failed"

	NodeAvailable  = "available"
	Active         = "active"
	DeployHold     = "deploy hold"
	CleanHold      = "clean hold"
	ServiceHold    = "service hold"
	Rescue         = "rescue"
	RescueFailed   = "rescue failed"
	UnrescueFailed = "unrescue failed"
)

// The verbs: targets of states/provision, and of states/power.
const (
	VerbManage   = "manage"
	VerbInspect  = "inspect"
	VerbProvide  = "provide"
	VerbClean    = "clean"
	VerbAdopt    = "adopt"
	VerbActive   = "active"
	VerbRebuild  = "rebuild"
	VerbDeleted  = "deleted"
	VerbService  = "service"
	VerbRescue   = "rescue"
	VerbUnrescue = "unrescue"
	VerbUnhold   = "unhold"
	VerbAbort    = "abort"

	VerbPowerOn    = "power on"
	VerbPowerOff   = "power off"
	VerbReboot     = "rebooting"
	VerbSoftOff    = "soft power off"
	VerbSoftReboot = "soft rebooting"
)

// How much an asked cleaning erases; nothing else: nothing.
const (
	EraseMetadata = "metadata"
	EraseAll      = "all"
)

// Ask is a verb of the REST door. It is taken up once: when N is greater than that
// of the last one that was.
type Ask struct {
	N     int64
	Verb  string
	Erase string
	Hold  bool // a step named hold is among its steps
	// Timeout is how long the machine has to follow a soft power verb; 0: as long as
	// Ironic gives it by default.
	Timeout time.Duration
	// Generation of what is declared along with it: before that is seen, it is not
	// taken up.
	Generation int64
}

// Node is the course of a host that the REST door leads; the zero value: of none.
// It is recorded before anything that follows from it is done.
type Node struct {
	Hold  string // Ironic state that it rests in; empty: it goes on by itself
	Asked int64  // number of the ask that was taken up last
	Verb  string // that is being carried out
	Erase string // of that verb
	Error string // why the last verb was refused or ended early, where no Problem says it
	Power string // of a machine that is none
	Since time.Time
}

// Led reports whether the REST door has ever led the host.
func (n Node) Led() bool { return n != Node{} }

// AwaitsOnline reports whether the verb ends once spec.online says what the machine's
// power is.
func (n Node) AwaitsOnline() bool { return n.Verb == VerbAdopt || n.Verb == VerbSoftOff }

// Leads says where a verb leads from a state in which a node rests, when all goes
// well (ironic/common/state_machine.py). A cleaning that was asked for leads back to
// where it came from.
func Leads(state, verb string) (to string, ok bool) {
	to, ok = leads[state][verb]
	return to, ok
}

var leads = map[string]map[string]string{
	Enroll:         {VerbManage: Manageable},
	Manageable:     {VerbProvide: NodeAvailable, VerbClean: Manageable, VerbInspect: Manageable, VerbAdopt: Active},
	NodeAvailable:  {VerbActive: Active, VerbManage: Manageable},
	DeployHold:     {VerbUnhold: Active, VerbAbort: DeployFailed},
	DeployFailed:   {VerbActive: Active, VerbRebuild: Active, VerbDeleted: NodeAvailable},
	Active:         {VerbRebuild: Active, VerbDeleted: NodeAvailable, VerbRescue: Rescue, VerbService: Active},
	CleanHold:      {VerbUnhold: Manageable, VerbAbort: CleanFailed},
	CleanFailed:    {VerbManage: Manageable},
	InspectFailed:  {VerbManage: Manageable, VerbInspect: Manageable},
	AdoptFailed:    {VerbAdopt: Active, VerbManage: Manageable},
	Rescue:         {VerbRescue: Rescue, VerbUnrescue: Active, VerbDeleted: NodeAvailable},
	RescueFailed:   {VerbRescue: Rescue, VerbUnrescue: Active, VerbDeleted: NodeAvailable},
	UnrescueFailed: {VerbRescue: Rescue, VerbUnrescue: Active, VerbDeleted: NodeAvailable},
	ServiceHold:    {VerbService: Active, VerbUnhold: Active, VerbAbort: ServiceFailed},
	ServiceFailed:  {VerbService: Active, VerbRescue: Rescue, VerbAbort: Active, VerbDeleted: NodeAvailable},
	ErrorState:     {VerbRebuild: Active, VerbDeleted: NodeAvailable},
}

// reached is where a verb leads at last: one that comes late finds it done.
var reached = map[string]string{
	VerbManage: Manageable, VerbProvide: NodeAvailable, VerbActive: Active, VerbAdopt: Active, VerbDeleted: NodeAvailable,
}

// failedIn is where a verb that failed leaves a host.
var failedIn = map[string]string{
	VerbManage: Enroll, VerbInspect: InspectFailed, VerbProvide: CleanFailed, VerbClean: CleanFailed, VerbAdopt: AdoptFailed,
	VerbActive: DeployFailed, VerbRebuild: DeployFailed, VerbDeleted: ErrorState, VerbService: ServiceFailed,
}

// realHolds are those of a host with a machine.
var realHolds = map[string]bool{
	Enroll: true, Manageable: true, InspectFailed: true, CleanFailed: true, AdoptFailed: true,
	DeployFailed: true, ErrorState: true, ServiceFailed: true,
}

// isPower reports whether a verb is one of states/power.
func isPower(verb string) bool {
	switch verb {
	case VerbPowerOn, VerbPowerOff, VerbReboot, VerbSoftOff, VerbSoftReboot:
		return true
	}
	return false
}

// rests names the Ironic state that the host rests in; empty: it is at work.
func (h *Host) rests() string {
	switch {
	case h.Node.Verb != "":
		return ""
	case h.Node.Hold != "":
		return h.Node.Hold
	case h.Op != nil && !h.Op.passing():
		return ""
	}
	switch h.State {
	case None, Unmanaged:
		return Enroll
	case Available:
		return NodeAvailable
	case Provisioned, ExternallyProvisioned:
		if h.Problem != nil && h.Problem.Type == ServicingError {
			return ServiceFailed
		}
		return Active
	}
	if h.Problem == nil {
		return ""
	}
	return map[State]string{
		Registering: Enroll, Inspecting: InspectFailed, Preparing: CleanFailed, Provisioning: DeployFailed, Deprovisioning: ErrorState,
	}[h.State]
}

// passing reports whether an operation is none that Ironic has a state for.
func (o *Op) passing() bool {
	switch o.Kind {
	case OpVerify, OpPowerOn, OpPowerOff, OpReset, OpEject:
		return true
	}
	return false
}

// FollowsPower reports whether spec.online has to become what the machine's power
// is: Ironic powers no node by itself that is merely enrolled, and none that was
// switched off softly.
func (h *Host) FollowsPower() bool {
	w := h.Wants
	if h.Power == PowerUnknown || w.Online == (h.Power == PowerOn) || w.DisablePowerOff || w.Deleting || h.Op != nil || h.Problem != nil {
		return false
	}
	if w.Ask != nil && w.Ask.N > h.Node.Asked {
		return false
	}
	return h.Node.Hold == Manageable && h.Node.Verb == "" || h.Node.Verb == VerbAdopt || h.Node.Verb == VerbSoftOff && h.Power == PowerOff
}
