package node

import (
	"context"
	"encoding/json"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/record"
)

// Create makes a host for a node. Its UUID is chosen here if it names none.
func (s *Store) Create(ctx context.Context, d ironic.Node) (*Node, error) {
	if d.UUID == "" {
		d.UUID = s.NewID()
	}
	if _, ok := s.Get(d.UUID); ok {
		return nil, ErrExists
	}
	name := "node-" + d.UUID
	if d.Name != nil {
		if _, ok := s.Get(*d.Name); ok {
			return nil, ErrExists
		}
	}
	b := &metal3.BareMetalHost{}
	b.Namespace, b.Name = s.Namespace, name
	if err := s.Client.Create(ctx, b, record.FieldOwner); err != nil {
		if apierrors.IsAlreadyExists(err) {
			return nil, ErrExists
		}
		return nil, wrap(err, "storing node %s", d.UUID)
	}
	meta := metav1.ObjectMeta{Namespace: b.Namespace, Name: b.Name, OwnerReferences: []metav1.OwnerReference{record.Owner(b)}}
	hr := &v1alpha1.HostRecord{ObjectMeta: meta}
	hr.Spec.ID, hr.Spec.Hold = d.UUID, string(ironic.Enroll)
	if d.Name != nil {
		hr.Spec.IronicName = *d.Name
	}
	if err := s.Client.Create(ctx, hr, record.FieldOwner); err != nil {
		return nil, wrap(err, "storing node %s", d.UUID)
	}
	text, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	now := metav1.NewMicroTime(s.Now())
	na := &v1alpha1.NodeAttributes{ObjectMeta: meta}
	na.Spec.ID, na.Spec.CreatedAt, na.Spec.Attributes = d.UUID, &now, &apiextensionsv1.JSON{Raw: text}
	if err := s.Client.Create(ctx, na, record.FieldOwner); err != nil {
		return nil, wrap(err, "storing node %s", d.UUID)
	}
	s.Observe(b)
	s.Observe(hr)
	s.Observe(na)
	n, _ := s.Get(d.UUID)
	return n, nil
}

// Update makes of the node that was one with the document d. What only the service
// says (states, times …) is not taken from d. A value that is ironic.Masked is
// left as it is stored.
func (s *Store) Update(ctx context.Context, was *Node, d ironic.Node) (*Node, error) {
	text, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	na := was.Attrs.DeepCopy()
	now := metav1.NewMicroTime(s.Now())
	na.Spec.Attributes, na.Spec.UpdatedAt = &apiextensionsv1.JSON{Raw: text}, &now
	if err := s.Client.Update(ctx, na, record.FieldOwner); err != nil {
		if apierrors.IsConflict(err) {
			return nil, ErrChanged
		}
		return nil, wrap(err, "storing node %s", was.UUID)
	}
	s.Observe(na)
	n, _ := s.Get(was.UUID)
	return n, nil
}

// Delete lets go of a node's host.
func (s *Store) Delete(ctx context.Context, n *Node) error {
	if n.Host == nil {
		return ErrNotFound
	}
	if err := s.Client.Delete(ctx, n.Host); err != nil && !apierrors.IsNotFound(err) {
		return wrap(err, "deleting node %s", n.UUID)
	}
	return nil
}

// Asked is what a client asks of a node's life cycle.
type Asked struct {
	Verb   ironic.Verb
	Power  ironic.Power      // instead of Verb
	Erase  string            // metadata, all, or nothing
	Node   *ironic.Node      // the document that is to hold from then on; nil: as it is
	Secret map[string][]byte // config drive
}

// Ask hands a verb to the life cycle. Whether the node's state allows it is the
// caller's to know; that it is still in that state is made sure of here.
func (s *Store) Ask(ctx context.Context, was *Node, a Asked) (*Node, error) {
	hr := was.Record.DeepCopy()
	n := int64(1)
	if hr.Spec.Ask != nil {
		n = hr.Spec.Ask.N + 1
	}
	verb := string(a.Verb)
	if a.Power != "" {
		verb = string(a.Power)
	}
	hr.Spec.Ask = &v1alpha1.Ask{N: n, Verb: verb, Erase: a.Erase}
	if err := s.Client.Update(ctx, hr, record.FieldOwner); err != nil {
		if apierrors.IsConflict(err) {
			return nil, ErrChanged
		}
		return nil, wrap(err, "asking node %s", was.UUID)
	}
	s.Observe(hr)
	now, _ := s.Get(was.UUID)
	return now, nil
}
