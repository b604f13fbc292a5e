package node

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/record"
)

// become makes a draft one whose document is is, where it was was: what a
// BareMetalHost has a place for is put there.
func (s *Store) become(ctx context.Context, dr *draft, was, is *ironic.Node) error {
	w, b := &dr.said, dr.host
	if w.learn(was, is); w.newImage {
		w.Over = imageID(b.Spec.Image)
	}
	if is.Driver == DriverFake {
		annotate(b, record.AnnotationDriver, DriverFake, true)
	} else if was.Driver == DriverFake {
		annotate(b, record.AnnotationDriver, "", false)
	}
	if err := dr.rename(s, was, is); err != nil {
		return err
	}
	if err := dr.connect(was, is); err != nil {
		return err
	}
	if err := s.learnSecrets(ctx, dr, was, is); err != nil {
		return err
	}
	if err := dr.machine(was, is); err != nil {
		return err
	}
	dr.inspection(was, is)
	if err := s.learnDrive(dr, is); err != nil {
		return err
	}
	if !equal(was.Description, is.Description) {
		b.Spec.Description = value(is.Description)
	}
	b.Spec.DisablePowerOff = is.DisablePowerOff
	if is.DisablePowerOff {
		b.Spec.Online = true // admission: what cannot be powered off is on
	}
	if !equal(was.AutomatedClean, is.AutomatedClean) {
		b.Spec.AutomatedCleaningMode = metal3.CleaningModeMetadata
		if is.AutomatedClean != nil && !*is.AutomatedClean {
			b.Spec.AutomatedCleaningMode = metal3.CleaningModeDisabled
		}
	}
	if was.Maintenance != is.Maintenance || !equal(was.MaintenanceReason, is.MaintenanceReason) {
		annotate(b, record.AnnotationMaintenance, value(is.MaintenanceReason), is.Maintenance)
		if of, marked := b.Annotations[AnnotationUnhealthy]; !marked || of == UnhealthyOurs {
			annotate(b, AnnotationUnhealthy, UnhealthyOurs, is.Maintenance)
		}
	}
	if !equal(was.InstanceUUID, is.InstanceUUID) {
		if err := dr.instance(is.InstanceUUID); err != nil {
			return err
		}
	}
	return nil
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func annotate(b *metal3.BareMetalHost, key, is string, has bool) {
	if !has {
		delete(b.Annotations, key)
		return
	}
	if b.Annotations == nil {
		b.Annotations = map[string]string{}
	}
	b.Annotations[key] = is
}

// rename keeps the node's name as its client wrote it.
func (dr *draft) rename(s *Store, was, is *ironic.Node) error {
	if !dr.new && equal(was.Name, is.Name) {
		return nil
	}
	name := value(is.Name)
	if name != "" && s.taken(name, dr.id) {
		return ErrExists
	}
	dr.record.Spec.IronicName = name
	if dr.host.Annotations[record.AnnotationNodeUUID] != "" {
		annotate(dr.host, record.AnnotationNodeName, name, name != "")
	}
	return nil
}

// connect says where the BMC is.
func (dr *draft) connect(was, is *ironic.Node) error {
	b, w := dr.host, &dr.said
	before, errBefore := connect(was.Driver, was.DriverInfo, was.BootInterface)
	meant, err := connect(is.Driver, is.DriverInfo, is.BootInterface)
	if err != nil && (dr.new || errBefore == nil || was.Driver != is.Driver || !reflect.DeepEqual(was.DriverInfo, is.DriverInfo)) {
		return err
	}
	if err != nil || errBefore == nil && was.Driver == is.Driver && before.same(meant) && !dr.new {
		return nil
	}
	b.Spec.BMC.Address, b.Spec.BMC.DisableCertificateVerification = meant.address, meant.insecure
	switch {
	case meant.address == "":
		b.Spec.BMC.CredentialsName = "" // a host that names a Secret names a BMC
	case b.Spec.BMC.CredentialsName == "":
		b.Spec.BMC.CredentialsName = w.Secret
	}
	return nil
}

// machine says how the machine boots, and from which disk.
func (dr *draft) machine(was, is *ironic.Node) error {
	if is.Driver == DriverFake {
		return nil
	}
	b := dr.host
	mode, err := bootModeSaid(is.InstanceInfo, is.Properties)
	if before, errBefore := bootModeSaid(was.InstanceInfo, was.Properties); err != nil && errBefore == nil {
		return err
	} else if err == nil && mode != before {
		if mode == "" {
			mode = metal3.DefaultBootMode
		}
		b.Spec.BootMode = mode
	}
	hints, err := hintsSaid(is.InstanceInfo, is.Properties)
	if before, errBefore := hintsSaid(was.InstanceInfo, was.Properties); err != nil && errBefore == nil {
		return err
	} else if err == nil && !sameHints(before, hints) {
		b.Spec.RootDeviceHints = hints
	}
	return nil
}

// inspection says who looks at the hardware: the agent, or the BMC alone.
func (dr *draft) inspection(was, is *ironic.Node) {
	switch before, meant := InspectsByBMC(was.InspectInterface), InspectsByBMC(is.InspectInterface); {
	case before == meant && !dr.new:
	case meant:
		dr.host.Spec.InspectionMode = record.InspectionModeFast
	case before:
		dr.host.Spec.InspectionMode = ""
	}
}

// InspectsByBMC reports whether an inspect interface is one that boots nothing.
func InspectsByBMC(inspect string) bool { return strings.HasSuffix(inspect, "redfish") }

// instance puts an instance on the node, or takes it off.
func (dr *draft) instance(id *string) error {
	b := dr.host
	if id == nil || *id == "" {
		if ref := b.Spec.ConsumerRef; ref != nil && ref.Kind != instanceKind {
			return refuse("The node is held by %s %s, which is not made at this door: take it off there.", ref.Kind, ref.Name)
		}
		b.Spec.ConsumerRef = nil
		return nil
	}
	if b.Spec.ConsumerRef != nil {
		return ErrExists // associated already
	}
	b.Spec.ConsumerRef = &corev1.ObjectReference{APIVersion: instanceVersion, Kind: instanceKind, Namespace: b.Namespace, Name: *id}
	return nil
}

// learnDrive takes a config drive out of what is said of the instance.
func (s *Store) learnDrive(dr *draft, is *ironic.Node) error {
	for key, value := range is.InstanceInfo {
		if Secretive(key) && value != nil && value != ironic.Masked && key != "configdrive" {
			return refuse("instance_info/%s is not taken: it looks like a secret, and what is said of an instance is not kept as one. Pull images from where no login is needed, or by a Secret that spec.image.ociAuthSecretName of the BareMetalHost names.", key)
		}
	}
	sent, there := is.InstanceInfo["configdrive"]
	delete(dr.said.InstanceInfo, "configdrive")
	if len(dr.said.InstanceInfo) == 0 {
		dr.said.InstanceInfo = nil
	}
	switch {
	case there && sent == ironic.Masked:
		return nil
	case !there || sent == nil:
		if dr.said.Drive != "" {
			return s.setDrive(dr, nil)
		}
		return nil
	}
	raw, err := json.Marshal(sent)
	if err != nil {
		return err
	}
	data, err := driveSecret(raw)
	if err != nil {
		return err
	}
	return s.setDrive(dr, data)
}

// SetMaintenance takes a node into maintenance, or out of it.
func (s *Store) SetMaintenance(ctx context.Context, n *Node, on bool, reason string) (*Node, error) {
	d := n.Clone()
	d.Maintenance, d.MaintenanceReason = on, nil
	if on && reason != "" {
		d.MaintenanceReason = &reason
	}
	return s.Update(ctx, n, d)
}

// SetTraits replaces a node's traits.
func (s *Store) SetTraits(ctx context.Context, n *Node, traits []string) (*Node, error) {
	d := n.Clone()
	d.Traits = traits
	return s.Update(ctx, n, d)
}

// SetTargetRAID says what RAID the next create_configuration makes.
func (s *Store) SetTargetRAID(ctx context.Context, n *Node, config ironic.Object) (*Node, error) {
	d := n.Clone()
	d.TargetRAIDConfig = config
	return s.Update(ctx, n, d)
}

// SetConsole says whether a node's console is served.
func (s *Store) SetConsole(ctx context.Context, n *Node, on bool) (*Node, error) {
	d := n.Clone()
	d.ConsoleEnabled = on
	return s.Update(ctx, n, d)
}

// SetInstance puts an instance on a node (nil: takes it off), for an allocation if
// one is given. A node that has one is ErrExists.
func (s *Store) SetInstance(ctx context.Context, n *Node, instance, allocation *string) (*Node, error) {
	d := n.Clone()
	d.InstanceUUID, d.AllocationUUID = instance, allocation
	return s.Update(ctx, n, d)
}
