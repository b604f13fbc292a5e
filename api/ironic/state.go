package ironic

// State is a node's provision_state.
type State string

// The provision states (ironic/common/states.py). "available" is null to clients
// older than 1.2.
const (
	Enroll       State = "enroll"
	Verifying    State = "verifying"
	Manageable   State = "manageable"
	Available    State = "available"
	Active       State = "active"
	Deploying    State = "deploying"
	DeployWait   State = "wait call-back"
	DeployHold   State = "deploy hold"
	DeployFail   State = "deploy failed"
	Deleting     State = "deleting"
	Error        State = "error"
	Cleaning     State = "cleaning"
	CleanWait    State = "clean wait"
	CleanHold    State = "clean hold"
	CleanFail    State = "clean failed"
	Inspecting   State = "inspecting"
	InspectWait  State = "inspect wait"
	InspectFail  State = "inspect failed"
	Adopting     State = "adopting"
	AdoptFail    State = "adopt failed"
	Rescue       State = "rescue"
	Rescuing     State = "rescuing"
	RescueWait   State = "rescue wait"
	RescueFail   State = "rescue failed"
	Unrescuing   State = "unrescuing"
	UnrescueFail State = "unrescue failed"
	Servicing    State = "servicing"
	ServiceWait  State = "service wait"
	ServiceHold  State = "service hold"
	ServiceFail  State = "service failed"
	NoState      State = ""
)

// Verb is the target of PUT /nodes/{}/states/provision.
type Verb string

// The verbs, in their first spelling; Aliases has the others.
const (
	VerbActive   Verb = "active"
	VerbRebuild  Verb = "rebuild"
	VerbDeleted  Verb = "deleted"
	VerbManage   Verb = "manage"
	VerbProvide  Verb = "provide"
	VerbInspect  Verb = "inspect"
	VerbAbort    Verb = "abort"
	VerbClean    Verb = "clean"
	VerbAdopt    Verb = "adopt"
	VerbRescue   Verb = "rescue"
	VerbUnrescue Verb = "unrescue"
	VerbUnhold   Verb = "unhold"
	VerbService  Verb = "service"
)

// Power is a node's power_state or what is asked of it.
type Power string

// The powers. A node whose power is not known has null.
const (
	PowerOn      Power = "power on"
	PowerOff     Power = "power off"
	Reboot       Power = "rebooting"
	SoftPowerOff Power = "soft power off"
	SoftReboot   Power = "soft rebooting"
	PowerError   Power = "error"
)

// Faults of a node in maintenance that the service put it into.
const (
	FaultPower       = "power failure"
	FaultClean       = "clean failure"
	FaultRescueAbort = "rescue abort failure"
	FaultService     = "service failure"
)

// Masked stands where a secret would (ironic/common/utils.py).
const Masked = "******"
