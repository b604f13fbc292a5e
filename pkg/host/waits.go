package host

import (
	"fmt"
	"strings"
)

// Waits says, for a person, what the host is waiting for. It is empty only when
// the host is where it should be.
func (h Host) Waits() string {
	w := h.Wants
	switch {
	case h.Gone:
		return ""
	case w.Paused:
		return "the annotation baremetalhost.metal3.io/paused to be removed"
	case h.Detached && w.Deleting:
		return "the annotation baremetalhost.metal3.io/detached to be removed: it delays the deletion"
	case h.Detached:
		return "the annotation baremetalhost.metal3.io/detached to be removed"
	case h.Node.Hold != "" && h.Node.Verb == "":
		return h.Node.waits(h.Key)
	case w.Maintenance && h.Op == nil && h.Node.Verb == "":
		return "the end of the maintenance (the annotation ingot.dev/maintenance)"
	case h.Problem != nil && h.Problem.NextTry.IsZero():
		return "a change: " + h.remedyPlace()
	case h.Problem != nil && h.Problem.Class == Wait:
		return "a change: " + h.remedyPlace() + "; then the deletion goes on without it"
	case h.Problem != nil:
		return "the next try"
	case h.Op != nil:
		return h.Op.waits()
	case h.Node.AwaitsOnline():
		return "spec.online to become what the machine's power is"
	case h.State == Unmanaged:
		return "spec.bmc.address and spec.bmc.credentialsName to be set"
	case h.State == Available && w.Image != nil && !w.Online:
		return "spec.online to be true: an image is set"
	case h.State == Available && w.Image == nil:
		return "spec.image to be set"
	case h.installed() && h.Power == PowerOn && h.driveDiffers():
		return WaitsForStart
	}
	return ""
}

// next are the commands that lead a node on from where it rests.
var next = map[string]string{
	Enroll: "manage", Manageable: "provide", InspectFailed: "inspect", CleanFailed: "manage", AdoptFailed: "adopt",
	DeployFailed: "undeploy", ErrorState: "undeploy", ServiceFailed: "abort",
	NodeAvailable: "deploy", Active: "undeploy", DeployHold: "unhold", CleanHold: "unhold", ServiceHold: "unhold",
	Rescue: "unrescue", RescueFailed: "unrescue", UnrescueFailed: "unrescue",
}

// waits says what leads a node on that rests.
func (n Node) waits(key string) string {
	_, name, _ := strings.Cut(key, "/")
	return fmt.Sprintf("the REST client to ask for %s (openstack baremetal node %[1]s %[2]s)", next[n.Hold], name)
}

func (h Host) remedyPlace() string {
	if h.Problem.Code == "bmc-options" {
		return "the annotations ingot.dev/bmc-quirks, bmc-tls, bmc-pin and bmc-extras"
	}
	if h.Problem.Type == RegistrationError || h.Problem.Type == ProvisionedRegistrationErr {
		return fmt.Sprintf("the Secret %s or spec.bmc", h.Wants.SecretName)
	}
	if strings.HasPrefix(h.Problem.Code, "ramdisk-") {
		return "the status of the PreprovisioningImage, or spec"
	}
	if strings.HasPrefix(h.Problem.Code, "media-") && h.installed() {
		return "the DataImage, or spec.bmc"
	}
	if strings.HasPrefix(h.Problem.Code, "userdata-") {
		return "the Secret that spec names, or spec"
	}
	switch {
	case strings.HasPrefix(h.Problem.Code, "settings-"):
		return "the host's HostFirmwareSettings"
	case strings.HasPrefix(h.Problem.Code, "firmware-"):
		return "the host's HostFirmwareComponents"
	}
	return "spec"
}

func (op Op) waits() string {
	switch op.Phase {
	case PhaseVerify:
		return "the BMC to answer"
	case PhaseFacts:
		return "the BMC to tell the machine's hardware"
	case PhaseImage:
		return "the image to be fetched and verified"
	case PhaseOff, PhaseStop, PhaseForceOff:
		return "the machine to be off"
	case PhaseSoftOff:
		return "the operating system to power off"
	case PhaseStart, PhaseRun:
		return "the machine to be on"
	case PhaseReset:
		return "the machine to restart"
	case PhaseNetBoot, PhaseDiskBoot:
		return "the BMC to take the boot device"
	case PhaseOrder:
		return "the boot to be recorded"
	case PhaseHello:
		return "the agent to call home"
	case PhaseInspect:
		return "the agent's inventory"
	case PhaseDisk:
		return "the disk to be chosen"
	case PhaseClean:
		return "the agent to erase the disks' metadata"
	case PhaseSoftRAID:
		return "the agent to make or delete the software RAID"
	case PhaseWrite:
		return "the agent to write the image"
	case PhasePlan:
		return "the BMC to tell the machine's firmware and RAID volumes"
	case PhaseChange, PhaseSettle:
		if op.Change != nil {
			return "the BMC to carry out a change: " + op.Change.Target
		}
		return "the BMC to carry out a change"
	case PhaseRestart:
		return "the machine to restart, so that a change comes into force"
	case PhaseSecureOn, PhaseSecureOff:
		return "the BMC to switch Secure Boot"
	case PhaseDeploy:
		return "the agent to run the deploy method"
	case PhaseRamdisk:
		return "the external builder to answer the PreprovisioningImage"
	case PhaseInsert, PhaseRamdiskMedia:
		return "the BMC to put the image into its virtual drive"
	case PhaseEject:
		return "the BMC to empty its virtual drive"
	case PhaseMediaBoot:
		return "the BMC to take the boot device"
	}
	return string(op.Phase)
}
