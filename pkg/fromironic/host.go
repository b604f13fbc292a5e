package fromironic

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/enroll"
	"github.com/ingot-metal/ingot/pkg/node"
	"github.com/ingot-metal/ingot/pkg/record"
)

// hostBuilder makes the BareMetalHost and the NodeAttributes of a node.
type hostBuilder struct {
	node          *Node
	machine       *machine // nil: fake-hardware
	key           types.NamespacedName
	ports         []Thing
	secret        *enroll.Object // to be made with it
	secretName    string
	noCredentials bool
	verdict       *Verdict
}

func (h *hostBuilder) note(format string, args ...any) {
	h.verdict.Notes = append(h.verdict.Notes, fmt.Sprintf(format, args...))
}

func (h *hostBuilder) build() (host, attributes enroll.Object, err error) {
	spec, err := h.spec()
	if err != nil {
		return host, attributes, err
	}
	host = enroll.Object{Manager: FieldManager, Once: true, Unstructured: &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "metal3.io/v1alpha1", "kind": "BareMetalHost",
		"metadata": map[string]any{"name": h.key.Name, "namespace": h.key.Namespace, "annotations": h.annotations()},
		"spec":     spec,
	}}}
	attrs, err := h.attributes()
	if err != nil {
		return host, attributes, err
	}
	attributes = enroll.Object{Manager: FieldManager, Once: true, Host: h.key.Name, Unstructured: ours("NodeAttributes", h.key, attrs)}
	return host, attributes, nil
}

func (h *hostBuilder) active() bool {
	return h.node.ProvisionState != nil && *h.node.ProvisionState == ironic.Active
}

// hold is where the new host rests. A node in use goes on as what it is; an
// available one goes on until it is available here.
func (h *hostBuilder) hold() string {
	st := ironic.Available
	if h.node.ProvisionState != nil {
		st = *h.node.ProvisionState
	}
	switch {
	case h.machine == nil:
		return string(st)
	case h.noCredentials:
		return string(ironic.Enroll)
	case st == ironic.Active, st == ironic.Available:
		return ""
	}
	return string(ironic.Enroll)
}

func (h *hostBuilder) annotations() map[string]any {
	n := h.node
	a := map[string]any{record.AnnotationNodeUUID: n.UUID, record.AnnotationNodeHold: h.hold()}
	if n.Name != nil {
		a[record.AnnotationNodeName] = *n.Name
	}
	if h.machine == nil {
		a[record.AnnotationDriver] = fakeDriver
	}
	if h.maintenance() {
		a[record.AnnotationMaintenance] = "in maintenance at the Ironic that it was imported from"
		if n.MaintenanceReason != nil && *n.MaintenanceReason != "" {
			a[record.AnnotationMaintenance] = clip(*n.MaintenanceReason)
		}
	}
	if h.hold() != "" || h.maintenance() {
		a[node.AnnotationUnhealthy] = node.UnhealthyOurs
	}
	h.explain()
	return a
}

// moved is the reason by which a person has Ironic leave a node alone that is being
// taken over (docs/howto/from-ironic.md).
const moved = "moved to ingot"

func (h *hostBuilder) maintenance() bool {
	return h.node.Maintenance && deref(h.node.MaintenanceReason) != moved
}

// explain says what comes of it, where that is not plain.
func (h *hostBuilder) explain() {
	n := h.node
	call := n.UUID
	if n.Name != nil {
		call = *n.Name
	}
	switch {
	case h.machine == nil:
	case h.noCredentials && h.active():
		h.note("no credentials: it rests in enroll, and its machine is not spoken to. Give them (Secret %s), then: baremetal node manage %s; baremetal node adopt %s", h.secretName, call, call)
	case h.noCredentials:
		h.note("no credentials: it rests in enroll, and its machine is not spoken to. Give them (Secret %s), then: baremetal node manage %s", h.secretName, call)
	case h.active():
	case h.hold() == "":
		h.note("it goes on by itself: its machine is inspected%s, until it is available", h.cleaning())
	case *n.ProvisionState == ironic.Manageable:
		h.note("it rests in enroll until its BMC was asked anew: baremetal node manage %s", call)
	}
	if m := h.machine; m != nil && m.authority != "" {
		h.note("Ironic checks its BMC's certificate by %s: have ingot trust that authority, or pin the key (docs/reference/bmc-annotations.md)", m.authority)
	}
	if _, other := h.interfaces(); len(other) > 0 {
		h.note("%s: there is no such thing here, the driver's default is used", strings.Join(other, ", "))
	}
}

func (h *hostBuilder) cleaning() string {
	if h.node.AutomatedClean != nil && !*h.node.AutomatedClean {
		return ""
	}
	return " and its disks' metadata erased"
}

// interfaces are those of the node by their first words. What ingot does not have is
// foreign: the driver's default stands for it.
func (h *hostBuilder) interfaces() (kept map[string]string, foreign []string) {
	n := h.node
	kept = map[string]string{}
	for _, i := range []struct{ kind, is, here string }{
		{"bios", n.BIOSInterface, "redfish idrac-redfish no-bios"},
		{"boot", n.BootInterface, "ipxe pxe http http-ipxe redfish-virtual-media redfish-https idrac-redfish-virtual-media"},
		{"console", n.ConsoleInterface, "no-console"},
		{"deploy", n.DeployInterface, "direct ramdisk custom-agent noop autodetect"},
		{"firmware", n.FirmwareInterface, "redfish no-firmware"},
		{"inspect", n.InspectInterface, "agent redfish idrac-redfish no-inspect"},
		{"management", n.ManagementInterface, "redfish idrac-redfish ipmitool noop"},
		{"network", n.NetworkInterface, "noop"},
		{"power", n.PowerInterface, "redfish idrac-redfish ipmitool"},
		{"raid", n.RAIDInterface, "agent redfish idrac-redfish no-raid"},
		{"rescue", n.RescueInterface, "no-rescue"},
		{"storage", n.StorageInterface, "noop external"},
		{"vendor", n.VendorInterface, "redfish idrac-redfish ipmitool no-vendor"},
	} {
		switch {
		case i.is == "":
		case h.machine == nil || slices.Contains(strings.Fields(i.here), i.is):
			kept[i.kind] = i.is
		default:
			foreign = append(foreign, i.kind+"_interface "+clip(i.is))
		}
	}
	return kept, foreign
}

func (h *hostBuilder) spec() (map[string]any, error) {
	n := h.node
	spec := map[string]any{
		"online": h.active() && n.PowerState != nil && *n.PowerState == ironic.PowerOn,
	}
	if h.active() && h.machine != nil {
		spec["externallyProvisioned"] = true
	}
	if m := h.machine; m != nil {
		b := map[string]any{"address": m.text, "credentialsName": h.secretName}
		if m.noVerify {
			b["disableCertificateVerification"] = true
		}
		spec["bmc"] = b
	}
	if mac := h.bootMAC(); mac != "" {
		spec["bootMACAddress"] = mac
	} else if h.machine != nil && h.machine.address.NeedsMAC {
		return nil, fmt.Errorf("none of its ports is pxe_enabled, and %s needs to know its MAC address", h.machine.address.Name)
	}
	device := n.InstanceInfo["root_device"]
	if device == nil {
		device = n.Properties["root_device"]
	}
	hints, err := rootHints(device)
	if err != nil {
		return nil, err
	}
	capabilities := n.InstanceInfo["capabilities"]
	if bootMode(capabilities) == "" {
		capabilities = n.Properties["capabilities"]
	}
	for field, value := range map[string]string{
		"bootMode": bootMode(capabilities), "architecture": architecture(n.Properties["cpu_arch"]), "description": deref(n.Description),
	} {
		if value != "" {
			spec[field] = value
		}
	}
	if len(hints) > 0 {
		spec["rootDeviceHints"] = hints
	}
	if n.AutomatedClean != nil && !*n.AutomatedClean {
		spec["automatedCleaningMode"] = "disabled"
	}
	if m := h.machine; m != nil && m.address.FastInspect && node.InspectsByBMC(n.InspectInterface) {
		spec["inspectionMode"] = record.InspectionModeFast
	}
	if n.DisablePowerOff {
		spec["disablePowerOff"] = true
	}
	if n.InstanceUUID != nil && isUUID(strings.ToLower(*n.InstanceUUID)) {
		spec["consumerRef"] = map[string]any{"apiVersion": v1alpha1.GroupVersion.String(), "kind": "NodeInstance", "name": *n.InstanceUUID}
	}
	return spec, nil
}

// bootMAC is the address of the first port that boots; of none if none does.
func (h *hostBuilder) bootMAC() string {
	for _, p := range h.ports {
		mac, _ := p.Body["address"].(string)
		if boots, said := p.Body["pxe_enabled"].(bool); mac != "" && (boots || !said) && enroll.IsMAC(mac) {
			return strings.ToLower(mac)
		}
	}
	return ""
}

func architecture(v any) string {
	switch v {
	case "x86_64", "aarch64":
		return v.(string)
	}
	return ""
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// attributes is what the BareMetalHost has no place for. Nothing in it is secret.
func (h *hostBuilder) attributes() (map[string]any, error) {
	n := h.node
	interfaces, _ := h.interfaces()
	standIn := ironic.Masked
	if h.noCredentials {
		standIn = "" // or it would look as if they were known
	}
	kept := map[string]any{
		"driver": n.Driver, "driver_info": withoutSecrets(n.DriverInfo, standIn), "interfaces": interfaces,
		"properties": n.Properties, "extra": n.Extra, "instance_info": withoutSecrets(n.InstanceInfo, ""),
		"network_data": n.NetworkData, "traits": n.Traits, "instance_name": n.InstanceName, "chassis_uuid": n.ChassisUUID,
		"allocation_uuid": n.AllocationUUID, "owner": n.Owner, "lessee": n.Lessee, "shard": n.Shard, "resource_class": n.ResourceClass,
		"protected": n.Protected, "protected_reason": n.ProtectedReason, "retired": n.Retired, "retired_reason": n.RetiredReason,
		"conductor_group": n.ConductorGroup, "automated_clean": n.AutomatedClean,
	}
	if h.secret != nil {
		kept["secret"] = h.secretName // ours to change when driver_info is
	}
	text, err := json.Marshal(kept)
	if err != nil {
		return nil, err
	}
	var attributes map[string]any
	if err := json.Unmarshal(text, &attributes); err != nil {
		return nil, err
	}
	for k, v := range attributes {
		if empty(v) && k != "automated_clean" || v == nil {
			delete(attributes, k)
		}
	}
	if text, err = json.Marshal(attributes); err != nil {
		return nil, err
	}
	if len(text) > v1alpha1.MaxAttributes {
		return nil, fmt.Errorf("its extra, properties, instance_info and the like are %d KiB of JSON, and %d KiB are kept", len(text)>>10, v1alpha1.MaxAttributes>>10)
	}
	spec := map[string]any{"id": n.UUID, "attributes": attributes}
	setTime(spec, "createdAt", deref(n.CreatedAt))
	setTime(spec, "updatedAt", deref(n.UpdatedAt))
	return spec, nil
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == ""
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}

// setTime takes a time as Ironic writes it, where it is one.
func setTime(spec map[string]any, field, text string) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		spec[field] = t.UTC().Format("2006-01-02T15:04:05.000000Z")
	}
}

// ours is an object of a kind of ours, that moves along with its host.
func ours(kind string, key types.NamespacedName, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": kind,
		"metadata": map[string]any{
			"name": key.Name, "namespace": key.Namespace,
			"labels": map[string]any{"clusterctl.cluster.x-k8s.io/move": ""},
		},
		"spec": spec,
	}}
}

// hostName is the name of a new host: its node's, as far as Kubernetes takes it.
func (c *converter) hostName(n *Node) types.NamespacedName {
	key := types.NamespacedName{Namespace: c.Namespace, Name: ""}
	if n.Name != nil {
		name := *n.Name
		// Metal3's operator names nodes so.
		if ns, rest, ok := strings.Cut(name, "~"); ok && len(validation.IsDNS1123Label(ns)) == 0 && rest != "" {
			key.Namespace, name = ns, rest
		}
		key.Name = slug(name)
	}
	for _, name := range []string{key.Name, "node-" + n.UUID[:8], "node-" + n.UUID} {
		key.Name = name
		if owner, taken := c.names[key]; name != "" && (!taken || owner == n.UUID) {
			break
		}
	}
	return key
}

// slug is the nearest name that Kubernetes takes; empty: none is near. Metal3 takes
// no UUID for a name.
func slug(name string) string {
	s := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	s = strings.Trim(s, "-.")
	if len(validation.IsDNS1123Subdomain(s)) > 0 || isUUID(s) {
		return ""
	}
	return s
}
