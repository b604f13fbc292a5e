package sushytools

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// system is a libvirt domain.
type system struct {
	body simbmc.Body
	info simbmc.Info
	led  string

	// order is what the domain boots from, by the names of Redfish; a domain as
	// virt-install makes it begins with its disk.
	order    []string
	cd       bool // there is a CD drive
	floppy   bool
	mode     string // UEFI, Legacy, or empty: the definition names no firmware
	secure   bool
	staged   bool // the definition has changed since the body heard of it
	firmware string
	bios     map[string]string
	media    map[string]*device
	storage  []Storage
}

func newSystem(b simbmc.Body, o Options) *system {
	info := b.Info()
	s := &system{
		body: b, info: info, led: "Lit", order: []string{"Hdd"}, cd: !o.NoCDROM, firmware: "1.0.0", bios: defaultBIOS(),
		media: map[string]*device{}, storage: slices.Clone(o.Storage[info.UUID]),
	}
	if s.cd {
		s.order = append(s.order, "Cd") // after the disk, as set_boot_device keeps it
	}
	if boot, err := b.Boot(context.Background()); err == nil {
		if boot.Mode == simbmc.ModeUEFI {
			s.mode = string(simbmc.ModeUEFI)
		}
		if boot.Enabled == simbmc.BootContinuous && s.has(string(boot.Target)) {
			s.first(string(boot.Target))
		}
	}
	return s
}

// find is systems, _get_domain: by UUID; a name is an alias of it.
func (s *Server) find(identity string) (*system, error) {
	for _, sys := range s.systems {
		if strings.EqualFold(sys.info.UUID, identity) {
			return sys, nil
		}
	}
	for _, sys := range s.systems {
		if sys.info.Name == identity {
			return nil, &fishy{code: http.StatusInternalServerError, msg: sys.info.UUID, alias: sys.info.UUID}
		}
	}
	return nil, notFound(`Error finding domain by name/UUID "%s" at libvirt URI qemu:///system": Domain not found`, identity)
}

// with gives a view its machine.
func (s *Server) with(r *request, f func(*system) (*reply, error)) (*reply, error) {
	sys, err := s.find(r.vars["identity"])
	if err != nil {
		return nil, err
	}
	return f(sys)
}

// systemList is main, system_collection_resource; template
// system_collection@a9934c57.
func (s *Server) systemList(*request) (*reply, error) {
	var members []obj
	for _, sys := range s.systems {
		members = append(members, link("/redfish/v1/Systems", sys.info.UUID))
	}
	o := collection("ComputerSystemCollection", "Computer System Collection", "/redfish/v1/Systems", members)
	o["@Redfish.Copyright"] = copyright14
	return &reply{body: o}, nil
}

// systemGet is main, system_resource; template system@0124ed26.
func (s *Server) systemGet(r *request) (*reply, error) {
	return s.with(r, func(sys *system) (*reply, error) {
		on, err := sys.body.Power(r.ctx)
		if err != nil {
			return nil, fail("%s", err)
		}
		id := r.vars["identity"]
		uri := path("/redfish/v1/Systems", id)
		links := obj{}
		o := obj{
			"@odata.type": "#ComputerSystem.v1_13_0.ComputerSystem", "@odata.id": uri,
			"@odata.context": "/redfish/v1/$metadata#ComputerSystem.ComputerSystem", "@Redfish.Copyright": copyright14,
			"Id": id, "Name": sys.info.Name, "UUID": sys.info.UUID,
			"PowerState": map[bool]string{true: "On", false: "Off"}[on],
			"Boot":       s.bootObject(sys), "Links": links,
			"Actions": obj{"#ComputerSystem.Reset": obj{
				"target":                            uri + "/Actions/ComputerSystem.Reset",
				"ResetType@Redfish.AllowableValues": []string{"On", "ForceOff", "GracefulShutdown", "GracefulRestart", "ForceRestart", "Nmi", "ForceOn"},
			}},
		}
		if s.o.FeatureSet != Minimum {
			o["EthernetInterfaces"], o["VirtualMedia"] = link(uri+"/EthernetInterfaces"), link(uri+"/VirtualMedia")
			links["ManagedBy"] = []obj{link("/redfish/v1/Managers", sys.info.UUID)}
			if s.o.MediaOnManager {
				delete(o, "VirtualMedia")
			}
		}
		if s.o.FeatureSet == Full {
			s.fullSystem(o, sys, uri)
			links["Chassis"] = []obj{link("/redfish/v1/Chassis", chassisUUID)}
		}
		return &reply{body: o}, nil
	})
}

// fullSystem adds what the feature set full has. SimpleStorage is shown where
// libvirt knows a volume, which a body is not.
func (s *Server) fullSystem(o obj, sys *system, uri string) {
	status := func() obj { return obj{"State": "Enabled", "Health": "OK", "HealthRollUp": "OK"} }
	o["Manufacturer"], o["Status"] = "Sushy Emulator", status()
	cpus, memory := obj{"Status": status()}, obj{"Status": status()}
	if sys.info.CPUs > 0 {
		cpus["Count"] = sys.info.CPUs
		o["Processors"] = link(uri + "/Processors")
	}
	if gib := sys.info.MemoryMiB / 1024; gib > 0 {
		memory["TotalSystemMemoryGiB"] = gib
	}
	o["ProcessorSummary"], o["MemorySummary"] = cpus, memory
	o["Bios"], o["BiosVersion"] = link(uri+"/BIOS"), sys.firmware
	o["Memory"], o["SecureBoot"] = link(uri+"/Memory"), link(uri+"/SecureBoot") // no view has the first
	if len(sys.storage) > 0 {
		o["Storage"] = link(uri + "/Storage")
	}
	o["IndicatorLED"] = sys.led
}

// nicList and nic are main, ethernet_interfaces_collection and
// ethernet_interface; templates ethernet_interfaces_collection@3f15ec98,
// ethernet_interface@3f15ec98. The id of an interface is its MAC address
// (systems, get_nics).
func (s *Server) nicList(r *request) (*reply, error) {
	if err := s.feature("EthernetInterfaces", Full, VMedia); err != nil {
		return nil, err
	}
	return s.with(r, func(sys *system) (*reply, error) {
		uri := path("/redfish/v1/Systems", r.vars["identity"], "EthernetInterfaces")
		var members []obj
		for _, mac := range sys.info.MACs {
			members = append(members, link(uri, mac))
		}
		o := collection("EthernetInterfaceCollection", "Ethernet Interface Collection", uri, members)
		o["Description"], o["Oem"] = "Virtual NICs", obj{}
		return &reply{body: o}, nil
	})
}

func (s *Server) nic(r *request) (*reply, error) {
	if err := s.feature("EthernetInterfaces", Full, VMedia); err != nil {
		return nil, err
	}
	return s.with(r, func(sys *system) (*reply, error) {
		mac := r.vars["nic"]
		if !slices.Contains(sys.info.MACs, mac) {
			return nil, notFound("Not found")
		}
		return &reply{body: obj{
			"@odata.type": "#EthernetInterface.v1_0_2.EthernetInterface", "@odata.context": "/redfish/v1/$metadata#EthernetInterface.EthernetInterface",
			"@odata.id": path("/redfish/v1/Systems", r.vars["identity"], "EthernetInterfaces", mac),
			"Id":        mac, "Name": "VNIC " + mac, "PermanentMACAddress": mac, "MACAddress": mac,
		}}, nil
	})
}

// processorList and processor are main, processors_collection and processor;
// templates processors_collection@ef0baa72, processor@ef0baa72. Both forget a
// variable in @odata.id, which then ends in a slash, and counts are strings.
func (s *Server) processorList(r *request) (*reply, error) {
	if err := s.feature("Processors", Full); err != nil {
		return nil, err
	}
	return s.with(r, func(sys *system) (*reply, error) {
		uri := path("/redfish/v1/Systems", r.vars["identity"], "Processors", "")
		var members []obj
		for i := range sys.info.CPUs {
			members = append(members, obj{"@odata.id": uri + "CPU" + strconv.Itoa(i)})
		}
		return &reply{body: collection("ProcessorCollection", "Processors Collection", uri, members)}, nil
	})
}

func (s *Server) processor(r *request) (*reply, error) {
	if err := s.feature("Processors", Full); err != nil {
		return nil, err
	}
	return s.with(r, func(sys *system) (*reply, error) {
		n, ok := strings.CutPrefix(r.vars["processor"], "CPU")
		i, err := strconv.Atoi(n)
		if !ok || err != nil || i < 0 || i >= sys.info.CPUs || strconv.Itoa(i) != n {
			return nil, notFound("Not found")
		}
		return &reply{body: obj{
			"@odata.type": "#Processor.v1_0_7.Processor", "@odata.context": "/redfish/v1/$metadata#Processor.Processor",
			"@odata.id": path("/redfish/v1/Systems", r.vars["identity"], "Processors", ""),
			"Id":        r.vars["processor"], "Name": "Processor", "Socket": "CPU " + n, "ProcessorType": "CPU",
			"ProcessorArchitecture": "x86", "InstructionSet": "x86-64", "Manufacturer": "N/A", "Model": "N/A",
			"TotalCores": "1", "TotalThreads": "1", // without <topology> (systems, get_processors)
			"Status": obj{"@odata.type": "#Resource.Status", "State": "Enabled", "Health": "OK"},
		}}, nil
	})
}
