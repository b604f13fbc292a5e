package fleet

import (
	"context"
	"fmt"
	"slices"

	"github.com/ingot-metal/ingot/agent"
	"github.com/ingot-metal/ingot/agent/fault"
	api "github.com/ingot-metal/ingot/api/agent"
)

// array is a pretended software RAID: a disk of its own, and the disks that it
// keeps from being used. It outlives the machine's starts.
type array struct {
	spec    api.Disk
	members []string // names
}

// withArrays adds what the arrays make of a machine's disks.
func (m *Machine) withArrays(disks []api.Disk) []api.Disk {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.arrays {
		for i, d := range disks {
			if slices.Contains(a.members, d.Name) {
				disks[i].Holders = append(slices.Clone(d.Holders), a.spec.Name[len("/dev/"):])
			}
		}
	}
	for _, a := range m.arrays {
		disks = append(disks, a.spec)
	}
	return disks
}

// onDisk is the serial number of a disk or an array, and the image on it.
func (m *Machine) onDisk(i int) (serial, digest string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.disks[i]
	if i < len(m.hw.disks) {
		return m.hw.disks[i].Serial, d.bootable()
	}
	return m.arrays[i-len(m.hw.disks)].spec.Serial, d.bootable()
}

// stopArrays ends the arrays all of whose members are named.
func (m *Machine) stopArrays(refs []api.DiskRef) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := len(m.arrays) - 1; i >= 0; i-- {
		all := true
		for _, name := range m.arrays[i].members {
			all = all && slices.ContainsFunc(refs, func(r api.DiskRef) bool { return r.Name == name })
		}
		if all {
			m.arrays = slices.Delete(m.arrays, i, i+1)
			m.disks = slices.Delete(m.disks, len(m.hw.disks)+i, len(m.hw.disks)+i+1)
		}
	}
}

// RAID implements agent.Devices.
func (d *devices) RAID(ctx context.Context, s api.RAIDStep, _ agent.Progress) (api.RAIDResult, error) {
	res := api.RAIDResult{For: s.For}
	var members []api.DiskRef
	for _, v := range s.Volumes {
		members = append(members, v.Disks...)
	}
	for _, ref := range members {
		if _, _, err := d.match(ref); err != nil {
			return res, err
		}
	}
	d.m.stopArrays(append(members, s.Disks...))
	for i, v := range s.Volumes {
		a := array{spec: api.Disk{
			Name: fmt.Sprintf("/dev/md%d", i), AlternateNames: []string{fmt.Sprintf("/dev/md/%d", i)}, Type: api.DiskSSD,
			Size: v.Size, SectorSize: 512, PhysSectorSize: 4096, Bus: api.BusMD, Model: "Linux software RAID " + v.Level,
			Serial: fmt.Sprintf("%s-MD%d", d.m.hw.info.Serial, i),
		}}
		for _, ref := range v.Disks {
			content, spec, err := d.match(ref)
			if err != nil {
				return res, err
			}
			if content.erase(ctx) != nil {
				return res, errDead
			}
			if spec.Member() && i == 0 {
				return res, fault.New(fault.DiskInUse, "%s is in use by %v", ref.Name, spec.Holders)
			}
			a.members = append(a.members, ref.Name)
			if a.spec.Size == 0 || v.Size == 0 && spec.Size < a.spec.Size {
				a.spec.Size = spec.Size &^ (1<<20 - 1)
			}
		}
		d.m.mu.Lock()
		d.m.arrays = append(d.m.arrays, a)
		d.m.disks = append(d.m.disks, newDisk(d.m.fleet.store, a.spec.Size))
		d.m.mu.Unlock()
		d.m.log(KindArray, fmt.Sprintf("%s of %d disks", a.spec.Serial, len(v.Disks)))
		res.Devices = append(res.Devices, refOf(a.spec))
	}
	return res, nil
}
