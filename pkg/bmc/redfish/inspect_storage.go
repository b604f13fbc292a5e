package redfish

import (
	"context"
	"fmt"
	"strings"

	"github.com/ingot-metal/ingot/api/agent"
)

// storageResource is DSP0268 Storage, as far as it is used.
type storageResource struct {
	URI         link                    `json:"@odata.id"`
	ID          text                    `json:"Id"`
	Name        text                    `json:"Name"`
	Status      resourceStatus          `json:"Status"`
	Controllers resourceRef             `json:"Controllers"`
	Inline      list[storageController] `json:"StorageControllers"` // before Storage 1.9
	Drives      list[resourceRef]       `json:"Drives"`
	Volumes     resourceRef             `json:"Volumes"`
}

// storageController is DSP0268 StorageController.
type storageController struct {
	Name      text       `json:"Name"`
	Model     text       `json:"Model"`
	Firmware  text       `json:"FirmwareVersion"`
	RAIDTypes list[text] `json:"SupportedRAIDTypes"`
}

// driveResource is DSP0268 Drive, as far as it is used.
type driveResource struct {
	URI          link             `json:"@odata.id"`
	ID           text             `json:"Id"`
	Name         text             `json:"Name"`
	Manufacturer text             `json:"Manufacturer"`
	Model        text             `json:"Model"`
	Serial       text             `json:"SerialNumber"`
	Bytes        amount           `json:"CapacityBytes"`
	Block        amount           `json:"BlockSizeBytes"`
	Media        text             `json:"MediaType"`
	Protocol     text             `json:"Protocol"`
	RPM          amount           `json:"RotationSpeedRPM"`
	Revision     text             `json:"Revision"`
	Firmware     text             `json:"FirmwareVersion"`
	Hotspare     text             `json:"HotspareType"`
	Status       resourceStatus   `json:"Status"`
	Identifiers  list[identifier] `json:"Identifiers"`
	Links        struct {
		Volumes *list[resourceRef] `json:"Volumes"` // nil: the BMC does not tell
	} `json:"Links"`
}

// identifier is DSP0268 Resource.Identifier.
type identifier struct {
	Name   text `json:"DurableName"`
	Format text `json:"DurableNameFormat"`
}

// volumeResource is DSP0268 Volume, as far as it is used.
type volumeResource struct {
	URI         link             `json:"@odata.id"`
	ID          text             `json:"Id"`
	Name        text             `json:"Name"`
	Bytes       amount           `json:"CapacityBytes"`
	Block       amount           `json:"BlockSizeBytes"`
	RAIDType    text             `json:"RAIDType"`
	VolumeType  text             `json:"VolumeType"`
	Encrypted   tristate         `json:"Encrypted"`
	Identifiers list[identifier] `json:"Identifiers"`
	Links       struct {
		Drives list[resourceRef] `json:"Drives"`
	} `json:"Links"`
}

// raid is the level of a volume, or empty for one that is a drive by another
// name. Volumes older than 1.3.1 (2019) have a VolumeType in its place.
func (v volumeResource) raid() string {
	if s := clean(v.RAIDType); s != "" {
		if strings.EqualFold(s, "None") {
			return ""
		}
		return s
	}
	switch clean(v.VolumeType) {
	case "NonRedundant":
		return "RAID0"
	case "Mirrored":
		return "RAID1"
	case "StripedWithParity":
		return "RAID5"
	case "SpannedMirrors":
		return "RAID10"
	case "SpannedStripesWithParity":
		return "RAID50"
	}
	return ""
}

// subsystem is a Storage with what hangs on it.
type subsystem struct {
	storageResource
	controllers []storageController
	drives      []driveResource
	volumes     []volumeResource
}

func (s subsystem) model() string {
	for _, c := range s.controllers {
		if m := firstOf(clean(c.Model), clean(c.Name)); m != "" {
			return m
		}
	}
	return clean(s.Name)
}

// subsystems reads the storage of the machine. Unless whole is set, one without
// drives is left at that: an inventory has no use for it.
func (w *treeWalk) subsystems(ctx context.Context, at resourceRef, whole bool) ([]subsystem, error) {
	raws, err := w.collection(ctx, "storage", at)
	if err != nil {
		return nil, err
	}
	var out []subsystem
	for _, st := range decodeAll[storageResource](raws) {
		if len(st.Drives) == 0 && !whole {
			continue
		}
		sub, err := w.subsystem(ctx, st, whole)
		if err != nil {
			return nil, err
		}
		out = append(out, sub)
	}
	return out, nil
}

// subsystem reads drives, controllers and volumes of one Storage; expanded,
// that takes a request and one more for volumes, if there are any.
func (w *treeWalk) subsystem(ctx context.Context, st storageResource, whole bool) (subsystem, error) {
	if w.expand && (onlyLinks(st.Drives) || whole) && st.URI != "" {
		var more storageResource
		ok, err := w.getExpanded(ctx, "storage "+nameOf(st.ID, st.URI), string(st.URI), &more)
		if err != nil {
			return subsystem{}, err
		}
		if ok {
			st = more
		}
	}
	sub := subsystem{storageResource: st, controllers: st.Inline}
	raws, err := w.each(ctx, "drives", st.Drives)
	if err != nil {
		return sub, err
	}
	sub.drives = decodeAll[driveResource](raws)
	if len(st.Inline) == 0 && (whole || mayRAID(sub)) {
		if raws, err = w.collection(ctx, "storage controllers", st.Controllers); err != nil {
			return sub, err
		}
		if found := decodeAll[storageController](raws); len(found) > 0 {
			sub.controllers = found
		}
	}
	if whole || mayRAID(sub) || st.Volumes.full() {
		if raws, err = w.collection(ctx, "volumes", st.Volumes); err != nil {
			return sub, err
		}
		sub.volumes = decodeAll[volumeResource](raws)
	}
	return sub, nil
}

// mayRAID reports whether some of the drives may be hidden in a RAID: the
// controller makes some, a drive names its volume, or nobody says anything.
func mayRAID(s subsystem) bool {
	if len(s.raidTypes()) > 0 {
		return true
	}
	for _, d := range s.drives {
		if !d.empty() && (d.Links.Volumes == nil && len(s.controllers) == 0 || d.Links.Volumes != nil && len(*d.Links.Volumes) > 0) {
			return true
		}
	}
	return false
}

// storage lists block devices as an operating system would see them: volumes
// that a RAID controller makes, and drives that belong to none.
func (in *inspection) storage(ctx context.Context) error {
	subs, err := in.subsystems(ctx, in.hw.Storage, false)
	if err != nil {
		return err
	}
	in.inv.Disks = disksOf(subs)
	if len(in.inv.Disks) > 0 || in.hw.Simple.id == "" && !in.hw.Simple.full() {
		return nil
	}
	raws, err := in.collection(ctx, "simple storage", in.hw.Simple)
	if err != nil {
		return err
	}
	in.inv.Disks = simpleDisks(decodeAll[simpleStorage](raws))
	return nil
}

func disksOf(subs []subsystem) []agent.Disk {
	var out []agent.Disk
	names := map[string]bool{}
	for _, sub := range subs {
		within := nameOf(sub.ID, sub.URI)
		member := map[string]bool{}
		for _, v := range sub.volumes {
			if v.raid() == "" {
				continue
			}
			for _, d := range v.Links.Drives {
				member[foldURI(d.id)] = true
			}
			out = append(out, v.disk(sub, uniqueName(names, within, nameOf(v.ID, v.URI))))
		}
		for _, d := range sub.drives {
			if member[foldURI(string(d.URI))] || d.empty() {
				continue
			}
			out = append(out, d.disk(uniqueName(names, within, nameOf(d.ID, d.URI))))
		}
	}
	return out
}

// foldURI makes URIs comparable, see sameURI.
func foldURI(uri string) string { return strings.ToLower(strings.TrimRight(uri, "/")) }

// uniqueName gives a device a name of its own: the Ids of one subsystem's drives
// may be those of the next one's too.
func uniqueName(taken map[string]bool, within, name string) string {
	try := name
	for n := 2; taken[try] || try == ""; n++ {
		if n == 2 && within != "" && name != "" {
			try = within + "/" + name
			continue
		}
		try = fmt.Sprintf("%s#%d", name, n)
	}
	taken[try] = true
	return try
}

// empty reports a bay with nothing in it; OpenBMC lists those with blank texts.
func (d driveResource) empty() bool {
	return d.Status.absent() || d.Bytes.bytes() == 0 && clean(d.Model) == "" && clean(d.Serial) == ""
}

func (d driveResource) disk(name string) agent.Disk {
	out := agent.Disk{
		Name: name, Type: agent.DiskSSD, Bus: d.bus(),
		Size: d.Bytes.bytes(), SectorSize: d.Block.count(), PhysSectorSize: d.Block.count(),
		Rotational: d.rotates(), Vendor: clean(d.Manufacturer), Model: clean(d.Model), Serial: clean(d.Serial),
		Firmware: firstOf(clean(d.Revision), clean(d.Firmware)),
	}
	out.Removable = out.Bus == "usb"
	switch {
	case out.Rotational:
		out.Type = agent.DiskHDD
	case out.Bus == "nvme":
		out.Type = agent.DiskNVMe
	}
	out.WWN, out.WWNVendorExtension = wwn(d.Identifiers)
	out.WWNWithExtension = out.WWN + out.WWNVendorExtension
	return out
}

func (d driveResource) rotates() bool {
	return strings.EqualFold(clean(d.Media), "HDD") || strings.EqualFold(clean(d.Media), "SSHD") || d.RPM > 0
}

// bus names the way to the drive as the agent does.
func (d driveResource) bus() string {
	switch strings.ToUpper(clean(d.Protocol)) {
	case "NVME", "NVMEOVERFABRICS":
		return "nvme"
	case "PCIE": // iDRAC's word for NVMe
		return "nvme"
	case "SAS", "ISCSI", "FC", "FCP":
		return "scsi"
	case "SATA", "AHCI":
		return "ata"
	case "USB":
		return "usb"
	case "EMMC", "SECUREDIGITAL":
		return "mmc"
	}
	return ""
}

func (v volumeResource) disk(sub subsystem, name string) agent.Disk {
	out := agent.Disk{
		Name: name, Type: agent.DiskSSD, Bus: "scsi", Size: v.Bytes.bytes(),
		SectorSize: v.Block.count(), PhysSectorSize: v.Block.count(), Model: sub.model(),
	}
	for _, of := range v.Links.Drives {
		for _, d := range sub.drives {
			if sameURI(of.id, string(d.URI)) && d.rotates() {
				out.Type, out.Rotational = agent.DiskHDD, true
			}
		}
	}
	out.WWN, out.WWNVendorExtension = wwn(v.Identifiers)
	out.WWNWithExtension = out.WWN + out.WWNVendorExtension
	return out
}

// wwn writes a worldwide name as Linux does, so that hints fit whoever looked.
func wwn(ids []identifier) (base, extension string) {
	for _, id := range ids {
		h := strings.ToLower(strings.NewReplacer(":", "", "-", "", " ", "").Replace(clean(id.Name)))
		h = strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(h, "0x"), "naa."), "eui.")
		if strings.Trim(h, "0123456789abcdef") != "" {
			continue
		}
		switch strings.ToUpper(clean(id.Format)) {
		case "NAA":
			if len(h) == 32 {
				return "0x" + h[:16], h[16:]
			}
			if len(h) == 16 {
				return "0x" + h, ""
			}
		case "EUI", "NGUID":
			if len(h) == 16 || len(h) == 32 {
				return "eui." + h, ""
			}
		}
	}
	return "", ""
}

// simpleStorage is DSP0268 SimpleStorage.
type simpleStorage struct {
	URI     link `json:"@odata.id"`
	ID      text `json:"Id"`
	Devices list[struct {
		Name         text           `json:"Name"`
		Manufacturer text           `json:"Manufacturer"`
		Model        text           `json:"Model"`
		Bytes        amount         `json:"CapacityBytes"`
		Status       resourceStatus `json:"Status"`
	}] `json:"Devices"`
}

// simpleDisks lists what SimpleStorage knows: names and sizes. Backplanes are
// among the devices; they have no size.
func simpleDisks(all []simpleStorage) []agent.Disk {
	var out []agent.Disk
	names := map[string]bool{}
	for _, s := range all {
		for _, d := range s.Devices {
			if d.Status.absent() || d.Bytes.bytes() == 0 {
				continue
			}
			out = append(out, agent.Disk{
				Name: uniqueName(names, nameOf(s.ID, s.URI), clean(d.Name)), Type: agent.DiskSSD, Size: d.Bytes.bytes(),
				Vendor: clean(d.Manufacturer), Model: clean(d.Model),
			})
		}
	}
	return out
}
