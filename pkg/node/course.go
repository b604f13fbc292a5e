package node

import (
	"slices"
	"strings"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/host"
)

// course is all of a host that its place in Ironic's life cycle follows from.
type course struct {
	host    metal3.ProvisioningState
	hold    ironic.State // it rests there until a client says otherwise
	verb    ironic.Verb  // that is being carried out
	asked   ironic.Verb  // that was asked for and is not yet taken up
	problem metal3.ErrorType
	op      host.OpKind
	waits   bool // for the agent, or for the machine
	erases  bool // what is left of op is a cleaning
	going   bool // the host is being deleted
}

func courseOf(n *Node) course {
	c := course{}
	if b := n.Host; b != nil {
		c.host, c.problem, c.going = b.Status.Provisioning.State, b.Status.ErrorType, !b.DeletionTimestamp.IsZero()
	}
	r := n.Record
	if r == nil {
		return c
	}
	c.hold = ironic.State(r.Spec.Hold)
	if st := r.Status.Node; st != nil {
		c.hold = ironic.State(st.Hold)
		if !isPower(st.Verb) {
			c.verb = ironic.Verb(st.Verb)
		}
	}
	if a := n.pending(); a != nil && !isPower(a.Verb) {
		c.asked = ironic.Verb(a.Verb)
	}
	if op := r.Status.Operation; op != nil {
		c.op = host.OpKind(op.Kind)
		switch phase := host.Phase(op.Phase); {
		case c.op == host.OpService:
			c.waits = phase == host.PhaseSettle || phase == host.PhaseRestart
		case r.Status.Boot != nil:
			c.waits = !slices.Contains([]host.Phase{host.PhaseImage, host.PhaseRamdisk, host.PhasePlan, host.PhaseStop, host.PhaseRun}, phase)
		}
		c.erases = c.op == host.OpDeprovision && r.Status.Boot != nil
	}
	return c
}

// pending is what was asked for and is not taken up yet; nil: nothing.
func (n *Node) pending() *v1alpha1.Ask {
	r := n.Record
	if r == nil || r.Spec.Ask == nil || r.Status.Node != nil && r.Spec.Ask.N <= r.Status.Node.Asked {
		return nil
	}
	return r.Spec.Ask
}

// state is the provision state and its target.
func (c course) state() (st, target ironic.State) {
	st = c.now()
	if c.asked != "" {
		// Ironic has begun with a verb when its 202 is read; what failed before does
		// not show any more, or clients would take it for the outcome.
		to, ok := Leads(st, c.asked)
		if !ok {
			return st, c.targetOf(st, c.verb)
		}
		return to, c.targetOf(to, c.asked)
	}
	return st, c.targetOf(st, c.verb)
}

func (c course) targetOf(st ironic.State, verb ironic.Verb) ironic.State {
	r, _ := RowOf(st)
	switch st {
	case ironic.Cleaning, ironic.CleanWait, ironic.CleanHold, ironic.CleanFail:
		if verb == ironic.VerbClean {
			return ironic.Manageable
		}
	}
	return r.Target
}

func (c course) now() ironic.State {
	switch {
	case c.going && c.hold == "":
		return ironic.Deleting
	case c.verb != "":
		return c.carryingOut()
	case c.hold != "":
		return c.hold
	}
	return c.byItself()
}

// either picks the state that waits.
func (c course) either(acts, waits ironic.State) ironic.State {
	if c.waits {
		return waits
	}
	return acts
}

// carryingOut is the state of a host that does what a client asked for.
func (c course) carryingOut() ironic.State {
	switch c.verb {
	case ironic.VerbManage:
		return ironic.Verifying
	case ironic.VerbInspect:
		return c.either(ironic.Inspecting, ironic.InspectWait)
	case ironic.VerbProvide, ironic.VerbClean:
		return c.either(ironic.Cleaning, ironic.CleanWait)
	case ironic.VerbActive, ironic.VerbRebuild:
		return c.either(ironic.Deploying, ironic.DeployWait)
	case ironic.VerbAdopt:
		return ironic.Adopting
	case ironic.VerbService:
		return c.either(ironic.Servicing, ironic.ServiceWait)
	case ironic.VerbRescue:
		return ironic.Rescuing
	case ironic.VerbUnrescue:
		return ironic.Unrescuing
	case ironic.VerbDeleted:
		switch {
		case c.host == metal3.StatePreparing:
			return c.either(ironic.Cleaning, ironic.CleanWait)
		case c.erases:
			return c.either(ironic.Cleaning, ironic.CleanWait)
		}
		return ironic.Deleting
	}
	if c.hold != "" {
		return c.hold // abort and unhold are over at once
	}
	return c.byItself()
}

// byItself is the state of a host that goes Metal3's way.
func (c course) byItself() ironic.State {
	failed := c.problem != "" && c.problem != metal3.PowerManagementError && c.problem != metal3.DetachError
	or := func(failure, otherwise ironic.State) ironic.State {
		if failed {
			return failure
		}
		return otherwise
	}
	switch c.host {
	case metal3.StateNone, metal3.StateUnmanaged:
		return ironic.Enroll
	case metal3.StateRegistering:
		return or(ironic.Enroll, ironic.Verifying)
	case metal3.StateInspecting:
		return or(ironic.InspectFail, c.either(ironic.Inspecting, ironic.InspectWait))
	case metal3.StatePreparing, metal3.StateMatchProfile:
		return or(ironic.CleanFail, c.either(ironic.Cleaning, ironic.CleanWait))
	case metal3.StateAvailable, metal3.StateReady:
		return ironic.Available
	case metal3.StateProvisioning:
		return or(ironic.DeployFail, c.either(ironic.Deploying, ironic.DeployWait))
	case metal3.StateProvisioned, metal3.StateExternallyProvisioned:
		if c.problem == metal3.ServicingError {
			return ironic.ServiceFail
		}
		if c.op == host.OpService {
			return c.either(ironic.Servicing, ironic.ServiceWait)
		}
		return ironic.Active
	case metal3.StateDeprovisioning:
		if c.erases {
			return or(ironic.Error, c.either(ironic.Cleaning, ironic.CleanWait))
		}
		return or(ironic.Error, ironic.Deleting)
	case metal3.StatePoweringOffBeforeDelete, metal3.StateDeleting:
		return ironic.Deleting
	}
	return ironic.Enroll
}

// works reports whether something is done to the machine just now: Ironic's node is
// reserved then.
func (c course) works() bool {
	return c.asked != "" || !c.waits && (c.verb != "" || c.op != "" && c.problem == "")
}

func isPower(verb string) bool {
	switch ironic.Power(verb) {
	case ironic.PowerOn, ironic.PowerOff, ironic.Reboot, ironic.SoftPowerOff, ironic.SoftReboot:
		return true
	}
	return false
}

// powers are the power state and its target; empty: not known, and none.
func powers(n *Node, noMachine bool) (is, target ironic.Power) {
	r := n.Record
	verb := ""
	if r != nil && r.Status.Node != nil {
		verb = r.Status.Node.Verb
	}
	if a := n.pending(); a != nil {
		verb = a.Verb
	}
	switch ironic.Power(verb) {
	case ironic.PowerOn, ironic.Reboot, ironic.SoftReboot:
		target = ironic.PowerOn
	case ironic.PowerOff, ironic.SoftPowerOff:
		target = ironic.PowerOff
	}
	if noMachine {
		if r != nil && r.Status.Node != nil {
			switch p := r.Status.Node.Power; {
			case strings.HasSuffix(p, "on"):
				is = ironic.PowerOn
			case strings.HasSuffix(p, "off"):
				is = ironic.PowerOff
			}
		}
		return is, target
	}
	b := n.Host
	if b == nil || b.Status.LastUpdated == nil {
		return "", target
	}
	switch b.Status.Provisioning.State {
	case metal3.StateNone, metal3.StateUnmanaged:
		return "", target
	case metal3.StateRegistering:
		if r == nil || r.Status.BMC == nil || r.Status.BMC.SecretVersion == "" {
			return "", target // nobody was let in yet
		}
	}
	if b.Status.PoweredOn {
		return ironic.PowerOn, target
	}
	return ironic.PowerOff, target
}
