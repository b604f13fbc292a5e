package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/agent"
	api "github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// guest is what a ramdisk finds in its machine: the device side of one boot.
type guest struct {
	m    *Machine
	args agent.Args
	mode simbmc.BootMode // in which the firmware started
}

func (g *guest) faults() Faults {
	g.m.mu.Lock()
	defer g.m.mu.Unlock()
	return g.m.faults
}

func (g *guest) memoryMiB() int {
	if n := g.faults().MemoryMiB; n != 0 {
		return n
	}
	return g.m.hw.info.MemoryMiB
}

func (g *guest) firmware() string {
	if g.mode == simbmc.ModeLegacy {
		return api.FirmwareBIOS
	}
	return api.FirmwareUEFI
}

func (g *guest) macs() []string {
	list := slices.Clone(g.m.hw.info.MACs)
	list[0] = g.m.bootMAC()
	return list
}

// found lists the disks that the agent sees now.
func (g *guest) found() []api.Disk {
	g.m.mu.Lock()
	f, inspected := g.m.faults, g.m.inspected
	g.m.mu.Unlock()
	if f.NoDisk {
		return nil
	}
	disks := slices.Clone(g.m.hw.disks)
	if f.SwapDisks && inspected {
		for i := range disks {
			disks[i].Serial += "-SWAPPED"
			disks[i].WWN = ""
		}
	}
	return g.m.withArrays(disks)
}

// inventory is what inspection finds.
func (g *guest) inventory() api.Inventory {
	hw := &g.m.hw
	inv := api.Inventory{
		Vendor: api.Vendor{
			Manufacturer: hw.info.Manufacturer, Product: hw.info.Model, Serial: hw.info.Serial,
			UUID: hw.info.UUID, BoardSerial: hw.info.Serial,
		},
		Firmware: api.Firmware{Mode: g.firmware(), Vendor: "Ingot Lab", Version: "1.0.0", Date: "01/01/2026"},
		CPU:      hw.cpu,
		Memory:   hw.memory,
		Disks:    g.found(),
		NICs:     slices.Clone(hw.nics),
		Methods:  []string{DeployMethod},
		Hostname: g.m.Name, // as a DHCP server gives it
	}
	if n := g.faults().MemoryMiB; n != 0 {
		inv.Memory = api.Memory{Physical: int64(n) << 20, Usable: int64(n) << 20}
	}
	for i, mac := range g.macs() {
		inv.NICs[i].MAC = mac
	}
	threads := hw.cpu.Threads / hw.cpu.Sockets
	for i := range hw.cpu.Sockets {
		inv.NUMA = append(inv.NUMA, api.NUMA{
			ID: i, CPUs: fmt.Sprintf("%d-%d", i*threads, (i+1)*threads-1),
			Memory: inv.Memory.Physical / int64(hw.cpu.Sockets),
		})
	}
	g.m.mu.Lock()
	g.m.inspected = true
	g.m.mu.Unlock()
	return inv
}

// open finds the content of the disk that is named path now.
func (g *guest) open(path string) (*disk, api.Disk, error) {
	for i, d := range g.found() {
		if d.Name == path {
			g.m.mu.Lock()
			defer g.m.mu.Unlock()
			return g.m.disks[i], d, nil
		}
	}
	return nil, api.Disk{}, fmt.Errorf("no disk %s", path)
}

// takeDeath says whether this write is one that the machine does not survive.
func (g *guest) takeDeath() bool {
	g.m.mu.Lock()
	defer g.m.mu.Unlock()
	if g.m.faults.DieMidWrite <= 0 {
		return false
	}
	g.m.faults.DieMidWrite--
	return true
}

// written closes an image write: what the disk holds is read back, and it is
// bootable if that is the image that was ordered.
func (g *guest) written(ctx context.Context, d *disk, spec api.Disk, image api.Manifest) error {
	got := d.digest(image.Size)
	g.m.log(KindWrite, spec.Serial+" "+got)
	if !strings.EqualFold(got, image.SHA256) {
		return fmt.Errorf("%s holds %s after the write of %s", spec.Name, got, image.SHA256)
	}
	return d.setImage(ctx, got)
}
