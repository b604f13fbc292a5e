package treebmc

import (
	"net/http"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// settingsOf is the key of a resource's settings object (DSP0266 §9.9), or empty.
func (s *Server) settingsOf(doc obj) string {
	k, _ := s.at(sub(doc, "@Redfish.Settings")["SettingsObject"])
	return k
}

// stage keeps what a settings object was sent until the machine starts. A boot
// override is taken at once, as nothing tells a firmware to look there earlier;
// unverified for any one BMC.
func (s *Server) stage(r *request, parent string) *answer {
	doc, of := s.doc(r.key), s.doc(parent)
	if boot := sub(r.body, "Boot"); boot != nil && kind(of, "ComputerSystem") {
		for name := range boot {
			if _, ok := sub(doc, "Boot")[name]; !ok {
				return unknownProperty("Boot/" + name)
			}
		}
		if refused := s.checkBoot(sub(doc, "Boot"), boot); refused != nil {
			return refused
		}
		now := clone(boot)
		delete(now, "BootOrder")
		s.override(sub(doc, "Boot"), now)
		if shown := sub(of, "Boot"); shown != nil {
			for name, value := range now {
				if _, ok := shown[name]; ok {
					shown[name] = value
				}
			}
			s.touch(parent)
		}
	}
	for name := range sub(r.body, "Attributes") {
		if _, known := sub(of, "Attributes")[name]; !known {
			return unknownProperty("Attributes/" + name)
		}
	}
	at, timed := r.body["@Redfish.SettingsApplyTime"].(obj)
	if times := words(sub(of, "@Redfish.Settings")["SupportedApplyTimes"]); timed && times != nil &&
		!slices.Contains(times, str(at["ApplyTime"])) {
		return notInList(str(at["ApplyTime"]), "@Redfish.SettingsApplyTime/ApplyTime")
	}
	change := clone(r.body)
	delete(change, "@Redfish.SettingsApplyTime")
	merge(doc, change)
	s.touch(r.key)
	// quirk.BIOSApplyTime: PATCH …/Bios/Settings {"Attributes": {"MemTest":
	// "Disabled"}} → 200, and "you will only be setting pending values"
	// (iDRAC-Redfish-Scripting #249); with {"@Redfish.SettingsApplyTime":
	// {"ApplyTime": "OnReset"}} there is a job for it (#84).
	if !s.o.Quirks.Has(quirk.BIOSApplyTime) || timed || !kind(of, "Bios") {
		if s.pending[parent] == nil {
			s.pending[parent] = obj{}
		}
		merge(s.pending[parent], change)
	}
	if s.o.TaskReads > 0 {
		// A job of this kind is over when the machine has started.
		return s.begin("settings", s.o.TaskReads, func() {})
	}
	return (&answer{status: http.StatusOK, body: doc}).with("ETag", s.etag(r.key))
}

// applyStaged takes over what waits for the machine at k.
func (s *Server) applyStaged(k string) {
	for parent, change := range s.pending {
		if parent != k && !strings.HasPrefix(parent, k+"/") {
			continue
		}
		doc := s.doc(parent)
		if doc == nil {
			continue
		}
		merge(doc, change)
		if on, ok := change["SecureBootEnable"].(bool); ok {
			doc["SecureBootCurrentBoot"] = map[bool]string{true: "Enabled", false: "Disabled"}[on]
		}
		s.touch(parent)
		if settings := s.settingsOf(doc); settings != "" {
			s.unstage(settings, change)
		}
		delete(s.pending, parent)
	}
}

// unstage shows in a settings object that nothing waits any more: attributes that
// it did not list when it was recorded go.
func (s *Server) unstage(k string, change obj) {
	doc, before := s.doc(k), s.recorded(s.files[k])
	if staged := sub(doc, "Boot"); staged != nil && sub(change, "Boot")[overrideEnabled] == "Once" {
		staged[overrideEnabled], staged[overrideTarget] = "Disabled", "None"
	}
	for name := range sub(change, "Attributes") {
		if _, ok := sub(before, "Attributes")[name]; !ok {
			delete(sub(doc, "Attributes"), name)
		}
	}
	s.touch(k)
}

// resetBIOS goes back to the recorded attributes at the next start.
//
// quirk.BIOSResetBody: sushy's release note fix-2008198, "no body in POST request
// provided and BMC responds with HTTP 400 Bad request", of an R630 with iDRAC
// 2.75.75.75.
func (s *Server) resetBIOS(r *request, k string) *answer {
	if s.o.Quirks.Has(quirk.BIOSResetBody) && r.body == nil {
		return refuse(http.StatusBadRequest, "Base.1.8.MalformedJSON", "The request body submitted was malformed JSON and could not be parsed by the receiving service.")
	}
	defaults := sub(s.recorded(s.files[k]), "Attributes")
	s.pending[k] = obj{"Attributes": clone(defaults)}
	if defaults == nil {
		delete(s.pending, k)
	}
	if s.o.TaskReads > 0 {
		return s.begin("reset BIOS", s.o.TaskReads, func() {})
	}
	return done()
}

func (s *Server) patchSecureBoot(r *request, doc obj) *answer {
	on, ok := r.body["SecureBootEnable"].(bool)
	if !ok {
		return refuse(http.StatusBadRequest, "Base.1.8.PropertyValueTypeError", "SecureBootEnable must be true or false.")
	}
	doc["SecureBootEnable"] = on
	s.touch(r.key)
	s.pending[r.key] = obj{"SecureBootEnable": on}
	return done()
}

// resetKeys changes the mode at the next start, as firmware does (UEFI 2.10
// §32.3: without a platform key it is setup mode).
func (s *Server) resetKeys(r *request, k string, doc obj) *answer {
	how := str(r.body["ResetKeysType"])
	values := s.allowed(doc, "SecureBoot.ResetKeys", "ResetKeysType")
	if values == nil {
		values = []string{"ResetAllKeysToDefault", "DeleteAllKeys", "DeletePK"}
	}
	if !slices.Contains(values, how) {
		return notInList(how, "ResetKeysType")
	}
	mode := "UserMode"
	if strings.HasPrefix(how, "Delete") {
		mode = "SetupMode"
	}
	if s.pending[k] == nil {
		s.pending[k] = obj{}
	}
	merge(s.pending[k], obj{"SecureBootMode": mode})
	return done()
}
