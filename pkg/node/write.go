package node

import (
	"context"
	"errors"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/record"
)

// draft is a node as it is to be.
type draft struct {
	n      *Node // as it is
	id     string
	host   *metal3.BareMetalHost
	record *v1alpha1.HostRecord
	said   said

	companions map[string][]edit // settings and components
	secrets    []*corev1.Secret  // to be made
	drop       []string          // Secrets that are not needed any more
	driveKeys  map[string][]byte // of a new config drive
	new        bool
}

// draft copies a node.
func (s *Store) draft(ctx context.Context, n *Node) (*draft, error) {
	if n.Record == nil {
		if err := s.ensureRecord(ctx, n.Host, v1alpha1.HostRecordSpec{ID: n.UUID}); err != nil {
			return nil, err
		}
		n = s.byKey(n.Key)
	}
	return &draft{n: n, id: n.UUID, host: n.Host.DeepCopy(), record: n.Record.DeepCopy(), said: n.said.clone(), companions: map[string][]edit{}}, nil
}

// Update makes of the node that was one with the document d. What only the service
// says (states, times …) is not taken from d. A value that is ironic.Masked is
// left as it is stored.
func (s *Store) Update(ctx context.Context, was *Node, d ironic.Node) (*Node, error) {
	defer s.alone(was.Key).Unlock()
	n, err := s.begin(ctx, was)
	if err != nil {
		return nil, err
	}
	dr, err := s.draft(ctx, n)
	if err != nil {
		return nil, err
	}
	if err := s.become(ctx, dr, &was.Node, &d); err != nil {
		return nil, err
	}
	return s.store(ctx, dr)
}

// store writes a draft.
func (s *Store) store(ctx context.Context, dr *draft) (*Node, error) {
	i, err := s.intent(dr)
	if err != nil {
		return nil, err
	}
	if err := s.makeSecrets(ctx, dr); err != nil {
		return nil, err
	}
	if err := s.commit(ctx, dr.n, i); err != nil {
		var refused *Refusal
		if errors.Is(err, ErrChanged) || errors.As(err, &refused) {
			s.unmake(ctx, dr)
		}
		return nil, err
	}
	n, ok := s.Get(dr.id)
	if !ok {
		return nil, ErrNotFound
	}
	return n, nil
}

// intent is what has to be written for a draft.
func (s *Store) intent(dr *draft) (*intent, error) {
	said, err := dr.said.text()
	if err != nil {
		return nil, err
	}
	i := &intent{ID: s.NewID(), By: s.Conductor, At: metav1.NewMicroTime(s.Now()), Edits: dr.companions, Drop: dr.drop}
	if dr.new {
		i.Said = said
		return i, nil
	}
	if i.Edits[objectHost], err = editsOf(dr.n.Host, dr.host); err != nil {
		return nil, err
	}
	if i.Edits[objectRecord], err = editsOf(dr.n.Record, dr.record); err != nil {
		return nil, err
	}
	if a := dr.n.Attrs; a == nil && string(said) != "{}" || a != nil && (a.Spec.Attributes == nil || string(a.Spec.Attributes.Raw) != string(said)) {
		i.Said = said
	}
	return i, nil
}

func (s *Store) makeSecrets(ctx context.Context, dr *draft) error {
	for _, secret := range dr.secrets {
		if err := s.Client.Create(ctx, secret, record.FieldOwner); err != nil {
			return wrap(written(err), "storing the secrets of node %s", dr.id)
		}
		s.Observe(secret)
	}
	return nil
}

// unmake deletes Secrets that did not come into use.
func (s *Store) unmake(ctx context.Context, dr *draft) {
	for _, secret := range dr.secrets {
		s.drop(ctx, secret.Namespace, []string{secret.Name})
	}
}
