package quirk

import "strings"

// Facts is what a BMC says of itself. Empty means not known.
type Facts struct {
	Vendor         string   // of the service root
	Product        string   // of the service root
	RootName       string   // Name of the service root
	RedfishVersion string   // of the service root
	OEM            []string // keys of the service root's Oem
	Manufacturer   string   // of the ComputerSystem
	Model          string   // of the ComputerSystem
	BMCFirmware    string   // FirmwareVersion of the Manager
	ManagerModel   string   // Model of the Manager
	DeviceID       string   // answer to IPMI's Get Device ID after its completion code, in hex
}

const (
	maxFact = 256 // bytes of a fact that are looked at
	maxOEM  = 16  // keys of Oem that are looked at
)

// Detect tells the quirks of a BMC: those of every vendor that it shows a sign
// of, or, if there is none, the generic ones, which do no harm to a BMC that
// keeps to the standard. More facts may give another Set, so it is asked again
// when there are more.
func Detect(f Facts) Set {
	f = f.bounded()
	set := Set{}
	known := false
	for _, v := range Vendors() {
		if len(v.Is) == 0 && known || len(v.Is) > 0 && !v.fits(f) {
			continue
		}
		known = true
		for _, e := range v.Quirk {
			if e.fits(f) {
				set[e.Quirk] = true
			}
		}
	}
	return set
}

func (f Facts) bounded() Facts {
	for _, s := range []*string{
		&f.Vendor, &f.Product, &f.RootName, &f.RedfishVersion, &f.Manufacturer, &f.Model, &f.BMCFirmware, &f.ManagerModel, &f.DeviceID,
	} {
		*s = plain(*s)
	}
	oem := make([]string, 0, min(len(f.OEM), maxOEM))
	for _, key := range f.OEM[:min(len(f.OEM), maxOEM)] {
		oem = append(oem, plain(key))
	}
	f.OEM = oem
	return f
}

// plain cuts s to what is looked at and folds its case.
func plain(s string) string {
	return strings.ToLower(strings.TrimSpace(s[:min(len(s), maxFact)]))
}

func (v Vendor) fits(f Facts) bool {
	for _, s := range v.Is {
		if s.fits(f) {
			return true
		}
	}
	return false
}

func (s Sign) fits(f Facts) bool {
	for _, c := range []struct{ pattern, fact string }{
		{s.Vendor, f.Vendor},
		{s.Product, f.Product},
		{s.RootName, f.RootName},
		{s.Manufacturer, f.Manufacturer},
		{s.ManagerModel, f.ManagerModel},
		{s.DeviceID, f.DeviceID},
	} {
		if c.pattern != "" && !glob(c.pattern, c.fact) {
			return false
		}
	}
	return s.OEM == "" || anyGlob([]string{s.OEM}, f.OEM...)
}

func (e Entry) fits(f Facts) bool {
	for _, w := range e.When {
		if w.fits(f) {
			return true
		}
	}
	return len(e.When) == 0
}

func (w When) fits(f Facts) bool {
	switch {
	case len(w.Model) > 0 && !anyGlob(w.Model, f.Model, f.Product):
		return false
	case anyGlob(w.Except, f.Model, f.Product):
		return false
	case len(w.ManagerModel) > 0 && !anyGlob(w.ManagerModel, f.ManagerModel):
		return false
	case anyGlob(w.Unless, f.ManagerModel):
		return false
	}
	return w.Firmware.has(f.BMCFirmware) && w.Redfish.has(f.RedfishVersion)
}
