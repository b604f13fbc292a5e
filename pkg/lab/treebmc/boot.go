package treebmc

import (
	"net/http"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

const (
	overrideEnabled = "BootSourceOverrideEnabled"
	overrideTarget  = "BootSourceOverrideTarget"
	overrideMode    = "BootSourceOverrideMode"
	allowableValues = "@Redfish.AllowableValues"
)

func (s *Server) patchSystem(r *request, doc obj) *answer {
	if want := sub(r.body, "Boot"); want != nil {
		// quirk.BootViaSettings: PATCH /Systems/System.Embedded.1 → 400
		// PropertyNotWritable "The property Boot is a read-only property and cannot be
		// assigned a value.", PATCH …/Settings → 200, of an R6715 with iDRAC10
		// 1.20.80.50 (bmclib #461, ansible community.general #11297). A MegaRAC says
		// "Support of this Operation for Boot Properties is moved to FutureState
		// URI(/redfish/v1/Systems/Self/SD)" (Redfish-Tacklebox #144).
		if s.o.Quirks.Has(quirk.BootViaSettings) {
			return readOnly("Boot")
		}
		if refused := s.checkBoot(sub(doc, "Boot"), want); refused != nil {
			return refused
		}
		s.override(sub(doc, "Boot"), want)
		delete(r.body, "Boot")
	}
	// quirk.IndicatorBlinks: the recorded R750 is "Lit" though nobody looks for it;
	// unverified that it turns Off into that.
	if s.o.Quirks.Has(quirk.IndicatorBlinks) && r.body["IndicatorLED"] == "Off" {
		r.body["IndicatorLED"] = "Lit"
	}
	merge(doc, r.body)
	s.touch(r.key)
	return done()
}

// checkBoot judges an override against what the resource shows.
func (s *Server) checkBoot(boot, want obj) *answer {
	_, enabled := want[overrideEnabled]
	_, target := want[overrideTarget]
	_, mode := want[overrideMode]
	order := want["BootOrder"] != nil && !enabled && !target && !mode
	switch {
	// quirk.BootMinimalBody: 400 to Enabled, Target and Mode, 200 without Mode, of an
	// HPE: "BootSourceOverrideMode is not writable" (ansible community.general #3509).
	case s.o.Quirks.Has(quirk.BootMinimalBody) && mode:
		return readOnly(overrideMode)
	// quirk.BootFullBody: 400 "The property BootSourceOverrideMode is a required
	// property and must be included in the request." (ansible community.general
	// #11542); ironic names AMI and ASRockRack. Unverified for the other two.
	case s.o.Quirks.Has(quirk.BootFullBody) && !order && !(enabled && target && mode):
		return refuse(http.StatusBadRequest, "Base.1.8.PropertyMissing", "The property "+overrideMode+" is a required property and must be included in the request.", "#/Boot/"+overrideMode)
	}
	// quirk.OnlyContinuous: sushy-tools, libvirtdriver.py set_boot_device: 500 "Target
	// libvirt device None does not exist in domain …".
	if s.o.Quirks.Has(quirk.OnlyContinuous) && want[overrideTarget] == "None" {
		return refuse(http.StatusInternalServerError, "Base.1.0.GeneralError", "Target libvirt device None does not exist in domain 1")
	}
	for _, name := range slices.Sorted(keysOf(want)) {
		if _, known := boot[name]; !known {
			return unknownProperty("Boot/" + name)
		}
		value, isText := want[name].(string)
		values := words(boot[name+allowableValues])
		if isText && values != nil && !slices.Contains(values, value) {
			return notInList(value, "Boot/"+name)
		}
	}
	return nil
}

// override writes what was checked.
func (s *Server) override(boot, want obj) {
	if boot == nil {
		return
	}
	// quirk.BootModeFlips: ironic, redfish/management.py set_boot_device, "Some BMCs
	// reset it to default (BIOS) when changing the boot device."
	if target, ok := want[overrideTarget]; ok && s.o.Quirks.Has(quirk.BootModeFlips) &&
		target != boot[overrideTarget] && boot[overrideMode] != nil {
		merge(boot, want)
		boot[overrideMode] = "Legacy"
		return
	}
	// quirk.BootAlwaysEnabled: ironic, redfish/management.py _set_boot_device, of
	// Supermicro: "the persistent setting must be set when setting the boot device".
	// Unverified what it does without; here the override ends.
	if _, ok := want[overrideEnabled]; !ok && s.o.Quirks.Has(quirk.BootAlwaysEnabled) {
		boot[overrideEnabled] = "Disabled"
	}
	// quirk.NoBootWrite: "Hdd maps to the generic Hard Disk UEFI entry instead of the
	// OS shim bootloader" (ironic, GitHub #14; Launchpad 2053064), shown here as an
	// order turned round; that is unverified.
	if s.o.Quirks.Has(quirk.NoBootWrite) {
		if order, ok := boot["BootOrder"].([]any); ok {
			slices.Reverse(order)
		}
	}
	merge(boot, want)
	// quirk.OnlyContinuous: sushy-tools, templates/system.json says nothing else.
	if s.o.Quirks.Has(quirk.OnlyContinuous) {
		boot[overrideEnabled] = "Continuous"
	}
}

// start chooses where a machine starts from, and ends an override for once.
func (s *Server) start(k string, doc obj, m *machine) {
	boot := sub(doc, "Boot")
	source := "order"
	if enabled := str(boot[overrideEnabled]); enabled == "Once" || enabled == "Continuous" {
		if target := str(boot[overrideTarget]); target != "" && target != "None" {
			source = target
		}
		if enabled == "Once" {
			boot[overrideEnabled], boot[overrideTarget] = "Disabled", "None"
			s.touch(k)
		}
	}
	switch {
	// quirk.DellVirtualCDBoot: "When i use "Cd", server try to boot from Physical
	// only" (iDRAC-Redfish-Scripting #90); ServerBoot.1.FirstBootDevice VCD-DVD with
	// BootOnce is what boots the virtual one.
	case m.vcd:
		source, m.vcd = "VirtualCd", false
	case s.o.Quirks.Has(quirk.DellVirtualCDBoot) && source == "Cd":
		source = "PhysicalCd"
	// quirk.CDIsUSBCD: sushy, system.py: "only selecting the appropriate one for the
	// platform as the boot source results in a successful boot from vMedia".
	case s.o.Quirks.Has(quirk.CDIsUSBCD) && source == "Cd":
		source = "order"
	}
	s.boots = append(s.boots, source)
}

// vcdAttributes notices the iDRAC's attributes that boot the virtual CD: PATCH
// {"Attributes": {"ServerBoot.1.FirstBootDevice": "VCD-DVD"}}
// (iDRAC-Redfish-Scripting #90).
func (s *Server) vcdAttributes(body obj) {
	if device := str(sub(body, "Attributes")["ServerBoot.1.FirstBootDevice"]); strings.EqualFold(device, "VCD-DVD") {
		s.armVCD()
	}
}

func (s *Server) armVCD() {
	for _, k := range s.hosts() {
		s.machine(k).vcd = true
	}
}

// importConfiguration is Dell's EID_674_Manager.ImportSystemConfiguration, as far
// as it sets the boot device: {"ShareParameters": {"Target": "ALL"},
// "ImportBuffer": "… ServerBoot.1#FirstBootDevice … VCD-DVD …"}, answered 202 with
// a job in Location (iDRAC-Redfish-Scripting #90, #116).
func (s *Server) importConfiguration(r *request) *answer {
	buffer := str(r.body["ImportBuffer"])
	if buffer == "" {
		return missingParameter("ImportSystemConfiguration", "ImportBuffer")
	}
	return s.begin("import", max(s.o.TaskReads, 1), func() {
		if strings.Contains(buffer, "ServerBoot.1#FirstBootDevice") && strings.Contains(buffer, "VCD-DVD") {
			s.armVCD()
		}
	})
}
