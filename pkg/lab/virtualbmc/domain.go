package virtualbmc

import (
	"context"
	"sync"

	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// domain is a libvirt domain as far as VirtualBMC sees it. Its boot device is set
// in the definition, which a running machine does not follow before its next
// start (virsh, "define"); and what is read is the definition that it runs with,
// for vbmc asks without VIR_DOMAIN_XML_INACTIVE (vbmc.py, get_boot_device). So a
// device that is set while the machine runs is not to be seen until it is off.
type domain struct {
	body simbmc.Body

	mu     sync.Mutex
	wanted simbmc.BootTarget // set while the machine ran, not yet in the body
}

func (d *domain) power(ctx context.Context) (bool, error) { return d.body.Power(ctx) }

// on is domain.create(), of a domain that is not active.
func (d *domain) on(ctx context.Context) error {
	active, err := d.body.Power(ctx)
	if err != nil || active {
		return err
	}
	if err := d.apply(ctx); err != nil {
		return err
	}
	return d.body.SetPower(ctx, simbmc.PowerOn)
}

// apply writes a device that was set while the machine ran into the body.
func (d *domain) apply(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.wanted == "" {
		return nil
	}
	if err := d.write(ctx, d.wanted); err != nil {
		return err
	}
	d.wanted = ""
	return nil
}

func (d *domain) off(ctx context.Context) error { return d.ifActive(ctx, simbmc.ForceOff) }

// reset is domain.reset(): the machine starts over with what it ran with.
func (d *domain) reset(ctx context.Context) error { return d.ifActive(ctx, simbmc.ForceRestart) }

func (d *domain) shutdown(ctx context.Context) error {
	return d.ifActive(ctx, simbmc.GracefulShutdown)
}

func (d *domain) interrupt(ctx context.Context) error { return d.ifActive(ctx, simbmc.NMI) }

// ifActive does nothing to a machine that is off, and says that it did: so does
// each of vbmc's methods.
func (d *domain) ifActive(ctx context.Context, a simbmc.PowerAction) error {
	active, err := d.body.Power(ctx)
	if err != nil || !active {
		return err
	}
	return d.body.SetPower(ctx, a)
}

// bootDevice is vbmc.py's GET_BOOT_DEVICES_MAP; a domain as virt-install makes it
// begins with its disk.
func (d *domain) bootDevice(ctx context.Context) (byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	active, err := d.body.Power(ctx)
	if err != nil {
		return 0, err
	}
	o, err := d.body.Boot(ctx)
	if err != nil {
		return 0, err
	}
	target := simbmc.BootDisk
	if o.Enabled != simbmc.BootDisabled {
		target = o.Target
	}
	if !active && d.wanted != "" {
		target = d.wanted
	}
	switch target {
	case simbmc.BootPXE, simbmc.BootUEFIHTTP:
		return 0x04, nil
	case simbmc.BootDisk:
		return 0x08, nil
	case simbmc.BootCD:
		return 0x14, nil
	}
	return 0, nil
}

// setBootDevice is vbmc.py's SET_BOOT_DEVICES_MAP with pyghmi's names of the
// selectors: 1 network, 2 hd, 5 optical. Others change nothing.
func (d *domain) setBootDevice(ctx context.Context, selector byte) {
	var target simbmc.BootTarget
	switch selector {
	case 1:
		target = simbmc.BootPXE
	case 2:
		target = simbmc.BootDisk
	case 5:
		target = simbmc.BootCD
	default:
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if active, err := d.body.Power(ctx); err != nil || active {
		d.wanted = target
		return
	}
	if d.write(ctx, target) == nil {
		d.wanted = ""
	}
}

// write makes target the first device for good: libvirt knows no "once", and
// vbmc leaves the firmware as it is.
func (d *domain) write(ctx context.Context, target simbmc.BootTarget) error {
	o, err := d.body.Boot(ctx)
	if err != nil {
		return err
	}
	return d.body.SetBoot(ctx, simbmc.BootOverride{Target: target, Enabled: simbmc.BootContinuous, Mode: o.Mode})
}
