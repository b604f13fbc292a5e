package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"net"
	"net/url"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/ipxe"
	"github.com/ingot-metal/ingot/pkg/record"
)

// ramdiskFinalizer is Metal3's on the PreprovisioningImages that it made.
const ramdiskFinalizer = "baremetalhost.metal3.io/preprovisioningImage"

// ramdisk reads what an external builder answered for the host.
func (c *Hosts) ramdisk(ctx context.Context, b *metal3.BareMetalHost, w *host.Wants) error {
	w.BuildsRamdisk = c.BuildRamdisks
	if !c.BuildRamdisks || !w.Managed() {
		return nil
	}
	p := &metal3.PreprovisioningImage{}
	if err := c.Client.Get(ctx, client.ObjectKeyFromObject(b), p); err != nil {
		return client.IgnoreNotFound(err)
	}
	if !record.OwnedBy(p, b) {
		return nil
	}
	version, err := c.networkDataVersion(ctx, b)
	if err != nil {
		return err
	}
	w.Ramdisk, w.RamdiskProblem = record.RamdiskAnswer(p, record.RamdiskWanted(b), version)
	if w.Ramdisk != nil {
		if err := bootable(*w.Ramdisk); err != nil {
			w.Ramdisk, w.RamdiskProblem = nil, &host.Problem{
				Code: "ramdisk-unusable", Class: host.Wait,
				Facts: map[string]string{"image": p.Name, "namespace": p.Namespace},
				Seen:  []string{fmt.Sprintf("PreprovisioningImage %s/%s: %v", p.Namespace, p.Name, err)},
			}
		}
	}
	text, err := json.Marshal(p.Status)
	if err != nil {
		return err
	}
	sum := fnv.New64a()
	fmt.Fprintf(sum, "%s %d %s %s", p.UID, p.Generation, version, text)
	w.RamdiskVersion = fmt.Sprintf("%016x", sum.Sum64())
	return nil
}

// networkDataVersion is that of the Secret with the ramdisk's network data; the
// host is woken when it changes.
func (c *Hosts) networkDataVersion(ctx context.Context, b *metal3.BareMetalHost) (string, error) {
	n := b.Spec.PreprovisioningNetworkDataName
	if n == "" {
		return "", nil
	}
	key := types.NamespacedName{Namespace: b.Namespace, Name: n}
	c.uses(key, b)
	s := &corev1.Secret{}
	if err := c.Client.Get(ctx, key, s); err != nil {
		return "", client.IgnoreNotFound(err)
	}
	return s.ResourceVersion, nil
}

// bootable reports what our boot script, or a BMC, cannot take of a builder's
// answer: it is found before the machine is touched.
func bootable(r host.Ramdisk) error {
	if r.ISO != "" {
		u, err := url.Parse(r.ISO)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil {
			return fmt.Errorf("imageUrl %.200q: want http or https, a host, and no user", r.ISO)
		}
		return nil
	}
	here := "http://" + net.JoinHostPort("127.0.0.1", "6180") + "/"
	b := ipxe.Boot{Kernel: here, Initrd: r.Initrd, Script: here}
	if r.Kernel != "" {
		b.Kernel = r.Kernel
	}
	if err := b.Args.Parse(r.Params); err != nil {
		return fmt.Errorf("extraKernelParams: %w", err)
	}
	_, err := b.Render()
	return err
}

// askRamdisk asks an external builder for the host's ramdisk: an object of the
// host's name, which is as it is wanted. It writes nothing where it is.
func (c *Hosts) askRamdisk(ctx context.Context, l *live) error {
	b := l.objs.BMH
	want := &metal3.PreprovisioningImage{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: b.Namespace, Name: b.Name, Labels: maps.Clone(b.Labels),
			Finalizers: []string{ramdiskFinalizer}, OwnerReferences: []metav1.OwnerReference{record.Owner(b)},
		},
		Spec: record.RamdiskWanted(b),
	}
	p := &metal3.PreprovisioningImage{}
	err := c.Client.Get(ctx, client.ObjectKeyFromObject(b), p)
	if apierrors.IsNotFound(err) {
		if err = c.Client.Create(ctx, want, record.FieldOwner); !apierrors.IsAlreadyExists(err) {
			return err
		}
		err = c.Reader.Get(ctx, client.ObjectKeyFromObject(b), p)
	}
	switch {
	case err != nil:
		return err
	case !p.DeletionTimestamp.IsZero() && !record.OwnedBy(p, b):
		return fmt.Errorf("PreprovisioningImage %s/%s belongs to an earlier host of that name: waiting for it to be collected", b.Namespace, b.Name)
	}
	next := p.DeepCopy()
	next.Spec = want.Spec
	if len(want.Labels) > 0 && next.Labels == nil {
		next.Labels = map[string]string{}
	}
	maps.Copy(next.Labels, want.Labels)
	if !record.OwnedBy(next, b) {
		next.OwnerReferences = append(next.OwnerReferences, want.OwnerReferences...)
	}
	controllerutil.AddFinalizer(next, ramdiskFinalizer)
	if record.SameRamdisk(next.Spec, p.Spec) && maps.Equal(next.Labels, p.Labels) && len(next.OwnerReferences) == len(p.OwnerReferences) && len(next.Finalizers) == len(p.Finalizers) {
		return nil
	}
	return c.Client.Patch(ctx, next, client.MergeFromWithOptions(p, client.MergeFromWithOptimisticLock{}), record.FieldOwner)
}

// releaseRamdisk lets go of what a builder was asked for, also by an earlier ingot
// or Metal3.
func (c *Hosts) releaseRamdisk(ctx context.Context, b *metal3.BareMetalHost) error {
	p := &metal3.PreprovisioningImage{}
	if err := c.Reader.Get(ctx, client.ObjectKeyFromObject(b), p); err != nil {
		return client.IgnoreNotFound(err)
	}
	if !record.OwnedBy(p, b) || !controllerutil.ContainsFinalizer(p, ramdiskFinalizer) {
		return nil
	}
	next := p.DeepCopy()
	controllerutil.RemoveFinalizer(next, ramdiskFinalizer)
	err := c.Client.Patch(ctx, next, client.MergeFromWithOptions(p, client.MergeFromWithOptimisticLock{}), record.FieldOwner)
	return client.IgnoreNotFound(err)
}

// BootFor finds the boot that was ordered for a machine with these MACs, for an
// agent that came in an external builder's ISO, which cannot name it. Empty: there
// is none. It is part of agentapi.BootFinder.
func (c *Hosts) BootFor(macs []string) string {
	c.awaitRestored(c.base)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range macs {
		m, err := net.ParseMAC(s)
		if err != nil {
			continue
		}
		k, ok := c.index.owner(m.String())
		if !ok {
			continue
		}
		id := c.index.of[k].bootID
		if r := c.index.boots[id].ramdisk; r != nil && r.ISO != "" {
			return id
		}
	}
	return ""
}
