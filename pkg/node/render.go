package node

import (
	"encoding/json"
	"maps"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/record"
)

const (
	// AnnotationUnhealthy keeps Cluster API's provider from choosing a host (Metal3).
	AnnotationUnhealthy = "capi.metal3.io/unhealthy"
	// UnhealthyOurs is its value where it is not a person's.
	UnhealthyOurs = record.AnnotationMaintenance
)

// The consumerRef of a node that an instance was put on at the REST door.
const (
	instanceVersion = "ingot.dev/v1alpha1"
	instanceKind    = "NodeInstance"
)

// render fills in the node's document from its objects.
func (s *Store) render(n *Node) {
	d := ironic.Node{
		DriverInternalInfo: ironic.Object{}, Extra: ironic.Object{}, NetworkData: ironic.Object{},
		CleanStep: ironic.Object{}, DeployStep: ironic.Object{}, ServiceStep: ironic.Object{}, Traits: []string{},
	}
	w := n.said
	b := n.Host
	d.UUID, d.Name = identity(n, s.Namespace)
	showSaid(&d, w)
	if b != nil {
		n.Created = b.CreationTimestamp.Time
		d.DriverInternalInfo["ingot_host"] = b.Namespace + "/" + b.Name
		showDriver(&d, n, s.credentials(b))
		showInstance(&d, b, w)
		showProperties(&d, b, w)
		showSpec(&d, b, w)
		showHardware(&d, b, w)
	}
	show(n, &d, s.conductor())
	if a := n.Attrs; a != nil && a.Spec.CreatedAt != nil {
		n.Created = a.Spec.CreatedAt.Time
	}
	d.CreatedAt = stamp(n.Created)
	d.UpdatedAt = stamp(updated(n))
	n.Node = d
	n.Version = n.version()
}

// conductor is our name, shared by all nodes.
func (s *Store) conductor() *string { return &s.Conductor }

// identity is a node's UUID and name. One that was born as a BareMetalHost has that
// one's name, as Metal3 writes it for Ironic; one that was born here may have none.
func identity(n *Node, namespace string) (id string, name *string) {
	b := n.Host
	if r := n.Record; r != nil {
		id = r.Spec.ID
		if r.Spec.IronicName != "" {
			name = &r.Spec.IronicName
		}
	}
	if b == nil {
		return id, name
	}
	born := b.Annotations[record.AnnotationNodeUUID]
	if id == "" {
		if id = born; id == "" {
			id = b.Status.Provisioning.ID
		}
		if given := b.Annotations[record.AnnotationNodeName]; given != "" {
			name = &given
		}
	}
	if name == nil && born == "" {
		own := b.Name
		if b.Namespace != namespace {
			own = b.Namespace + "~" + b.Name
		}
		name = &own
	}
	return id, name
}

// showSaid shows what clients alone say.
func showSaid(d *ironic.Node, w *said) {
	if w.Extra != nil {
		d.Extra = w.Extra
	}
	if w.NetworkData != nil {
		d.NetworkData = w.NetworkData
	}
	if w.Traits != nil {
		d.Traits = w.Traits
	}
	d.InstanceName, d.AllocationUUID, d.ChassisUUID, d.ParentNode = w.InstanceName, w.AllocationUUID, w.ChassisUUID, w.ParentNode
	d.Owner, d.Lessee, d.Shard, d.ResourceClass = w.Owner, w.Lessee, w.Shard, w.ResourceClass
	d.Protected, d.ProtectedReason, d.Retired, d.RetiredReason = w.Protected, w.ProtectedReason, w.Retired, w.RetiredReason
	d.ConsoleEnabled, d.ConductorGroup = w.ConsoleEnabled, w.ConductorGroup
	d.BootMode, d.SecureBoot = w.BootMode, w.SecureBoot
}

// isFake reports whether a host stands for no machine.
func isFake(b *metal3.BareMetalHost) bool {
	return b != nil && b.Annotations[record.AnnotationDriver] == DriverFake
}

// showDriver shows the driver, its interfaces, and how the BMC is reached: in the
// client's words if they mean what the BareMetalHost says.
func showDriver(d *ironic.Node, n *Node, known credentials) {
	b, w := n.Host, n.said
	is := connection{b.Spec.BMC.Address, b.Spec.BMC.DisableCertificateVerification}
	d.DriverInfo = maps.Clone(w.DriverInfo)
	if d.DriverInfo == nil {
		d.DriverInfo = ironic.Object{}
	}
	driver, boot := w.Driver, w.Interfaces["boot"]
	inWords := false
	switch {
	case isFake(b):
		driver = DriverFake
	case is.address == "":
		if driver == "" || driver == DriverFake {
			driver = DriverRedfish
		}
	default:
		inWords = w.atErr == nil && w.at.same(is)
		if !inWords {
			var info ironic.Object
			driver, info, boot = is.described()
			for _, key := range connectionKeys {
				delete(d.DriverInfo, key)
			}
			maps.Copy(d.DriverInfo, info)
		}
	}
	d.Driver = driver
	if b.Spec.BMC.CredentialsName != "" && driver != DriverFake {
		user, password := credentialKeys(driver)
		if known.user != "" {
			d.DriverInfo[user] = known.user
		}
		if known.password || w.DriverInfo[password] != nil {
			d.DriverInfo[password] = ironic.Masked
		}
	}
	byDefault := Defaults(driver)
	for name, at := range interfaces(d) {
		if *at = w.Interfaces[name]; *at == "" {
			*at = byDefault[name]
		}
	}
	if boot != "" && !inWords {
		d.BootInterface = boot
	}
	switch fast := b.Spec.InspectionMode == record.InspectionModeFast; {
	case fast && !InspectsByBMC(d.InspectInterface):
		d.InspectInterface = byDefault["power"] // the driver's way to speak Redfish
	case !fast && InspectsByBMC(d.InspectInterface):
		d.InspectInterface = byDefault["inspect"]
	}
}

// showInstance shows what is, or is to be, on the machine's disk.
func showInstance(d *ironic.Node, b *metal3.BareMetalHost, w *said) {
	info := maps.Clone(w.InstanceInfo)
	if info == nil {
		info = ironic.Object{}
	}
	// What clients say of the image is what they want next, until somebody else has
	// declared another meanwhile.
	if is := b.Spec.Image; imageID(is) != w.Over {
		if meant, err := imageOf(info); err != nil || !sameImage(meant, is) {
			for _, key := range imageKeys {
				delete(info, key)
			}
			maps.Copy(info, shownImage(is))
		}
	}
	if w.Drive != "" {
		info["configdrive"] = ironic.Masked
	}
	d.InstanceInfo = info
	if ref := b.Spec.ConsumerRef; ref != nil {
		id := string(b.UID)
		if ref.Kind == instanceKind {
			id = ref.Name
		}
		d.InstanceUUID = &id
	}
}

// showProperties shows what the machine is: what clients say, and for the rest what
// was found.
func showProperties(d *ironic.Node, b *metal3.BareMetalHost, w *said) {
	p := ironic.Object{}
	if hw := b.Status.HardwareDetails; hw != nil {
		if hw.CPU.Count > 0 {
			p["cpus"] = hw.CPU.Count
		}
		if hw.CPU.Arch != "" {
			p["cpu_arch"] = hw.CPU.Arch
		}
		if hw.RAMMebibytes > 0 {
			p["memory_mb"] = hw.RAMMebibytes
		}
		if size := largest(hw.Storage); size > 0 {
			p["local_gb"] = size
		}
		if hw.SystemVendor.Manufacturer != "" {
			p["vendor"] = hw.SystemVendor.Manufacturer
		}
	} else if b.Spec.Architecture != "" {
		p["cpu_arch"] = b.Spec.Architecture
	}
	maps.Copy(p, w.Properties)
	d.Properties = p
	if isFake(b) {
		return
	}
	showHints(d, b, w)
	showBootMode(d, b, w)
}

// showHints has the document name the root disk that the BareMetalHost names.
func showHints(d *ironic.Node, b *metal3.BareMetalHost, w *said) {
	meant, err := hintsSaid(w.InstanceInfo, w.Properties)
	if err == nil && sameHints(meant, b.Spec.RootDeviceHints) {
		return
	}
	in := d.Properties
	if _, there := w.InstanceInfo["root_device"]; there {
		in = d.InstanceInfo
	}
	delete(in, "root_device")
	if hints := shownHints(b.Spec.RootDeviceHints); hints != nil {
		in["root_device"] = hints
	}
}

// showBootMode has the document say the boot mode that the BareMetalHost says. One
// that was born here, and says nothing of it, goes on saying nothing.
func showBootMode(d *ironic.Node, b *metal3.BareMetalHost, w *said) {
	meant, err := bootModeSaid(w.InstanceInfo, w.Properties)
	if err == nil && sameMode(meant, b.Spec.BootMode) && (meant != "" || b.Annotations[record.AnnotationNodeUUID] != "") {
		return
	}
	if of, ok := d.InstanceInfo["capabilities"]; ok {
		d.InstanceInfo["capabilities"] = withoutBootMode(of)
	}
	d.Properties["capabilities"] = withBootMode(d.Properties["capabilities"], b.Spec.BootMode)
}

// largest is the size in GiB of the largest disk, less one, as Ironic's inspection
// counts it.
func largest(disks []metal3.Storage) int {
	var size int64
	for _, d := range disks {
		size = max(size, int64(d.SizeBytes))
	}
	return max(0, int(size>>30)-1)
}

// showSpec shows what is declared of the host otherwise.
func showSpec(d *ironic.Node, b *metal3.BareMetalHost, w *said) {
	if b.Spec.Description != "" {
		d.Description = &b.Spec.Description
	}
	d.DisablePowerOff = b.Spec.DisablePowerOff
	switch {
	case b.Spec.AutomatedCleaningMode == metal3.CleaningModeDisabled:
		d.AutomatedClean = new(false)
	case w.AutomatedClean != nil && *w.AutomatedClean:
		d.AutomatedClean = w.AutomatedClean
	}
	if reason, ok := b.Annotations[record.AnnotationMaintenance]; ok {
		d.Maintenance = true
		if reason != "" {
			d.MaintenanceReason = &reason
		}
	}
	d.TargetRAIDConfig = w.TargetRAIDConfig
	if d.TargetRAIDConfig == nil {
		d.TargetRAIDConfig = shownRAID(b.Spec.RAID)
	}
	d.RAIDConfig = shownRAID(b.Status.Provisioning.RAID)
}

// showHardware shows what is known of the machine as it runs.
func showHardware(d *ironic.Node, b *metal3.BareMetalHost, w *said) {
	if mode := b.Status.Provisioning.BootMode; mode != "" && w.BootMode == nil {
		d.BootMode = new("uefi")
		if mode == metal3.Legacy {
			d.BootMode = new("bios")
		}
		if w.SecureBoot == nil {
			d.SecureBoot = new(mode == metal3.UEFISecureBoot)
		}
	}
	if c := apimeta.FindStatusCondition(b.Status.Conditions, metal3.HealthyCondition); c != nil {
		switch {
		case c.Status == metav1.ConditionTrue:
			d.Health = new("OK")
		case c.Reason == metal3.WarningHealthReason:
			d.Health = new("WARNING")
		case c.Reason == metal3.CriticalHealthReason:
			d.Health = new("CRITICAL")
		}
	}
	d.InspectionStartedAt = stamp(b.Status.OperationHistory.Inspect.Start.Time)
	if end := b.Status.OperationHistory.Inspect.End; !end.Time.Before(b.Status.OperationHistory.Inspect.Start.Time) {
		d.InspectionFinishedAt = stamp(end.Time)
	}
}

// show shows the life cycle.
func show(n *Node, d *ironic.Node, conductor *string) {
	d.Conductor = conductor
	c := courseOf(n)
	st, target := c.state()
	d.ProvisionState = &st
	if target != "" {
		d.TargetProvisionState = &target
	}
	showStep(d, st, workOf(n))
	is, to := powers(n, d.Driver == DriverFake)
	if is != "" {
		d.PowerState = &is
	}
	if to != "" {
		d.TargetPowerState = &to
	}
	if c.works() || to != "" {
		d.Reservation = conductor
	}
	if why := lastError(n); why != "" && c.asked == "" {
		d.LastError = &why
	}
	switch {
	case c.problem == metal3.PowerManagementError:
		d.Fault = new(ironic.FaultPower)
	case st == ironic.CleanFail:
		d.Fault = new(ironic.FaultClean)
	case st == ironic.ServiceFail:
		d.Fault = new(ironic.FaultService)
	}
	d.ProvisionUpdatedAt = stamp(moved(n))
}

// lastError is what went wrong: of what was asked of the machine at once, or else in
// the words of every other door.
func lastError(n *Node) string {
	if e := n.said.LastError; e != nil && *e != "" {
		return *e
	}
	if r := n.Record; r != nil && r.Status.Node != nil && r.Status.Node.Error != "" {
		return r.Status.Node.Error
	}
	if n.Host != nil {
		return n.Host.Status.ErrorMessage
	}
	return ""
}

// moved is when the provision state last changed.
func moved(n *Node) time.Time {
	if r := n.Record; r != nil {
		st := r.Status.Node
		switch {
		case r.Spec.Hold == string(ironic.Enroll) && (st == nil || st.Asked == 0):
			return time.Time{} // it rests where it was born
		case st != nil && st.Since != nil:
			return st.Since.Time
		}
	}
	if n.Host == nil {
		return time.Time{}
	}
	var last time.Time
	h := n.Host.Status.OperationHistory
	for _, m := range []metal3.OperationMetric{h.Register, h.Inspect, h.Provision, h.Deprovision} {
		for _, t := range []time.Time{m.Start.Time, m.End.Time} {
			if t.After(last) {
				last = t
			}
		}
	}
	return last
}

// updated is when what is declared of a node last changed at the REST door.
func updated(n *Node) time.Time {
	if a := n.Attrs; a != nil && a.Spec.UpdatedAt != nil {
		return a.Spec.UpdatedAt.Time
	}
	return time.Time{}
}

// stamp is a time as Ironic writes it; nil: never.
func stamp(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	text := t.UTC().Format("2006-01-02T15:04:05+00:00")
	return &text
}

// saidIn reads attributes. What is none of ours says nothing.
func saidIn(a *v1alpha1.NodeAttributes) *said {
	w := &said{}
	if a != nil && a.Spec.Attributes != nil {
		if json.Unmarshal(a.Spec.Attributes.Raw, w) != nil {
			return &said{}
		}
	}
	w.at, w.atErr = connect(w.Driver, w.DriverInfo, w.Interfaces["boot"])
	return w
}

func (n *Node) version() string {
	text := n.seen
	if n.Host != nil {
		text += version(n.Host)
	}
	if n.Record != nil {
		text += version(n.Record)
	}
	if n.Attrs != nil {
		text += version(n.Attrs)
	}
	return text
}
