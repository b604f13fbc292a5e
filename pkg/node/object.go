package node

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/record"
)

// The kinds of objects.
const (
	KindPort            = "port"
	KindPortGroup       = "portgroup"
	KindChassis         = "chassis"
	KindAllocation      = "allocation"
	KindVolumeConnector = "volume_connector"
	KindVolumeTarget    = "volume_target"
	KindDeployTemplate  = "deploy_template"
	KindRunbook         = "runbook"
	// KindNoPort says that a port which a host's own NICs would show is not to be
	// shown: a client deleted it.
	KindNoPort = "no_port"
)

// Object is a resource other than a node, as of one moment. Nobody changes it.
type Object struct {
	Kind, UUID, Name string
	Node             string          // UUID of the node that it belongs to
	Body             json.RawMessage // its fields; not uuid, created_at, updated_at
	Created, Updated time.Time       // Updated is zero until it was

	stored *v1alpha1.NodeResource
}

// Object finds one by its UUID or its name.
func (s *Store) Object(kind, ident string) (*Object, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if o, ok := s.objects[kind][strings.ToLower(ident)]; ok {
		return o, true
	}
	for _, o := range s.objects[kind] {
		if o.Name != "" && o.Name == ident {
			return o, true
		}
	}
	return nil, false
}

// Objects returns all of a kind, the oldest first.
func (s *Store) Objects(kind string) []*Object {
	s.mu.RLock()
	list := make([]*Object, 0, len(s.objects[kind]))
	for _, o := range s.objects[kind] {
		list = append(list, o)
	}
	s.mu.RUnlock()
	slices.SortFunc(list, func(a, b *Object) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.UUID, b.UUID))
	})
	return list
}

// CreateObject stores o under its UUID, or a new one.
func (s *Store) CreateObject(ctx context.Context, o Object) (*Object, error) {
	if o.UUID == "" {
		o.UUID = s.NewID()
	}
	if _, ok := s.Object(o.Kind, o.UUID); ok {
		return nil, ErrExists
	}
	if o.Name != "" {
		if _, ok := s.Object(o.Kind, o.Name); ok {
			return nil, ErrExists
		}
	}
	now := metav1.NewMicroTime(s.Now())
	r := &v1alpha1.NodeResource{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.Namespace, Name: o.UUID,
			Labels: map[string]string{"clusterctl.cluster.x-k8s.io/move": ""},
		},
		Spec: v1alpha1.NodeResourceSpec{
			Kind: o.Kind, Node: o.Node, Name: o.Name, Body: &apiextensionsv1.JSON{Raw: o.Body}, CreatedAt: &now,
		},
	}
	if n, ok := s.Get(o.Node); ok && n.Host != nil {
		r.Namespace = n.Key.Namespace
		r.OwnerReferences = []metav1.OwnerReference{record.Owner(n.Host)}
	}
	err := s.Client.Create(ctx, r, record.FieldOwner)
	if apierrors.IsAlreadyExists(err) {
		return nil, ErrExists
	}
	if err != nil {
		return nil, wrap(err, "storing %s %s", o.Kind, o.UUID)
	}
	s.Observe(r)
	made, _ := s.Object(o.Kind, o.UUID)
	return made, nil
}

// UpdateObject replaces what was with o's node, name and body.
func (s *Store) UpdateObject(ctx context.Context, was *Object, o Object) (*Object, error) {
	now := metav1.NewMicroTime(s.Now())
	r := was.stored.DeepCopy()
	if r.Spec.Node != o.Node {
		r.OwnerReferences = nil // the old node's end is not its own
		if n, ok := s.Get(o.Node); ok && n.Host != nil && n.Key.Namespace == r.Namespace {
			r.OwnerReferences = []metav1.OwnerReference{record.Owner(n.Host)}
		}
	}
	r.Spec.Node, r.Spec.Name, r.Spec.Body, r.Spec.UpdatedAt = o.Node, o.Name, &apiextensionsv1.JSON{Raw: o.Body}, &now
	err := s.Client.Update(ctx, r, record.FieldOwner)
	switch {
	case apierrors.IsConflict(err):
		return nil, ErrChanged
	case apierrors.IsNotFound(err):
		return nil, ErrNotFound
	case err != nil:
		return nil, wrap(err, "storing %s %s", was.Kind, was.UUID)
	}
	s.Observe(r)
	made, _ := s.Object(was.Kind, was.UUID)
	return made, nil
}

// DeleteObject removes it.
func (s *Store) DeleteObject(ctx context.Context, o *Object) error {
	err := s.Client.Delete(ctx, o.stored)
	if err != nil && !apierrors.IsNotFound(err) {
		return wrap(err, "deleting %s %s", o.Kind, o.UUID)
	}
	s.Forget(o.stored)
	return nil
}

func (s *Store) takeObject(r *v1alpha1.NodeResource, gone bool) {
	s.objectChanges++
	of := s.objects[r.Spec.Kind]
	if of == nil {
		of = map[string]*Object{}
		s.objects[r.Spec.Kind] = of
	}
	was := of[r.Name]
	switch {
	case gone:
		delete(of, r.Name)
		return
	case was != nil && was.stored.UID == r.UID && older(r, was.stored):
		return
	}
	o := &Object{Kind: r.Spec.Kind, UUID: r.Name, Name: r.Spec.Name, Node: r.Spec.Node, Created: r.CreationTimestamp.Time, stored: r}
	if r.Spec.Body != nil {
		o.Body = r.Spec.Body.Raw
	}
	if r.Spec.CreatedAt != nil {
		o.Created = r.Spec.CreatedAt.Time
	}
	if r.Spec.UpdatedAt != nil {
		o.Updated = r.Spec.UpdatedAt.Time
	}
	of[r.Name] = o
}
