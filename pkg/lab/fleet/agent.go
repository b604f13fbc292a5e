package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ingot-metal/ingot/agent"
	"github.com/ingot-metal/ingot/agent/fault"
	api "github.com/ingot-metal/ingot/api/agent"
)

// errDied is the end of an agent that a fault ordered.
var errDied = errors.New("it died in the middle of a write")

// runAgent runs the agent's own loop on a pretended machine.
func runAgent(ctx context.Context, g *guest) (outcome, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	end, err := agent.Run(ctx, agent.Config{
		Args: g.args,
		Identity: agent.Identity{
			MACs: g.macs(), SMBIOS: g.m.hw.info.UUID, MemoryMiB: g.memoryMiB(), Firmware: g.firmware(),
		},
		Devices: &devices{guest: g, die: func() { cancel(errDied) }},
		Log:     g.m.fleet.cfg.Log.With("machine", g.m.Name),
		Build:   "ingot-fleet",
	})
	switch {
	case errors.Is(context.Cause(ctx), errDied):
		return sits, errDied
	case err != nil:
		return sits, err
	case end.Reboot:
		return reboots, nil
	default:
		return powerOff, nil
	}
}

// devices is a guest's machine as the agent's loop wants it.
type devices struct {
	*guest
	die func() // ends the loop at once and for good
}

var _ agent.Devices = (*devices)(nil)

// Inspect implements agent.Devices.
func (d *devices) Inspect(context.Context, agent.Progress) (api.Inventory, error) {
	return d.inventory(), nil
}

// Clean implements agent.Devices.
func (d *devices) Clean(ctx context.Context, s api.CleanStep, p agent.Progress) (api.CleanResult, error) {
	d.m.stopArrays(s.Disks)
	var res api.CleanResult
	for i, ref := range s.Disks {
		content, spec, err := d.match(ref)
		if err != nil {
			return res, err
		}
		if err := content.erase(ctx); err != nil {
			return res, err
		}
		d.m.log(KindErase, spec.Serial)
		res.Disks = append(res.Disks, refOf(spec))
		p(int64(i+1), int64(len(s.Disks)), "disks", spec.Name)
	}
	return res, nil
}

// match finds the disk that a step names; all that it says must be true.
func (d *devices) match(ref api.DiskRef) (*disk, api.Disk, error) {
	content, spec, err := d.open(ref.Name)
	if err != nil {
		return nil, spec, fault.New(fault.DiskMismatch, "%w", err)
	}
	found := refOf(spec)
	if ref.Serial != "" && ref.Serial != found.Serial || ref.WWN != "" && ref.WWN != found.WWN || ref.Size != 0 && ref.Size != found.Size {
		return nil, spec, fault.New(fault.DiskMismatch, "%s is %+v, not %+v", ref.Name, found, ref)
	}
	return content, spec, nil
}

func refOf(spec api.Disk) api.DiskRef {
	return api.DiskRef{Name: spec.Name, Serial: spec.Serial, WWN: spec.WWN, Size: spec.Size}
}

// Write implements agent.Devices. Each chunk is fetched and verified by the
// agent's transport; what is pretended begins at the disk.
func (d *devices) Write(ctx context.Context, s api.WriteStep, src agent.Source, p agent.Progress) (api.WriteResult, error) {
	content, spec, err := d.match(s.Disk)
	if err != nil {
		return api.WriteResult{}, err
	}
	if spec.Member() {
		return api.WriteResult{}, fault.New(fault.DiskInUse, "%s is in use by %v", spec.Name, spec.Holders)
	}
	if s.Manifest.Size > spec.Size {
		return api.WriteResult{}, fault.New(fault.DiskSmall, "the image is %d bytes, %s is %d", s.Manifest.Size, spec.Name, spec.Size)
	}
	var drive []byte
	if s.ConfigDrive != "" {
		err := insist(ctx, func() (err error) {
			drive, err = src.Secret(ctx, s.ConfigDrive, s.ConfigDriveSize)
			return err
		})
		if err != nil {
			return api.WriteResult{}, fmt.Errorf("config drive: %w", err)
		}
	}
	d.m.log(KindWriteBegin, spec.Serial+" "+strings.ToLower(s.Manifest.SHA256))
	// What no chunk covers must read as zero.
	if err := content.erase(ctx); err != nil {
		return api.WriteResult{}, err
	}
	res := api.WriteResult{Disk: refOf(spec), Written: s.Manifest.Size + int64(len(drive)), Fetched: int64(len(drive))}
	chunks := s.Manifest.Chunks
	survive := len(chunks)
	dies := d.takeDeath()
	if dies {
		survive /= 2
	}
	for i, c := range chunks[:survive] {
		if err := d.writeChunk(ctx, content, c, s.ChunkBase, src); err != nil {
			return api.WriteResult{}, err
		}
		res.Fetched += c.Stored
		p(c.Offset+c.Length, s.Manifest.Size, "bytes", fmt.Sprintf("chunk %d of %d", i+1, len(chunks)))
	}
	if dies {
		d.die()
		return api.WriteResult{}, errDied
	}
	if err := d.written(ctx, content, spec, s.Manifest); err != nil {
		return api.WriteResult{}, fault.New(fault.DiskIO, "%w", err)
	}
	if drive != nil {
		if err := content.setDrive(ctx, drive); err != nil {
			return api.WriteResult{}, err
		}
		d.m.log(KindConfig, spec.Serial+" "+strings.ToLower(s.ConfigDrive))
	}
	if d.firmware() == api.FirmwareUEFI {
		res.BootEntry = "Boot0001"
	}
	return res, nil
}
