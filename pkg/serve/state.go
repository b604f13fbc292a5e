package serve

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/pkg/auth"
	"github.com/ingot-metal/ingot/pkg/record"
)

// Names of our own objects in kube-system.
const (
	caSecret     = "ingot-ca"
	doorsMap     = "ingot-doors"
	caCertKey    = "tls.crt"
	caPrivateKey = "tls.key"
)

// authority reads the certificate authority of the doors, or makes it at the
// first start. Replicas that start together agree on the one that was stored
// first.
func authority(ctx context.Context, c client.Client) (*auth.CA, error) {
	s := &corev1.Secret{}
	key := client.ObjectKey{Namespace: namespace, Name: caSecret}
	for range 5 {
		err := c.Get(ctx, key, s)
		if err == nil {
			return auth.LoadCA(s.Data[caCertKey], s.Data[caPrivateKey], time.Now)
		}
		if !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("reading Secret %s: %w", key, err)
		}
		ca, err := auth.NewCA(time.Now)
		if err != nil {
			return nil, err
		}
		cert, priv, err := ca.PEM()
		if err != nil {
			return nil, err
		}
		s = &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name},
			Type:       corev1.SecretTypeTLS,
			Data:       map[string][]byte{caCertKey: cert, caPrivateKey: priv},
		}
		if err := c.Create(ctx, s, record.FieldOwner); !apierrors.IsAlreadyExists(err) {
			return ca, err
		}
	}
	return nil, errors.New("another ingot keeps changing the Secret " + key.String())
}

// publishDoors tells the command line where this service is.
func publishDoors(ctx context.Context, c client.Client, data map[string]string) error {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: doorsMap}, Data: data}
	err := c.Create(ctx, cm, record.FieldOwner)
	if apierrors.IsAlreadyExists(err) {
		old := &corev1.ConfigMap{}
		if err := c.Get(ctx, client.ObjectKeyFromObject(cm), old); err != nil {
			return err
		}
		old.Data = data
		err = c.Update(ctx, old, record.FieldOwner)
	}
	if err != nil {
		return fmt.Errorf("publishing ConfigMap %s/%s: %w", namespace, doorsMap, err)
	}
	return nil
}
