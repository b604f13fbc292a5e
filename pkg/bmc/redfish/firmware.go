package redfish

import (
	"context"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

var _ bmc.Firmware = (*System)(nil)

// Names of FirmwareComponent.Component, as HostFirmwareComponents has them.
const (
	componentBIOS = "bios"
	componentBMC  = "bmc"
	componentNIC  = "nic:"
)

// The standard's paths (DSP0268 §5.4 fixes them).
const (
	updateURI   = "/redfish/v1/UpdateService"
	firmwareURI = updateURI + "/FirmwareInventory"
)

// software is DSP0268 SoftwareInventory, as far as it is used.
type software struct {
	URI          link           `json:"@odata.id"`
	ID           text           `json:"Id"`
	Name         text           `json:"Name"`
	Version      text           `json:"Version"`
	Manufacturer text           `json:"Manufacturer"`
	Released     text           `json:"ReleaseDate"`
	Updateable   tristate       `json:"Updateable"`
	Related      list[link]     `json:"RelatedItem"`
	Status       resourceStatus `json:"Status"`
}

// FirmwareInventory implements bmc.Firmware. The components that
// HostFirmwareComponents names come first: BIOS and BMC as system and manager
// tell their versions, and one for each network adapter; what the update service
// lists beside them follows without a name.
func (s *System) FirmwareInventory(ctx context.Context) ([]bmc.FirmwareComponent, error) {
	const op = "read firmware inventory"
	w, err := s.startWalk(ctx, op)
	if err != nil {
		return nil, err
	}
	cs, a, err := s.read(ctx, op)
	if err != nil {
		return nil, err
	}
	w.spent++
	var hw hardware
	if err := decode(op, a.body, &hw); err != nil {
		return nil, err
	}
	var manager struct {
		Version text `json:"FirmwareVersion"`
		Links   struct {
			Active link `json:"ActiveSoftwareImage"`
		} `json:"Links"`
	}
	var managerURI string
	if len(cs.Links.ManagedBy) > 0 {
		managerURI = string(cs.Links.ManagedBy[0])
		if _, err := w.get(ctx, "manager", managerURI, &manager); err != nil {
			return nil, err
		}
	}
	raws, err := w.collection(ctx, "firmware inventory", resourceRef{id: firmwareURI})
	if err != nil {
		return nil, err
	}
	all := decodeAll[software](raws)
	bios, biosURI := component(s.uri, componentBIOS, "BIOS", clean(hw.BIOSVersion), bestBIOS(all, s.uri, clean(hw.BIOSVersion)))
	own, ownURI := component(managerURI, componentBMC, "BMC", clean(manager.Version),
		bestBMC(all, managerURI, string(manager.Links.Active), clean(manager.Version)))
	out := slices.Concat(bios, own)
	adapters, err := w.adapters(ctx, hw, all)
	if err != nil {
		return nil, err
	}
	out = append(out, adapters...)
	for _, sw := range all {
		if uri := string(sw.URI); uri != "" && !sameURI(uri, biosURI) && !sameURI(uri, ownURI) {
			out = append(out, sw.component(""))
		}
	}
	if len(out) == 0 {
		return nil, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC tells no versions of firmware"}
	}
	return out, nil
}

func (sw software) component(name string) bmc.FirmwareComponent {
	return bmc.FirmwareComponent{
		ID: string(sw.URI), Name: firstOf(clean(sw.Name), nameOf(sw.ID, sw.URI)), Version: clean(sw.Version),
		Updatable: sw.Updateable.value, Component: name,
	}
}

// component names BIOS or BMC. The inventory's item stands for it where both
// tell the same version, or only it does; else the owner itself, whose version
// is the one that users of Metal3 know.
func component(owner, name, title, version string, best *software) ([]bmc.FirmwareComponent, string) {
	switch {
	case best != nil && (version == "" || clean(best.Version) == version):
		return []bmc.FirmwareComponent{best.component(name)}, string(best.URI)
	case version == "" || owner == "":
		return nil, ""
	}
	return []bmc.FirmwareComponent{{ID: owner, Name: title, Version: version, Updatable: best != nil && best.Updateable.value, Component: name}}, ""
}

// adapters lists the network adapters by the version of their firmware.
func (w *treeWalk) adapters(ctx context.Context, hw hardware, all []software) ([]bmc.FirmwareComponent, error) {
	var ch struct {
		Adapters resourceRef `json:"NetworkAdapters"`
	}
	if len(hw.Links.Chassis) == 0 {
		return nil, nil
	}
	if ok, err := w.get(ctx, "chassis", hw.Links.Chassis[0].id, &ch); !ok {
		return nil, err
	}
	raws, err := w.collection(ctx, "network adapters", ch.Adapters)
	if err != nil {
		return nil, err
	}
	var out []bmc.FirmwareComponent
	for _, a := range decodeAll[networkAdapter](raws) {
		version := a.firmware()
		if version == "" || a.URI == "" {
			continue
		}
		c := bmc.FirmwareComponent{
			ID: string(a.URI), Name: firstOf(clean(a.Model), clean(a.Name)), Version: version,
			Component: componentNIC + nameOf(a.ID, a.URI),
		}
		for _, sw := range all {
			c.Updatable = c.Updatable || sw.Updateable.value && clean(sw.Version) == version
		}
		out = append(out, c)
	}
	return out, nil
}

// bestBIOS finds the item that is the BIOS in force. BMCs list former and spare
// ones beside it, under the same name.
func bestBIOS(all []software, system, version string) *software {
	return highest(all, func(sw software) int {
		score := calledAs(sw, "bios", "uefi", "system rom")
		for _, r := range sw.Related {
			if uri := string(r); sameURI(uri, system+"/Bios") {
				score += 3
			} else if sameURI(uri, system) && score > 0 {
				score++
			}
		}
		if score > 0 && version != "" && clean(sw.Version) == version {
			score += 4
		}
		return score
	})
}

// bestBMC finds the item that is the running firmware of the BMC.
func bestBMC(all []software, manager, active, version string) *software {
	return highest(all, func(sw software) int {
		score := calledAs(sw, "bmc", "remote access controller", "management controller")
		for _, r := range sw.Related {
			if manager != "" && sameURI(string(r), manager) {
				score += 3
			}
		}
		if version != "" && clean(sw.Version) == version {
			score += 4
		}
		if active != "" && sameURI(string(sw.URI), active) {
			score += 8
		}
		return score
	})
}

// calledAs scores an item by how it is called.
func calledAs(sw software, names ...string) int {
	called := strings.ToLower(clean(sw.Name) + " " + clean(sw.ID))
	for _, not := range []string{"diagnos", "driver", "tool", "config"} {
		if strings.Contains(called, not) {
			return 0
		}
	}
	for _, n := range names {
		if strings.Contains(called, n) {
			return 2
		}
	}
	return 0
}

// highest is the item with the highest score above zero, the first of equals.
func highest(all []software, score func(software) int) *software {
	var found *software
	most := 0
	for i, sw := range all {
		n := score(sw)
		if n <= 0 || clean(sw.Version) == "" {
			continue
		}
		id := strings.ToLower(nameOf(sw.ID, sw.URI))
		switch {
		case strings.HasPrefix(id, "installed"):
			n += 2
		case strings.HasPrefix(id, "previous"), strings.HasPrefix(id, "available"), strings.Contains(id, "backup"),
			strings.Contains(strings.ToLower(clean(sw.Name)), "redundant"), strings.EqualFold(clean(sw.Status.State), "StandbySpare"):
			n -= 5
		}
		if n > most {
			found, most = &all[i], n
		}
	}
	return found
}
