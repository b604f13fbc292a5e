package fleet

import (
	"encoding/base32"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/google/uuid"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

const (
	gib = 1 << 30
	tb  = 1_000_000_000_000 // disks are sold in decimal units
)

// hardware is what a machine is made of.
type hardware struct {
	info     simbmc.Info
	password string
	firmware simbmc.BootMode
	cpu      agent.CPU
	memory   agent.Memory
	disks    []agent.Disk
	nics     []agent.NIC
}

// model is a kind of machine; the fleet has a mix of them. The names are made up
// so that no quirk of a real vendor is ever applied to them.
type model struct {
	name    string
	cpu     string
	sockets int
	cores   int // of one socket
	memory  int64
	disks   []agent.Disk
}

func models() []model {
	nvme := func(size int64) agent.Disk {
		return agent.Disk{Type: agent.DiskNVMe, Size: size, Model: "Pretend NVMe", Vendor: "Ingot", Bus: "nvme"}
	}
	ssd := agent.Disk{Type: agent.DiskSSD, Size: 960 * tb / 1000, Model: "Pretend SSD", Vendor: "Ingot", Bus: "scsi"}
	hdd := agent.Disk{Type: agent.DiskHDD, Size: 8 * tb, Model: "Pretend HDD", Vendor: "Ingot", Bus: "scsi", Rotational: true}
	return []model{
		{"Pretend 1U", "Pretend Processor 16C", 1, 16, 64 * gib, []agent.Disk{nvme(960 * tb / 1000)}},
		{"Pretend 1U", "Pretend Processor 16C", 2, 16, 128 * gib, []agent.Disk{nvme(960 * tb / 1000), nvme(2 * tb)}},
		{"Pretend Storage", "Pretend Processor 8C", 1, 8, 32 * gib, []agent.Disk{ssd, hdd, hdd}},
	}
}

// build makes machine n of a fleet: the same seed and n give the same machine.
func build(name string, seed uint64, n int, firmware simbmc.BootMode) hardware {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	kinds := models()
	kind := kinds[r.IntN(len(kinds))]
	serial := fmt.Sprintf("PT%02X%06X", byte(seed), n)
	id := uuid.UUID(bytesOf(r, 16))
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // RFC 9562 version 4

	h := hardware{
		password: strings.ToLower(base32.StdEncoding.EncodeToString(bytesOf(r, 10))), // 16 letters: IPMI takes 20
		firmware: firmware,
		cpu: agent.CPU{
			Arch: "x86_64", Model: kind.cpu, MHz: 3000, Sockets: kind.sockets,
			Cores: kind.sockets * kind.cores, Threads: 2 * kind.sockets * kind.cores,
			Flags: []string{"aes", "lm", "sse4_2"},
		},
		memory: agent.Memory{Physical: kind.memory, Usable: kind.memory - kind.memory/64},
	}
	for i := range 4 {
		h.memory.Modules = append(h.memory.Modules, agent.Module{
			Slot: fmt.Sprintf("DIMM %c1", 'A'+i), Size: kind.memory / 4, Type: "DDR4", MTs: 3200,
			Vendor: "Ingot", Serial: fmt.Sprintf("%s-M%d", serial, i), Part: "PRETEND-DIMM",
		})
	}
	for i, d := range kind.disks {
		d.Name = fmt.Sprintf("/dev/sd%c", 'a'+i)
		d.HCTL = fmt.Sprintf("0:0:%d:0", i)
		if d.Type == agent.DiskNVMe {
			d.Name, d.HCTL = fmt.Sprintf("/dev/nvme%dn1", i), ""
		}
		d.SectorSize, d.PhysSectorSize, d.Firmware = 512, 4096, "1.0"
		d.Serial = fmt.Sprintf("%s-D%d", serial, i)
		d.WWN = fmt.Sprintf("0x5%015x", uint64(byte(seed))<<40|uint64(n)<<8|uint64(i))
		d.PCIAddress = fmt.Sprintf("0000:%02x:00.0", 1+i)
		h.disks = append(h.disks, d)
	}
	var macs []string
	for i := range 2 {
		mac := macOf(seed, n, i)
		macs = append(macs, mac)
		h.nics = append(h.nics, agent.NIC{
			Name: fmt.Sprintf("ens%d", 1+i), MAC: mac, Link: true, SpeedMbps: 25000, MTU: 1500,
			Driver: "ice", Vendor: "0x8086", Product: "0x159b", PCIAddress: fmt.Sprintf("0000:10:00.%d", i), PXE: i == 0,
		})
	}
	h.nics[0].Addresses = []string{fmt.Sprintf("10.69.%d.%d/16", byte(n>>8), byte(n))} // the DHCP server's
	h.info = simbmc.Info{
		UUID: id.String(), Name: name, Manufacturer: "Ingot Lab", Model: kind.name, Serial: serial,
		MACs: macs, CPUs: h.cpu.Threads, Sockets: h.cpu.Sockets, Cores: h.cpu.Cores, CPUModel: h.cpu.Model, MemoryMiB: int(kind.memory >> 20),
	}
	for _, d := range h.disks {
		h.info.Disks = append(h.info.Disks, shown(d))
	}
	return h
}

// shown is a disk as the BMC shows it.
func shown(d agent.Disk) simbmc.Disk {
	out := simbmc.Disk{Vendor: d.Vendor, Model: d.Model, Serial: d.Serial, SizeBytes: d.Size, Protocol: "SAS", Media: "SSD"}
	if d.Type == agent.DiskNVMe {
		out.Protocol = "NVMe"
	}
	if d.Rotational {
		out.Media = "HDD"
	}
	return out
}

// macOf is a locally administered address: 02:69, the seed, the machine; the
// second NIC differs in the first octet.
func macOf(seed uint64, machine, nic int) string {
	return fmt.Sprintf("%02x:69:%02x:%02x:%02x:%02x", 0x02+4*nic, byte(seed), byte(machine>>16), byte(machine>>8), byte(machine))
}

func bytesOf(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}
