package sushytools

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// bootObject is the Boot of template system@0124ed26. Enabled says Continuous
// whatever was asked for (main, system_resource: "we are ignoring the
// BootSourceOverrideEnabled element"); there is no HttpBootUri but "None" before
// one was set; a domain that names no firmware has no mode.
func (s *Server) bootObject(sys *system) obj {
	o := obj{"BootSourceOverrideEnabled": "Continuous"}
	if len(sys.order) == 0 {
		return o
	}
	targets := []string{"Pxe", "Cd", "Hdd"}
	o["BootSourceOverrideTarget"] = sys.order[0]
	if sys.mode != "" {
		o["BootSourceOverrideMode"] = sys.mode
	}
	if sys.mode == string(simbmc.ModeUEFI) {
		targets = append(targets, "UefiHttp")
		o["UefiTargetBootSourceOverride"] = "/0x31/0x33/0x01/0x01"
		o["HttpBootUri"] = "None"
		if s.httpBootURI != "" {
			o["HttpBootUri"] = s.httpBootURI
		}
	}
	o["BootSourceOverrideTarget@Redfish.AllowableValues"] = targets
	return o
}

// text is a view's answer that is no JSON, though it says that it is.
func text(msg string) *reply { return &reply{status: http.StatusBadRequest, text: msg} }

// systemPatch is main, system_resource. What was done before an error stays done.
func (s *Server) systemPatch(r *request) (*reply, error) {
	return s.with(r, func(sys *system) (*reply, error) {
		in, err := r.json()
		if err != nil {
			return nil, err
		}
		led := in["IndicatorLED"]
		if !truth(in["Boot"]) && !truth(led) {
			return text("PATCH only works for Boot and IndicatorLED elements"), nil
		}
		if truth(led) && s.o.FeatureSet != Full {
			return nil, badRequest("Feature IndicatorLED not available")
		}
		if truth(in["Boot"]) {
			rep, err := s.patchBoot(r, sys, in["Boot"])
			if rep != nil || err != nil {
				return rep, err
			}
		}
		if truth(led) {
			if err := setLED(&sys.led, led, sys.info.UUID); err != nil {
				return nil, err
			}
		}
		return done(), nil
	})
}

func (s *Server) patchBoot(r *request, sys *system, v any) (*reply, error) {
	boot, ok := v.(obj)
	if !ok {
		return nil, fail("'%s' object has no attribute 'get'", pythonType(v))
	}
	target, mode, uri := boot["BootSourceOverrideTarget"], boot["BootSourceOverrideMode"], boot["HttpBootUri"]
	if target == "UefiHttp" {
		// An image for HTTP boot is put into the CD drive and booted from there;
		// without one the machine boots from the network.
		target = "Pxe"
		if truth(uri) {
			if rep := s.httpBoot(r, sys, uri); rep != nil {
				return rep, nil
			}
			target = "Cd"
		}
	}
	if truth(target) {
		if err := sys.setBootDevice(r.ctx, target); err != nil {
			return nil, err
		}
	}
	if truth(mode) {
		if err := sys.setBootMode(r.ctx, mode); err != nil {
			return nil, err
		}
	}
	if !truth(target) && !truth(mode) && !truth(uri) {
		return text("Missing the BootSourceOverrideTarget and/or BootSourceOverrideMode and/or HttpBootUri element"), nil
	}
	return nil, nil
}

func (s *Server) httpBoot(r *request, sys *system, uri any) *reply {
	image, ok := uri.(string)
	if !ok {
		return text("Failed to download and attach HttpBootUri.")
	}
	d, err := s.device(r.vars["identity"], "Cd")
	if err == nil {
		err = s.insertImage(r.ctx, d, image, true, true, "", "")
	}
	if err != nil {
		return text("Failed to download and attach HttpBootUri.")
	}
	if err := sys.setBootImage(r.ctx, "Cd", image); err != nil {
		return text("Failed to set the supplied media as the next bootdevice.")
	}
	s.httpBootURI = image
	return nil
}

// has says whether the domain has such a device.
func (sys *system) has(target string) bool {
	switch target {
	case "Pxe":
		return len(sys.info.MACs) > 0
	case "Hdd":
		return true
	case "Cd":
		return sys.cd
	case "Floppy":
		return sys.floppy
	}
	return false
}

// setBootDevice is systems, set_boot_device: a target without a device fails, and
// None is such a target.
func (sys *system) setBootDevice(ctx context.Context, v any) error {
	target, ok := v.(string)
	if !ok || !sys.has(target) {
		return fail("Target libvirt device %v does not exist in domain %s", v, sys.info.UUID)
	}
	sys.first(target)
	return sys.define(ctx)
}

// first puts target before the disks that were in the order; network interfaces
// lose their place.
func (sys *system) first(target string) {
	order := []string{target}
	for _, o := range sys.order {
		if o != target && o != "Pxe" {
			order = append(order, o)
		}
	}
	sys.order = order
}

// setBootMode is systems, set_boot_mode: it builds the firmware's part of the
// definition anew, without Secure Boot.
func (sys *system) setBootMode(ctx context.Context, mode any) error {
	switch mode {
	case string(simbmc.ModeUEFI), string(simbmc.ModeLegacy):
	default:
		return badRequest("Unknown boot mode requested: " + asText(mode))
	}
	sys.mode, sys.secure = mode.(string), false
	return sys.define(ctx)
}

// define is conn.defineXML: a running machine follows at its next start (virsh),
// though what is read is the new definition at once (systems, get_boot_device:
// VIR_DOMAIN_XML_INACTIVE).
func (sys *system) define(ctx context.Context) error {
	sys.staged = true
	if on, err := sys.body.Power(ctx); err != nil || on {
		return nil
	}
	return sys.apply(ctx)
}

// apply tells the body of the definition.
func (sys *system) apply(ctx context.Context) error {
	if !sys.staged {
		return nil
	}
	o := simbmc.BootOverride{Target: simbmc.BootNone, Enabled: simbmc.BootDisabled, Mode: simbmc.ModeLegacy}
	if sys.mode == string(simbmc.ModeUEFI) {
		o.Mode = simbmc.ModeUEFI
	}
	if len(sys.order) > 0 && sys.order[0] != "Floppy" {
		o.Target, o.Enabled = simbmc.BootTarget(sys.order[0]), simbmc.BootContinuous
	}
	if err := sys.body.SetBoot(ctx, o); err != nil {
		return fail(`Error changing boot device at libvirt URI "qemu:///system": %s`, err)
	}
	sys.staged = false
	return nil
}

// setBootImage is systems, set_boot_image: the drive is made anew with the image,
// or taken out of the machine. If the machine was to boot from it, it still is.
func (sys *system) setBootImage(ctx context.Context, device, image string) error {
	first := len(sys.order) > 0 && sys.order[0] == device
	sys.order = slices.DeleteFunc(sys.order, func(o string) bool { return o == device })
	if device == "Floppy" {
		sys.floppy = image != ""
	} else {
		var err error
		if sys.cd = image != ""; sys.cd {
			err = sys.body.InsertMedia(ctx, image)
		} else {
			err = sys.body.EjectMedia(ctx)
		}
		if err != nil {
			return fail(`Error changing boot image at libvirt URI "qemu:///system": %s`, err)
		}
	}
	if image != "" && first {
		sys.first(device)
	}
	return sys.define(ctx)
}

// reset is main, system_reset_action over systems, set_power_state. A type that
// is not known, or none at all, is success without an action; so is any but On
// and ForceOn for a machine that is off.
func (s *Server) reset(r *request) (*reply, error) {
	in, err := r.json()
	if err != nil {
		return nil, err
	}
	kind := in["ResetType"]
	if s.o.DisablePowerOff && (kind == "ForceOff" || kind == "GracefulShutdown") {
		return nil, badRequest("Can not request power off transition. It is disabled via the SUSHY_EMULATOR_DISABLE_POWER_OFF configurationoption.")
	}
	return s.with(r, func(sys *system) (*reply, error) {
		if err := sys.power(r.ctx, kind); err != nil {
			return nil, fail(`Error changing power state at libvirt URI "qemu:///system": %s`, err)
		}
		return done(), nil
	})
}

func (sys *system) power(ctx context.Context, kind any) error {
	on, err := sys.body.Power(ctx)
	if err != nil {
		return err
	}
	switch kind {
	case "On", "ForceOn":
		if on {
			return nil
		}
		if err := sys.apply(ctx); err != nil {
			return err
		}
		return sys.body.SetPower(ctx, simbmc.PowerOn)
	case "ForceOff", "GracefulShutdown", "GracefulRestart", "ForceRestart", "Nmi":
		if !on {
			return nil
		}
		return sys.body.SetPower(ctx, simbmc.PowerAction(kind.(string)))
	}
	return nil
}

// fileName is vmedia, _write_from_response: what Image shows.
func fileName(image, disposition string) string {
	if name := dispositionName(disposition); name != "" {
		return name
	}
	if u, err := url.Parse(image); err == nil {
		if name := u.Path[lastSlash(u.Path)+1:]; name != "" {
			return name
		}
	}
	return "image.iso"
}
