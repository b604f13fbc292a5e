package controller

import (
	"context"
	"fmt"
	"regexp"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/record"
)

// hardwareFinalizer keeps a HardwareData as long as its host (Metal3's name).
const hardwareFinalizer = metal3.BareMetalHostFinalizer + "/hardwareData"

// facts is what this process did about a host's hardware, besides inspecting it.
type facts struct {
	seen   string                  // version of the HardwareData that was read
	given  bool                    // live.extra.Hardware was given by a person
	shown  *metal3.HardwareDetails // in the HardwareData already
	filled bool                    // spec.architecture was filled
	told   string                  // what was last said of an annotation that cannot be read
}

// hostOfHardware wakes a host that takes its hardware from its HardwareData: a
// person makes one where inspection is disabled.
func (c *Hosts) hostOfHardware(_ context.Context, o client.Object) []reconcile.Request {
	k := client.ObjectKeyFromObject(o)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.index.bare[k] {
		return nil
	}
	return []reconcile.Request{{NamespacedName: k}}
}

// hardwareGiven takes hardware that a person tells, in a HardwareData or in the
// annotation inspect.metal3.io/hardwaredetails: where inspection is disabled, or
// has not told any yet.
func (c *Hosts) hardwareGiven(ctx context.Context, l *live) error {
	b := l.objs.BMH
	k := client.ObjectKeyFromObject(b)
	text, annotated := b.Annotations[metal3.HardwareDetailsAnnotation]
	bare := b.Status.HardwareDetails == nil || b.InspectionDisabled()
	c.mu.Lock()
	if bare {
		c.index.bare[k] = true
	} else {
		delete(c.index.bare, k)
	}
	c.mu.Unlock()
	if !b.DeletionTimestamp.IsZero() || !bare && !annotated || l.extra.Hardware != nil {
		return nil
	}
	var given *metal3.HardwareDetails
	if bare {
		var err error
		if given, err = c.readHardware(ctx, l, k, annotated); err != nil {
			return err
		}
		if given == nil && text != "" {
			given = &metal3.HardwareDetails{}
			if err := record.Strict(text, given); err != nil {
				c.unreadable(l, "the annotation "+metal3.HardwareDetailsAnnotation+" is not read: "+err.Error())
				return nil // it stays, to be corrected
			}
		}
		if given != nil && !equality.Semantic.DeepEqual(given, b.Status.HardwareDetails) {
			l.extra.Hardware, l.facts.given = given, true
		}
	}
	if annotated {
		l.todo = append(l.todo, host.Action{Verb: host.Unannotate, Annotation: metal3.HardwareDetailsAnnotation})
		if !l.facts.given {
			c.Events.Event(b, corev1.EventTypeNormal, record.ReasonRemoveAnnotation,
				"HardwareDetails annotation ignored, status already set and inspection is not disabled")
		}
	}
	return nil
}

// unreadable tells once of an annotation that cannot be read.
func (c *Hosts) unreadable(l *live, what string) {
	if l.facts.told == what {
		return
	}
	l.facts.told = what
	c.Log.Warn("annotation", "host", client.ObjectKeyFromObject(l.objs.BMH).String(), "err", what)
	c.Events.Event(l.objs.BMH, corev1.EventTypeWarning, record.ReasonInvalidAnnotation, what)
}

// readHardware reads a HardwareData that this process has not read yet. The cache
// knows of each that it exists, and no more: they are long.
func (c *Hosts) readHardware(ctx context.Context, l *live, k types.NamespacedName, again bool) (*metal3.HardwareDetails, error) {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(metal3.GroupVersion.WithKind("HardwareData"))
	if err := c.Client.Get(ctx, k, m); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	if m.ResourceVersion == l.facts.seen && !again {
		return nil, nil
	}
	hd := &metal3.HardwareData{}
	if err := c.Reader.Get(ctx, k, hd); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	l.facts.seen = m.ResourceVersion
	return hd.Spec.HardwareDetails, nil
}

// showHardware shows what an inspection found in an object of its own, once.
func (c *Hosts) showHardware(ctx context.Context, l *live) error {
	if l.extra.Hardware == nil || l.facts.given || l.facts.shown == l.extra.Hardware || !l.objs.BMH.DeletionTimestamp.IsZero() {
		return nil
	}
	if err := c.hardwareData(ctx, l.objs.BMH, l.extra.Hardware); err != nil {
		return err
	}
	l.facts.shown = l.extra.Hardware
	return nil
}

// tellHardware follows a save.
func (c *Hosts) tellHardware(l *live) {
	if l.facts.given {
		c.Events.Event(l.objs.BMH, corev1.EventTypeNormal, record.ReasonUpdateHardwareDetails, "Set HardwareDetails from hardware data or annotation")
	}
	l.facts.given, l.facts.shown = false, nil
}

// hardwareData makes a host's HardwareData. An earlier one is replaced, as Metal3
// does: what watches it sees that it is another inspection's.
func (c *Hosts) hardwareData(ctx context.Context, b *metal3.BareMetalHost, found *metal3.HardwareDetails) error {
	hd := &metal3.HardwareData{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: b.Namespace, Name: b.Name,
			Finalizers: []string{hardwareFinalizer}, OwnerReferences: []metav1.OwnerReference{record.Owner(b)},
		},
		Spec: metal3.HardwareDataSpec{HardwareDetails: found},
	}
	err := c.Client.Create(ctx, hd.DeepCopy(), record.FieldOwner)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	if err := c.releaseHardware(ctx, b); err != nil {
		return err
	}
	if err := c.Client.Delete(ctx, hd.DeepCopy()); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("replacing HardwareData %s/%s: %w", b.Namespace, b.Name, err)
	}
	err = c.Client.Create(ctx, hd.DeepCopy(), record.FieldOwner)
	if apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("replacing HardwareData %s/%s: somebody else's finalizer keeps the earlier one", b.Namespace, b.Name)
	}
	return err
}

// releaseHardware takes the finalizer off a host's HardwareData.
func (c *Hosts) releaseHardware(ctx context.Context, b *metal3.BareMetalHost) error {
	hd := &metal3.HardwareData{}
	if err := c.Reader.Get(ctx, client.ObjectKeyFromObject(b), hd); err != nil {
		return client.IgnoreNotFound(err)
	}
	before := hd.DeepCopy()
	if !controllerutil.RemoveFinalizer(hd, hardwareFinalizer) {
		return nil
	}
	err := c.Client.Patch(ctx, hd, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), record.FieldOwner)
	return client.IgnoreNotFound(err)
}

// fillArchitecture declares the architecture that was found where none is
// declared, as Metal3 does. It is done once, by a patch of this field alone: a
// spec that is kept in Git is not fought over. Nothing depends on it.
func (c *Hosts) fillArchitecture(ctx context.Context, l *live) {
	b := l.objs.BMH
	hw := b.Status.HardwareDetails
	if b.Spec.Architecture != "" || hw == nil || l.facts.filled || !b.DeletionTimestamp.IsZero() ||
		!regexp.MustCompile(`^[a-z0-9_]{1,32}$`).MatchString(hw.CPU.Arch) {
		return
	}
	next := b.DeepCopy()
	next.Spec.Architecture = hw.CPU.Arch
	if err := c.apply(ctx, l, next, client.MergeFrom(b)); client.IgnoreNotFound(err) != nil {
		c.Log.Warn("spec.architecture is not filled yet", "host", l.h.Key, "err", err)
		return // with the next change
	}
	l.facts.filled = true
}
