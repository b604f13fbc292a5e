package controller

import (
	"context"
	"fmt"
	"maps"
	"strings"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/pkg/hostclaim"
	"github.com/ingot-metal/ingot/pkg/record"
)

func labelSet(l map[string]string) labels.Set { return l }

// missing says that a Secret cannot be had until somebody changes something.
type missing struct{ text string }

func (m missing) Error() string { return m.text }

// copied is the Secret that another was copied from.
func copied(o client.Object) (types.NamespacedName, bool) {
	ns, name, ok := strings.Cut(o.GetAnnotations()[hostclaim.CopyOf], "/")
	return types.NamespacedName{Namespace: ns, Name: name}, ok
}

// part makes one of a claim's Secrets readable for its host: as it is in the same
// namespace, else as a copy beside the host, which belongs to it. What a claim
// names is looked for in its own namespace alone.
func (c *Claims) part(ctx context.Context, h *metal3.HostClaim, b *metal3.BareMetalHost, p hostclaim.Part) (*corev1.SecretReference, error) {
	ref := p.Claim(h)
	if ref == nil || ref.Name == "" {
		return nil, nil
	}
	if ref.Namespace != "" && ref.Namespace != h.Namespace {
		return nil, missing{fmt.Sprintf("spec.%s.namespace: a Secret of another namespace cannot be used: copy it into %s", p.Field, h.Namespace)}
	}
	source := types.NamespacedName{Namespace: h.Namespace, Name: ref.Name}
	from := &corev1.Secret{}
	err := c.Client.Get(ctx, source, from)
	if apierrors.IsNotFound(err) {
		err = c.Reader.Get(ctx, source, from)
	}
	if apierrors.IsNotFound(err) {
		return nil, missing{fmt.Sprintf("there is no Secret %s (spec.%s): waits for it", source, p.Field)}
	}
	if err != nil {
		return nil, err
	}
	if b.Namespace == h.Namespace {
		return &corev1.SecretReference{Name: ref.Name, Namespace: b.Namespace}, nil
	}
	at := types.NamespacedName{Namespace: b.Namespace, Name: b.Name + "-" + p.Suffix}
	if err := c.copy(ctx, from, at, b); err != nil {
		return nil, err
	}
	return &corev1.SecretReference{Name: at.Name, Namespace: at.Namespace}, nil
}

// copy puts a Secret's data beside a host. A Secret of that name that is no copy is
// somebody else's, and stays.
func (c *Claims) copy(ctx context.Context, from *corev1.Secret, at types.NamespacedName, b *metal3.BareMetalHost) error {
	owner := record.Owner(b)
	owner.Controller = nil
	have := &corev1.Secret{}
	err := c.Client.Get(ctx, at, have)
	if apierrors.IsNotFound(err) {
		have = &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: at.Namespace, Name: at.Name, OwnerReferences: []metav1.OwnerReference{owner},
				Labels:      map[string]string{secretLabel: secretLabelValue},
				Annotations: map[string]string{hostclaim.CopyOf: client.ObjectKeyFromObject(from).String()},
			},
			Data: from.Data,
		}
		err = c.Client.Create(ctx, have, record.FieldOwner)
		if apierrors.IsAlreadyExists(err) {
			return wait{claimAgain} // the cache does not know it yet
		}
		return err
	}
	if err != nil {
		return err
	}
	of, ok := copied(have)
	if !ok {
		return missing{fmt.Sprintf("the Secret %s, which would be the copy, is not ours to write: rename it", at)}
	}
	if of == client.ObjectKeyFromObject(from) && maps.EqualFunc(have.Data, from.Data, func(a, b []byte) bool { return string(a) == string(b) }) &&
		record.OwnedBy(have, b) {
		return nil
	}
	before := have.DeepCopy()
	have.Data, have.OwnerReferences = from.Data, []metav1.OwnerReference{owner}
	metav1.SetMetaDataAnnotation(&have.ObjectMeta, hostclaim.CopyOf, client.ObjectKeyFromObject(from).String())
	return c.Client.Patch(ctx, have, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), record.FieldOwner)
}

// uncopy deletes the copies beside a host that its claim, if it has one, no longer
// asks for.
func (c *Claims) uncopy(ctx context.Context, b *metal3.BareMetalHost, h *metal3.HostClaim) error {
	for _, p := range hostclaim.Parts() {
		if h != nil && (p.Claim(h) != nil && h.Namespace != b.Namespace) {
			continue
		}
		s := &corev1.Secret{}
		err := c.Client.Get(ctx, types.NamespacedName{Namespace: b.Namespace, Name: b.Name + "-" + p.Suffix}, s)
		if err == nil {
			if _, ok := copied(s); !ok {
				continue
			}
			err = c.Client.Delete(ctx, s, client.Preconditions{UID: &s.UID, ResourceVersion: &s.ResourceVersion})
		}
		if client.IgnoreNotFound(err) != nil {
			return soon(err)
		}
	}
	return nil
}
