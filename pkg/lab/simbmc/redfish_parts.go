package simbmc

import (
	"strconv"
	"strings"
)

// part is what a machine has some of: a collection below its system, whose
// members are numbered from 1.
type part struct {
	name   string // of the property and in the path
	kind   string // of a member
	count  int
	member func(self string, n int) obj
}

func (b *BMC) parts() []part {
	// All disks hang on one subsystem, which makes no volumes of them.
	subsystems := min(len(b.info.Disks), 1)
	return []part{
		{"EthernetInterfaces", "EthernetInterface", len(b.info.MACs), b.nic},
		{"Processors", "Processor", b.info.sockets(), b.processor},
		{"Storage", "Storage", subsystems, b.storage},
		{"SimpleStorage", "SimpleStorage", subsystems, b.simpleStorage},
	}
}

const drives = "/Drives" // below a Storage

// partResource finds what lives at name below the system.
func (b *BMC) partResource(name string) (resource, bool) {
	self := b.SystemPath() + "/" + name
	for _, p := range b.parts() {
		if name == p.name {
			var members []string
			for i := range p.count {
				members = append(members, self+"/"+strconv.Itoa(i+1))
			}
			return static(collection(self, "#"+p.kind+"Collection."+p.kind+"Collection", p.kind+" Collection", members...), false), true
		}
		if n, ok := numbered(name, p.name+"/", p.count); ok {
			return static(p.member(self, n), false), true
		}
	}
	if n, ok := numbered(name, "Storage/1"+drives+"/", len(b.info.Disks)); ok {
		return static(b.drive(self, n), false), true
	}
	return resource{}, false
}

// numbered reads the number, from 1 to count, that follows prefix.
func numbered(name, prefix string, count int) (int, bool) {
	id, ok := strings.CutPrefix(name, prefix)
	n, err := strconv.Atoi(id)
	return n, ok && err == nil && n >= 1 && n <= count && id == strconv.Itoa(n)
}

// sockets is 0 where the processors are not known.
func (i Info) sockets() int {
	if i.CPUs == 0 {
		return 0
	}
	return max(i.Sockets, 1)
}

func (i Info) cores() int {
	if i.Cores == 0 {
		return i.CPUs
	}
	return i.Cores
}

func (b *BMC) nic(self string, n int) obj {
	return obj{
		"@odata.type":         "#EthernetInterface.v1_12_0.EthernetInterface",
		"@odata.id":           self,
		"Id":                  strconv.Itoa(n),
		"Name":                "Ethernet Interface " + strconv.Itoa(n),
		"MACAddress":          b.info.MACs[n-1],
		"PermanentMACAddress": b.info.MACs[n-1],
		"InterfaceEnabled":    true,
		"LinkStatus":          "LinkUp",
		"Status":              health(),
	}
}

func (b *BMC) processor(self string, n int) obj {
	body := obj{
		"@odata.type":           "#Processor.v1_19_0.Processor",
		"@odata.id":             self,
		"Id":                    strconv.Itoa(n),
		"Name":                  "Processor " + strconv.Itoa(n),
		"ProcessorType":         "CPU",
		"ProcessorArchitecture": "x86",
		"InstructionSet":        "x86-64",
		"TotalCores":            b.info.cores() / b.info.sockets(),
		"TotalThreads":          b.info.CPUs / b.info.sockets(),
		"Status":                health(),
	}
	say(body, "Model", b.info.CPUModel)
	return body
}

func (b *BMC) storage(self string, n int) obj {
	var paths []string
	for i := range b.info.Disks {
		paths = append(paths, self+drives+"/"+strconv.Itoa(i+1))
	}
	return obj{
		"@odata.type":        "#Storage.v1_15_1.Storage",
		"@odata.id":          self,
		"Id":                 strconv.Itoa(n),
		"Name":               "Storage",
		"Drives":             links(paths...),
		"Drives@odata.count": len(paths),
		"Status":             rollup(),
	}
}

func (b *BMC) drive(self string, n int) obj {
	d := b.info.Disks[n-1]
	body := obj{
		"@odata.type":   "#Drive.v1_18_0.Drive",
		"@odata.id":     self,
		"Id":            strconv.Itoa(n),
		"Name":          driveName(n),
		"CapacityBytes": d.SizeBytes,
		"Status":        health(),
		"Links":         obj{"Volumes": links(), "Volumes@odata.count": 0},
	}
	say(body, "Manufacturer", d.Vendor)
	say(body, "Model", d.Model)
	say(body, "SerialNumber", d.Serial)
	say(body, "Protocol", d.Protocol)
	say(body, "MediaType", d.Media)
	return body
}

// simpleStorage shows the same disks once more, as BMCs do for clients that know
// no Storage. Ironic reads the health of drives here alone.
func (b *BMC) simpleStorage(self string, n int) obj {
	var devices []obj
	for i, d := range b.info.Disks {
		device := obj{"Name": driveName(i + 1), "CapacityBytes": d.SizeBytes, "Status": health()}
		say(device, "Manufacturer", d.Vendor)
		say(device, "Model", d.Model)
		devices = append(devices, device)
	}
	return obj{
		"@odata.type":         "#SimpleStorage.v1_3_1.SimpleStorage",
		"@odata.id":           self,
		"Id":                  strconv.Itoa(n),
		"Name":                "Simple Storage",
		"Devices":             devices,
		"Devices@odata.count": len(devices),
		"Status":              rollup(),
		"Links":               obj{"Storage": link(b.SystemPath() + "/Storage/" + strconv.Itoa(n))},
	}
}

func driveName(n int) string { return "Disk " + strconv.Itoa(n) }

// say adds a property that a body may not tell.
func say(body obj, name, value string) {
	if value != "" {
		body[name] = value
	}
}

// rollup is the health of something that has parts.
func rollup() obj {
	h := health()
	h["HealthRollup"] = h["Health"]
	return h
}
