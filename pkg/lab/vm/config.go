package vm

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/uuid"

	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// NICModel is the network card that the guest sees.
type NICModel string

// Network cards. Debian's cloud kernel has no driver for the second.
const (
	VirtioNet NICModel = "virtio"
	E1000e    NICModel = "e1000e"
)

// DiskKind is the bus that the guest sees a disk on.
type DiskKind string

// Disk buses. A virtio disk has no model name, a scsi disk has a WWN.
const (
	NVMe   DiskKind = "nvme"
	Virtio DiskKind = "virtio"
	SCSI   DiskKind = "scsi"
)

// NIC is a network card, on a switch or on a TAP device.
type NIC struct {
	MAC    string
	Model  NICModel // empty: VirtioNet
	Socket string   // Unix socket of a labnet.Switch
	Tap    string   // or the name of a TAP device
}

// Disk is a disk of a size; its file is sparse.
type Disk struct {
	Kind      DiskKind // empty: NVMe
	SizeBytes int64    // a multiple of 512
	Serial    string   // at most 20 characters
	WWN       string   // 0x and 16 digits; SCSI only
}

// shown is the disk as the BMC shows it: what the guest is told of it (diskArgs).
// Redfish has no protocol that virtio is, or SCSI inside of a machine.
func (d Disk) shown() simbmc.Disk {
	out := simbmc.Disk{Serial: d.Serial, SizeBytes: d.SizeBytes}
	switch d.Kind {
	case NVMe:
		out.Model, out.Protocol, out.Media = "QEMU NVMe Ctrl", "NVMe", "SSD"
	case SCSI:
		out.Vendor, out.Model, out.Media = scsiVendor, scsiProduct, "SSD"
	}
	return out
}

// Config describes a machine. Dir holds its files and belongs to it alone.
type Config struct {
	Name         string // letters, digits, - and _
	Dir          string
	UUID         string
	Manufacturer string // empty: ingot
	Model        string // empty: lab machine
	Serial       string // empty: the name
	MemoryMiB    int    // 0: 512; PXE under UEFI needs 256
	CPUs         int    // 0: 1, which is fastest under TCG
	NICs         []NIC
	Disks        []Disk

	// Mode is the firmware of a machine that no override has switched yet;
	// empty: simbmc.ModeLegacy.
	Mode simbmc.BootMode
	// NativePXE boots the network by UEFI's own drivers in place of the NIC's
	// iPXE ROM. Only virtio has one, and no BIOS.
	NativePXE bool

	Accel    string // empty: tcg
	QEMU     string // empty: qemu-system-x86_64, found in PATH
	OVMFCode string // empty: Debian's OVMF_CODE_4M.fd
	OVMFVars string // empty: Debian's OVMF_VARS_4M.fd, copied once per machine

	// Wrap is put around QEMU's argv, to run it in the namespace of a
	// labnet.Bridge; it must keep the process id. nil: QEMU runs here.
	Wrap func(argv ...string) []string
	// HTTP fetches virtual media; nil: http.DefaultClient. MaxMediaBytes bounds
	// one image; 0: 4 GiB.
	HTTP          *http.Client
	MaxMediaBytes int64
	// SerialBytes bounds the file of the serial console, of which one older is
	// kept; 0: 16 MiB.
	SerialBytes int64
	Journal     *simbmc.Journal // nil: none
}

var (
	errConfig = errors.New("machine configuration")
	nameRE    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)
	serialRE  = regexp.MustCompile(`^[A-Za-z0-9_.:-]{0,20}$`) // NVMe takes 20 bytes
	wwnRE     = regexp.MustCompile(`^0x[0-9a-f]{16}$`)
	tapRE     = regexp.MustCompile(`^[a-z][a-z0-9-]{0,14}$`)
)

const (
	maxDisks = 16
	maxNICs  = 8
)

// complete checks the configuration and fills in what was left out.
func (c Config) complete() (Config, error) {
	bad := func(format string, args ...any) (Config, error) {
		return Config{}, fmt.Errorf("%w: %s", errConfig, fmt.Sprintf(format, args...))
	}
	if !nameRE.MatchString(c.Name) {
		return bad("name %q", c.Name)
	}
	if !filepath.IsAbs(c.Dir) {
		return bad("%s: directory %q is not absolute", c.Name, c.Dir)
	}
	id, err := uuid.Parse(c.UUID)
	if err != nil {
		return bad("%s: uuid %q", c.Name, c.UUID)
	}
	c.UUID = id.String()
	c.Manufacturer = or(c.Manufacturer, "ingot")
	c.Model = or(c.Model, "lab machine")
	c.Serial = or(c.Serial, c.Name)
	c.MemoryMiB = or(c.MemoryMiB, 512)
	c.CPUs = or(c.CPUs, 1)
	if c.MemoryMiB < 128 || c.MemoryMiB > 1<<16 || c.CPUs < 1 || c.CPUs > 64 {
		return bad("%s: %d MiB of memory, %d processors", c.Name, c.MemoryMiB, c.CPUs)
	}
	c.Mode = or(c.Mode, simbmc.ModeLegacy)
	if c.Mode != simbmc.ModeLegacy && c.Mode != simbmc.ModeUEFI {
		return bad("%s: mode %q", c.Name, c.Mode)
	}
	if len(c.NICs) > maxNICs || len(c.Disks) > maxDisks {
		return bad("%s: %d NICs and %d disks", c.Name, len(c.NICs), len(c.Disks))
	}
	if c.NICs, err = completeNICs(c.NICs); err != nil {
		return bad("%s: %v", c.Name, err)
	}
	if c.Disks, err = completeDisks(c.Name, c.Disks); err != nil {
		return bad("%s: %v", c.Name, err)
	}
	c.Accel = or(c.Accel, "tcg")
	c.QEMU = or(c.QEMU, "qemu-system-x86_64")
	if c.QEMU, err = exec.LookPath(c.QEMU); err != nil {
		return bad("%s: QEMU is not installed (apt-get install qemu-system-x86): %v", c.Name, err)
	}
	c.OVMFCode = or(c.OVMFCode, "/usr/share/OVMF/OVMF_CODE_4M.fd")
	c.OVMFVars = or(c.OVMFVars, "/usr/share/OVMF/OVMF_VARS_4M.fd")
	if c.HTTP == nil {
		c.HTTP = http.DefaultClient
	}
	c.MaxMediaBytes = or(c.MaxMediaBytes, 4<<30)
	c.SerialBytes = or(c.SerialBytes, 16<<20)
	return c, nil
}

func completeNICs(in []NIC) ([]NIC, error) {
	out := make([]NIC, len(in))
	for i, n := range in {
		mac, err := net.ParseMAC(n.MAC)
		if err != nil || len(mac) != 6 || mac[0]&1 != 0 {
			return nil, fmt.Errorf("NIC %d: MAC %q", i, n.MAC)
		}
		n.MAC = mac.String()
		n.Model = or(n.Model, VirtioNet)
		if n.Model != VirtioNet && n.Model != E1000e {
			return nil, fmt.Errorf("NIC %d: model %q", i, n.Model)
		}
		if (n.Socket == "") == (n.Tap == "") || n.Tap != "" && !tapRE.MatchString(n.Tap) {
			return nil, fmt.Errorf("NIC %d: wants either a switch's socket or a TAP device", i)
		}
		out[i] = n
	}
	return out, nil
}

func completeDisks(machine string, in []Disk) ([]Disk, error) {
	out := make([]Disk, len(in))
	for i, d := range in {
		d.Kind = or(d.Kind, NVMe)
		if d.Kind != NVMe && d.Kind != Virtio && d.Kind != SCSI {
			return nil, fmt.Errorf("disk %d: kind %q", i, d.Kind)
		}
		if d.SizeBytes < 1<<20 || d.SizeBytes%sectorSize != 0 {
			return nil, fmt.Errorf("disk %d: size %d is under 1 MiB or no multiple of %d", i, d.SizeBytes, sectorSize)
		}
		if d.Serial == "" {
			d.Serial = fmt.Sprintf("%.16s-d%d", strings.ReplaceAll(machine, "_", "-"), i)
		}
		if !serialRE.MatchString(d.Serial) || d.WWN != "" && (d.Kind != SCSI || !wwnRE.MatchString(d.WWN)) {
			return nil, fmt.Errorf("disk %d: serial %q, WWN %q", i, d.Serial, d.WWN)
		}
		out[i] = d
	}
	return out, nil
}

// or is a, or b where a was left out.
func or[T comparable](a, b T) T {
	var zero T
	if a == zero {
		return b
	}
	return a
}
