package admission

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/ingot-metal/ingot/api/v1alpha1"
)

// checkNetwork judges a ProvisioningNetwork beyond its schema, which knows what an
// address is and that the range and the gateway lie in the network.
func checkNetwork(n *v1alpha1.ProvisioningNetwork) field.ErrorList {
	r, ok := rangeOf(n)
	if !ok {
		return nil
	}
	path := field.NewPath("spec", "range")
	if r.start.BitLen() != r.end.BitLen() || r.end.Less(r.start) {
		return field.ErrorList{field.Invalid(path.Child("end"), n.Spec.Range.End, "comes before range.start "+n.Spec.Range.Start+": exchange the two")}
	}
	var errs field.ErrorList
	if own, err := netip.ParsePrefix(n.Spec.Address); err == nil && r.holds(own.Addr()) {
		errs = append(errs, field.Invalid(path, r.String(), "holds this server's own address "+own.Addr().String()+": it would be given to a machine"))
	}
	if gw, err := netip.ParseAddr(n.Spec.Gateway); err == nil && r.holds(gw) {
		errs = append(errs, field.Invalid(path, r.String(), "holds the gateway "+gw.String()+": it would be given to a machine"))
	}
	return errs
}

// checkNetworks judges it beside the others: no address may be lent by two. The
// same addresses may be used behind two userspace switches, which never meet.
func checkNetworks(n *v1alpha1.ProvisioningNetwork, others []v1alpha1.ProvisioningNetwork) field.ErrorList {
	r, ok := rangeOf(n)
	if !ok {
		return nil
	}
	i := slices.IndexFunc(others, func(o v1alpha1.ProvisioningNetwork) bool {
		ro, ok := rangeOf(&o)
		apart := n.Spec.Interface != o.Spec.Interface && (userspace(n) || userspace(&o))
		return ok && o.Name != n.Name && !apart && r.meets(ro)
	})
	if i < 0 {
		return nil
	}
	ro, _ := rangeOf(&others[i])
	return field.ErrorList{field.Invalid(field.NewPath("spec", "range"), r.String(),
		fmt.Sprintf("overlaps with %s of ProvisioningNetwork %s: two machines would get one address", ro, others[i].Name))}
}

func userspace(n *v1alpha1.ProvisioningNetwork) bool {
	return strings.HasPrefix(n.Spec.Interface, "unix:")
}

// addresses that are lent, inclusive at both ends.
type addresses struct{ start, end netip.Addr }

// rangeOf is what a network lends; false: nothing, or what the schema refuses.
func rangeOf(n *v1alpha1.ProvisioningNetwork) (addresses, bool) {
	if n.Spec.Range == nil || n.Spec.Mode != v1alpha1.NetworkDHCP && n.Spec.Mode != "" {
		return addresses{}, false
	}
	start, err := netip.ParseAddr(n.Spec.Range.Start)
	if err != nil {
		return addresses{}, false
	}
	end, err := netip.ParseAddr(n.Spec.Range.End)
	return addresses{start, end}, err == nil
}

func (a addresses) holds(ip netip.Addr) bool {
	return ip.BitLen() == a.start.BitLen() && !ip.Less(a.start) && !a.end.Less(ip)
}

func (a addresses) meets(b addresses) bool {
	return a.start.BitLen() == b.start.BitLen() && bytes.Compare(a.start.AsSlice(), b.end.AsSlice()) <= 0 &&
		bytes.Compare(b.start.AsSlice(), a.end.AsSlice()) <= 0
}

func (a addresses) String() string { return a.start.String() + " to " + a.end.String() }
