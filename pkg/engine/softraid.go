package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/inventory"
	"github.com/ingot-metal/ingot/pkg/record"
)

// softRAID makes the step that brings software RAID to what is declared. It gives
// the same step whenever it is asked again in one boot.
func (e *Engine) softRAID(ctx context.Context, in Input) (*agent.RAIDStep, *host.Problem) {
	fail := func(seen ...string) (*agent.RAIDStep, *host.Problem) {
		return nil, NewProblem("softraid-failed", map[string]string{"host": in.BMH.Name}, seen...)
	}
	volumes, err := record.SoftVolumes(in.Host.Wants.SoftRAID)
	if err != nil {
		return fail("spec.raid.softwareRAIDVolumes: " + err.Error())
	}
	inv, err := e.inventory(ctx, in)
	if err != nil {
		return fail("the inventory of this boot cannot be read: " + err.Error())
	}
	own := slices.DeleteFunc(slices.Clone(inv.Disks), func(d agent.Disk) bool { return d.Bus == agent.BusMD })
	for i := range own {
		own[i].Holders = nil // arrays that the step deletes before it makes new ones
	}
	step := &agent.RAIDStep{For: in.Host.Wants.SoftRAID, Disks: cleanable(own)}
	for i, v := range volumes {
		refs, err := members(own, v.PhysicalDisks)
		if err != nil {
			code := "softraid-disks"
			var none *inventory.NoMatchError
			if errors.As(err, &none) {
				code = none.Code()
			}
			seen := strings.Split(err.Error(), "; ")
			seen[0] = fmt.Sprintf("spec.raid.softwareRAIDVolumes[%d]: %s", i, seen[0])
			return nil, NewProblem(code, map[string]string{"host": in.BMH.Name}, seen...)
		}
		r := agent.RAIDVolume{Level: v.Level, Disks: refs}
		if v.SizeGibibytes != nil {
			r.Size = int64(*v.SizeGibibytes) << 30
		}
		step.Volumes = append(step.Volumes, r)
	}
	root, err := e.rootVolume(ctx, in, len(volumes))
	if err != nil {
		return fail(err.Error())
	}
	if why := unbootable(step.Volumes, root); why != "" && in.BMH.Spec.RootDeviceHints == nil {
		return nil, NewProblem("softraid-disks", map[string]string{"host": in.BMH.Name}, why)
	}
	return step, nil
}

// unbootable says why no firmware would start what is installed on the root
// volume: it knows nothing of arrays, so the members of a mirror of whole disks are
// all that it can read. Better now than when the image is written.
func unbootable(volumes []agent.RAIDVolume, root int) string {
	if len(volumes) == 0 {
		return ""
	}
	r := volumes[root]
	if r.Level != "1" {
		return fmt.Sprintf("the image goes to volume %d, and firmware does not start from level %s", root, r.Level)
	}
	for i, v := range volumes {
		for _, d := range v.Disks {
			if i != root && slices.Contains(r.Disks, d) {
				return "the volumes share " + d.Name + ", and firmware starts from a mirror of whole disks only"
			}
		}
	}
	return ""
}

// rootVolume is the number of the volume that an image goes to, of n.
func (e *Engine) rootVolume(ctx context.Context, in Input, n int) (int, error) {
	if n < 2 || e.RootVolume == nil {
		return 0, nil
	}
	i, err := e.RootVolume(ctx, in.Key)
	if err != nil || i >= n { // of another declaration than was made
		return 0, err
	}
	return i, nil
}

// members chooses the disks of a volume: for each hint the best match that none
// before it took; without hints, all that cleaning would erase, as in
// ironic-python-agent.
func members(disks []agent.Disk, hints []metal3.RootDeviceHints) ([]agent.DiskRef, error) {
	if len(hints) == 0 {
		refs := cleanable(disks)
		if len(refs) < 2 {
			return nil, fmt.Errorf("the machine has %d disks that an array may be made of: two at least are needed", len(refs))
		}
		return refs, nil
	}
	var refs []agent.DiskRef
	left := slices.Clone(disks)
	for i := range hints {
		c, err := inventory.ChooseDisk(left, &hints[i], false)
		if err != nil {
			return nil, fmt.Errorf("physicalDisks[%d]: %w", i, err)
		}
		refs = append(refs, ref(c.Disk))
		left = slices.DeleteFunc(left, func(d agent.Disk) bool { return d.Name == c.Disk.Name })
	}
	return refs, nil
}

// softRAIDMade takes in what became of the step. What was asked for is what the
// agent says it was: the declared state may have changed since.
func softRAIDMade(a host.Action, r *agent.RAIDResult) Post {
	if r == nil {
		return failed(a, NewProblem("softraid-failed", nil, "the agent sent no result"))
	}
	post := Post{Event: host.Outcome{Seq: a.Seq, SoftRAID: r.For}}
	var names []string
	for _, d := range r.Devices[:min(len(r.Devices), agent.MaxRAIDVolumes)] {
		names = append(names, fmt.Sprintf("%.64s (%d GiB)", d.Name, d.Size>>30))
	}
	if len(names) > 0 {
		post.Note = &Note{Reason: "SoftwareRAIDMade", Message: strings.Join(names, ", ")}
	}
	return post
}

// rootArray is the device that an image goes to where no hint names another.
// Empty: there is none.
func (e *Engine) rootArray(ctx context.Context, in Input) (string, error) {
	volumes, err := record.SoftVolumes(in.Host.SoftRAID)
	if err != nil || len(volumes) == 0 {
		return "", nil //nolint:nilerr // what is no list is shown by nobody
	}
	i, err := e.rootVolume(ctx, in, len(volumes))
	return fmt.Sprintf("/dev/md%d", i), err
}
