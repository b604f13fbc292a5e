package treebmc

import (
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// shape makes a recorded resource look as a quirk has it, once, when it is first
// read.
func (s *Server) shape(k string, doc obj) {
	has := s.o.Quirks.Has
	switch {
	case k == rootKey:
		s.shapeRoot(doc)
	case kind(doc, "ComputerSystemCollection") && has(quirk.HostSystem):
		s.shapeSystems(doc)
	case kind(doc, "ComputerSystem"):
		s.shapeSystem(k, doc)
	case kind(doc, "Manager") && has(quirk.MediaOnSystem):
		delete(doc, "VirtualMedia")
	case kind(doc, "VirtualMedia"):
		s.shapeSlot(k, doc)
	case kind(doc, "UpdateService"):
		s.shapeUpdate(doc)
	}
}

// quirk.NoSessions: sushy-tools' templates/root.json has no SessionService.
func (s *Server) shapeRoot(doc obj) {
	if !s.o.Quirks.Has(quirk.NoSessions) {
		return
	}
	delete(doc, "SessionService")
	delete(doc, "Links")
	for k := range s.files {
		if strings.HasPrefix(k, rootKey+"/sessionservice") {
			delete(s.files, k)
		}
	}
}

// quirk.HostSystem: the recorded GB300 lists System_0 and HGX_Baseboard_0, which
// has neither Bios nor reset.
func (s *Server) shapeSystems(doc obj) {
	if len(members(doc)) != 1 {
		return
	}
	uri := strings.TrimRight(str(doc["@odata.id"]), "/") + "/HGX_Baseboard_0"
	doc["Members"] = append(members(doc), obj{"@odata.id": uri})
	doc["Members@odata.count"] = len(members(doc))
	s.docs[key(uri)] = obj{
		"@odata.id": uri, "@odata.type": "#ComputerSystem.v1_17_0.ComputerSystem", "Id": "HGX_Baseboard_0",
		"Name": "HGX Baseboard", "Manufacturer": "NVIDIA", "PowerState": "On",
	}
}

func (s *Server) shapeSystem(k string, doc obj) {
	has := s.o.Quirks.Has
	boot := sub(doc, "Boot")
	if boot == nil {
		return // no host
	}
	// quirk.NoContinuous: the recorded SR670 V2 allows Once and Disabled.
	if has(quirk.NoContinuous) {
		boot[overrideEnabled+allowableValues] = []any{"Once", "Disabled"}
	}
	// quirk.CDIsUSBCD: sushy, system.py: "both "USB CD" and "CD" are present in the
	// list of boot devices".
	if values, ok := boot[overrideTarget+allowableValues].([]any); ok && has(quirk.CDIsUSBCD) {
		boot[overrideTarget+allowableValues] = append(values, "UsbCd")
	}
	// quirk.SerialIsSKU: the recorded R750 has the service tag in SKU and another
	// number in SerialNumber.
	if has(quirk.SerialIsSKU) && !strings.HasPrefix(str(doc["SerialNumber"]), "BOARD-") {
		doc["SKU"], doc["SerialNumber"] = doc["SerialNumber"], "BOARD-"+str(doc["SerialNumber"])
	}
	// quirk.NoManufacturer. Unverified: a recorded M640, not at hand.
	if has(quirk.NoManufacturer) {
		doc["Manufacturer"] = ""
	}
	// quirk.BIOSPath: sushy-tools, main.py: /redfish/v1/Systems/<identity>/BIOS. Its
	// link is taken away here; that is unverified.
	if has(quirk.BIOSPath) {
		delete(doc, "Bios")
	}
	// quirk.MediaOnSystem: ironic, drac/boot.py: "iDRAC10 doesn't have Virtual Media in
	// Managers".
	if _, there := doc["VirtualMedia"]; has(quirk.MediaOnSystem) && !there {
		s.moveMedia(doc)
	}
	if has(quirk.BootViaSettings) {
		s.shapeSettings(k, doc, boot)
	}
}

// moveMedia shows a manager's virtual media below the system.
func (s *Server) moveMedia(doc obj) {
	managers, _ := sub(doc, "Links")["ManagedBy"].([]any)
	for _, m := range managers {
		if all, ok := s.recorded(s.files[key(ref(m))])["VirtualMedia"]; ok {
			doc["VirtualMedia"] = all
			return
		}
	}
}

// shapeSettings gives a system a settings object that takes its boot override.
func (s *Server) shapeSettings(k string, doc, boot obj) {
	settings := s.settingsOf(doc)
	if settings == "" {
		uri := strings.TrimRight(str(doc["@odata.id"]), "/") + "/Settings"
		doc["@Redfish.Settings"] = obj{"@odata.type": "#Settings.v1_3_5.Settings", "SettingsObject": obj{"@odata.id": uri}}
		settings = key(uri)
		s.docs[settings] = obj{"@odata.id": uri, "@odata.type": doc["@odata.type"], "Id": "Settings", "Name": "Pending Settings"}
	}
	s.settings[settings] = k
	pending := s.doc(settings)
	if pending == nil {
		return
	}
	merged := clone(boot)
	merge(merged, sub(pending, "Boot"))
	pending["Boot"] = merged
}

func (s *Server) shapeSlot(k string, doc obj) {
	has := s.o.Quirks.Has
	switch id := str(doc["Id"]); {
	// quirk.MediaPatch: the recorded SR670 V2 has ten members, none with an action.
	case has(quirk.MediaPatch):
		delete(doc, "Actions")
	// The DMTF's reference server and OpenBMC's recorded slots may have none either;
	// the standard has them.
	case len(sub(doc, "Actions")) == 0 && !strings.HasPrefix(id, "EXT") && !strings.HasPrefix(id, "RDOC") && !strings.HasPrefix(id, "Remote"):
		uri := strings.TrimRight(str(doc["@odata.id"]), "/")
		doc["Actions"] = obj{
			"#VirtualMedia.InsertMedia": obj{"target": uri + "/Actions/VirtualMedia.InsertMedia"},
			"#VirtualMedia.EjectMedia":  obj{"target": uri + "/Actions/VirtualMedia.EjectMedia"},
		}
	}
	// quirk.MediaStale: ironic's release note fix-redfish-vmedia-stale-insert-skip: a
	// slot says Inserted although its image is long gone.
	if has(quirk.MediaStale) && s.firstSlot(k) {
		load(doc, obj{}, "http://192.0.2.1/stale.iso")
	}
	// quirk.MediaSkipSlot. Unverified: MegaRAC's recorded slots (not at hand) have no
	// MediaTypes.
	if has(quirk.MediaSkipSlot) {
		delete(doc, "MediaTypes")
		doc["ImageName"] = "old.iso"
	}
}

// quirk.FirmwareMultipart: the recorded OpenBMC 2.15 has no SimpleUpdate.
// quirk.PushPath: the recorded iLO 7 has /cgi-bin/uploadFile.
func (s *Server) shapeUpdate(doc obj) {
	if s.o.Quirks.Has(quirk.FirmwareMultipart) {
		delete(sub(doc, "Actions"), "#UpdateService.SimpleUpdate")
		if str(doc["MultipartHttpPushUri"]) == "" {
			doc["MultipartHttpPushUri"] = "/redfish/v1/UpdateService/update-multipart"
		}
	}
	if s.o.Quirks.Has(quirk.PushPath) {
		doc["HttpPushUri"], doc["MultipartHttpPushUri"] = "/cgi-bin/uploadFile", "/cgi-bin/uploadMultipart"
	}
}
