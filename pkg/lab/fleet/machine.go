package fleet

import (
	"bytes"
	"context"
	"sync"

	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// Kinds of journal entry that a fleet adds to those of simbmc.
const (
	KindStart      = "start"        // the firmware runs; detail: network or disk
	KindAgent      = "agent"        // a ramdisk runs; detail: its boot id
	KindErase      = "erase"        // a disk was erased; detail: its serial
	KindWriteBegin = "write-begin"  // the first byte of an image; detail: the disk's serial
	KindWrite      = "write"        // a whole image is on a disk; detail: serial, SHA-256 read back
	KindConfig     = "config-drive" // a config drive was written; detail: the disk's serial, its digest
	KindDeploy     = "deploy"       // a deploy method ran; detail: method, the disk's serial
	KindOSUp       = "os-up"        // the disk's system runs; detail: serial, SHA-256 of its image
	KindGuest      = "guest"        // what the system itself did: reboot, poweroff
	KindArray      = "array"        // a software RAID was made; detail: serial, of how many disks
	KindStuck      = "stuck"        // the machine sits; detail: why
)

// Protocol is how a machine's BMC is reached; the values are the schemes of
// BareMetalHost addresses.
type Protocol string

// The protocols.
const (
	RedfishHTTP Protocol = "redfish+http"
	RedfishTLS  Protocol = "redfish" // with a certificate that nobody signed
	IPMI        Protocol = "ipmi"
)

// Faults are what is wrong with a machine, apart from its BMC (see
// simbmc.Faults). The zero value is a machine that works.
type Faults struct {
	// MemoryMiB is the RAM that the agent finds; zero is what was built in.
	MemoryMiB int
	// NoDisk hides all disks.
	NoDisk bool
	// MAC replaces the address of the first NIC in all the machine says: another
	// machine's, for a duplicate.
	MAC string
	// NoNetwork lets no network boot find a server.
	NoNetwork bool
	// Silent runs the kernel and never calls home.
	Silent bool
	// DieMidWrite hangs the machine in the middle of its next n image writes.
	DieMidWrite int
	// SwapDisks gives every disk another serial once the machine was inspected.
	SwapDisks bool
}

// Machine is one of the fleet. The fields are what a rack's list would say.
type Machine struct {
	Name     string
	Address  string // as in BareMetalHost spec.bmc.address
	Username string
	Password string
	MAC      string // of the NIC that boots
	Insecure bool   // the BMC's certificate is self-signed
	Protocol Protocol
	Firmware simbmc.BootMode

	fleet  *Fleet
	hw     hardware
	body   *simbmc.Memory
	bmc    *simbmc.BMC
	disks  []*disk // in the order of hw.disks, and after them the arrays
	arrays []array

	mu        sync.Mutex
	faults    Faults
	inspected bool               // since the faults were set
	stopRun   context.CancelFunc // ends the present run; nil: the machine is off
}

// BMC returns the machine's controller, for its faults and figures.
func (m *Machine) BMC() *simbmc.BMC { return m.bmc }

// SetFaults replaces what is wrong with the machine; what already happened in
// the present run stays.
func (m *Machine) SetFaults(f Faults) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults, m.inspected = f, false
}

// Images returns the digest of the image on each disk, empty for one that holds
// no whole image.
func (m *Machine) Images() []string {
	var list []string
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range m.disks {
		list = append(list, d.bootable())
	}
	return list
}

// ConfigDrive returns the config drive on the first disk that has one, as the
// agent received it; nil if there is none.
func (m *Machine) ConfigDrive() []byte {
	for _, d := range m.disks {
		d.mu.Lock()
		drive := bytes.Clone(d.drive)
		d.mu.Unlock()
		if drive != nil {
			return drive
		}
	}
	return nil
}

// On says whether the machine is powered.
func (m *Machine) On() bool {
	on, _ := m.body.Power(context.Background()) // a Memory body has no error
	return on
}

func (m *Machine) log(kind, detail string) { m.fleet.cfg.Journal.Add(m.Name, kind, detail) }

// start is the body's hook: power is there.
func (m *Machine) start(o simbmc.BootOverride) {
	ctx, cancel := context.WithCancel(m.fleet.ctx)
	m.mu.Lock()
	m.stopRun = cancel
	m.mu.Unlock()
	m.fleet.launch(func() { m.run(ctx, o) })
}

// stop is the body's hook: power is gone, and whatever ran with it.
func (m *Machine) stop() {
	m.body.OnTyped(nil) // nothing that ran reads any more
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopRun != nil {
		m.stopRun()
		m.stopRun = nil
	}
}
