package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/agentapi"
	"github.com/ingot-metal/ingot/pkg/blob"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/inventory"
	"github.com/ingot-metal/ingot/pkg/record"
	"github.com/ingot-metal/ingot/pkg/userdata"
)

// runStep hands a step to the host's agent and takes its result.
func (e *Engine) runStep(ctx context.Context, in Input, a host.Action) Post {
	boot := in.Host.Boot.ID
	step := agent.Step{ID: a.StepID, Epoch: in.epoch}
	arrays := false
	var secrets map[string][]byte
	switch a.Step {
	case host.PhaseInspect:
		step.Kind = agent.StepInspect
	case host.PhaseClean:
		inv, err := e.inventory(ctx, in)
		if err != nil {
			return failed(a, NewProblem("clean-failed", nil, "the inventory of this boot cannot be read: "+err.Error()))
		}
		step.Kind, step.Clean = agent.StepClean, &agent.CleanStep{Disks: cleanable(inv.Disks)}
		arrays = slices.ContainsFunc(inv.Disks, func(d agent.Disk) bool { return d.Bus == agent.BusMD })
	case host.PhaseSoftRAID:
		var p *host.Problem
		if step.RAID, p = e.softRAID(ctx, in); p != nil {
			return failed(a, p)
		}
		step.Kind = agent.StepRAID
	case host.PhaseWrite:
		var p *host.Problem
		if step.Write, secrets, p = e.write(ctx, in); p != nil {
			return failed(a, p)
		}
		step.Kind = agent.StepWrite
	case host.PhaseDeploy:
		var p *host.Problem
		if step.Deploy, secrets, p = e.deploy(ctx, in, a); p != nil {
			return failed(a, p)
		}
		step.Kind = agent.StepDeploy
	}
	if err := bmc.Fenced(ctx); err != nil {
		return failed(a, NewProblem("agent-lost", nil, err.Error()))
	}
	res, err := e.Agents.Run(ctx, boot, in.Host.Key, step, secrets)
	defer e.Progress.Clear(in.Host.Key)
	switch {
	case errors.Is(err, agentapi.ErrLost):
		return Post{Event: host.AgentLost{BootID: boot}}
	case err != nil:
		return failed(a, NewProblem("agent-lost", nil, err.Error()))
	case res.Error != nil:
		return failed(a, e.stepProblem(in, a.Step, res.Error))
	case a.Step == host.PhaseInspect:
		return e.inspected(ctx, in, a, res.Inventory)
	case a.Step == host.PhaseSoftRAID:
		return softRAIDMade(a, res.RAID)
	}
	return Post{Event: host.Outcome{Seq: a.Seq, Arrays: arrays}}
}

// stepProblem is what an agent says went wrong. Its words come from the network:
// an unknown code becomes the step's own.
func (e *Engine) stepProblem(in Input, step host.Phase, err *agent.StepError) *host.Problem {
	code := err.Code
	switch code {
	case "disk-small", "disk-mismatch", "disk-io", "disk-4k", "disk-in-use", "disk-readonly",
		"image-chunk", "image-unreachable", "deploy-failed", "clean-failed", "inspect-failed", "step-refused", "softraid-failed", "boot-entry":
	default:
		code = map[host.Phase]string{
			host.PhaseInspect: "inspect-failed", host.PhaseClean: "clean-failed", host.PhaseWrite: "disk-io",
			host.PhaseDeploy:   "deploy-failed",
			host.PhaseSoftRAID: "softraid-failed",
		}[step]
	}
	msg := err.Message
	if code == "deploy-failed" {
		return deployProblem(in, msg)
	}
	return NewProblem(code, map[string]string{"host": in.BMH.Name}, msg[:min(len(msg), 300)])
}

// cleanable are the disks whose metadata is erased: all but those that cannot be
// written or are not the machine's own.
func cleanable(disks []agent.Disk) []agent.DiskRef {
	var refs []agent.DiskRef
	for _, d := range disks {
		// An array goes with the disks that it is made of.
		if !d.ReadOnly && !d.Removable && d.Size > 0 && d.Bus != agent.BusMD {
			refs = append(refs, ref(d))
		}
	}
	return refs
}

func ref(d agent.Disk) agent.DiskRef {
	return agent.DiskRef{Name: d.Name, Serial: d.Serial, WWN: d.WWN, Size: d.Size}
}

// write makes the write step. It gives the same step whenever it is asked again
// in one boot.
func (e *Engine) write(ctx context.Context, in Input) (*agent.WriteStep, map[string][]byte, *host.Problem) {
	c, p := e.choose(ctx, in)
	if p != nil {
		return nil, nil, p
	}
	m, _, p := e.manifest(ctx, in)
	if p != nil {
		return nil, nil, p
	}
	// Chunks and reports go to the address that the agent already reaches us at.
	if err := e.Agents.WaitCalled(ctx, in.Host.Boot.ID, in.Host.Key); err != nil {
		return nil, nil, NewProblem("agent-lost", nil, err.Error())
	}
	ip := e.Agents.LocalIP(in.Host.Boot.ID)
	report := &userdata.Report{
		URL:  "https://" + net.JoinHostPort(ip, strconv.Itoa(e.HTTPSPort)) + FirstBootPath,
		Host: in.Host.Key, Token: e.CA.Token(FirstBootPurpose(in.BMH)), CA: string(e.CA.CertPEM()),
	}
	drive, err := e.configDrive(ctx, in, c.Disk.SectorSize, report)
	if err != nil {
		return nil, nil, userdataProblem(in, err)
	}
	at := net.JoinHostPort(ip, strconv.Itoa(e.HTTPPort))
	digest := blob.DigestOf(drive)
	return &agent.WriteStep{
		Disk: ref(c.Disk), Manifest: *m, ChunkBase: "http://" + at + "/images/sha256/",
		ConfigDrive: string(digest), ConfigDriveSize: int64(len(drive)),
		BootLabel: "ingot " + in.BMH.Name,
	}, map[string][]byte{string(digest): drive}, nil
}

// FirstBootPath takes the report of an installed system.
const FirstBootPath = "/firstboot/v1"

// FirstBootPurpose is what a report's token is made for: one installation of one
// host.
func FirstBootPurpose(b *metal3.BareMetalHost) string {
	return fmt.Sprintf("first boot %s %d", b.UID, b.Status.OperationHistory.Provision.Start.Unix())
}

// inspected takes in an inventory: hostile until checked, kept whole as a blob,
// shown as HardwareDetails.
func (e *Engine) inspected(ctx context.Context, in Input, a host.Action, inv *agent.Inventory) Post {
	bad := func(err error) Post {
		return failed(a, NewProblem("inspect-failed", map[string]string{"host": in.BMH.Name}, err.Error()))
	}
	if inv == nil {
		return bad(errors.New("the agent sent no inventory"))
	}
	if err := inventory.Check(*inv); err != nil {
		return bad(fmt.Errorf("the agent's inventory: %w", err))
	}
	inventory.Clean(inv)
	return e.keep(ctx, in, a, inv, in.Host.Boot.ID)
}

// keep stores an inventory that was taken in a boot, or without one.
func (e *Engine) keep(ctx context.Context, in Input, a host.Action, inv *agent.Inventory, boot string) Post {
	raw, err := json.Marshal(inv)
	if err != nil {
		return failed(a, NewProblem("inspect-failed", map[string]string{"host": in.BMH.Name}, err.Error()))
	}
	d, _, err := e.Blobs.Put(ctx, bytes.NewReader(raw))
	if err != nil {
		return failed(a, NewProblem("disk-full", nil, err.Error()))
	}
	now := metav1.NewMicroTime(time.Now())
	x := record.Extra{Inventory: &v1alpha1.InventoryRef{Digest: "sha256:" + string(d), Taken: &now, Boot: boot, StepID: a.StepID}}
	if in.Host.State == host.Inspecting || in.BMH.Status.HardwareDetails == nil {
		hw := inventory.HardwareDetails(*inv)
		x.Hardware = &hw
	}
	return Post{Event: host.Outcome{Seq: a.Seq}, Extra: x}
}
