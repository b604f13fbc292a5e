package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"sync"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/record"
)

// intent is a change of several objects. It is written into NodeAttributes before the
// first of them is touched, carried out in one order (the host, its companions, its
// record), and removed with the last write. Each step can be done again; what somebody
// else has changed since is theirs. There is no secret in it: a Secret is a new one
// each time, written before, and comes into use with the host's spec.
type intent struct {
	ID string           `json:"id"`
	By string           `json:"by"` // the conductor that carries it out
	At metav1.MicroTime `json:"at"`

	Create *birth            `json:"create,omitempty"`
	Edits  map[string][]edit `json:"edits,omitempty"`  // by the object: host, settings, components, record
	Delete bool              `json:"delete,omitempty"` // the host, at last
	Said   json.RawMessage   `json:"said,omitempty"`   // the attributes from then on; nothing: as they are
	Drop   []string          `json:"drop,omitempty"`   // Secrets of ours that are not needed any more
}

// birth is a host that is to be made.
type birth struct {
	Annotations map[string]string        `json:"annotations"`
	Spec        metal3.BareMetalHostSpec `json:"spec"`
	Record      v1alpha1.HostRecordSpec  `json:"record"`
}

// The objects of a node that edits are about, in the order in which they are written.
const (
	objectHost       = "host"
	objectSettings   = "settings"
	objectComponents = "components"
	objectRecord     = "record"
)

var order = [...]string{objectHost, objectSettings, objectComponents, objectRecord}

// tooOld is when an intent is anybody's to carry on.
const tooOld = 10 * time.Second

// alone keeps other writes of a node waiting.
func (s *Store) alone(k types.NamespacedName) *sync.Mutex {
	h := fnv.New32a()
	h.Write([]byte(k.Namespace + "/" + k.Name))
	m := &s.rows[h.Sum32()%uint32(len(s.rows))]
	m.Lock()
	return m
}

// intentOf is the change that is under way; nil: none.
func intentOf(a *v1alpha1.NodeAttributes) *intent {
	if a == nil || a.Spec.Intent == nil || len(a.Spec.Intent.Raw) == 0 {
		return nil
	}
	i := &intent{}
	if json.Unmarshal(a.Spec.Intent.Raw, i) != nil {
		return nil // none of ours
	}
	return i
}

// noteIntent keeps which nodes have one. s.mu is held.
func (s *Store) noteIntent(n *Node) {
	if i := intentOf(n.Attrs); i != nil {
		s.intents[n.Key] = i.At.Time
	} else if len(s.intents) > 0 {
		delete(s.intents, n.Key)
	}
}

// byKey is a node as it is known now, shown or not.
func (s *Store) byKey(k types.NamespacedName) *Node {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.nodes[k]
}

// begin returns a node as it is now, if it still is what the client saw. Its lock is
// held. A change that was interrupted is finished first: the client tries again.
func (s *Store) begin(ctx context.Context, was *Node) (*Node, error) {
	n := s.byKey(was.Key)
	if n == nil || n.Host == nil || was.Host == nil || n.Host.UID != was.Host.UID {
		return nil, ErrNotFound
	}
	if i := intentOf(n.Attrs); i != nil {
		if s.theirs(i) {
			return nil, ErrChanged
		}
		if err := s.carryOn(ctx, n, i); err != nil {
			return nil, err
		}
		return nil, ErrChanged
	}
	if version(attrs(n)) != version(attrs(was)) {
		return nil, ErrChanged
	}
	return n, nil
}

// theirs reports whether another replica is likely to be at work on a change.
func (s *Store) theirs(i *intent) bool { return i.By != s.Conductor && s.Now().Sub(i.At.Time) < tooOld }

// attrs are never nil.
func attrs(n *Node) *v1alpha1.NodeAttributes {
	if n.Attrs == nil {
		return &v1alpha1.NodeAttributes{}
	}
	return n.Attrs
}

// commit carries a change out. One that touches one object is one write.
func (s *Store) commit(ctx context.Context, n *Node, i *intent) error {
	touched := 0
	for _, name := range order {
		if len(i.Edits[name]) > 0 {
			touched++
		}
	}
	if i.Delete {
		touched++
	}
	switch {
	case touched == 0 && i.Said == nil:
		return nil
	case touched == 0:
		return s.writeAttributes(ctx, n, func(a *v1alpha1.NodeAttributes) { settle(a, i) })
	case touched == 1 && i.Said == nil:
		return s.steps(ctx, n, i, false)
	}
	raw, err := json.Marshal(i)
	if err != nil {
		return fmt.Errorf("writing an intent: %w", err)
	}
	err = s.writeAttributes(ctx, n, func(a *v1alpha1.NodeAttributes) { a.Spec.Intent = &apiextensionsv1.JSON{Raw: raw} })
	if err != nil {
		return err
	}
	return s.finish(ctx, n.Key, i, false)
}

// finish carries out a change whose intent is recorded. What is refused is taken back.
func (s *Store) finish(ctx context.Context, k types.NamespacedName, i *intent, carryOn bool) error {
	n := s.byKey(k)
	if n == nil {
		return ErrNotFound
	}
	err := s.steps(ctx, n, i, carryOn)
	var refused *Refusal
	switch {
	case err == nil:
	case i.Create != nil && (errors.Is(err, errTaken) || errors.As(err, &refused)):
		return errors.Join(err, s.unborn(ctx, n, i))
	case errors.Is(err, ErrChanged), errors.As(err, &refused):
		if back := s.takeBack(ctx, k, i); back != nil {
			return errors.Join(err, back)
		}
		return err
	default:
		return err
	}
	if i.Delete {
		return nil
	}
	// Before the intent is gone: nobody else would know of them.
	s.drop(ctx, k.Namespace, i.Drop)
	n = s.byKey(k)
	return s.writeAttributes(ctx, n, func(a *v1alpha1.NodeAttributes) { settle(a, i) })
}

// settle is what an intent's last write makes of the attributes.
func settle(a *v1alpha1.NodeAttributes, i *intent) {
	a.Spec.Intent = nil
	if i.Said != nil {
		a.Spec.Attributes = &apiextensionsv1.JSON{Raw: i.Said}
	}
	at := i.At
	if i.Create != nil {
		a.Spec.CreatedAt = &at
	} else {
		a.Spec.UpdatedAt = &at
	}
}

// unborn removes what was written of a node whose host cannot be made.
func (s *Store) unborn(ctx context.Context, n *Node, i *intent) error {
	var w said
	if json.Unmarshal(i.Said, &w) == nil && w.Secret != "" {
		s.drop(ctx, n.Key.Namespace, []string{w.Secret})
	}
	if err := s.Client.Delete(ctx, n.Attrs); client.IgnoreNotFound(err) != nil {
		return err
	}
	s.Forget(n.Attrs)
	return nil
}

// takeBack undoes what was done of a change, and its intent.
func (s *Store) takeBack(ctx context.Context, k types.NamespacedName, i *intent) error {
	back := &intent{Edits: map[string][]edit{}}
	for name, edits := range i.Edits {
		back.Edits[name] = undone(edits)
	}
	if err := s.steps(ctx, s.byKey(k), back, true); err != nil {
		return err
	}
	return s.writeAttributes(ctx, s.byKey(k), func(a *v1alpha1.NodeAttributes) { a.Spec.Intent = nil })
}

// steps writes the objects that a change is about, in their order.
func (s *Store) steps(ctx context.Context, n *Node, i *intent, carryOn bool) error {
	if i.Create != nil {
		if err := s.bear(ctx, n.Key, i); err != nil {
			return err
		}
	}
	for _, name := range order {
		edits := i.Edits[name]
		if len(edits) == 0 {
			continue
		}
		var o client.Object
		switch name {
		case objectHost:
			o = n.Host
		case objectRecord:
			now := s.byKey(n.Key)
			if now.Record == nil {
				if err := s.ensureRecord(ctx, now.Host, v1alpha1.HostRecordSpec{ID: now.UUID}); err != nil {
					return err
				}
				now = s.byKey(n.Key)
			}
			o, edits = now.Record, seeing(edits, now.Host.Generation)
		case objectSettings:
			o = &metal3.HostFirmwareSettings{ObjectMeta: metav1.ObjectMeta{Namespace: n.Key.Namespace, Name: n.Key.Name}}
		case objectComponents:
			o = &metal3.HostFirmwareComponents{ObjectMeta: metav1.ObjectMeta{Namespace: n.Key.Namespace, Name: n.Key.Name}}
		}
		if err := s.apply(ctx, n, o, edits, carryOn); err != nil {
			return wrap(err, "storing node %s", n.UUID)
		}
	}
	if i.Delete {
		return s.deleteHost(ctx, n, nil)
	}
	return nil
}

// seeing has an ask name the generation of the host that was written along with it.
func seeing(edits []edit, generation int64) []edit {
	out := slices.Clone(edits)
	for i, e := range out {
		if ask, ok := e.To.(map[string]any); ok && generation > 0 && slices.Equal(e.Path, []string{"spec", "ask"}) {
			ask = maps.Clone(ask)
			ask["generation"] = generation
			out[i].To = ask
		}
	}
	return out
}

// maxConflicts is how often a write is tried while somebody else writes other fields.
const maxConflicts = 8

// apply makes edits of an object, from the version that is known, or a newer one.
func (s *Store) apply(ctx context.Context, n *Node, o client.Object, edits []edit, carryOn bool) error {
	companion := o.GetResourceVersion() == ""
	if companion {
		if err := s.companion(ctx, n, o); err != nil {
			return err
		}
	}
	uid := o.GetUID()
	for range maxConflicts {
		body, err := patch(o, edits, carryOn)
		if err != nil || body == nil {
			return err
		}
		next := o.DeepCopyObject().(client.Object)
		err = s.Client.Patch(ctx, next, client.RawPatch(types.MergePatchType, body), record.FieldOwner)
		switch {
		case err == nil:
			s.Observe(next)
			return nil
		case !apierrors.IsConflict(err):
			return written(err)
		}
		fresh := o.DeepCopyObject().(client.Object)
		if err := s.Reader.Get(ctx, client.ObjectKeyFromObject(o), fresh); err != nil {
			return written(err)
		}
		if fresh.GetUID() != uid {
			return ErrNotFound
		}
		s.Observe(fresh)
		o = fresh
	}
	return ErrChanged
}

// companion reads an object that may have to be made.
func (s *Store) companion(ctx context.Context, n *Node, o client.Object) error {
	err := s.Reader.Get(ctx, client.ObjectKeyFromObject(o), o)
	if !apierrors.IsNotFound(err) {
		return err
	}
	o.SetResourceVersion("")
	o.SetOwnerReferences([]metav1.OwnerReference{record.Owner(n.Host)})
	switch o := o.(type) {
	case *metal3.HostFirmwareSettings:
		o.Spec.Settings = metal3.DesiredSettingsMap{}
	case *metal3.HostFirmwareComponents:
		o.Spec.Updates = []metal3.FirmwareUpdate{}
	}
	err = s.Client.Create(ctx, o, record.FieldOwner)
	if apierrors.IsAlreadyExists(err) {
		return s.Reader.Get(ctx, client.ObjectKeyFromObject(o), o)
	}
	return written(err)
}

// written tells what the API says of a write in our words.
func written(err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsConflict(err):
		return ErrChanged
	case apierrors.IsNotFound(err):
		return ErrNotFound
	case apierrors.IsInvalid(err), apierrors.IsForbidden(err), apierrors.IsBadRequest(err):
		return refuse("%v", err)
	}
	return err
}

// writeAttributes changes a node's attributes, from the version that is known.
func (s *Store) writeAttributes(ctx context.Context, n *Node, change func(*v1alpha1.NodeAttributes)) error {
	if n.Attrs == nil {
		a := s.newAttributes(n.Key, n.UUID)
		a.OwnerReferences = []metav1.OwnerReference{record.Owner(n.Host)}
		change(a)
		err := s.Client.Create(ctx, a, record.FieldOwner)
		if apierrors.IsAlreadyExists(err) {
			return ErrChanged
		}
		if err == nil {
			s.Observe(a)
		}
		return wrap(written(err), "storing node %s", n.UUID)
	}
	a := n.Attrs.DeepCopy()
	change(a)
	if len(a.OwnerReferences) == 0 && n.Host != nil {
		a.OwnerReferences = []metav1.OwnerReference{record.Owner(n.Host)}
	}
	err := s.Client.Update(ctx, a, record.FieldOwner)
	if err == nil {
		s.Observe(a)
	}
	return wrap(written(err), "storing node %s", n.UUID)
}

func (s *Store) newAttributes(k types.NamespacedName, id string) *v1alpha1.NodeAttributes {
	return &v1alpha1.NodeAttributes{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: k.Namespace, Name: k.Name, Labels: map[string]string{"clusterctl.cluster.x-k8s.io/move": ""},
		},
		Spec: v1alpha1.NodeAttributesSpec{ID: id},
	}
}

// drop deletes Secrets of ours, which the controller may have marked as in use: one
// that stays would keep its mark when its host goes.
func (s *Store) drop(ctx context.Context, namespace string, names []string) {
	for _, name := range names {
		secret := &corev1.Secret{}
		if s.Reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, secret) != nil || secret.Labels[labelNode] == "" {
			continue
		}
		if s.Client.Delete(ctx, secret) != nil || len(secret.Finalizers) == 0 {
			continue
		}
		_ = s.Client.Patch(ctx, secret, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)), record.FieldOwner)
	}
}
