package node

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strings"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/record"
)

// Create makes a host for a node. Its UUID is chosen here if it names none. It rests
// in enroll, or in the provision state that d names.
func (s *Store) Create(ctx context.Context, d ironic.Node) (*Node, error) {
	if d.UUID == "" {
		d.UUID = s.NewID()
	}
	d.UUID = strings.ToLower(d.UUID)
	if _, ok := s.Get(d.UUID); ok {
		return nil, ErrExists
	}
	if d.Name != nil && s.taken(*d.Name, "") {
		return nil, ErrExists
	}
	namespace, names := s.objectNames(d)
	for _, name := range names {
		err := s.createAs(ctx, types.NamespacedName{Namespace: namespace, Name: name}, d)
		if errors.Is(err, errTaken) {
			continue
		}
		if err != nil {
			return nil, err
		}
		n, ok := s.Get(d.UUID)
		if !ok {
			return nil, ErrNotFound
		}
		return n, nil
	}
	return nil, ErrExists
}

// errTaken says that an object's name is another's.
var errTaken = errors.New("taken")

func (s *Store) taken(name, by string) bool {
	n, ok := s.Get(name)
	return ok && n.UUID != by
}

// objectNames are where a node's objects are kept, and the names that they may have:
// one made of the node's, or of its UUID.
func (s *Store) objectNames(d ironic.Node) (namespace string, names []string) {
	namespace = s.Namespace
	if d.Name != nil {
		name := *d.Name
		if ns, rest, ok := strings.Cut(name, "~"); ok && len(validation.IsDNS1123Label(ns)) == 0 && rest != "" {
			namespace, name = ns, rest
		}
		slug := regexp.MustCompile(`[^a-z0-9.-]+`).ReplaceAllString(strings.ToLower(name), "-")
		slug = strings.Trim(slug, "-.")
		isUUID := regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(slug)
		if len(validation.IsDNS1123Subdomain(slug)) == 0 && len(slug) <= 63 && !isUUID {
			names = append(names, slug)
		}
	}
	return namespace, append(names, "node-"+d.UUID[:min(8, len(d.UUID))], "node-"+d.UUID)
}

// createAs makes the node under a name of objects.
func (s *Store) createAs(ctx context.Context, k types.NamespacedName, d ironic.Node) error {
	defer s.alone(k).Unlock()
	host := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{
		Namespace: k.Namespace, Name: k.Name, Annotations: map[string]string{record.AnnotationNodeUUID: d.UUID},
	}}
	rec := &v1alpha1.HostRecord{Spec: v1alpha1.HostRecordSpec{ID: d.UUID, Hold: string(ironic.Enroll)}}
	if d.Driver == DriverFake {
		host.Annotations[record.AnnotationDriver] = DriverFake
	}
	if d.ProvisionState != nil && *d.ProvisionState != ironic.Enroll {
		// To clients older than 1.11 nodes are born available. A machine gets there by
		// itself; one that is none is there.
		rec.Spec.Hold = ""
		if d.Driver == DriverFake {
			rec.Spec.Hold = string(*d.ProvisionState)
		}
		host.Annotations[record.AnnotationNodeHold] = rec.Spec.Hold // whoever makes the record first
	}
	blank := &Node{Key: k, Host: host, Record: rec, said: &said{Driver: d.Driver}}
	s.render(blank)
	dr := &draft{n: &Node{Key: k}, id: d.UUID, host: host.DeepCopy(), record: rec.DeepCopy(), said: said{Driver: d.Driver}, companions: map[string][]edit{}, new: true}
	if err := s.become(ctx, dr, &blank.Node, &d); err != nil {
		return err
	}
	i, err := s.intent(dr)
	if err != nil {
		return err
	}
	i.Edits = nil
	i.Create = &birth{Annotations: dr.host.Annotations, Spec: dr.host.Spec, Record: dr.record.Spec}
	raw, err := json.Marshal(i)
	if err != nil {
		return err
	}
	if err := s.makeSecrets(ctx, dr); err != nil {
		return err
	}
	a := s.newAttributes(k, d.UUID)
	a.Spec.Intent = &apiextensionsv1.JSON{Raw: raw}
	if err := s.Client.Create(ctx, a, record.FieldOwner); err != nil {
		s.unmake(ctx, dr)
		switch {
		case apierrors.IsAlreadyExists(err):
			return s.whose(ctx, k, d)
		case apierrors.IsNotFound(err):
			return refuse("The namespace %s, which the name %q begins with, does not exist.", k.Namespace, *d.Name)
		}
		return wrap(written(err), "storing node %s", d.UUID)
	}
	s.Observe(a)
	return wrap(s.finish(ctx, k, i, false), "storing node %s", d.UUID)
}

// whose finds out by whom an object's name is taken: by a node that was begun under
// the same name or UUID, which is finished then, or by another.
func (s *Store) whose(ctx context.Context, k types.NamespacedName, d ironic.Node) error {
	a := &v1alpha1.NodeAttributes{}
	if err := s.Reader.Get(ctx, k, a); err != nil {
		return errTaken
	}
	i := intentOf(a)
	if i == nil || i.Create == nil || i.Create.Record.ID != d.UUID && (d.Name == nil || i.Create.Record.IronicName != *d.Name) {
		return errTaken
	}
	s.Observe(a)
	if s.theirs(i) {
		return ErrExists
	}
	if err := s.carryOn(ctx, s.byKey(k), i); err != nil {
		return err
	}
	return ErrExists
}

// bear makes the host of a node, and its record.
func (s *Store) bear(ctx context.Context, k types.NamespacedName, i *intent) error {
	what := i.Create
	b := &metal3.BareMetalHost{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: k.Namespace, Name: k.Name, Annotations: what.Annotations,
			Finalizers: []string{record.Finalizer}, // which the controller would add
		},
		Spec: what.Spec,
	}
	err := s.Client.Create(ctx, b, record.FieldOwner)
	if apierrors.IsAlreadyExists(err) {
		b = &metal3.BareMetalHost{}
		if err = s.Reader.Get(ctx, k, b); err == nil && b.Annotations[record.AnnotationNodeUUID] != what.Record.ID {
			return errTaken
		}
	}
	if err != nil {
		return written(err)
	}
	s.Observe(b)
	if err := s.ensureRecord(ctx, b, what.Record); err != nil {
		return err
	}
	return s.own(ctx, b, i.Said)
}

// own has Secrets that were made before their host go with it.
func (s *Store) own(ctx context.Context, b *metal3.BareMetalHost, attributes []byte) error {
	var w said
	if err := json.Unmarshal(attributes, &w); err != nil {
		return err
	}
	owner := record.Owner(b)
	owner.Controller = nil
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"ownerReferences": []metav1.OwnerReference{owner}}})
	if err != nil {
		return err
	}
	for _, name := range []string{w.Secret, w.Drive} {
		if name == "" {
			continue
		}
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: name}}
		if err := s.Client.Patch(ctx, secret, client.RawPatch(types.MergePatchType, patch), record.FieldOwner); client.IgnoreNotFound(err) != nil {
			return written(err)
		}
	}
	return nil
}

// ensureRecord makes the record of a host that has none, as pkg/record does.
func (s *Store) ensureRecord(ctx context.Context, b *metal3.BareMetalHost, spec v1alpha1.HostRecordSpec) error {
	r := &v1alpha1.HostRecord{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: b.Namespace, Name: b.Name, OwnerReferences: []metav1.OwnerReference{record.Owner(b)},
			Labels: map[string]string{"clusterctl.cluster.x-k8s.io/move": ""},
		},
		Spec: spec,
	}
	err := s.Client.Create(ctx, r, record.FieldOwner)
	if apierrors.IsAlreadyExists(err) {
		r = &v1alpha1.HostRecord{}
		err = s.Reader.Get(ctx, client.ObjectKeyFromObject(b), r)
		if err == nil && !record.OwnedBy(r, b) {
			return ErrChanged // of an earlier host of that name, which is being collected
		}
	}
	if err != nil {
		return written(err)
	}
	s.Observe(r)
	return nil
}
