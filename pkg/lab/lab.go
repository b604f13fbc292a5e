package lab

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/google/uuid"

	"github.com/ingot-metal/ingot/pkg/lab/fleet"
	labnet "github.com/ingot-metal/ingot/pkg/lab/net"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
	"github.com/ingot-metal/ingot/pkg/lab/vm"
)

// Network of the lab's switch. Nothing of it leaves the machine, so that every
// lab can use the same.
const (
	ServerAddress = "10.77.0.1/24"
	RangeStart    = "10.77.0.100"
	RangeEnd      = "10.77.0.250"
)

// MaxMachines of a lab of real bodies: each takes 300 MB of this machine.
const MaxMachines = 32

// Kind is a sort of emulated machine.
type Kind struct {
	Name   string
	Mode   simbmc.BootMode
	NIC    vm.NICModel
	Native bool // the network is booted by the firmware's own drivers
	IPMI   bool // the host is enrolled by its IPMI face
}

// Kinds are dealt out to a lab's machines in turn: what a demo shows first comes
// first.
func Kinds() []Kind {
	return []Kind{
		{Name: "uefi-redfish", Mode: simbmc.ModeUEFI, NIC: vm.VirtioNet, Native: true},
		{Name: "bios-ipmi", Mode: simbmc.ModeLegacy, NIC: vm.VirtioNet, IPMI: true},
		{Name: "bios-redfish-e1000e", Mode: simbmc.ModeLegacy, NIC: vm.E1000e},
		{Name: "uefi-ipmi", Mode: simbmc.ModeUEFI, NIC: vm.VirtioNet, IPMI: true},
	}
}

// Config of a lab.
type Config struct {
	Dir       string // everything of the lab; made if it is missing
	Count     int
	Simulated bool
	BootURL   string // simulated: the boot door to ask, http://HOST:PORT
	Kinds     []Kind // empty: Kinds()
	MemoryMiB int    // of a QEMU machine; 0: 768
	DiskBytes int64  // of a QEMU machine's NVMe disk; 0: 8 GiB
	Disks     int    // that a QEMU machine has; 0: one
	Accel     string // of QEMU; empty: tcg
	Network   string // switch (default), or the prefix of TAP devices
	Wrap      func(argv ...string) []string
	Log       *slog.Logger
}

// Machine is what a person would write into a rack's list, and where to look.
type Machine struct {
	Name     string `json:"name"`
	Kind     string `json:"kind"`
	Address  string `json:"address"`
	Username string `json:"username"`
	Password string `json:"password"`
	MAC      string `json:"mac"`
	Insecure bool   `json:"insecure,omitempty"`
	Legacy   bool   `json:"legacy,omitempty"`
	Redfish  string `json:"redfish,omitempty"` // both faces of a QEMU machine
	IPMI     string `json:"ipmi,omitempty"`
	Serial   string `json:"serial,omitempty"` // file of the serial console
	Disk     string `json:"disk,omitempty"`
}

// Lab is a running lab.
type Lab struct {
	Machines []Machine
	// Switch that the machines are on, and its socket; none for a simulated lab.
	Switch *labnet.Switch
	Socket string
	// Journal says what was done to the machines.
	Journal *simbmc.Journal
	// VMs by name, and the Fleet; one of them is set.
	VMs   map[string]*vm.Machine
	BMCs  map[string]*simbmc.BMC
	Fleet *fleet.Fleet

	cancel context.CancelFunc
	wg     sync.WaitGroup
	closes []func() error
}

// Up starts a lab. Its machines are off.
func Up(c Config) (*Lab, error) {
	if c.Count < 1 || !c.Simulated && c.Count > MaxMachines {
		return nil, fmt.Errorf("a lab of %d machines: want 1 to %d, or simulated ones", c.Count, MaxMachines)
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	l := &Lab{VMs: map[string]*vm.Machine{}, BMCs: map[string]*simbmc.BMC{}}
	journal, file, err := simbmc.OpenJournal(filepath.Join(c.Dir, "journal.jsonl"), nil)
	if err != nil {
		return nil, err
	}
	l.Journal = journal
	l.closes = append(l.closes, file.Close)
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	if c.Simulated {
		err = l.simulate(c)
	} else {
		err = l.emulate(ctx, c)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Close stops every machine and every face.
func (l *Lab) Close() error {
	l.cancel()
	var errs []error
	for i := len(l.closes) - 1; i >= 0; i-- {
		errs = append(errs, l.closes[i]())
	}
	l.wg.Wait()
	return errors.Join(append(errs, l.Journal.Err())...)
}

func (l *Lab) simulate(c Config) error {
	f, err := fleet.New(fleet.Config{
		Count: c.Count, Seed: 1, BootURL: c.BootURL, Prefix: "sim", Journal: l.Journal, Log: c.Log,
		Protocols: []fleet.Protocol{fleet.RedfishHTTP, fleet.IPMI},
	})
	if err != nil {
		return err
	}
	l.Fleet = f
	l.closes = append(l.closes, func() error { f.Close(); return nil })
	for _, m := range f.Machines() {
		l.BMCs[m.Name] = m.BMC()
		l.Machines = append(l.Machines, Machine{
			Name: m.Name, Kind: "simulated", Address: m.Address, Username: m.Username, Password: m.Password,
			MAC: m.MAC, Insecure: m.Insecure, Legacy: m.Firmware == simbmc.ModeLegacy,
		})
	}
	return nil
}

func (l *Lab) emulate(ctx context.Context, c Config) error {
	if c.Network == "" {
		l.Socket = filepath.Join(c.Dir, "switch.sock")
		sw, err := labnet.Listen(l.Socket)
		if err != nil {
			return err
		}
		l.Switch = sw
		l.closes = append(l.closes, sw.Close)
	}
	kinds := c.Kinds
	if len(kinds) == 0 {
		kinds = Kinds()
	}
	for i := range c.Count {
		if err := l.machine(ctx, c, kinds[i%len(kinds)], i); err != nil {
			return err
		}
	}
	return nil
}

// Credentials of every lab BMC. They guard nothing: the faces are on loopback.
const (
	username = "admin"
	password = "ingot-lab"
)

func (l *Lab) machine(ctx context.Context, c Config, k Kind, i int) error {
	name := fmt.Sprintf("lab-%d", i+1)
	mac := fmt.Sprintf("52:54:00:77:00:%02x", i+1)
	nic := vm.NIC{MAC: mac, Model: k.NIC, Socket: l.Socket}
	if c.Network != "" {
		nic.Socket, nic.Tap = "", fmt.Sprintf("%s%d", c.Network, i)
	}
	if c.MemoryMiB == 0 {
		c.MemoryMiB = 768
	}
	if c.DiskBytes == 0 {
		c.DiskBytes = 8 << 30
	}
	disks := []vm.Disk{{Kind: vm.NVMe, SizeBytes: c.DiskBytes, Serial: fmt.Sprintf("LABNVME%d", i+1)}}
	for n := 2; n <= c.Disks; n++ {
		disks = append(disks, vm.Disk{Kind: vm.NVMe, SizeBytes: c.DiskBytes, Serial: fmt.Sprintf("LABNVME%d-%d", i+1, n)})
	}
	m, err := vm.New(vm.Config{
		Name: name, Dir: filepath.Join(c.Dir, name), UUID: uuidOf(name), Serial: "LAB" + fmt.Sprint(i+1),
		MemoryMiB: c.MemoryMiB, NICs: []vm.NIC{nic}, Mode: k.Mode, NativePXE: k.Native, Accel: c.Accel, Wrap: c.Wrap,
		Disks:   disks,
		Journal: l.Journal,
	})
	if err != nil {
		return err
	}
	b := simbmc.New(m, simbmc.Config{Username: username, Password: password, Journal: l.Journal})
	l.VMs[name], l.BMCs[name] = m, b
	l.closes = append(l.closes, m.Close, func() error { b.Close(); return nil })
	redfish, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ipmi, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		redfish.Close()
		return err
	}
	l.wg.Go(func() { l.face(c, name, b.ServeRedfish(ctx, redfish, nil)) })
	l.wg.Go(func() { l.face(c, name, b.ServeIPMI(ctx, ipmi)) })
	out := Machine{
		Name: name, Kind: k.Name, Username: username, Password: password, MAC: mac,
		Legacy: k.Mode == simbmc.ModeLegacy, Serial: m.SerialPath(), Disk: filepath.Join(c.Dir, name),
		Redfish: "redfish+http://" + redfish.Addr().String() + b.SystemPath(),
		IPMI:    "ipmi://" + ipmi.LocalAddr().String(),
	}
	out.Address = "redfish+http://" + redfish.Addr().String()
	if k.IPMI {
		out.Address = out.IPMI
	}
	l.Machines = append(l.Machines, out)
	return nil
}

func (l *Lab) face(c Config, name string, err error) {
	if err != nil && c.Log != nil {
		c.Log.Error("a BMC face ended", "machine", name, "err", err)
	}
}

// uuidOf is a machine's UUID, the same after each start of the lab.
func uuidOf(name string) string {
	sum := sha256.Sum256([]byte("ingot lab " + name))
	id, err := uuid.FromBytes(sum[:16])
	if err != nil { // 16 bytes are always taken
		return uuid.Nil.String()
	}
	return id.String()
}
