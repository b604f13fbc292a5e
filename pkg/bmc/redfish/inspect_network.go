package redfish

import (
	"context"
	"net"
	"strconv"
	"strings"

	"github.com/ingot-metal/ingot/api/agent"
)

// ethernetInterface is DSP0268 EthernetInterface of a system, as far as it is
// used. What its IP addresses say is the last operating system's word, and left.
type ethernetInterface struct {
	URI       link           `json:"@odata.id"`
	ID        text           `json:"Id"`
	MAC       text           `json:"MACAddress"`
	Permanent text           `json:"PermanentMACAddress"`
	Type      text           `json:"EthernetInterfaceType"`
	Link      text           `json:"LinkStatus"`
	Speed     amount         `json:"SpeedMbps"`
	MTU       amount         `json:"MTUSize"`
	Status    resourceStatus `json:"Status"`
	Links     struct {
		Host resourceRef `json:"HostInterface"`
	} `json:"Links"`
}

// networkAdapter is DSP0268 NetworkAdapter, as far as it is used.
type networkAdapter struct {
	URI         link        `json:"@odata.id"`
	ID          text        `json:"Id"`
	Model       text        `json:"Model"`
	Name        text        `json:"Name"`
	Functions   resourceRef `json:"NetworkDeviceFunctions"`
	Ports       resourceRef `json:"Ports"`
	OldPorts    resourceRef `json:"NetworkPorts"` // before NetworkAdapter 1.5
	Controllers list[struct {
		Firmware text `json:"FirmwarePackageVersion"`
		Links    struct {
			Functions list[resourceRef] `json:"NetworkDeviceFunctions"`
		} `json:"Links"`
	}] `json:"Controllers"`
}

func (a networkAdapter) firmware() string {
	for _, c := range a.Controllers {
		if v := clean(c.Firmware); v != "" {
			return v
		}
	}
	return ""
}

// deviceFunction is DSP0268 NetworkDeviceFunction, as far as it is used.
type deviceFunction struct {
	URI      link `json:"@odata.id"`
	ID       text `json:"Id"`
	Type     text `json:"NetDevFuncType"`
	Ethernet struct {
		MAC       text   `json:"MACAddress"`
		Permanent text   `json:"PermanentMACAddress"`
		MTU       amount `json:"MTUSize"`
	} `json:"Ethernet"`
}

// portResource is DSP0268 Port, or the NetworkPort before it.
type portResource struct {
	Link     text       `json:"LinkStatus"`
	Gbps     amount     `json:"CurrentSpeedGbps"`
	Mbps     amount     `json:"CurrentLinkSpeedMbps"`
	Network  text       `json:"LinkNetworkTechnology"`
	Active   text       `json:"ActiveLinkTechnology"`
	OldMACs  list[text] `json:"AssociatedNetworkAddresses"`
	Ethernet struct {
		MACs list[text] `json:"AssociatedMACAddresses"`
	} `json:"Ethernet"`
}

func (p portResource) mbps() int {
	return max(p.Mbps.count(), int(1000*float64(max(min(p.Gbps, 1<<20), 0))))
}

// interfaces reads the system's own list of interfaces. Those that lead to the
// BMC itself and VLANs are no NICs.
func (in *inspection) interfaces(ctx context.Context) error {
	raws, err := in.collection(ctx, "network interfaces", resourceRef{id: string(in.cs.Interfaces)})
	if err != nil {
		return err
	}
	names := map[string]bool{}
	for _, e := range decodeAll[ethernetInterface](raws) {
		mac := macOf(e.Permanent, e.MAC)
		if mac == "" || e.Links.Host.id != "" || strings.EqualFold(clean(e.Type), "Virtual") || e.Status.absent() || in.nic(mac) != nil {
			continue
		}
		in.inv.NICs = append(in.inv.NICs, agent.NIC{
			Name: uniqueName(names, "", oneWord(nameOf(e.ID, e.URI))), MAC: mac,
			Link: linkUp(e.Link), SpeedMbps: e.Speed.count(), MTU: e.MTU.count(),
		})
	}
	return nil
}

// chassis reads what the enclosure knows: adapters with their functions, whose
// MACs the system may not list, PCIe devices, and last the state of the ports.
func (in *inspection) chassis(ctx context.Context) error {
	var ch struct {
		Adapters resourceRef `json:"NetworkAdapters"`
		PCIe     resourceRef `json:"PCIeDevices"`
	}
	if len(in.hw.Links.Chassis) > 0 && in.room(1) {
		if _, err := in.get(ctx, "chassis", in.hw.Links.Chassis[0].id, &ch); err != nil {
			return err
		}
	}
	var adapters []networkAdapter
	if in.room(1) {
		raws, err := in.collection(ctx, "network adapters", ch.Adapters)
		if err != nil {
			return err
		}
		adapters = decodeAll[networkAdapter](raws)
	}
	for _, a := range adapters {
		if !in.room(1) {
			in.skip("functions of "+nameOf(a.ID, a.URI), "the inspection would take too many requests")
			continue
		}
		raws, err := in.collection(ctx, "functions of "+nameOf(a.ID, a.URI), a.Functions)
		if err != nil {
			return err
		}
		in.functions(a, decodeAll[deviceFunction](raws))
	}
	if err := in.devices(ctx, ch.PCIe); err != nil {
		return err
	}
	return in.ports(ctx, adapters)
}

// functions completes NICs by what their adapter knows, and adds those that the
// system did not list. A function of another network than Ethernet is none: a
// type that is not given means that the card runs as something else.
func (in *inspection) functions(a networkAdapter, all []deviceFunction) {
	names := map[string]bool{}
	for _, n := range in.inv.NICs {
		names[n.Name] = true
	}
	for _, f := range all {
		mac := macOf(f.Ethernet.Permanent, f.Ethernet.MAC)
		if mac == "" {
			continue
		}
		n := in.nic(mac)
		if n == nil {
			if !strings.EqualFold(clean(f.Type), "Ethernet") {
				continue
			}
			name := nameOf(f.ID, f.URI)
			if id := nameOf(a.ID, a.URI); !strings.HasPrefix(name, id) {
				name = id + "-" + name // HPE's functions are 0 and 1 on each adapter
			}
			in.inv.NICs = append(in.inv.NICs, agent.NIC{Name: uniqueName(names, "", oneWord(name)), MAC: mac})
			n = &in.inv.NICs[len(in.inv.NICs)-1]
		}
		n.Firmware = firstOf(n.Firmware, a.firmware())
		if n.MTU == 0 {
			n.MTU = f.Ethernet.MTU.count()
		}
	}
}

// ports asks for link and speed where the system did not tell, as far as there
// is room.
func (in *inspection) ports(ctx context.Context, adapters []networkAdapter) error {
	for _, a := range adapters {
		at := a.Ports
		if at.id == "" && !at.full() {
			at = a.OldPorts
		}
		if !in.silent() || !in.room(1) {
			return nil
		}
		raws, err := in.collection(ctx, "ports of "+nameOf(a.ID, a.URI), at)
		if err != nil {
			return err
		}
		for _, p := range decodeAll[portResource](raws) {
			for _, m := range append(p.Ethernet.MACs, p.OldMACs...) {
				if n := in.nic(macOf(m)); n != nil {
					n.Link = n.Link || linkUp(p.Link)
					n.SpeedMbps = max(n.SpeedMbps, p.mbps())
				}
			}
		}
	}
	return nil
}

// silent reports whether a NIC has no speed, and so may have been said nothing of.
func (in *inspection) silent() bool {
	for _, n := range in.inv.NICs {
		if n.SpeedMbps == 0 {
			return true
		}
	}
	return false
}

// nic finds a NIC by its MAC.
func (in *inspection) nic(mac string) *agent.NIC {
	for i := range in.inv.NICs {
		if mac != "" && in.inv.NICs[i].MAC == mac {
			return &in.inv.NICs[i]
		}
	}
	return nil
}

// oneWord makes a name that an interface could have.
func oneWord(s string) string { return strings.Join(strings.Fields(s), "-") }

func linkUp(t text) bool {
	s := clean(t)
	return strings.EqualFold(s, "LinkUp") || strings.EqualFold(s, "Up")
}

// macOf is the first that is an Ethernet address and not empty.
func macOf(all ...text) string {
	for _, v := range all {
		mac, err := net.ParseMAC(clean(v))
		if err == nil && len(mac) == 6 && mac.String() != "00:00:00:00:00:00" {
			return mac.String()
		}
	}
	return ""
}

// pcieDevice is DSP0268 PCIeDevice, as far as it is used. The ids are the
// functions', one request each, which no budget has.
type pcieDevice struct {
	URI          link           `json:"@odata.id"`
	ID           text           `json:"Id"`
	Name         text           `json:"Name"`
	Manufacturer text           `json:"Manufacturer"`
	Model        text           `json:"Model"`
	Status       resourceStatus `json:"Status"`
	Interface    struct {
		Type  text   `json:"PCIeType"`
		Lanes amount `json:"LanesInUse"`
		Max   text   `json:"MaxPCIeType"`
		MaxN  amount `json:"MaxLanes"`
	} `json:"PCIeInterface"`
}

// devices lists PCIe devices where the BMC hands them out together.
func (in *inspection) devices(ctx context.Context, at resourceRef) error {
	if !in.expand || !in.room(1) || at.id == "" && !at.full() {
		return nil
	}
	raws, err := in.collection(ctx, "PCIe devices", at)
	if err != nil {
		return err
	}
	in.inv.PCI = pciOf(decodeAll[pcieDevice](raws))
	return nil
}

func pciOf(all []pcieDevice) []agent.PCI {
	var out []agent.PCI
	for _, d := range all {
		if d.Status.absent() {
			continue
		}
		name := firstOf(clean(d.Model), clean(d.Name), nameOf(d.ID, d.URI))
		if maker := clean(d.Manufacturer); maker != "" && !strings.HasPrefix(name, maker) {
			name = maker + " " + name
		}
		out = append(out, agent.PCI{
			Name: name,
			Link: lanes(d.Interface.Type, d.Interface.Lanes), LinkMax: lanes(d.Interface.Max, d.Interface.MaxN),
		})
	}
	return out
}

// lanes is "Gen4 x16".
func lanes(generation text, n amount) string {
	s := clean(generation)
	if s != "" && n.count() > 0 {
		s += " x" + strconv.Itoa(n.count())
	}
	return s
}
