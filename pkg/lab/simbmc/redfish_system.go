package simbmc

import (
	"context"
	"net/url"
	"path"
	"slices"
)

func (b *BMC) powerState(ctx context.Context) (string, *redfishError) {
	on, err := b.body.Power(ctx)
	switch {
	case err != nil:
		return "", errInternal(err)
	case on:
		return "On", nil
	default:
		return "Off", nil
	}
}

// system renders the ComputerSystem.
func (b *BMC) system(ctx context.Context) reply {
	state, rerr := b.powerState(ctx)
	if rerr != nil {
		return reply{err: rerr}
	}
	boot, err := b.body.Boot(ctx)
	if err != nil {
		return reply{err: errInternal(err)}
	}
	self := b.SystemPath()
	shown := obj{
		"BootSourceOverrideTarget":                         boot.Target,
		"BootSourceOverrideEnabled":                        boot.Enabled,
		"BootSourceOverrideMode":                           boot.Mode,
		"BootSourceOverrideTarget@Redfish.AllowableValues": BootTargets(),
		"BootSourceOverrideMode@Redfish.AllowableValues":   bootModes(),
	}
	if boot.HTTPURI != "" {
		shown["HttpBootUri"] = boot.HTTPURI
	}
	body := obj{
		"@odata.type":  "#ComputerSystem.v1_22_0.ComputerSystem",
		"@odata.id":    self,
		"Id":           b.info.Name,
		"Name":         b.info.Name,
		"SystemType":   "Physical",
		"UUID":         b.info.UUID,
		"Manufacturer": b.info.Manufacturer,
		"Model":        b.info.Model,
		"SerialNumber": b.info.Serial,
		"BiosVersion":  "1.0.0",
		"HostName":     "",
		"PowerState":   state,
		"Status":       b.condition(),
		"Boot":         shown,
		"ProcessorSummary": obj{
			"Count": b.info.sockets(), "CoreCount": b.info.cores(), "LogicalProcessorCount": b.info.CPUs, "Status": health(),
		},
		"MemorySummary": obj{"TotalSystemMemoryGiB": float64(b.info.MemoryMiB) / 1024, "Status": rollup()},
		"Links":         obj{"Chassis": links(chassisPath), "ManagedBy": links(managerPath)},
		"Actions": obj{"#ComputerSystem.Reset": obj{
			"target":                            self + "/Actions/ComputerSystem.Reset",
			"ResetType@Redfish.AllowableValues": PowerActions(),
		}},
	}
	for _, p := range b.parts() {
		body[p.name] = link(self + "/" + p.name)
	}
	return reply{etag: true, body: body}
}

func bootModes() []BootMode { return []BootMode{ModeUEFI, ModeLegacy} }

func bootEnables() []BootEnabled { return []BootEnabled{BootDisabled, BootOnce, BootContinuous} }

// resetSystem is the action ComputerSystem.Reset.
func (b *BMC) resetSystem(ctx context.Context, body obj) reply {
	value, given := body["ResetType"]
	if !given {
		return reply{err: errMissing("ResetType")}
	}
	text, _ := value.(string)
	action := PowerAction(text)
	if !slices.Contains(PowerActions(), action) {
		return reply{err: errNotInList(value, "ResetType")}
	}
	return reply{err: errFrom(b.power(ctx, action), "ComputerSystem.Reset")}
}

// patchSystem changes the boot override; nothing else of a system is writable.
func (b *BMC) patchSystem(ctx context.Context, body obj) reply {
	for name := range body {
		if name != "Boot" {
			return reply{err: errUnknownProperty(name)}
		}
	}
	change, ok := body["Boot"].(obj)
	if !ok {
		return reply{err: errMissing("Boot")}
	}
	o, err := b.body.Boot(ctx)
	if err != nil {
		return reply{err: errInternal(err)}
	}
	if rerr := mergeBoot(&o, change); rerr != nil {
		return reply{err: rerr}
	}
	return reply{err: errFrom(b.setBoot(ctx, o), "Boot")}
}

// mergeBoot applies a partial Boot object (DSP0268, ComputerSystem.Boot): what is
// not named stays.
func mergeBoot(o *BootOverride, change obj) *redfishError {
	for name, value := range change {
		text, isText := value.(string)
		var valid bool
		switch name {
		case "BootSourceOverrideTarget":
			o.Target = BootTarget(text)
			valid = slices.Contains(BootTargets(), o.Target)
		case "BootSourceOverrideEnabled":
			o.Enabled = BootEnabled(text)
			valid = slices.Contains(bootEnables(), o.Enabled)
		case "BootSourceOverrideMode":
			o.Mode = BootMode(text)
			valid = slices.Contains(bootModes(), o.Mode)
		case "HttpBootUri":
			o.HTTPURI = text
			valid = text == "" || isHTTP(text)
		default:
			return errUnknownProperty("Boot/" + name)
		}
		if !isText || !valid {
			return errNotInList(value, name)
		}
	}
	// The two ways to say "no override" are one state.
	if o.Enabled == BootDisabled || o.Target == BootNone {
		o.Enabled, o.Target = BootDisabled, BootNone
	}
	return nil
}

func isHTTP(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// media renders the one virtual drive.
func (b *BMC) media(ctx context.Context) reply {
	image, inserted, err := b.body.Media(ctx)
	if err != nil {
		return reply{err: errInternal(err)}
	}
	shown := obj{
		"@odata.type":    "#VirtualMedia.v1_6_3.VirtualMedia",
		"@odata.id":      mediaPath,
		"Id":             "Cd",
		"Name":           "Virtual CD",
		"MediaTypes":     []string{"CD", "DVD"},
		"Image":          nil,
		"ImageName":      "",
		"Inserted":       inserted,
		"WriteProtected": true,
		"ConnectedVia":   "NotConnected",
		"Actions": obj{
			"#VirtualMedia.InsertMedia": obj{"target": mediaPath + "/Actions/VirtualMedia.InsertMedia"},
			"#VirtualMedia.EjectMedia":  obj{"target": mediaPath + "/Actions/VirtualMedia.EjectMedia"},
		},
	}
	if inserted {
		shown["Image"], shown["ConnectedVia"] = image, "URI"
		if u, err := url.Parse(image); err == nil {
			shown["ImageName"] = path.Base(u.Path)
		}
	}
	return reply{etag: true, body: shown}
}

func (b *BMC) insertMedia(ctx context.Context, body obj) reply {
	value, given := body["Image"]
	if !given {
		return reply{err: errMissing("Image")}
	}
	image, _ := value.(string)
	if !isHTTP(image) {
		return reply{err: errNotInList(value, "Image")}
	}
	return reply{err: errFrom(b.insert(ctx, image), "VirtualMedia.InsertMedia")}
}

func (b *BMC) ejectMedia(ctx context.Context, _ obj) reply {
	return reply{err: errFrom(b.eject(ctx), "VirtualMedia.EjectMedia")}
}
