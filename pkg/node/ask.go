package node

import (
	"context"
	"encoding/json"
	"reflect"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/record"
)

// Asked is what a client asks of a node's life cycle.
type Asked struct {
	Verb  ironic.Verb
	Power ironic.Power // instead of Verb
	// Timeout is how long a machine has to follow a soft power verb, a day at most; 0: not said.
	Timeout time.Duration
	Erase   string       // metadata, all, or what Steps say
	Node    *ironic.Node // the document that is to hold from then on; nil: as it is

	Steps          []ironic.Step   // of clean, active, rebuild, service; checked by their form alone
	ConfigDrive    json.RawMessage // as it was sent: an object, or a string (base64, or a URL); nil: none
	DisableRamdisk bool            // of clean and service: the agent is not to be booted
}

// Ask hands a verb to the life cycle, along with what has to be declared for it.
// Whether the node's state allows it is the caller's to know; that it is still in that
// state, and that no ask is lost for this one, is made sure of here.
func (s *Store) Ask(ctx context.Context, was *Node, a Asked) (*Node, error) {
	defer s.alone(was.Key).Unlock()
	n, err := s.begin(ctx, was)
	if err != nil {
		return nil, err
	}
	if *n.ProvisionState != *was.ProvisionState || !equal(n.TargetPowerState, was.TargetPowerState) || n.pending() != nil {
		return nil, ErrChanged
	}
	dr, err := s.draft(ctx, n)
	if err != nil {
		return nil, err
	}
	d := &was.Node
	if a.Node != nil {
		d = a.Node
		if err := s.become(ctx, dr, &was.Node, d); err != nil {
			return nil, err
		}
	}
	if a.Power != "" {
		dr.power(a.Power)
	} else if err := s.verb(ctx, dr, d, a); err != nil {
		return nil, err
	}
	dr.said.LastError = nil
	verb, number := string(a.Verb), int64(1)
	if a.Power != "" {
		verb = string(a.Power)
	}
	if last := dr.record.Spec.Ask; last != nil {
		number = last.N + 1
	}
	if st := dr.record.Status.Node; st != nil {
		number = max(number, st.Asked+1) // the spec may have been lost
	}
	dr.record.Spec.Ask = &v1alpha1.Ask{N: number, Verb: verb, Erase: erases(a), Hold: holds(a.Steps), TimeoutSeconds: int32(a.Timeout / time.Second)}
	return s.store(ctx, dr)
}

// power declares the power that is asked for. What is done is the ask's.
func (dr *draft) power(p ironic.Power) {
	switch p {
	case ironic.PowerOn, ironic.Reboot, ironic.SoftReboot:
		dr.host.Spec.Online = true
	case ironic.PowerOff:
		dr.host.Spec.Online = false
	case ironic.SoftPowerOff: // it may stay on: the life cycle declares it, once it is off
	}
}

// verb declares what a verb needs.
func (s *Store) verb(ctx context.Context, dr *draft, d *ironic.Node, a Asked) error {
	if d.Driver != DriverFake {
		if err := s.declareSteps(ctx, dr, d, a); err != nil {
			return err
		}
	}
	if a.DisableRamdisk {
		if err := dr.withoutAgent(a); err != nil {
			return err
		}
	}
	b := dr.host
	switch a.Verb {
	case ironic.VerbActive, ironic.VerbRebuild:
		return s.deploy(ctx, dr, d, a)
	case ironic.VerbDeleted:
		s.undeploy(dr)
	case ironic.VerbAdopt:
		b.Spec.ExternallyProvisioned, b.Spec.Online = true, b.Status.PoweredOn || b.Spec.DisablePowerOff
		if d.Driver == DriverFake {
			b.Spec.ExternallyProvisioned = false // there is nothing
		}
	case ironic.VerbProvide:
		b.Spec.Online = b.Spec.DisablePowerOff
	}
	return nil
}

// deploy declares the image that instance_info names.
func (s *Store) deploy(ctx context.Context, dr *draft, d *ironic.Node, a Asked) error {
	oldDrive := dr.said.Drive
	data, err := driveSecret(a.ConfigDrive)
	if err != nil {
		return err
	}
	if len(data) > 0 {
		if err := s.setDrive(dr, data); err != nil {
			return err
		}
	}
	if d.Driver == DriverFake {
		return nil // it is shown, and nothing is written
	}
	image, err := imageOf(d.InstanceInfo)
	if err != nil {
		return err
	}
	method := customMethod(d, a.Steps)
	if image == nil && method == nil {
		return refuse("instance_info names nothing to deploy: image_source is missing.")
	}
	b := dr.host
	b.Spec.Image, b.Spec.CustomDeploy, b.Spec.Online, b.Spec.ExternallyProvisioned = image, method, true, false
	dr.said.Over = imageID(image)
	switch {
	case dr.driveKeys != nil:
		dr.refer(oldDrive, dr.driveKeys)
	case dr.said.Drive != "":
		return s.referKnown(ctx, dr)
	}
	return nil
}

// referKnown makes the host's spec name a config drive that was set beforehand.
func (s *Store) referKnown(ctx context.Context, dr *draft) error {
	if ref := dr.host.Spec.UserData; ref != nil && ref.Name == dr.said.Drive {
		return nil
	}
	secret := &corev1.Secret{}
	if err := s.Reader.Get(ctx, types.NamespacedName{Namespace: dr.host.Namespace, Name: dr.said.Drive}, secret); err != nil {
		return wrap(err, "reading the config drive of node %s", dr.id)
	}
	dr.refer("", secret.Data)
	return nil
}

// undeploy declares that nothing is to be on the disk. Ironic forgets the instance.
func (s *Store) undeploy(dr *draft) {
	b, w := dr.host, &dr.said
	b.Spec.Image, b.Spec.CustomDeploy, b.Spec.ExternallyProvisioned = nil, nil, false
	b.Spec.Online = b.Spec.DisablePowerOff
	if ref := b.Spec.ConsumerRef; ref != nil && ref.Kind == instanceKind {
		b.Spec.ConsumerRef = nil
	}
	old := w.Drive
	if old != "" {
		dr.drop = append(dr.drop, old)
	}
	w.InstanceInfo, w.InstanceName, w.AllocationUUID, w.Drive, w.Over = nil, nil, nil, "", ""
	dr.refer(old, nil)
}

// customMethod is the one step of a deployment whose ramdisk does it all (Metal3's
// custom deploy); nil: there is none.
func customMethod(d *ironic.Node, steps []ironic.Step) *metal3.CustomDeploy {
	if d.DeployInterface != "custom-agent" {
		return nil
	}
	for _, st := range steps {
		if st.Interface == "deploy" {
			return &metal3.CustomDeploy{Method: st.Step}
		}
	}
	return nil
}

// erases says how much the steps erase.
func erases(a Asked) string {
	out := a.Erase
	for _, st := range a.Steps {
		switch st.Interface + "." + st.Step {
		case "deploy.erase_devices", "deploy.erase_devices_express":
			return "all"
		case "deploy.erase_devices_metadata":
			out = "metadata"
		}
	}
	return out
}

// holds reports whether the node is to rest in the midst of its steps.
func holds(steps []ironic.Step) bool {
	for _, st := range steps {
		if st.Step == "hold" {
			return true
		}
	}
	return false
}

// declareSteps declares what the steps of a verb are to bring about: a step is no command
// here but a state that the life cycle makes true.
func (s *Store) declareSteps(ctx context.Context, dr *draft, d *ironic.Node, a Asked) error {
	clean, service := a.Verb == ironic.VerbClean, a.Verb == ironic.VerbService
	if !clean && !service {
		if (a.Verb == ironic.VerbActive || a.Verb == ironic.VerbRebuild) && len(a.Steps) > 0 && customMethod(d, a.Steps) == nil {
			return refuse("The deploy step %s.%s is not supported: a deployment writes the image, and nothing else.", a.Steps[0].Interface, a.Steps[0].Step)
		}
		return nil
	}
	for _, st := range a.Steps {
		var err error
		switch name := st.Interface + "." + st.Step; {
		case clean && name == "deploy.erase_devices_metadata":
		case clean && (name == "deploy.erase_devices" || name == "deploy.erase_devices_express"):
			err = refuse("The step %s is not supported: the agent erases the metadata of disks (deploy.erase_devices_metadata), not all of them.", name)
		case clean && name == "raid.delete_configuration":
			dr.noRAID(d)
		case clean && (name == "raid.create_configuration" || name == "raid.apply_configuration"):
			err = dr.makeRAID(d, st)
		case name == "bios.apply_configuration":
			err = s.applySettings(ctx, dr, st)
		case name == "firmware.update":
			err = s.applyUpdates(ctx, dr, st)
		default:
			err = refuse("The step %s is not supported by this driver for %s.", name, a.Verb)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// withoutAgent refuses what the agent would be booted for. Ironic refuses the steps that
// require its ramdisk (conductor/steps.py, _validate_user_step), though only when the
// node is cleaning already.
func (dr *draft) withoutAgent(a Asked) error {
	soft := dr.host.Spec.RAID != nil && dr.host.Spec.RAID.SoftwareRAIDVolumes != nil
	for _, st := range a.Steps {
		if st.Interface == "deploy" || st.Interface == "raid" && soft {
			return refuse("The %s step %s.%s requires booting a ramdisk, which disable_ramdisk rules out.", a.Verb, st.Interface, st.Step)
		}
	}
	if a.Verb == ironic.VerbClean && record.SoftRAIDDue(dr.host) {
		return refuse("Cleaning makes or deletes the software RAID that spec.raid declares otherwise than it is: that requires booting a ramdisk, which disable_ramdisk rules out.")
	}
	return nil
}

// noRAID declares that there are to be no volumes.
func (dr *draft) noRAID(d *ironic.Node) {
	none := &metal3.RAIDConfig{HardwareRAIDVolumes: []metal3.HardwareRAIDVolume{}}
	if old := dr.host.Spec.RAID; d.RAIDInterface == "agent" || old != nil && len(old.SoftwareRAIDVolumes) > 0 {
		none = &metal3.RAIDConfig{SoftwareRAIDVolumes: []metal3.SoftwareRAIDVolume{}}
	}
	dr.host.Spec.RAID = none
}

// makeRAID declares what target_raid_config says.
func (dr *draft) makeRAID(d *ironic.Node, st ironic.Step) error {
	config := d.TargetRAIDConfig
	if given, ok := object(st.Args["raid_config"]); ok {
		config = given
		dr.said.TargetRAIDConfig = given
	}
	if len(config) == 0 {
		return refuse("The step raid.%s needs a target_raid_config: set it with PUT states/raid.", st.Step)
	}
	r, err := raidOf(config)
	if err != nil {
		return err
	}
	dr.host.Spec.RAID = r
	return nil
}

// applySettings declares firmware settings, beside those that are declared.
func (s *Store) applySettings(ctx context.Context, dr *draft, st ironic.Step) error {
	list, ok := st.Args["settings"].([]any)
	if !ok || len(list) == 0 {
		return refuse("The step bios.apply_configuration needs a list settings of {name, value}.")
	}
	was := &metal3.HostFirmwareSettings{}
	if err := s.Reader.Get(ctx, dr.n.Key, was); err != nil && !apierrors.IsNotFound(err) {
		return wrap(err, "reading the firmware settings of node %s", dr.id)
	}
	is := was.DeepCopy()
	if is.Spec.Settings == nil {
		is.Spec.Settings = metal3.DesiredSettingsMap{}
	}
	for _, v := range list {
		one, ok := object(v)
		name := text(one["name"])
		if !ok || name == "" {
			return refuse("A setting of bios.apply_configuration has no name.")
		}
		if n, isNumber := number(one["value"]); isNumber {
			is.Spec.Settings[name] = intstr.FromInt(n)
		} else {
			is.Spec.Settings[name] = intstr.FromString(text(one["value"]))
		}
	}
	edits, err := editsOf(was, is)
	dr.companions[objectSettings] = edits
	return err
}

// applyUpdates declares firmware updates.
func (s *Store) applyUpdates(ctx context.Context, dr *draft, st ironic.Step) error {
	list, ok := st.Args["settings"].([]any)
	if !ok || len(list) == 0 {
		return refuse("The step firmware.update needs a list settings of {component, url}.")
	}
	was := &metal3.HostFirmwareComponents{}
	if err := s.Reader.Get(ctx, dr.n.Key, was); err != nil && !apierrors.IsNotFound(err) {
		return wrap(err, "reading the firmware components of node %s", dr.id)
	}
	is := was.DeepCopy()
	is.Spec.Updates = nil
	for _, v := range list {
		one, ok := object(v)
		u := metal3.FirmwareUpdate{Component: text(one["component"]), URL: text(one["url"])}
		if !ok || u.Component == "" || u.URL == "" {
			return refuse("A setting of firmware.update lacks its component or its url.")
		}
		is.Spec.Updates = append(is.Spec.Updates, u)
	}
	if reflect.DeepEqual(was.Spec.Updates, is.Spec.Updates) {
		return nil
	}
	edits, err := editsOf(was, is)
	dr.companions[objectComponents] = edits
	return err
}
