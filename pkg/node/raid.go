package node

import (
	"math"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/api/ironic"
)

// raidOf is the RAID that Ironic's target_raid_config means. Nothing of what it says
// is passed over.
func raidOf(config ironic.Object) (*metal3.RAIDConfig, error) {
	list, ok := config["logical_disks"].([]any)
	if !ok {
		return nil, refuse("target_raid_config has no list logical_disks.")
	}
	out := &metal3.RAIDConfig{}
	for i, v := range list {
		disk, ok := object(v)
		if !ok {
			return nil, refuse("target_raid_config/logical_disks/%d is no JSON object.", i)
		}
		size, err := sizeOf(disk["size_gb"])
		if err != nil {
			return nil, err
		}
		level := text(disk["raid_level"])
		if level == "" {
			return nil, refuse("target_raid_config/logical_disks/%d has no raid_level.", i)
		}
		if text(disk["controller"]) == "software" {
			v := metal3.SoftwareRAIDVolume{SizeGibibytes: size, Level: level}
			disks, _ := disk["physical_disks"].([]any)
			for _, d := range disks {
				hints, err := hintsOf(d)
				if err != nil {
					return nil, err
				}
				if hints != nil {
					v.PhysicalDisks = append(v.PhysicalDisks, *hints)
				}
			}
			out.SoftwareRAIDVolumes = append(out.SoftwareRAIDVolumes, v)
			continue
		}
		hard := metal3.HardwareRAIDVolume{SizeGibibytes: size, Level: level, Name: text(disk["volume_name"]), Controller: text(disk["controller"])}
		switch kind := text(disk["disk_type"]); kind {
		case "":
		case "hdd", "ssd":
			spins := kind == "hdd"
			hard.Rotational = &spins
		default:
			return nil, refuse("target_raid_config/logical_disks/%d: the disk_type %q is not known.", i, kind)
		}
		if n, ok := number(disk["number_of_physical_disks"]); ok {
			hard.NumberOfPhysicalDisks = &n
		}
		names, _ := disk["physical_disks"].([]any)
		for _, name := range names {
			hard.PhysicalDisks = append(hard.PhysicalDisks, text(name))
		}
		out.HardwareRAIDVolumes = append(out.HardwareRAIDVolumes, hard)
	}
	if len(out.HardwareRAIDVolumes) > 0 && len(out.SoftwareRAIDVolumes) > 0 {
		return nil, refuse("target_raid_config has logical disks of hardware and of software: it may have one kind.")
	}
	return out, nil
}

// sizeOf reads a size_gb; nil: as much as there is.
func sizeOf(v any) (*int, error) {
	if v == nil || text(v) == "MAX" {
		return nil, nil
	}
	n, ok := number(v)
	if !ok || n < 1 {
		return nil, refuse(`A size_gb of target_raid_config has to be a number above zero, or "MAX".`)
	}
	return &n, nil
}

func number(v any) (int, bool) {
	switch v := v.(type) {
	case float64:
		return int(v), v == math.Trunc(v)
	case int:
		return v, true
	}
	return 0, false
}

// shownRAID is a RAID as Ironic tells it; empty: none is declared, or known.
func shownRAID(c *metal3.RAIDConfig) ironic.Object {
	if c == nil || len(c.HardwareRAIDVolumes)+len(c.SoftwareRAIDVolumes) == 0 {
		return ironic.Object{}
	}
	disks := []any{}
	size := func(n *int) any {
		if n == nil || *n == 0 {
			return "MAX"
		}
		return *n
	}
	for _, v := range c.HardwareRAIDVolumes {
		d := map[string]any{"size_gb": size(v.SizeGibibytes), "raid_level": v.Level}
		if v.Name != "" {
			d["volume_name"] = v.Name
		}
		if v.Controller != "" {
			d["controller"] = v.Controller
		}
		if v.Rotational != nil {
			d["disk_type"] = map[bool]string{true: "hdd", false: "ssd"}[*v.Rotational]
		}
		if v.NumberOfPhysicalDisks != nil {
			d["number_of_physical_disks"] = *v.NumberOfPhysicalDisks
		}
		if len(v.PhysicalDisks) > 0 {
			d["physical_disks"] = v.PhysicalDisks
		}
		disks = append(disks, d)
	}
	for _, v := range c.SoftwareRAIDVolumes {
		d := map[string]any{"size_gb": size(v.SizeGibibytes), "raid_level": v.Level, "controller": "software"}
		hints := []any{}
		for i := range v.PhysicalDisks {
			hints = append(hints, shownHints(&v.PhysicalDisks[i]))
		}
		if len(hints) > 0 {
			d["physical_disks"] = hints
		}
		disks = append(disks, d)
	}
	return ironic.Object{"logical_disks": disks}
}
