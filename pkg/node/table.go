package node

import (
	"slices"

	"github.com/ingot-metal/ingot/api/ironic"
)

// Row is one of Ironic's provision states (ironic/common/state_machine.py): how a
// node gets out of it, and what of a host shows as it.
type Row struct {
	State  ironic.State
	Rests  bool         // it is left by a verb alone
	Target ironic.State // target_provision_state meanwhile; a manual cleaning's is manageable
	Patch  bool         // the document may be changed, though a target is set
	Delete bool         // the node may be deleted; in maintenance it always may

	Host  []string // states of the BareMetalHost that it goes with
	When  string   // what of the host shows as it, for people
	Verbs []Lead   // that a client may ask for
	Ends  []Lead   // what happens by itself
}

// Lead is a way out of a state.
type Lead struct {
	By string // a verb, or an event
	To ironic.State
}

// Rows returns the table of the life cycle: the one place that says which verb is
// allowed where.
func Rows() []Row { return slices.Clone(rows) }

func lead(by ironic.Verb, to ironic.State) Lead { return Lead{By: string(by), To: to} }

func event(by string, to ironic.State) Lead { return Lead{By: by, To: to} }

// rows is not changed by anybody.
var rows = []Row{
	{
		State: ironic.Enroll, Rests: true, Delete: true,
		Host: []string{"unmanaged", "registering"}, When: "hold enroll; or registering, and its BMC was not let in",
		Verbs: []Lead{lead(ironic.VerbManage, ironic.Verifying)},
	},
	{
		State: ironic.Verifying, Target: ironic.Manageable, Patch: true,
		Host: []string{"registering"}, When: "verb manage; or registering, nobody leads it",
		Ends: []Lead{event("done", ironic.Manageable), event("fail", ironic.Enroll)},
	},
	{
		State: ironic.Manageable, Rests: true, Delete: true,
		Host: []string{"registering"}, When: "hold manageable",
		Verbs: []Lead{
			lead(ironic.VerbProvide, ironic.Cleaning), lead(ironic.VerbClean, ironic.Cleaning),
			lead(ironic.VerbInspect, ironic.Inspecting), lead(ironic.VerbAdopt, ironic.Adopting),
		},
	},
	{
		State: ironic.Available, Rests: true, Delete: true,
		Host: []string{"available"}, When: "available",
		Verbs: []Lead{lead(ironic.VerbActive, ironic.Deploying), lead(ironic.VerbManage, ironic.Manageable)},
	},
	{
		State: ironic.Deploying, Target: ironic.Active,
		Host: []string{"provisioning"}, When: "verb active or rebuild; or provisioning",
		Ends: []Lead{
			event("done", ironic.Active), event("wait", ironic.DeployWait), event("hold", ironic.DeployHold), event("fail", ironic.DeployFail),
		},
	},
	{
		State: ironic.DeployWait, Target: ironic.Active,
		Host: []string{"provisioning"}, When: "the same, and a boot is ordered: the agent is at work or awaited",
		Verbs: []Lead{lead(ironic.VerbAbort, ironic.DeployFail), lead(ironic.VerbDeleted, ironic.Deleting)},
		Ends:  []Lead{event("resume", ironic.Deploying), event("hold", ironic.DeployHold), event("fail", ironic.DeployFail)},
	},
	{
		State: ironic.DeployHold, Target: ironic.Active,
		Host: []string{"unmanaged"}, When: "hold deploy hold (fake-hardware)",
		Verbs: []Lead{lead(ironic.VerbUnhold, ironic.DeployWait), lead(ironic.VerbAbort, ironic.DeployFail)},
	},
	{
		State: ironic.DeployFail, Target: ironic.Active, Patch: true,
		Host: []string{"provisioning"}, When: "hold deploy failed; or provisioning with an error",
		Verbs: []Lead{
			lead(ironic.VerbActive, ironic.Deploying), lead(ironic.VerbRebuild, ironic.Deploying), lead(ironic.VerbDeleted, ironic.Deleting),
		},
	},
	{
		State: ironic.Active, Rests: true,
		Host: []string{"provisioned", "externally provisioned"}, When: "provisioned, externally provisioned",
		Verbs: []Lead{
			lead(ironic.VerbRebuild, ironic.Deploying), lead(ironic.VerbDeleted, ironic.Deleting),
			lead(ironic.VerbRescue, ironic.Rescuing), lead(ironic.VerbService, ironic.Servicing),
		},
	},
	{
		State: ironic.Deleting, Target: ironic.Available,
		Host: []string{"deprovisioning", "powering off before delete", "deleting"}, When: "verb deleted; or deprovisioning, or being deleted",
		Ends: []Lead{event("clean", ironic.Cleaning), event("fail", ironic.Error)},
	},
	{
		State: ironic.Error, Rests: true, Patch: true,
		Host: []string{"deprovisioning"}, When: "hold error; or deprovisioning with an error",
		Verbs: []Lead{lead(ironic.VerbRebuild, ironic.Deploying), lead(ironic.VerbDeleted, ironic.Deleting)},
	},
	{
		State: ironic.Cleaning, Target: ironic.Available,
		Host: []string{"preparing", "deprovisioning"}, When: "verb provide or clean; or preparing",
		Ends: []Lead{
			event("done", ironic.Available), event("manage", ironic.Manageable), event("wait", ironic.CleanWait),
			event("hold", ironic.CleanHold), event("fail", ironic.CleanFail),
		},
	},
	{
		State: ironic.CleanWait, Target: ironic.Available,
		Host: []string{"preparing", "deprovisioning"}, When: "the same, and a boot is ordered; or deprovisioning, and a boot is ordered",
		Verbs: []Lead{lead(ironic.VerbAbort, ironic.CleanFail)},
		Ends:  []Lead{event("resume", ironic.Cleaning), event("hold", ironic.CleanHold), event("fail", ironic.CleanFail)},
	},
	{
		State: ironic.CleanHold, Target: ironic.Available,
		Host: []string{"unmanaged"}, When: "hold clean hold (fake-hardware)",
		Verbs: []Lead{lead(ironic.VerbUnhold, ironic.CleanWait), lead(ironic.VerbAbort, ironic.CleanFail)},
	},
	{
		State: ironic.CleanFail, Target: ironic.Available, Patch: true,
		Host: []string{"preparing"}, When: "hold clean failed; or preparing with an error",
		Verbs: []Lead{lead(ironic.VerbManage, ironic.Manageable)},
	},
	{
		State: ironic.Inspecting, Target: ironic.Manageable,
		Host: []string{"inspecting"}, When: "verb inspect; or inspecting",
		Ends: []Lead{event("done", ironic.Manageable), event("wait", ironic.InspectWait), event("fail", ironic.InspectFail)},
	},
	{
		State: ironic.InspectWait, Target: ironic.Manageable, Patch: true,
		Host: []string{"inspecting"}, When: "the same, and a boot is ordered",
		Verbs: []Lead{lead(ironic.VerbAbort, ironic.InspectFail)},
		Ends:  []Lead{event("resume", ironic.Inspecting), event("done", ironic.Manageable), event("fail", ironic.InspectFail)},
	},
	{
		State: ironic.InspectFail, Target: ironic.Manageable, Patch: true,
		Host: []string{"inspecting"}, When: "hold inspect failed; or inspecting with an error",
		Verbs: []Lead{lead(ironic.VerbManage, ironic.Manageable), lead(ironic.VerbInspect, ironic.Inspecting)},
	},
	{
		State: ironic.Adopting, Target: ironic.Active,
		Host: []string{"registering"}, When: "verb adopt",
		Ends: []Lead{event("done", ironic.Active), event("fail", ironic.AdoptFail)},
	},
	{
		State: ironic.AdoptFail, Target: ironic.Active, Patch: true, Delete: true,
		Host: []string{"registering"}, When: "hold adopt failed",
		Verbs: []Lead{lead(ironic.VerbAdopt, ironic.Adopting), lead(ironic.VerbManage, ironic.Manageable)},
	},
	{
		State: ironic.Rescue, Rests: true,
		Host: []string{"unmanaged"}, When: "hold rescue (fake-hardware)",
		Verbs: []Lead{
			lead(ironic.VerbRescue, ironic.Rescuing), lead(ironic.VerbUnrescue, ironic.Unrescuing), lead(ironic.VerbDeleted, ironic.Deleting),
		},
	},
	{
		State: ironic.Rescuing, Target: ironic.Rescue,
		Host: []string{"unmanaged"}, When: "verb rescue (fake-hardware)",
		Ends: []Lead{event("done", ironic.Rescue), event("wait", ironic.RescueWait), event("fail", ironic.RescueFail)},
	},
	{
		State: ironic.RescueWait, Target: ironic.Rescue,
		Host: []string{"unmanaged"}, When: "never: our agent opens no port",
		Verbs: []Lead{lead(ironic.VerbAbort, ironic.RescueFail), lead(ironic.VerbDeleted, ironic.Deleting)},
		Ends:  []Lead{event("resume", ironic.Rescuing), event("fail", ironic.RescueFail)},
	},
	{
		State: ironic.RescueFail, Target: ironic.Rescue, Patch: true,
		Host: []string{"unmanaged"}, When: "hold rescue failed (fake-hardware)",
		Verbs: []Lead{
			lead(ironic.VerbRescue, ironic.Rescuing), lead(ironic.VerbUnrescue, ironic.Unrescuing), lead(ironic.VerbDeleted, ironic.Deleting),
		},
	},
	{
		State: ironic.Unrescuing, Target: ironic.Active,
		Host: []string{"unmanaged"}, When: "verb unrescue (fake-hardware)",
		Ends: []Lead{event("done", ironic.Active), event("fail", ironic.UnrescueFail)},
	},
	{
		State: ironic.UnrescueFail, Target: ironic.Active, Patch: true,
		Host: []string{"unmanaged"}, When: "hold unrescue failed (fake-hardware)",
		Verbs: []Lead{
			lead(ironic.VerbRescue, ironic.Rescuing), lead(ironic.VerbUnrescue, ironic.Unrescuing), lead(ironic.VerbDeleted, ironic.Deleting),
		},
	},
	{
		State: ironic.Servicing, Target: ironic.Active,
		Host: []string{"provisioned", "externally provisioned"}, When: "verb service; or a service operation",
		Ends: []Lead{
			event("done", ironic.Active), event("wait", ironic.ServiceWait), event("hold", ironic.ServiceHold), event("fail", ironic.ServiceFail),
		},
	},
	{
		State: ironic.ServiceWait, Target: ironic.Active,
		Host: []string{"provisioned", "externally provisioned"}, When: "the same, and the machine's restart or its BMC is awaited",
		Verbs: []Lead{lead(ironic.VerbAbort, ironic.ServiceFail), lead(ironic.VerbDeleted, ironic.Deleting)},
		Ends:  []Lead{event("resume", ironic.Servicing), event("hold", ironic.ServiceHold), event("fail", ironic.ServiceFail)},
	},
	{
		State: ironic.ServiceHold, Target: ironic.Active, Patch: true,
		Host: []string{"unmanaged"}, When: "hold service hold (fake-hardware)",
		Verbs: []Lead{
			lead(ironic.VerbService, ironic.Servicing), lead(ironic.VerbUnhold, ironic.ServiceWait), lead(ironic.VerbAbort, ironic.ServiceFail),
		},
		Ends: []Lead{event("fail", ironic.ServiceFail)},
	},
	{
		State: ironic.ServiceFail, Target: ironic.Active, Patch: true,
		Host: []string{"provisioned", "externally provisioned"}, When: "hold service failed; or a servicing error",
		Verbs: []Lead{
			lead(ironic.VerbService, ironic.Servicing), lead(ironic.VerbRescue, ironic.Rescuing),
			lead(ironic.VerbDeleted, ironic.Deleting), lead(ironic.VerbAbort, ironic.Active),
		},
		Ends: []Lead{event("wait", ironic.ServiceWait), event("hold", ironic.ServiceHold)},
	},
}

// RowOf returns the row of a state.
func RowOf(st ironic.State) (Row, bool) {
	i := slices.IndexFunc(rows, func(r Row) bool { return r.State == st })
	if i < 0 {
		return Row{}, false
	}
	return rows[i], true
}

// Allowed reports whether a client may ask a node in a state for a verb.
func Allowed(st ironic.State, verb ironic.Verb) bool {
	_, ok := Leads(st, verb)
	return ok
}

// Leads is where a verb leads from a state.
func Leads(st ironic.State, verb ironic.Verb) (ironic.State, bool) {
	r, _ := RowOf(st)
	for _, l := range r.Verbs {
		if l.By == string(verb) {
			return l.To, true
		}
	}
	return "", false
}
