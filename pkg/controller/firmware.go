package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/ingot-metal/ingot/pkg/engine"
	"github.com/ingot-metal/ingot/pkg/firmware"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/record"
)

// companions are the objects that declare and show a host's firmware, named as the
// host is. The host's reconcile alone writes them.
type companions struct {
	stale  atomic.Bool // one of them changed
	loaded bool
	behind bool // an ask came; what was declared along with it may not have

	hfs *metal3.HostFirmwareSettings   // nil: there is none
	hfc *metal3.HostFirmwareComponents // nil: there is none
	hup *metal3.HostUpdatePolicy       // nil: there is none

	// As stored; the status in hfs and hfc may be ahead.
	hfsStored metal3.HostFirmwareSettingsStatus
	hfcStored metal3.HostFirmwareComponentsStatus

	reading *firmware.Reading // that was not shown yet
	schema  map[string]metal3.SettingSchema
	known   bool // a whole reading came in this process's life
	wrong   []invalid
}

// invalid is something declared that cannot be.
type invalid struct {
	on      client.Object
	message string
}

// firmwareRetry is how long a companion that could not be written waits.
const firmwareRetry = 10 * time.Second

// companionKinds are watched for their hosts.
func companionKinds() []client.Object {
	return []client.Object{&metal3.HostFirmwareSettings{}, &metal3.HostFirmwareComponents{}, &metal3.HostUpdatePolicy{}}
}

// companionChanged has the host of a companion read it again.
func (c *Hosts) companionChanged() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		k := client.ObjectKeyFromObject(o)
		c.live(k).firmware.stale.Store(true)
		return []reconcile.Request{{NamespacedName: k}}
	})
}

// declared adds to w what is declared of a host's firmware.
func (c *Hosts) declared(ctx context.Context, l *live, w *host.Wants) error {
	f := &l.firmware
	if f.stale.Swap(false) || !f.loaded || f.behind {
		if err := c.loadCompanions(ctx, l); err != nil {
			f.stale.Store(true)
			return err
		}
		f.loaded, f.behind = true, false
	}
	if err := c.judge(ctx, l); err != nil {
		return err
	}
	w.Settings, w.Updates = firmware.SettingsDue(f.hfs), firmware.UpdatesDue(f.hfc)
	if f.hup != nil {
		w.LiveSettings = f.hup.Spec.FirmwareSettings == metal3.HostUpdatePolicyOnReboot
		w.LiveUpdates = f.hup.Spec.FirmwareUpdates == metal3.HostUpdatePolicyOnReboot
	}
	var said struct {
		Settings metal3.DesiredSettingsMap
		Updates  []metal3.FirmwareUpdate
		Policy   metal3.HostUpdatePolicySpec
	}
	if f.hfs != nil {
		said.Settings = f.hfs.Spec.Settings
	}
	if f.hfc != nil {
		said.Updates = f.hfc.Spec.Updates
	}
	if len(said.Settings) == 0 && len(said.Updates) == 0 {
		return nil
	}
	if f.hup != nil {
		said.Policy = f.hup.Spec
	}
	text, err := json.Marshal(said)
	w.Firmware = host.Short(string(text))
	return err
}

// loadCompanions reads them from the cache, which may be behind what was written;
// past it, where that must not be.
func (c *Hosts) loadCompanions(ctx context.Context, l *live) error {
	f, k := &l.firmware, client.ObjectKeyFromObject(l.objs.BMH)
	var from client.Reader = c.Client
	if f.behind {
		from = c.Reader
	}
	get := func(o client.Object) (bool, error) {
		err := from.Get(ctx, k, o)
		if err != nil && !apierrors.IsNotFound(err) {
			return false, fmt.Errorf("reading the %T of %s: %w", o, k, err)
		}
		return err == nil && o.GetDeletionTimestamp().IsZero(), nil
	}
	hfs, hfc, hup := &metal3.HostFirmwareSettings{}, &metal3.HostFirmwareComponents{}, &metal3.HostUpdatePolicy{}
	switch ok, err := get(hfs); {
	case err != nil:
		return err
	case !ok:
		f.hfs = nil
	case f.hfs == nil || f.hfs.UID != hfs.UID || newer(hfs, f.hfs):
		f.hfs, f.hfsStored = hfs, *hfs.Status.DeepCopy()
	}
	switch ok, err := get(hfc); {
	case err != nil:
		return err
	case !ok:
		f.hfc = nil
	case f.hfc == nil || f.hfc.UID != hfc.UID || newer(hfc, f.hfc):
		f.hfc, f.hfcStored = hfc, *hfc.Status.DeepCopy()
	}
	ok, err := get(hup)
	if f.hup = nil; ok {
		f.hup = hup
	}
	return err
}

// judge brings the statuses up to what was read and what is declared, in memory.
func (c *Hosts) judge(ctx context.Context, l *live) error {
	f := &l.firmware
	r := f.reading
	if r == nil {
		r = &firmware.Reading{}
	}
	f.wrong = nil
	if h := f.hfs; h != nil {
		actual, ref, none := h.Status.Settings, h.Status.FirmwareSchema, r.NoBIOS
		looked := true
		switch {
		case r.BIOS != nil:
			actual, f.schema = firmware.Settings(*r.BIOS), firmware.Schema(*r.BIOS)
			ref = &metal3.SchemaReference{Namespace: h.Namespace, Name: firmware.SchemaName(f.schema)}
		case r.NoBIOS != "":
			looked = h.Status.LastUpdated != nil || len(h.Spec.Settings) > 0
		case h.Status.LastUpdated == nil || observed(h.Status.Conditions, h.Generation):
			looked = false
		case len(actual) == 0:
			none = "there were none when it was last read"
		default:
			if err := c.loadSchema(ctx, l); err != nil {
				return err
			}
		}
		if looked {
			var wrong []string
			h.Status, wrong = firmware.SettingsStatus(h, actual, f.schema, ref, none)
			c.stamp(&h.Status.LastUpdated, &h.Status, &f.hfsStored)
			for _, w := range wrong {
				f.wrong = append(f.wrong, invalid{h, firmware.ValidationMessage(w)})
			}
		}
	}
	if h := f.hfc; h != nil {
		known := h.Status.Components
		looked := r.Components != nil || r.NoComponents != "" || r.Flashed != nil ||
			h.Status.LastUpdated != nil && !observed(h.Status.Conditions, h.Generation)
		if r.Components != nil {
			known = firmware.Components(known, r.Components, r.Flashed, c.Now())
		}
		if looked {
			var wrong []string
			h.Status, wrong = firmware.ComponentsStatus(h, known, r.NoComponents, r.Flashed)
			c.stamp(&h.Status.LastUpdated, &h.Status, &f.hfcStored)
			for _, w := range wrong {
				f.wrong = append(f.wrong, invalid{h, firmware.InvalidComponents(w)})
			}
		}
	}
	return nil
}

// stamp notes when a status became another than what is stored.
func (c *Hosts) stamp(at **metav1.Time, now, stored any) {
	if !equality.Semantic.DeepEqual(now, stored) {
		t := metav1.NewTime(c.Now().Truncate(time.Second))
		*at = &t
	}
}

// observed reports whether conditions are of the object as it is declared now.
func observed(all []metav1.Condition, generation int64) bool {
	c := apimeta.FindStatusCondition(all, string(metal3.FirmwareSettingsValid))
	return c != nil && c.ObservedGeneration == generation
}

// loadSchema reads what a machine's settings may be, if no reading has told it.
func (c *Hosts) loadSchema(ctx context.Context, l *live) error {
	f := &l.firmware
	ref := f.hfs.Status.FirmwareSchema
	if f.schema != nil || ref == nil || ref.Namespace != f.hfs.Namespace {
		return nil
	}
	s := &metal3.FirmwareSchema{}
	if err := c.Client.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, s); err != nil {
		return client.IgnoreNotFound(err)
	}
	f.schema = s.Spec.Schema
	return nil
}

// showFirmware writes what was read and judged. What cannot be written does not
// hold up the host, unless it is that an update was carried out: that must not be
// done twice.
func (c *Hosts) showFirmware(ctx context.Context, l *live) error {
	f, h := &l.firmware, l.h
	if f.reading != nil {
		if err := c.judge(ctx, l); err != nil {
			return err
		}
		told := func(has bool, why string) bool { return has || why != "" }
		f.known = f.known || told(f.reading.BIOS != nil, f.reading.NoBIOS) && told(f.reading.Components != nil, f.reading.NoComponents)
	}
	switch h.State {
	case host.None, host.Unmanaged, host.Registering, host.Deleting:
		return nil
	}
	if h.Good == "" || h.Wants.Paused || h.Detached || h.Wants.Deleting {
		return nil
	}
	must := f.reading != nil && f.reading.Flashed != nil
	err := c.writeCompanions(ctx, l)
	if err == nil {
		f.reading, f.schema = nil, nil // schemas are large and many hosts share one
		return nil
	}
	if must {
		return err
	}
	c.Log.Warn("will be tried again", "host", h.Key, "op", "show firmware", "err", err)
	f.stale.Store(true)
	k := client.ObjectKeyFromObject(l.objs.BMH)
	time.AfterFunc(firmwareRetry, func() { c.enqueue(k) })
	return nil
}

func (c *Hosts) writeCompanions(ctx context.Context, l *live) error {
	f, b := &l.firmware, l.objs.BMH
	meta := metav1.ObjectMeta{Namespace: b.Namespace, Name: b.Name, OwnerReferences: []metav1.OwnerReference{record.Owner(b)}}
	if f.hfs == nil {
		f.hfs = &metal3.HostFirmwareSettings{ObjectMeta: *meta.DeepCopy(), Spec: metal3.HostFirmwareSettingsSpec{Settings: metal3.DesiredSettingsMap{}}}
		f.hfsStored = metal3.HostFirmwareSettingsStatus{}
		if err := c.makeCompanion(ctx, f.hfs); err != nil {
			f.hfs = nil
			return err
		}
		f.hfsStored = *f.hfs.Status.DeepCopy()
		if err := c.judge(ctx, l); err != nil {
			return err
		}
	}
	if f.hfc == nil && f.reading != nil && len(firmware.Components(nil, f.reading.Components, nil, time.Time{})) > 0 {
		f.hfc = &metal3.HostFirmwareComponents{ObjectMeta: *meta.DeepCopy(), Spec: metal3.HostFirmwareComponentsSpec{Updates: []metal3.FirmwareUpdate{}}}
		if err := c.makeCompanion(ctx, f.hfc); err != nil {
			f.hfc = nil
			return err
		}
		f.hfcStored = *f.hfc.Status.DeepCopy()
		if err := c.judge(ctx, l); err != nil {
			return err
		}
	}
	if f.hup != nil {
		if err := c.own(ctx, f.hup, b); err != nil {
			return err
		}
	}
	if err := c.writeSettings(ctx, l); err != nil {
		return err
	}
	return c.writeComponents(ctx, l)
}

// makeCompanion creates an object, or takes the one that somebody made meanwhile.
func (c *Hosts) makeCompanion(ctx context.Context, o client.Object) error {
	err := c.Client.Create(ctx, o, record.FieldOwner)
	if apierrors.IsAlreadyExists(err) {
		err = c.Reader.Get(ctx, client.ObjectKeyFromObject(o), o)
	}
	return err
}

// own makes the host an object's owner, if it is not.
func (c *Hosts) own(ctx context.Context, o client.Object, b *metal3.BareMetalHost) error {
	ref := record.Owner(b)
	if _, policy := o.(*metal3.HostUpdatePolicy); policy {
		ref.Controller = nil
	}
	return c.addOwner(ctx, o, ref)
}

func (c *Hosts) addOwner(ctx context.Context, o client.Object, ref metav1.OwnerReference) error {
	refs := o.GetOwnerReferences()
	if slices.ContainsFunc(refs, func(r metav1.OwnerReference) bool { return r.UID == ref.UID }) {
		return nil
	}
	if metav1.GetControllerOfNoCopy(o) != nil {
		ref.Controller = nil
	}
	before := o.DeepCopyObject().(client.Object)
	o.SetOwnerReferences(append(slices.Clone(refs), ref))
	err := c.Client.Patch(ctx, o, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), record.FieldOwner)
	if err != nil {
		o.SetOwnerReferences(refs)
	}
	return err
}

func (c *Hosts) writeSettings(ctx context.Context, l *live) error {
	f := &l.firmware
	status := *f.hfs.Status.DeepCopy()
	if err := c.own(ctx, f.hfs, l.objs.BMH); err != nil {
		f.hfs.Status = status
		return err
	}
	f.hfs.Status = status // the answer to a patch brings the stored one
	if f.reading != nil && f.reading.BIOS != nil && status.FirmwareSchema != nil {
		if err := c.shareSchema(ctx, l, status.FirmwareSchema.Name); err != nil {
			return err
		}
	}
	if equality.Semantic.DeepEqual(status, f.hfsStored) {
		return nil
	}
	before := f.hfs.DeepCopy()
	before.Status = f.hfsStored
	after := f.hfs.DeepCopy()
	if err := c.Client.Status().Patch(ctx, after, client.MergeFrom(before), record.FieldOwner); err != nil {
		return err
	}
	f.hfs, f.hfsStored = after, *after.Status.DeepCopy()
	c.tellInvalid(l, before)
	return nil
}

func (c *Hosts) writeComponents(ctx context.Context, l *live) error {
	f := &l.firmware
	if f.hfc == nil {
		return nil
	}
	status := *f.hfc.Status.DeepCopy()
	if err := c.own(ctx, f.hfc, l.objs.BMH); err != nil {
		f.hfc.Status = status
		return err
	}
	f.hfc.Status = status
	if equality.Semantic.DeepEqual(status, f.hfcStored) {
		return nil
	}
	before := f.hfc.DeepCopy()
	before.Status = f.hfcStored
	after := f.hfc.DeepCopy()
	if err := c.Client.Status().Patch(ctx, after, client.MergeFrom(before), record.FieldOwner); err != nil {
		return err
	}
	f.hfc, f.hfcStored = after, *after.Status.DeepCopy()
	c.tellInvalid(l, before)
	return nil
}

// shareSchema makes the schema of a machine's settings, or joins its owners.
func (c *Hosts) shareSchema(ctx context.Context, l *live, name string) error {
	f := &l.firmware
	ref := metav1.OwnerReference{APIVersion: metal3.GroupVersion.String(), Kind: "HostFirmwareSettings", Name: f.hfs.Name, UID: f.hfs.UID}
	s := &metal3.FirmwareSchema{}
	key := types.NamespacedName{Namespace: f.hfs.Namespace, Name: name}
	err := c.Client.Get(ctx, key, s)
	if apierrors.IsNotFound(err) {
		s = &metal3.FirmwareSchema{
			ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, OwnerReferences: []metav1.OwnerReference{ref}},
			Spec:       metal3.FirmwareSchemaSpec{Schema: f.schema},
		}
		if hw := l.objs.BMH.Status.HardwareDetails; hw != nil {
			s.Spec.HardwareVendor, s.Spec.HardwareModel = hw.SystemVendor.Manufacturer, hw.SystemVendor.ProductName
		}
		err = c.Client.Create(ctx, s, record.FieldOwner)
		if apierrors.IsAlreadyExists(err) {
			err = c.Reader.Get(ctx, key, s)
		}
	}
	if err != nil {
		return err
	}
	return c.addOwner(ctx, s, ref)
}

// tellInvalid makes events of what is declared and cannot be. It is called when
// that is news.
func (c *Hosts) tellInvalid(l *live, on client.Object) {
	for _, w := range l.firmware.wrong {
		if fmt.Sprintf("%T", w.on) != fmt.Sprintf("%T", on) {
			continue
		}
		c.Events.ObjectEvent(on, corev1.EventTypeWarning, record.ReasonValidationFailed, w.message)
	}
}

// firmwareRead takes in what was read of a host at rest.
func (c *Hosts) firmwareRead(k types.NamespacedName, r *firmware.Reading) {
	c.post(k, post{Post: engine.Post{Firmware: r}})
}

// firmwareKnown reports whether all of a host's firmware is shown.
func (l *live) firmwareKnown() bool {
	f := &l.firmware
	return f.known || f.hfs != nil && f.hfs.Status.LastUpdated != nil && f.hfc != nil && f.hfc.Status.LastUpdated != nil
}
