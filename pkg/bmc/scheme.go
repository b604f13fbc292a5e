package bmc

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

// nearest is the scheme of the least edit distance, or "" if none is near.
func nearest(name string) string {
	best, distance := "", 4
	for _, s := range Schemes() {
		if d := editDistance(name, s.Name); d < distance {
			best, distance = s.Name, d
		}
	}
	return best
}

// editDistance is Levenshtein's. Both strings are short: a scheme was cut to
// maxAddress before.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
