package admission

import (
	"net"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// checkInterfaces holds that each entry chooses one interface, and none is chosen
// twice. ingot keeps the entries for those who configure switches.
func checkInterfaces(all []Interface, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, n := range all {
		at := path.Index(i)
		if (n.Name == "") == (n.MACAddress == "") {
			errs = append(errs, field.Invalid(at, n.Name+n.MACAddress, "choose the interface by name or by macAddress: exactly one of the two"))
			continue
		}
		by, value := at.Child("name"), n.Name
		if n.MACAddress != "" {
			by, value = at.Child("macAddress"), strings.ToLower(n.MACAddress)
			if hw, err := net.ParseMAC(n.MACAddress); err != nil || len(hw) != 6 {
				errs = append(errs, field.Invalid(by, n.MACAddress, "write it like 52:54:00:12:34:56"))
			}
		}
		if seen[value] {
			errs = append(errs, field.Duplicate(by, value))
		}
		seen[value] = true
		if n.HostNetworkAttachment != nil && n.HostNetworkAttachment.Name == "" {
			errs = append(errs, field.Required(at.Child("hostNetworkAttachment", "name"), "name the HostNetworkAttachment, or leave hostNetworkAttachment out"))
		}
	}
	return errs
}
