package fleet

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// prints has the machine print lines on its serial console, as its firmware,
// kernel and systems would.
func (m *Machine) prints(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	m.body.Print(strings.ReplaceAll(text, "\n", "\r\n") + "\r\n")
}

func (m *Machine) printFirmware(from string) {
	name := "UEFI Interactive Shell v2.2, Ingot Lab firmware 1.0.0"
	if m.Firmware == simbmc.ModeLegacy {
		name = "SeaBIOS (version ingot-lab-1.0.0)"
	}
	m.prints("\x1b[2J\x1b[1;1H%s\nMachine %s UUID %s\nBooting from %s...", name, m.Name, m.hw.info.UUID, from)
}

// printKernel prints what the ramdisk's kernel would.
func (m *Machine) printKernel(cmdline string) {
	m.prints("[    0.000000] Linux version 6.12.0-ingot-lab (gcc)\n"+
		"[    0.000000] Command line: %s\n"+
		"[    0.412345] Memory: %d MiB available\n"+
		"[    0.734567] Run /init as init process", cmdline, m.hw.info.MemoryMiB)
}

// login stands for an installed system: a prompt that echoes what is typed.
func (m *Machine) login() {
	m.prints("[    0.000000] Linux version 6.12.0-demo\n[    1.200000] systemd[1]: Reached target multi-user.target\n")
	prompt := m.Name + " login: "
	m.body.Print(prompt)
	m.body.OnTyped(func(b []byte) {
		b = bytes.ReplaceAll(b, []byte("\r"), []byte("\r\n"+prompt))
		m.body.Print(string(b))
	})
}
