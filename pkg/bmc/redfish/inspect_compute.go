package redfish

import (
	"regexp"
	"strings"
	"time"

	"github.com/ingot-metal/ingot/api/agent"
)

// processor is DSP0268 Processor, as far as it is used; a GraphicsController
// reads as one.
type processor struct {
	URI          link           `json:"@odata.id"`
	ID           text           `json:"Id"`
	Type         text           `json:"ProcessorType"`
	Architecture text           `json:"ProcessorArchitecture"`
	Instructions text           `json:"InstructionSet"`
	Manufacturer text           `json:"Manufacturer"`
	Model        text           `json:"Model"`
	Serial       text           `json:"SerialNumber"`
	MHz          amount         `json:"MaxSpeedMHz"`
	Cores        amount         `json:"TotalCores"`
	Enabled      amount         `json:"TotalEnabledCores"`
	Threads      amount         `json:"TotalThreads"`
	Status       resourceStatus `json:"Status"`
}

func (p processor) accelerator(kind string) agent.Accelerator {
	return agent.Accelerator{
		Name: nameOf(p.ID, p.URI), Type: kind,
		Vendor: clean(p.Manufacturer), Model: clean(p.Model), Serial: clean(p.Serial),
	}
}

// cpusOf sums up the processors that are there.
func cpusOf(all []processor) (agent.CPU, []agent.Accelerator) {
	var out agent.CPU
	var accelerators []agent.Accelerator
	for _, p := range all {
		if p.Status.absent() {
			continue
		}
		switch kind := strings.ToUpper(clean(p.Type)); kind {
		case "CPU", "":
		case agent.AcceleratorGPU, agent.AcceleratorFPGA:
			accelerators = append(accelerators, p.accelerator(kind))
			continue
		default: // cores of a CPU, threads, DSPs
			continue
		}
		cores := p.Cores.count()
		if n := p.Enabled.count(); n > 0 && n < cores {
			cores = n // the operating system sees no more
		}
		out = addCPU(out, agent.CPU{
			Arch: arch(p), Model: clean(p.Model), MHz: p.MHz.count(),
			Sockets: 1, Cores: cores, Threads: max(p.Threads.count(), cores),
		})
	}
	return out, accelerators
}

func addCPU(a, b agent.CPU) agent.CPU {
	if a.Arch == "" {
		a.Arch = b.Arch
	}
	if a.Model == "" {
		a.Model = b.Model
	}
	a.MHz = max(a.MHz, b.MHz)
	a.Sockets += b.Sockets
	a.Cores += b.Cores
	a.Threads += b.Threads
	return a
}

// summarised fills in what the list of processors did not tell.
func summarised(c agent.CPU, hw hardware) agent.CPU {
	if c.Sockets == 0 {
		c.Sockets = hw.CPUs.Count.count()
	}
	if c.Cores == 0 {
		c.Cores = hw.CPUs.Cores.count()
	}
	if c.Threads == 0 {
		c.Threads = max(hw.CPUs.Threads.count(), c.Cores)
	}
	if c.Model == "" {
		c.Model = clean(hw.CPUs.Model)
	}
	if c.Arch == "" && strings.HasPrefix(strings.ToUpper(clean(hw.CPUs.Model)), "ARM") {
		c.Arch = "aarch64" // Grace: the architecture is named in the summary alone
	}
	return c
}

// arch names the architecture as the kernel does.
func arch(p processor) string {
	for _, v := range []text{p.Instructions, p.Architecture} {
		switch s := strings.ToLower(clean(v)); {
		case s == "x86-64" || s == "x86":
			return "x86_64" // no server of ours has a 32-bit CPU
		case strings.HasPrefix(s, "arm"):
			return "aarch64"
		case strings.HasPrefix(s, "powerisa") || s == "power":
			return "ppc64le"
		case strings.HasPrefix(s, "rv64") || s == "risc-v":
			return "riscv64"
		}
	}
	return ""
}

// dimm is DSP0268 Memory, as far as it is used.
type dimm struct {
	URI      link `json:"@odata.id"`
	ID       text `json:"Id"`
	Locator  text `json:"DeviceLocator"`
	Location struct {
		Part struct {
			Label text `json:"ServiceLabel"`
		} `json:"PartLocation"`
	} `json:"Location"`
	MiB          amount         `json:"CapacityMiB"`
	Type         text           `json:"MemoryDeviceType"`
	Speed        amount         `json:"OperatingSpeedMhz"`
	Manufacturer text           `json:"Manufacturer"`
	Serial       text           `json:"SerialNumber"`
	Part         text           `json:"PartNumber"`
	Status       resourceStatus `json:"Status"`
}

// modulesOf lists the modules that hold something and their sum. The memory of a
// GPU (HBM) is listed among them on some boards and is none of the machine's.
func modulesOf(all []dimm) ([]agent.Module, int64) {
	var out []agent.Module
	var total int64
	for _, d := range all {
		if d.Status.absent() || d.MiB.count() == 0 || strings.HasPrefix(strings.ToUpper(clean(d.Type)), "HBM") {
			continue
		}
		m := agent.Module{
			Slot: firstOf(clean(d.Locator), clean(d.Location.Part.Label), nameOf(d.ID, d.URI)),
			Size: int64(d.MiB.count()) << 20, Type: clean(d.Type), MTs: d.Speed.count(),
			Vendor: clean(d.Manufacturer), Serial: clean(d.Serial), Part: clean(d.Part),
		}
		total += m.Size
		out = append(out, m)
	}
	return out, total
}

// nameOf is a resource's Id, or the end of its URI.
func nameOf(id text, uri link) string { return firstOf(clean(id), clean(text(tailOf(string(uri))))) }

func firstOf(all ...string) string {
	for _, s := range all {
		if s != "" {
			return s
		}
	}
	return ""
}

// dateIn finds a date as SMBIOS writes it, mm/dd/yyyy, in a version.
func dateIn(version string) string {
	return regexp.MustCompile(`\b[01]\d/[0-3]\d/(19|20)\d\d\b`).FindString(version)
}

// usDate writes the day of a Redfish date as SMBIOS does, so that one BIOS has
// one date whoever read it. An unknown date is "00:00:00Z" in Redfish.
func usDate(s string) string {
	if len(s) < len(time.DateOnly) {
		return ""
	}
	day, err := time.Parse(time.DateOnly, s[:len(time.DateOnly)])
	if err != nil {
		return ""
	}
	return day.Format("01/02/2006")
}
