//go:build e2e

package kill

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/e2e/rig"
	"github.com/ingot-metal/ingot/pkg/lab"
)

// insist tells the API something until it is taken: it may be dead at any time.
func insist(ctx context.Context, what string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for {
		try, stop := context.WithTimeout(ctx, 10*time.Second)
		err := f(try)
		stop()
		if err == nil {
			return nil
		}
		if apierrors.IsInvalid(err) || ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		pause(ctx, 100*time.Millisecond)
	}
}

// enrol declares a machine as a host of that name.
func enrol(ctx context.Context, c client.Client, name string, m lab.Machine) error {
	meta := metav1.ObjectMeta{Namespace: namespace, Name: name + "-bmc"}
	b := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	b.Spec.BMC = metal3.BMCDetails{Address: m.Address, CredentialsName: meta.Name, DisableCertificateVerification: m.Insecure}
	b.Spec.BootMACAddress = m.MAC
	b.Spec.Online = true
	if m.Legacy {
		b.Spec.BootMode = metal3.Legacy
	}
	s := &corev1.Secret{ObjectMeta: meta, Data: map[string][]byte{"username": []byte(m.Username), "password": []byte(m.Password)}}
	for _, o := range []client.Object{s, b} {
		err := insist(ctx, "creating "+o.GetName(), func(ctx context.Context) error {
			err := c.Create(ctx, o.DeepCopyObject().(client.Object))
			if apierrors.IsAlreadyExists(err) {
				return nil // the answer was lost in a kill
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// change merges into a host's spec.
func change(ctx context.Context, c client.Client, name string, spec map[string]any) error {
	patch, err := json.Marshal(map[string]any{"spec": spec})
	if err != nil {
		return err
	}
	return insist(ctx, "changing "+name, func(ctx context.Context) error {
		b := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		return c.Patch(ctx, b, client.RawPatch(types.MergePatchType, patch))
	})
}

func remove(ctx context.Context, c client.Client, name string) error {
	return insist(ctx, "deleting "+name, func(ctx context.Context) error {
		b := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		return client.IgnoreNotFound(c.Delete(ctx, b))
	})
}

func imageSpec(p rig.Picture) map[string]any {
	return map[string]any{"image": map[string]any{
		"url": p.URL, "checksum": p.Digest, "checksumType": "sha256", "format": "raw",
	}}
}

// at says that a host has arrived and that nothing is being done to it.
func at(state metal3.ProvisioningState, image string) func(seen) bool {
	return func(s seen) bool {
		return s.bmh != nil && s.hr != nil && s.bmh.Status.Provisioning.State == state &&
			s.bmh.Status.Provisioning.Image.URL == image && s.bmh.Status.ErrorType == "" && s.bmh.Status.PoweredOn &&
			s.hr.Status.Problem == nil && (s.hr.Status.Operation == nil || state == metal3.StateProvisioned)
	}
}
