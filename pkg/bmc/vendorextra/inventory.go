package vendorextra

import (
	"context"
	"fmt"
	"strings"

	"github.com/bmc-toolbox/bmclib/v2/providers/asrockrack"
	"github.com/bmc-toolbox/common"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/bmc"
)

// maxParts bounds each kind of part: an answer of a megabyte has room for a
// hundred thousand.
const maxParts = 64

// Inspect is part of bmc.Inspector. It is read from the list of parts that the
// BMC has of the last POST: sizes of disks and MAC addresses are not in it.
func (b *board) Inspect(ctx context.Context) (agent.Inventory, error) {
	return within(ctx, b, "inspect", func(ctx context.Context, p *asrockrack.ASRockRack) (agent.Inventory, error) {
		d, err := inventory(ctx, p)
		if err != nil {
			return agent.Inventory{}, err
		}
		return facts(d), nil
	})
}

// Health is part of bmc.Health: the provider's verdict on the sensors, and the
// POST code, which tells how far a start has come.
func (b *board) Health(ctx context.Context) (bmc.HealthReport, error) {
	return within(ctx, b, "read health", func(ctx context.Context, p *asrockrack.ASRockRack) (bmc.HealthReport, error) {
		d, err := inventory(ctx, p)
		if err != nil {
			return bmc.HealthReport{}, err
		}
		var out bmc.HealthReport
		if d.Status != nil {
			switch d.Status.Health {
			case "OK":
				out.Status = "OK"
			case "CRITICAL":
				out.Status = "Critical"
			}
			out.State = clip(d.Status.State) // the sensor that is not well
			if d.Status.PostCodeStatus != "" {
				out.Sensors = append(out.Sensors, post(d.Status.PostCodeStatus, d.Status.PostCode))
			}
		}
		return out, nil
	})
}

func post(text string, code int) bmc.Sensor {
	return bmc.Sensor{Name: "POST code", Kind: "other", Value: float64(code), State: clip(text)}
}

// postCode reads the POST code alone.
func (b *board) postCode(ctx context.Context) (bmc.Sensor, error) {
	return within(ctx, b, "read POST code", func(ctx context.Context, p *asrockrack.ASRockRack) (bmc.Sensor, error) {
		text, code, err := p.PostCode(ctx)
		return post(text, code), err
	})
}

// facts takes over what the provider found.
func facts(d *common.Device) agent.Inventory {
	product := func(key, other string) string {
		if s := told(d.Metadata["product."+key]); s != "" {
			return s
		}
		return told(other)
	}
	out := agent.Inventory{
		Vendor: agent.Vendor{
			Manufacturer: product("manufacturer", d.Vendor), Product: product("name", d.Model),
			Serial: product("serialnumber", d.Serial), SKU: told(d.Metadata["product.part_number"]), BoardSerial: told(d.Serial),
		},
		Skipped: []agent.Skipped{{What: "network interfaces, sizes of disks", Reason: "not in what bmclib reads from this BMC"}},
	}
	if d.BIOS != nil {
		out.Firmware.Vendor, out.Firmware.Version = told(d.BIOS.Vendor), installed(d.BIOS.Firmware)
	}
	if d.BMC != nil {
		out.Firmware.BMC = installed(d.BMC.Firmware)
	}
	for _, c := range d.CPUs[:min(len(d.CPUs), maxParts)] {
		out.CPU.Sockets++
		out.CPU.Model = told(c.Model)
		out.CPU.Arch = "x86_64" // all boards that the provider knows
	}
	for _, m := range d.Memory[:min(len(d.Memory), maxParts)] {
		module := agent.Module{Slot: told(m.Type), Vendor: told(m.Vendor), Serial: told(m.Serial), Part: told(m.PartNumber)}
		var gib int64
		if n, _ := fmt.Sscanf(m.Description, "%d MT/s %dGB", &module.MTs, &gib); n == 2 && gib > 0 && gib <= 1<<12 {
			module.Size = gib << 30
		}
		out.Memory.Physical += module.Size
		out.Memory.Modules = append(out.Memory.Modules, module)
	}
	for i, drive := range d.Drives[:min(len(d.Drives), maxParts)] {
		out.Disks = append(out.Disks, agent.Disk{
			Name: fmt.Sprintf("storage-%d", i+1), Vendor: told(drive.Vendor), Model: told(drive.ProductName), Serial: told(drive.Serial),
		})
	}
	return out
}

func installed(f *common.Firmware) string {
	if f == nil {
		return ""
	}
	return told(f.Installed)
}

// told is what a BMC says, unless it says that it does not know.
func told(s string) string {
	if s = clip(s); strings.EqualFold(s, "N/A") {
		return ""
	}
	return s
}
