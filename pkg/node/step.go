package node

import (
	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/host"
)

// work is all of an operation that a node's step follows from.
type work struct {
	op     host.OpKind
	phase  host.Phase
	change host.ChangeKind // that is under way; empty: none
	arrays bool            // software RAID is declared
	live   bool            // the image is booted, and not written
	method string          // that the ramdisk runs instead of writing an image
}

func workOf(n *Node) work {
	w := work{}
	if r := n.Record; r != nil && r.Status.Operation != nil {
		op := r.Status.Operation
		w.op, w.phase = host.OpKind(op.Kind), host.Phase(op.Phase)
		if op.Change != nil {
			w.change = host.ChangeKind(op.Change.What)
		}
	}
	if b := n.Host; b != nil {
		w.arrays = b.Spec.RAID != nil && len(b.Spec.RAID.SoftwareRAIDVolumes) > 0
		if b.Spec.CustomDeploy != nil {
			w.method = b.Spec.CustomDeploy.Method
		}
		w.live = w.method == "" && b.Spec.Image.IsLiveISO()
	}
	return w
}

// showStep shows at which step a node is, in the words of Ironic's own drivers
// (drivers/modules/agent.py, agent_base.py, redfish) and of its agent. What they have
// no step for shows none. Neither does a node that failed, or was aborted: Ironic
// takes the step away then (conductor/utils.py, cleaning_error_handler,
// deploying_error_handler; conductor/cleaning.py, do_node_clean_abort).
func showStep(d *ironic.Node, st ironic.State, w work) {
	switch st {
	case ironic.Cleaning, ironic.CleanWait:
		d.CleanStep = w.cleanStep()
	case ironic.Deploying, ironic.DeployWait:
		d.DeployStep = w.deployStep()
	case ironic.Servicing, ironic.ServiceWait:
		d.ServiceStep = w.serviceStep()
	case ironic.CleanHold:
		d.CleanStep = holdStep()
	case ironic.DeployHold:
		d.DeployStep = holdStep()
	case ironic.ServiceHold:
		d.ServiceStep = holdStep()
	}
}

func stepOf(iface, name string, priority int) ironic.Object {
	return ironic.Object{"interface": iface, "step": name, "priority": priority}
}

// ownStep is one whose priority in Ironic would be what its client said of it, which
// is not kept here.
func ownStep(iface, name string) ironic.Object {
	return ironic.Object{"interface": iface, "step": name}
}

// holdStep is the one that Ironic's conductor does itself: it needs no interface.
func holdStep() ironic.Object { return ironic.Object{"step": "hold"} }

// cleanStep: until the agent runs, there is none, as in Ironic.
func (w work) cleanStep() ironic.Object {
	if w.op != host.OpPrepare && w.op != host.OpDeprovision {
		return ironic.Object{}
	}
	switch w.phase {
	case host.PhaseClean:
		return stepOf("deploy", "erase_devices_metadata", 99) // ironic-python-agent's GenericHardwareManager
	case host.PhaseSoftRAID:
		if !w.arrays {
			return stepOf("raid", "delete_configuration", 0)
		}
		return stepOf("raid", "create_configuration", 0)
	case host.PhaseChange, host.PhaseRestart, host.PhaseSettle:
		return w.changeStep()
	}
	return ironic.Object{}
}

// serviceStep: a machine in use is changed by its BMC alone.
func (w work) serviceStep() ironic.Object {
	if w.op == host.OpService {
		switch w.phase {
		case host.PhaseChange, host.PhaseRestart, host.PhaseSettle:
			return w.changeStep()
		}
	}
	return ironic.Object{}
}

// changeStep is the clean step, or service step, of a change. Its priority is 0: no
// change is made but what was asked for.
func (w work) changeStep() ironic.Object {
	switch w.change {
	case host.ChangeSettings:
		return stepOf("bios", "apply_configuration", 0)
	case host.ChangeFirmware:
		return stepOf("firmware", "update", 0)
	case host.ChangeRAIDMake:
		return stepOf("raid", "create_configuration", 0)
	case host.ChangeRAIDDelete:
		return stepOf("raid", "delete_configuration", 0)
	}
	return ironic.Object{}
}

// deployStep: the steps of Ironic's direct, by what they do. What is prepared of the
// machine beforehand would be steps of a deploy template there.
func (w work) deployStep() ironic.Object {
	switch w.op {
	case host.OpPrepare:
		return w.prepareStep()
	case host.OpProvision:
	default:
		return ironic.Object{}
	}
	if w.live {
		return w.ramdiskStep()
	}
	if w.entersAgent() {
		return stepOf("deploy", "deploy", 100)
	}
	switch w.phase {
	case host.PhaseDisk, host.PhaseWrite:
		if w.method == "" {
			return stepOf("deploy", "write_image", 80)
		}
	case host.PhaseDeploy:
		if w.method != "" {
			return ownStep("deploy", w.method)
		}
	case host.PhaseStop:
		return stepOf("deploy", "tear_down_agent", 40)
	case host.PhaseSecureOn, host.PhaseEject, host.PhaseDiskBoot, host.PhaseInsert, host.PhaseMediaBoot:
		return stepOf("deploy", "prepare_instance_boot", 60)
	case host.PhaseRun:
		return stepOf("deploy", "boot_instance", 20)
	}
	return ironic.Object{}
}

// entersAgent reports whether the machine is on its way into the agent, or that one
// looks around.
func (w work) entersAgent() bool {
	switch w.phase {
	case host.PhaseOff, host.PhaseRamdiskMedia, host.PhaseNetBoot, host.PhaseOrder, host.PhaseStart, host.PhaseHello, host.PhaseInspect:
		return true
	}
	return false
}

// ramdiskStep is the only one of Ironic's deploy interface ramdisk.
func (w work) ramdiskStep() ironic.Object {
	switch w.phase {
	case host.PhaseStop, host.PhaseInsert, host.PhaseMediaBoot, host.PhaseRun:
		return stepOf("deploy", "deploy", 100)
	}
	return ironic.Object{}
}

// prepareStep: RAID that is made in the course of a deployment goes by one name in
// Ironic, whether volumes are made or deleted for it.
func (w work) prepareStep() ironic.Object {
	if w.entersAgent() {
		return stepOf("deploy", "deploy", 100)
	}
	switch w.phase {
	case host.PhaseSoftRAID:
		return ownStep("raid", "apply_configuration")
	case host.PhaseChange, host.PhaseRestart, host.PhaseSettle:
		switch w.change {
		case host.ChangeRAIDMake, host.ChangeRAIDDelete:
			return ownStep("raid", "apply_configuration")
		case host.ChangeSettings:
			return ownStep("bios", "apply_configuration")
		case host.ChangeFirmware:
			return ownStep("firmware", "update")
		}
	}
	return ironic.Object{}
}
