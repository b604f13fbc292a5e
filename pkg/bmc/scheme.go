package bmc

import "github.com/ingot-metal/ingot/pkg/spell"

// Protocols of a BMC.
const (
	ProtocolRedfish = "redfish"
	ProtocolIPMI    = "ipmi"
)

// BootInterface is how a machine is brought to start the agent.
type BootInterface string

// The boot interfaces.
const (
	BootViaIPXE     BootInterface = "ipxe"
	BootViaMedia    BootInterface = "vmedia"
	BootViaUEFIHTTP BootInterface = "uefihttp"
)

// Scheme is a row of Metal3's table of BMC address schemes: what the scheme of a
// BareMetalHost's address promises about the machine.
type Scheme struct {
	Name         string
	Protocol     string
	Boot         BootInterface
	NeedsMAC     bool // bootMACAddress is required at enrolment
	RAID         bool // hardware RAID may be configured
	SecureBoot   bool
	FastInspect  bool // facts can be read from the BMC without a boot
	ISORamdisk   bool // the agent comes as an ISO
	ProvisionNet bool // needs DHCP on the provisioning network
}

// Schemes returns the table, in the order in which a person is shown it.
func Schemes() []Scheme {
	ipmi := Scheme{Protocol: ProtocolIPMI, Boot: BootViaIPXE, ProvisionNet: true}
	pxe := Scheme{Protocol: ProtocolRedfish, Boot: BootViaIPXE, RAID: true, SecureBoot: true, FastInspect: true, ProvisionNet: true}
	media := Scheme{Protocol: ProtocolRedfish, Boot: BootViaMedia, RAID: true, SecureBoot: true, FastInspect: true, ISORamdisk: true}
	http := media
	http.Boot = BootViaUEFIHTTP
	libvirt := ipmi
	libvirt.NeedsMAC = true
	named := func(s Scheme, name string) Scheme { s.Name = name; return s }
	return []Scheme{
		named(pxe, "redfish"),
		named(media, "redfish-virtualmedia"),
		named(http, "redfish-uefihttp"),
		named(pxe, "idrac-redfish"),
		named(media, "idrac-virtualmedia"),
		named(pxe, "ilo5-redfish"),
		named(media, "ilo5-virtualmedia"),
		named(ipmi, "ipmi"),
		named(libvirt, "libvirt"),
	}
}

// removed maps schemes that older Metal3 releases had to what replaces them.
func removed(name string) (string, bool) {
	switch name {
	case "idrac":
		return "idrac-redfish", true
	case "ilo5":
		return "ilo5-redfish", true
	case "ilo4", "irmc", "ibmc":
		return "redfish (or ipmi, if its Redfish is too old)", true
	case "ilo4-virtualmedia":
		return "redfish-virtualmedia (or ipmi, if its Redfish is too old)", true
	}
	return "", false
}

// nearest is the scheme that a person may have meant, or "" if none is near.
func nearest(name string) string {
	known := make([]string, 0, len(Schemes()))
	for _, s := range Schemes() {
		known = append(known, s.Name)
	}
	if near := spell.Nearest(name, known, 3); len(near) > 0 {
		return near[0]
	}
	return ""
}
