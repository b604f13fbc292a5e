package sushytools

import (
	"fmt"
	"maps"
	"strconv"
)

// defaultBIOS is systems, DEFAULT_BIOS_ATTRIBUTES.
func defaultBIOS() map[string]string {
	return map[string]string{
		"BootMode": "Uefi", "EmbeddedSata": "Raid", "L2Cache": "10x256 KB", "NicBoot1": "NetworkBoot", "NumCores": "10",
		"QuietBoot": "true", "ProcTurboMode": "Enabled", "SecureBootStatus": "Enabled", "SerialNumber": "QPX12345", "SysPassword": "",
	}
}

// full is a view of the feature set full, about a machine.
func (s *Server) full(r *request, feature string, f func(*system) (*reply, error)) (*reply, error) {
	if err := s.feature(feature, Full); err != nil {
		return nil, err
	}
	return s.with(r, f)
}

// bios is main, bios; template bios@cc0bd13f. It is at BIOS, not Bios; the
// registry it names is none of those that the emulator has; and it offers an
// action ChangePassword that no view has.
func (s *Server) bios(r *request) (*reply, error) {
	return s.full(r, "BIOS", func(sys *system) (*reply, error) {
		uri := path("/redfish/v1/Systems", r.vars["identity"], "BIOS")
		return &reply{body: obj{
			"@odata.type": "#Bios.v1_0_0.Bios", "@odata.context": "/redfish/v1/$metadata#Bios.Bios", "@odata.id": uri,
			"Id": "BIOS", "Name": "BIOS Configuration Current Settings", "AttributeRegistry": "BiosAttributeRegistryP89.v1_0_0",
			"Attributes":        maps.Clone(sys.bios),
			"@Redfish.Settings": obj{"@odata.type": "#Settings.v1_0_0.Settings", "SettingsObject": link(uri + "/Settings")},
			"Actions": obj{
				"#Bios.ResetBios":      obj{"target": uri + "/Actions/Bios.ResetBios"},
				"#Bios.ChangePassword": obj{"target": uri + "/Actions/Bios.ChangePassword"},
			},
		}}, nil
	})
}

// biosSettings is main, bios_settings; template bios_settings@acd170e6: what is
// pending is what is in force.
func (s *Server) biosSettings(r *request) (*reply, error) {
	return s.full(r, "BIOS", func(sys *system) (*reply, error) {
		return &reply{body: obj{
			"@odata.type": "#Bios.v1_0_0.Bios", "@odata.context": "/redfish/v1/$metadata#Bios.Bios",
			"@odata.id": path("/redfish/v1/Systems", r.vars["identity"], "BIOS/Settings"), "@Redfish.Copyright": copyright14,
			"Id": "Settings", "Name": "BIOS Configuration Pending Settings", "AttributeRegistry": "BiosAttributeRegistryP89.v1_0_0",
			"Attributes": maps.Clone(sys.bios),
		}}, nil
	})
}

// biosPatch is systems, set_bios: in force at once, any name, every value a
// string in Python's words (True, None, 10).
func (s *Server) biosPatch(r *request) (*reply, error) {
	return s.full(r, "BIOS", func(sys *system) (*reply, error) {
		in, err := r.json()
		if err != nil {
			return nil, err
		}
		attributes, ok := in["Attributes"].(obj)
		if !ok {
			return nil, fail("'%s' object is not iterable", pythonType(in["Attributes"]))
		}
		for name, v := range attributes {
			sys.bios[name] = asText(v)
		}
		return done(), nil
	})
}

// biosReset is systems, reset_bios.
func (s *Server) biosReset(r *request) (*reply, error) {
	return s.full(r, "BIOS", func(sys *system) (*reply, error) {
		sys.bios = defaultBIOS()
		return done(), nil
	})
}

// asText is Python's str().
func asText(v any) string {
	switch n := v.(type) {
	case nil:
		return "None"
	case bool:
		return map[bool]string{true: "True", false: "False"}[n]
	case string:
		return n
	case float64:
		if n == float64(int64(n)) {
			return strconv.FormatInt(int64(n), 10)
		}
		return strconv.FormatFloat(n, 'g', -1, 64)
	}
	return fmt.Sprint(v)
}

// secureBoot is main, secure_boot over systems, get_secure_boot; template
// secure_boot@41628d35. There are no keys to reset.
func (s *Server) secureBoot(r *request) (*reply, error) {
	return s.full(r, "SecureBoot", func(sys *system) (*reply, error) {
		if sys.mode == "Legacy" {
			return nil, notSupported("Legacy boot mode does not support secure boot")
		}
		return &reply{body: obj{
			"@odata.type": "#SecureBoot.v1_1_0.SecureBoot", "@odata.context": "/redfish/v1/$metadata#SecureBoot.SecureBoot",
			"@odata.id": path("/redfish/v1/Systems", r.vars["identity"], "SecureBoot"), "@Redfish.Copyright": copyright17,
			"Id": "SecureBoot", "Name": "UEFI Secure Boot", "Actions": obj{}, "SecureBootEnable": sys.secure,
			"SecureBootCurrentBoot": map[bool]string{true: "Enabled", false: "Disabled"}[sys.secure], "SecureBootMode": "DeployedMode",
		}}, nil
	})
}

// secureBootPatch is systems, set_secure_boot: it makes the machine one of UEFI,
// and whatever is not true is false.
func (s *Server) secureBootPatch(r *request) (*reply, error) {
	return s.full(r, "SecureBoot", func(sys *system) (*reply, error) {
		in, err := r.json()
		if err != nil {
			return nil, err
		}
		if sys.mode == "Legacy" {
			return nil, notSupported("Legacy boot mode does not support secure boot")
		}
		sys.mode, sys.secure = "UEFI", truth(in["SecureBootEnable"])
		if err := sys.define(r.ctx); err != nil {
			return nil, err
		}
		return done(), nil
	})
}
