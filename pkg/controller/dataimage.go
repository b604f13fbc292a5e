package controller

import (
	"context"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/record"
)

// dataImage reads the DataImage of a host's name, holds it, and says what it wants
// in the drive. Nothing else of it reaches the machine: the host's life cycle
// inserts it and takes it out.
func (c *Hosts) dataImage(ctx context.Context, l *live) (string, error) {
	b := l.objs.BMH
	d := &metal3.DataImage{}
	err := c.Client.Get(ctx, client.ObjectKeyFromObject(b), d)
	if err != nil {
		l.data = nil
		return "", client.IgnoreNotFound(err)
	}
	if l.data != nil && l.data.UID == d.UID && !newer(d, l.data) {
		d = l.data // what we wrote is not in the cache yet
	}
	l.data = d
	if m := l.h.Media; m == nil && d.Status.AttachedImage.URL != "" && record.Unknown(l.objs.HR) {
		// Metal3 left it there.
		l.h.Media = &host.Media{URL: d.Status.AttachedImage.URL, Use: host.MediaData, In: true}
	}
	if l.h.Wants.Paused || paused(d) || !d.DeletionTimestamp.IsZero() || !b.DeletionTimestamp.IsZero() {
		return record.DataImage(d, l.h.Media), nil
	}
	held := d.DeepCopy()
	controllerutil.AddFinalizer(held, metal3.DataImageFinalizer)
	if !record.OwnedBy(held, b) {
		held.OwnerReferences = append(held.OwnerReferences, record.Owner(b))
	}
	if !equality.Semantic.DeepEqual(held.ObjectMeta, d.ObjectMeta) {
		patch := client.MergeFromWithOptions(d, client.MergeFromWithOptimisticLock{})
		if err := c.Client.Patch(ctx, held, patch, record.FieldOwner); err != nil {
			return "", client.IgnoreNotFound(err)
		}
		l.data = held
	}
	return record.DataImage(l.data, l.h.Media), nil
}

// showDataImage tells a host's DataImage what came of it, and lets go of it once
// it is out of the drive.
func (c *Hosts) showDataImage(ctx context.Context, l *live) error {
	d := l.data
	if d == nil || l.h.Wants.Paused || paused(d) || l.h.Gone {
		return nil
	}
	out := l.h.Media == nil || l.h.Media.Use != host.MediaData
	if !d.DeletionTimestamp.IsZero() && out {
		return c.dropDataImage(ctx, d)
	}
	st := record.DataImageStatus(l.h)
	st.LastReconciled = d.Status.LastReconciled
	if equality.Semantic.DeepEqual(st, d.Status) {
		return nil
	}
	now := metav1.NewTime(c.Now())
	st.LastReconciled = &now
	next := d.DeepCopy()
	next.Status = st
	if err := c.Client.Status().Patch(ctx, next, client.MergeFrom(d), record.FieldOwner); err != nil {
		return client.IgnoreNotFound(err)
	}
	l.data = next
	return nil
}

func (c *Hosts) dropDataImage(ctx context.Context, d *metal3.DataImage) error {
	if !controllerutil.ContainsFinalizer(d, metal3.DataImageFinalizer) {
		return nil
	}
	next := d.DeepCopy()
	controllerutil.RemoveFinalizer(next, metal3.DataImageFinalizer)
	patch := client.MergeFromWithOptions(d, client.MergeFromWithOptimisticLock{})
	return client.IgnoreNotFound(c.Client.Patch(ctx, next, patch, record.FieldOwner))
}

// orphan lets go of a DataImage whose host is gone.
func (c *Hosts) orphan(ctx context.Context, k types.NamespacedName) error {
	d := &metal3.DataImage{}
	if err := c.Client.Get(ctx, k, d); err != nil {
		return client.IgnoreNotFound(err)
	}
	if d.DeletionTimestamp.IsZero() {
		return nil
	}
	return c.dropDataImage(ctx, d)
}

func paused(o client.Object) bool {
	_, yes := o.GetAnnotations()[metal3.PausedAnnotation]
	return yes
}
