package vm

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// Descriptors that QEMU inherits: no socket with a path that could be too long
// or be connected to by others.
const (
	qmpFD    = 3
	serialFD = 4
)

// Files of a machine in its directory.
const (
	varsFile     = "vars.fd"
	settingsFile = "settings.json"
	serialFile   = "serial.log"
	qemuLogFile  = "qemu.log"
	mediaFile    = "cd.iso"
)

func diskFile(dir string, i int) string { return filepath.Join(dir, fmt.Sprintf("disk%d.raw", i)) }

func liveLogFile(dir string, i, run int) string {
	return filepath.Join(dir, fmt.Sprintf("disk%d.run%d.log", i, run))
}

// object is an option in QEMU's JSON form, in which no character is special.
type object map[string]any

func (o object) String() string {
	// encoding/json sorts keys, so the command line is stable; strings and
	// numbers always encode.
	b, _ := json.Marshal(o)
	return string(b)
}

// keyval doubles the commas of a value in QEMU's key=value form.
func keyval(s string) string { return strings.ReplaceAll(s, ",", ",,") }

// argv is the command line of one start. QEMU starts stopped, so that the disc
// is in the drive and we listen before the first instruction.
func argv(cfg Config, plan bootPlan, run int) []string {
	accel := cfg.Accel
	cpu := "max"
	switch accel {
	case "tcg":
		accel = "tcg,thread=multi"
	case "kvm":
		cpu = "host"
	}
	args := []string{
		cfg.QEMU, "-name", cfg.Name, "-no-user-config", "-nodefaults", "-display", "none", "-S",
		// Without graphics a BIOS, and iPXE under it, speak on the serial port.
		"-accel", accel, "-cpu", cpu, "-M", "q35,graphics=off", "-m", strconv.Itoa(cfg.MemoryMiB), "-smp", strconv.Itoa(cfg.CPUs),
		// A guest's reset ends the process: it is told from power-off by the
		// SHUTDOWN event, and answered with a new process. A panic stays on the
		// screen, as on a real machine.
		"-action", "reboot=shutdown,panic=pause",
		"-uuid", cfg.UUID,
		"-smbios", "type=0,vendor=ingot,version=lab",
		"-smbios", fmt.Sprintf("type=1,manufacturer=%s,product=%s,serial=%s,uuid=%s", keyval(cfg.Manufacturer), keyval(cfg.Model), keyval(cfg.Serial), cfg.UUID),
		"-smbios", fmt.Sprintf("type=2,manufacturer=%s,product=%s,serial=%s", keyval(cfg.Manufacturer), keyval(cfg.Model), keyval(cfg.Serial)),
		"-chardev", fmt.Sprintf("socket,id=qmp,fd=%d", qmpFD), "-mon", "chardev=qmp,mode=control",
		"-chardev", fmt.Sprintf("socket,id=s0,fd=%d", serialFD), "-serial", "chardev:s0",
		"-device", "virtio-rng-pci", "-device", "pvpanic-pci", "-device", "virtio-scsi-pci,id=sc",
	}
	if plan.uefi {
		args = append(args,
			"-drive", "if=pflash,format=raw,unit=0,readonly=on,file="+keyval(cfg.OVMFCode),
			"-drive", "if=pflash,format=raw,unit=1,file="+keyval(filepath.Join(cfg.Dir, varsFile)),
			// PXE over IPv6 costs a minute of waiting for nobody.
			"-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n")
		if plan.httpOnly {
			args = append(args, "-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n")
		}
	}

	index := 0
	for _, class := range plan.order {
		switch class {
		case classDisk:
			for i, d := range cfg.Disks {
				args = append(args, diskArgs(cfg.Dir, i, d, run, index)...)
				index++
			}
		case classNIC:
			for i, n := range cfg.NICs {
				native := plan.uefi && n.Model == VirtioNet && (cfg.NativePXE || plan.httpOnly)
				args = append(args, nicArgs(i, n, native, index)...)
				index++
			}
		case classCD:
			args = append(args, "-device", object{"driver": "scsi-cd", "id": cdID, "bus": "sc.0", "bootindex": index}.String())
			index++
		}
	}
	return args
}

// cdID is the virtual drive. A virtio-scsi one boots in both firmwares, and
// Debian's cloud kernel can read it afterwards.
const cdID = "cd0"

// A SCSI disk says in INQUIRY what it is.
const (
	scsiVendor  = "ingot"
	scsiProduct = "lab disk"
)

func diskArgs(dir string, i int, d Disk, run, index int) []string {
	node := fmt.Sprintf("d%d", i)
	block := object{
		"driver": "blklogwrites", "node-name": node, "discard": "unmap",
		// A lab's disks need not survive a power cut of its host.
		"cache": object{"no-flush": true},
		"file":  object{"driver": "file", "filename": diskFile(dir, i), "discard": "unmap"},
		"log":   object{"driver": "file", "filename": liveLogFile(dir, i, run)},
	}
	dev := object{"id": fmt.Sprintf("disk%d", i), "drive": node, "serial": d.Serial, "bootindex": index}
	switch d.Kind {
	case NVMe:
		dev["driver"] = "nvme"
	case Virtio:
		dev["driver"] = "virtio-blk-pci"
	case SCSI:
		dev["driver"], dev["bus"] = "scsi-hd", "sc.0"
		dev["vendor"], dev["product"], dev["rotation_rate"] = scsiVendor, scsiProduct, 1 // 1: none turns
		if d.WWN != "" {
			// The schema wants a number, of 64 bits without a sign.
			if wwn, err := strconv.ParseUint(d.WWN, 0, 64); err == nil {
				dev["wwn"] = wwn
			}
		}
	}
	return []string{"-blockdev", block.String(), "-device", dev.String()}
}

func nicArgs(i int, n NIC, native bool, index int) []string {
	net := fmt.Sprintf("n%d", i)
	backend := object{"type": "tap", "id": net, "ifname": n.Tap, "script": "no", "downscript": "no"}
	if n.Socket != "" {
		backend = object{"type": "stream", "id": net, "server": false, "addr": object{"type": "unix", "path": n.Socket}}
	}
	dev := object{"driver": "virtio-net-pci", "id": fmt.Sprintf("nic%d", i), "netdev": net, "mac": n.MAC, "bootindex": index}
	if n.Model == E1000e {
		dev["driver"] = "e1000e"
	}
	if native {
		dev["romfile"] = ""
	}
	return []string{"-netdev", backend.String(), "-device", dev.String()}
}
