package vm

import (
	"fmt"

	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// settings is what a machine's firmware remembers while power is off.
type settings struct {
	Mode     simbmc.BootMode     `json:"mode"`
	Override simbmc.BootOverride `json:"override"`
	Runs     int                 `json:"runs"` // how often QEMU was started
}

// deviceClass is a group of devices in the boot order.
type deviceClass string

const (
	classDisk deviceClass = "disk"
	classNIC  deviceClass = "nic"
	classCD   deviceClass = "cd"
)

// bootPlan is what the settings mean to one start of QEMU.
type bootPlan struct {
	uefi     bool
	order    []deviceClass
	httpOnly bool // UEFI tries HTTP and not PXE
}

// plan gives the boot order. Without an override it is disk, network, CD, as on
// a server whose disk is empty; an override puts one class in front, and what
// cannot boot still falls through to the next.
func (s settings) plan() bootPlan {
	p := bootPlan{uefi: s.Mode == simbmc.ModeUEFI, order: []deviceClass{classDisk, classNIC, classCD}}
	if s.Override.Enabled != simbmc.BootOnce && s.Override.Enabled != simbmc.BootContinuous {
		return p
	}
	switch s.Override.Target {
	case simbmc.BootPXE:
		p.order = []deviceClass{classNIC, classDisk, classCD}
	case simbmc.BootUEFIHTTP:
		p.order, p.httpOnly = []deviceClass{classNIC, classDisk, classCD}, true
	case simbmc.BootCD:
		p.order = []deviceClass{classCD, classDisk, classNIC}
	}
	return p
}

// set replaces the override, or says why this machine cannot follow it. The
// mode holds on after an override of one boot: what was installed under UEFI
// must be started by UEFI.
func (s settings) set(cfg Config, o simbmc.BootOverride) (settings, error) {
	refuse := func(format string, args ...any) (settings, error) {
		return s, fmt.Errorf("boot override: %s: %w", fmt.Sprintf(format, args...), simbmc.ErrUnsupported)
	}
	mode := or(o.Mode, s.Mode)
	if mode != simbmc.ModeLegacy && mode != simbmc.ModeUEFI {
		return refuse("mode %q", o.Mode)
	}
	switch o.Enabled {
	case simbmc.BootOnce, simbmc.BootContinuous:
	case simbmc.BootDisabled, "":
		o.Enabled = simbmc.BootDisabled
	default:
		return refuse("enabled %q", o.Enabled)
	}
	switch o.Target {
	case simbmc.BootNone, simbmc.BootPXE, simbmc.BootDisk, simbmc.BootCD:
	case "":
		o.Target = simbmc.BootNone
	case simbmc.BootUEFIHTTP:
		if mode != simbmc.ModeUEFI {
			return refuse("%s in mode %s", o.Target, mode)
		}
		for _, n := range cfg.NICs {
			if n.Model != VirtioNet {
				return refuse("%s: OVMF has no driver for %s", o.Target, n.Model)
			}
		}
		if o.HTTPURI != "" {
			return refuse("an HTTP boot URI: OVMF takes it from DHCP")
		}
	default:
		return refuse("target %q", o.Target)
	}
	o.Mode = mode
	s.Mode, s.Override = mode, o
	return s, nil
}

// followed is the settings after a start: an override of one boot is spent.
func (s settings) followed() settings {
	s.Runs++
	if s.Override.Enabled == simbmc.BootOnce {
		s.Override = simbmc.BootOverride{Target: simbmc.BootNone, Enabled: simbmc.BootDisabled, Mode: s.Mode}
	}
	return s
}
