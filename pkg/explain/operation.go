package explain

import (
	"fmt"
	"strings"
	"time"
)

// Operation is the work in progress.
type Operation struct {
	Kind     string // as the life cycle names it: verify, inspect, provision …
	Phase    string // within the kind: hello, write …
	Started  time.Time
	Progress *Progress
}

// Progress of an operation.
type Progress struct {
	Done, Total int64
	Unit        string
	Detail      string
}

// String says what is being done: "writing the image, 1.2 GiB of 4.0 GiB (30 %)".
func (op Operation) String() string {
	s := phaseText(op.Kind, op.Phase)
	if op.Progress != nil {
		s += ", " + op.Progress.String()
	}
	return s
}

func (op Operation) text(now time.Time) string {
	s := op.String()
	if !op.Started.IsZero() {
		s += " (since " + Duration(now.Sub(op.Started)) + ")"
	}
	return s
}

// phaseText puts a phase of the life cycle (pkg/host) into words. One that is not
// known here is shown as it is.
func phaseText(kind, phase string) string {
	switch phase {
	case "verify":
		return "logging in to the BMC"
	case "facts":
		return "reading the hardware from the BMC"
	case "image":
		return "fetching and verifying the image"
	case "off", "stop":
		return "switching the machine off"
	case "boot-network":
		return "setting the next boot to the network"
	case "order":
		return "ordering the boot of the agent"
	case "start":
		if kind != "power-on" {
			// What is recorded does not change until the agent calls.
			return "starting the machine into the agent"
		}
		return "switching the machine on"
	case "run":
		return "starting the machine from its disk"
	case "hello":
		return "booting the agent"
	case "inspect":
		return "reading the hardware"
	case "disk":
		return "choosing the disk"
	case "clean":
		return "erasing the disks' metadata"
	case "write":
		return "writing the image"
	case "boot-disk":
		return "setting the next boot to the disk"
	case "soft-off":
		return "asking the operating system to shut down"
	case "force-off":
		return "switching the machine off hard"
	case "reset":
		return "restarting the machine"
	case "plan":
		return "reading the machine's firmware and RAID volumes"
	case "change":
		return "asking the BMC for a change of firmware or RAID"
	case "restart":
		return "restarting the machine, so that a change comes into force"
	case "settle":
		return "waiting for a change of firmware or RAID to be read back"
	case "secure-boot-on", "secure-boot-off":
		return "switching Secure Boot"
	case "ramdisk":
		return "waiting for the PreprovisioningImage"
	case "insert-ramdisk":
		return "putting the ramdisk's ISO into the virtual drive"
	case "insert-media":
		return "putting the image into the virtual drive"
	case "eject-media":
		return "emptying the virtual drive"
	case "boot-media":
		return "setting the boot to the virtual drive"
	case "deploy":
		return "running the deploy method"
	}
	return strings.TrimSuffix(strings.TrimPrefix(clean(kind)+", "+clean(phase), ", "), ", ")
}

// String is the progress for people: "1.2 of 4.0 GiB (30 %)", "2 of 3 disks".
func (p Progress) String() string {
	var s string
	switch {
	case p.Unit == "bytes" && p.Total > 0:
		s = fmt.Sprintf("%s of %s (%d %%)", Bytes(p.Done), Bytes(p.Total), percent(p.Done, p.Total))
	case p.Unit == "bytes":
		s = Bytes(p.Done)
	case p.Total > 0:
		s = strings.TrimSpace(fmt.Sprintf("%d of %d %s", p.Done, p.Total, clean(p.Unit)))
	default:
		s = strings.TrimSpace(fmt.Sprintf("%d %s", p.Done, clean(p.Unit)))
	}
	if d := clean(p.Detail); d != "" {
		s += ": " + d
	}
	return s
}

func percent(done, total int64) int64 {
	if done >= total {
		return 100
	}
	return int64(float64(done) / float64(total) * 100)
}
