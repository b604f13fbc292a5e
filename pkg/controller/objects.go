package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/ingot-metal/ingot/pkg/record"
)

// Metal3's marks on the Secrets that a host uses.
const (
	secretLabel      = "environment.metal3.io"
	secretLabelValue = "baremetal"
	secretFinalizer  = "baremetalhost.metal3.io/secret"
)

// hold keeps the object until the host was let go of. It reports true when there
// is nothing more to do for it.
func (c *Hosts) hold(ctx context.Context, l *live) (bool, error) {
	b := l.objs.BMH
	has := controllerutil.ContainsFinalizer(b, record.Finalizer)
	if !b.DeletionTimestamp.IsZero() {
		return !has, nil
	}
	if has {
		return false, nil
	}
	return false, c.patch(ctx, l, func(b *metal3.BareMetalHost) { controllerutil.AddFinalizer(b, record.Finalizer) })
}

// patch changes a host's metadata, and nothing if that changes nothing. The list
// of finalizers is replaced as a whole, hence the precondition.
func (c *Hosts) patch(ctx context.Context, l *live, change func(*metal3.BareMetalHost)) error {
	b := l.objs.BMH.DeepCopy()
	change(b)
	opts := client.MergeFromWithOptimisticLock{}
	if slices.Equal(b.Finalizers, l.objs.BMH.Finalizers) {
		return c.apply(ctx, l, b, client.MergeFrom(l.objs.BMH))
	}
	return c.apply(ctx, l, b, client.MergeFromWithOptions(l.objs.BMH, opts))
}

func (c *Hosts) apply(ctx context.Context, l *live, b *metal3.BareMetalHost, p client.Patch) error {
	err := c.Client.Patch(ctx, b, p, record.FieldOwner)
	if apierrors.IsConflict(err) {
		// Somebody else wrote in between: read what is true and come back.
		fresh := &metal3.BareMetalHost{}
		if e := c.Reader.Get(ctx, client.ObjectKeyFromObject(b), fresh); e == nil {
			l.objs.BMH = fresh
		}
	}
	if err != nil {
		return err
	}
	l.objs.BMH = b
	return nil
}

func (c *Hosts) unannotate(ctx context.Context, l *live, key string) error {
	if _, ok := l.objs.BMH.Annotations[key]; !ok {
		return nil
	}
	return c.patch(ctx, l, func(b *metal3.BareMetalHost) { delete(b.Annotations, key) })
}

// claim reads a BMC's Secret and marks it as in use, as Metal3 does. It returns
// nil where there is none.
func (c *Hosts) claim(ctx context.Context, b *metal3.BareMetalHost, name string) (*corev1.Secret, error) {
	key := types.NamespacedName{Namespace: b.Namespace, Name: name}
	c.uses(key, b)
	s, err := c.secret(ctx, key)
	if s == nil || err != nil {
		return nil, err
	}
	owned := record.OwnedBy(s, b)
	if owned && s.Labels[secretLabel] == secretLabelValue && controllerutil.ContainsFinalizer(s, secretFinalizer) ||
		!b.DeletionTimestamp.IsZero() || !s.DeletionTimestamp.IsZero() {
		return s, nil
	}
	ref := record.Owner(b)
	ref.Controller = nil
	return s, c.mark(ctx, s, &ref)
}

// dataVersion names the versions of the Secrets that the host's config drive is
// made of, and has the host woken when one of them changes.
func (c *Hosts) dataVersion(ctx context.Context, b *metal3.BareMetalHost) (string, error) {
	if b.Spec.Image == nil && b.Spec.CustomDeploy == nil {
		return "", nil
	}
	var names []string
	for _, ref := range []*corev1.SecretReference{b.Spec.UserData, b.Spec.MetaData, b.Spec.NetworkData} {
		if ref != nil && ref.Name != "" {
			names = append(names, ref.Name)
		}
	}
	if n := b.Spec.PreprovisioningNetworkDataName; n != "" {
		names = append(names, n)
	}
	var versions []string
	for _, n := range names {
		key := types.NamespacedName{Namespace: b.Namespace, Name: n}
		c.uses(key, b)
		s := &corev1.Secret{}
		if err := c.Client.Get(ctx, key, s); client.IgnoreNotFound(err) != nil {
			return "", fmt.Errorf("reading Secret %s: %w", key, err)
		}
		versions = append(versions, n+"="+s.ResourceVersion)
	}
	return strings.Join(versions, " "), nil
}
