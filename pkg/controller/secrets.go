package controller

import (
	"context"
	"fmt"
	"slices"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/ingot-metal/ingot/pkg/record"
)

// secret reads a Secret; nil: there is none.
func (c *Hosts) secret(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error) {
	s := &corev1.Secret{}
	err := c.Client.Get(ctx, key, s)
	if apierrors.IsNotFound(err) {
		// Perhaps only the cache does not know it yet.
		err = c.Reader.Get(ctx, key, s)
	}
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading Secret %s: %w", key, err)
	}
	return s, nil
}

// uses has a host woken when a Secret changes.
func (c *Hosts) uses(secret types.NamespacedName, b *metal3.BareMetalHost) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index.uses(secret, client.ObjectKeyFromObject(b))
}

// mark puts Metal3's label and finalizer on a Secret in use, and the owner if one
// is given.
func (c *Hosts) mark(ctx context.Context, s *corev1.Secret, owner *metav1.OwnerReference) error {
	before := s.DeepCopy()
	metav1.SetMetaDataLabel(&s.ObjectMeta, secretLabel, secretLabelValue)
	controllerutil.AddFinalizer(s, secretFinalizer)
	if owner != nil {
		s.OwnerReferences = append(slices.DeleteFunc(s.OwnerReferences, func(r metav1.OwnerReference) bool { return r.UID == owner.UID }), *owner)
	}
	if err := c.Client.Patch(ctx, s, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), record.FieldOwner); err != nil {
		return fmt.Errorf("claiming Secret %s/%s: %w", s.Namespace, s.Name, err)
	}
	return nil
}

// claimNetworkData marks the Secret of the ramdisk's network as in use. Metal3
// does not own it: many hosts may share it.
func (c *Hosts) claimNetworkData(ctx context.Context, b *metal3.BareMetalHost) error {
	n := b.Spec.PreprovisioningNetworkDataName
	if n == "" || !b.DeletionTimestamp.IsZero() {
		return nil
	}
	key := types.NamespacedName{Namespace: b.Namespace, Name: n}
	c.uses(key, b)
	s, err := c.secret(ctx, key)
	if s == nil || err != nil {
		return err
	}
	if !s.DeletionTimestamp.IsZero() || s.Labels[secretLabel] == secretLabelValue && controllerutil.ContainsFinalizer(s, secretFinalizer) {
		return nil
	}
	return c.mark(ctx, s, nil)
}

// unclaim takes a host's finalizer off a Secret that no other host uses.
func (c *Hosts) unclaim(ctx context.Context, b *metal3.BareMetalHost, name string) error {
	if name == "" {
		return nil
	}
	key := types.NamespacedName{Namespace: b.Namespace, Name: name}
	s := &corev1.Secret{}
	err := c.Reader.Get(ctx, key, s)
	if err != nil {
		return client.IgnoreNotFound(err)
	}
	others := slices.ContainsFunc(s.OwnerReferences, func(r metav1.OwnerReference) bool {
		return r.Kind == "BareMetalHost" && r.UID != b.UID
	})
	c.mu.Lock()
	for user := range c.index.secrets[key] {
		others = others || user != client.ObjectKeyFromObject(b)
	}
	c.mu.Unlock()
	if others || !controllerutil.ContainsFinalizer(s, secretFinalizer) {
		return nil
	}
	before := s.DeepCopy()
	controllerutil.RemoveFinalizer(s, secretFinalizer)
	err = c.Client.Patch(ctx, s, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), record.FieldOwner)
	return client.IgnoreNotFound(err)
}

// release lets go of a deleted host's Secrets and companions, and of the object
// itself.
func (c *Hosts) release(ctx context.Context, l *live) error {
	b := l.objs.BMH
	if err := c.releaseRamdisk(ctx, b); err != nil {
		return err
	}
	for _, n := range []string{b.Spec.BMC.CredentialsName, b.Spec.PreprovisioningNetworkDataName} {
		if err := c.unclaim(ctx, b, n); err != nil {
			return err
		}
	}
	if err := c.releaseHardware(ctx, b); err != nil {
		return err
	}
	err := c.patch(ctx, l, func(b *metal3.BareMetalHost) { controllerutil.RemoveFinalizer(b, record.Finalizer) })
	return client.IgnoreNotFound(err)
}
