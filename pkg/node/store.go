package node

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/api/v1alpha1"
)

// What goes wrong with a write; the REST door answers 404, 409 and 409.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("already exists")
	ErrChanged  = errors.New("changed in the meantime")
)

// Node is a node as of one moment. Nobody changes it, nor what it points to.
type Node struct {
	ironic.Node
	Key     types.NamespacedName // of its objects
	Host    *metal3.BareMetalHost
	Record  *v1alpha1.HostRecord     // nil: not made yet
	Attrs   *v1alpha1.NodeAttributes // nil: nobody said anything
	Created time.Time
	Version string // another text whenever anything of it changed

	said *said  // in Attrs
	seen string // what of its Secret is shown
}

// Store keeps nodes and what belongs to them. Its exported fields are set before it
// is used.
type Store struct {
	Client    client.Client // writes
	Reader    client.Reader // reads past caches
	Namespace string        // of new nodes; its nodes' names are shown bare
	Now       func() time.Time
	NewID     func() string
	Conductor string // our own name, as nodes show it

	mu            sync.RWMutex
	nodes         map[types.NamespacedName]*Node
	byUUID        map[string]types.NamespacedName
	byName        map[string]types.NamespacedName
	sorted        []*Node                        // as List returned it last
	moved         map[types.NamespacedName]*Node // nodes that changed since, as they are in it
	objects       map[string]map[string]*Object
	objectChanges uint64 // of any object; under mu

	secrets map[types.NamespacedName]credentials
	users   map[types.NamespacedName]map[types.NamespacedName]bool // nodes by the Secret that their BMCs' credentials are in
	gone    map[types.UID]bool                                     // hosts that were deleted at this door
	intents map[types.NamespacedName]time.Time                     // changes that are under way, and since when

	rows [64]sync.Mutex // one write of a node at a time
}

// credentials is what is shown of a BMC's Secret.
type credentials struct {
	user     string
	password bool
}

// NewStore returns an empty store.
func NewStore(c client.Client, r client.Reader, namespace string, now func() time.Time, newID func() string) *Store {
	return &Store{
		Client: c, Reader: r, Namespace: namespace, Now: now, NewID: newID, Conductor: "ingot",
		nodes: map[types.NamespacedName]*Node{}, moved: map[types.NamespacedName]*Node{},
		byUUID: map[string]types.NamespacedName{}, byName: map[string]types.NamespacedName{},
		objects: map[string]map[string]*Object{}, secrets: map[types.NamespacedName]credentials{},
		users: map[types.NamespacedName]map[types.NamespacedName]bool{}, gone: map[types.UID]bool{}, intents: map[types.NamespacedName]time.Time{},
	}
}

// Get finds a node by its UUID or by its name.
func (s *Store) Get(ident string) (*Node, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	k, ok := s.byUUID[strings.ToLower(ident)]
	if !ok {
		k, ok = s.byName[ident]
	}
	if !ok {
		return nil, false
	}
	n, ok := s.nodes[k]
	return n, ok
}

// List returns all nodes, the oldest first. The slice is not the caller's to change.
func (s *Store) List() []*Node {
	s.mu.RLock()
	list, current := s.sorted, len(s.moved) == 0
	s.mu.RUnlock()
	if current {
		return list
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.moved) > len(s.nodes)/8 {
		s.sorted = make([]*Node, 0, len(s.nodes))
		for _, n := range s.nodes {
			if s.shown(n) {
				s.sorted = append(s.sorted, n)
			}
		}
		slices.SortFunc(s.sorted, byAge)
	} else {
		s.sorted = slices.Clone(s.sorted) // others read it
		for k, was := range s.moved {
			s.relist(was, s.nodes[k])
		}
	}
	clear(s.moved)
	return s.sorted
}

// relist puts a node into the list in another's place; nil: there is none. s.mu is
// held.
func (s *Store) relist(was, is *Node) {
	if is != nil && !s.shown(is) {
		is = nil
	}
	if was != nil {
		i, found := slices.BinarySearchFunc(s.sorted, was, byAge)
		switch {
		case found && is != nil && byAge(was, is) == 0:
			s.sorted[i] = is
			return
		case found:
			s.sorted = slices.Delete(s.sorted, i, i+1)
		}
	}
	if is != nil {
		i, _ := slices.BinarySearchFunc(s.sorted, is, byAge)
		s.sorted = slices.Insert(s.sorted, i, is)
	}
}

// byAge orders nodes by their age.
func byAge(a, b *Node) int {
	return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.UUID, b.UUID))
}

// Observe takes in an object as a watch or a write of ours saw it; an older version
// than is known is let go.
func (s *Store) Observe(o client.Object) { s.take(o, false) }

// Forget takes note of a deletion.
func (s *Store) Forget(o client.Object) { s.take(o, true) }

func (s *Store) take(o client.Object, gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := o.(*v1alpha1.NodeResource); ok {
		s.takeObject(r, gone)
		return
	}
	k := client.ObjectKeyFromObject(o)
	if secret, ok := o.(*corev1.Secret); ok {
		s.takeSecret(k, secret, gone)
		return
	}
	n := &Node{Key: k}
	was := s.nodes[k]
	if was != nil {
		*n = *was
	}
	switch o := o.(type) {
	case *metal3.BareMetalHost:
		n.Host = pick(n.Host, o, gone)
		if gone {
			delete(s.gone, o.UID)
		}
	case *v1alpha1.HostRecord:
		n.Record = pick(n.Record, o, gone)
	case *v1alpha1.NodeAttributes:
		n.Attrs = pick(n.Attrs, o, gone)
	default:
		return
	}
	if was != nil && n.Host == was.Host && n.Record == was.Record && n.Attrs == was.Attrs {
		return // an older version
	}
	s.put(n)
}

// takeSecret keeps what is shown of a Secret that a BMC's credentials are in.
func (s *Store) takeSecret(k types.NamespacedName, secret *corev1.Secret, gone bool) {
	is := credentials{user: string(bytes.TrimSpace(secret.Data["username"])), password: len(secret.Data["password"]) > 0}
	if was := s.secrets[k]; was == is && !gone {
		return
	}
	delete(s.secrets, k)
	if !gone && is != (credentials{}) {
		s.secrets[k] = is
	}
	for of := range s.users[k] {
		if was := s.nodes[of]; was != nil {
			n := *was
			s.put(&n)
		}
	}
}

// credentials of a host, as far as they are shown. s.mu is held.
func (s *Store) credentials(b *metal3.BareMetalHost) credentials {
	return s.secrets[types.NamespacedName{Namespace: b.Namespace, Name: b.Spec.BMC.CredentialsName}]
}

// shown reports whether a node is one to clients: it has a host, which was not
// deleted at this door. s.mu is held.
func (s *Store) shown(n *Node) bool {
	if n.Host == nil || n.UUID == "" || s.gone[n.Host.UID] {
		return false
	}
	if n.Host.DeletionTimestamp.IsZero() {
		return true
	}
	switch n.Host.Status.Provisioning.State {
	case metal3.StateNone, metal3.StateUnmanaged, metal3.StateRegistering:
		return false // nothing is done to it any more
	}
	return true
}

// pick returns which of two versions of an object is known from now on.
func pick[T interface {
	client.Object
	comparable
}](was, is T, gone bool) T {
	var none T
	switch {
	case gone && (was == none || was.GetUID() == is.GetUID()):
		return none
	case gone || was != none && was.GetUID() == is.GetUID() && older(is, was):
		return was
	}
	return is
}

func older(a, b client.Object) bool {
	x, errX := strconv.ParseUint(a.GetResourceVersion(), 10, 64)
	y, errY := strconv.ParseUint(b.GetResourceVersion(), 10, 64)
	return errX == nil && errY == nil && x < y
}

// put files a node. s.mu is held.
func (s *Store) put(n *Node) {
	was := s.nodes[n.Key]
	if _, noted := s.moved[n.Key]; !noted {
		s.moved[n.Key] = was
	}
	if was != nil {
		if s.byUUID[was.UUID] == n.Key {
			delete(s.byUUID, was.UUID)
		}
		if was.Name != nil && s.byName[*was.Name] == n.Key {
			delete(s.byName, *was.Name)
		}
		if was.Host != nil && (n.Host == nil || n.Host.Spec.BMC.CredentialsName != was.Host.Spec.BMC.CredentialsName) {
			s.uses(n.Key, was.Host.Spec.BMC.CredentialsName, false)
		}
		if was.Attrs != n.Attrs {
			n.said = nil
		}
	}
	s.noteIntent(n)
	if n.Host == nil && n.Record == nil && n.Attrs == nil {
		delete(s.nodes, n.Key)
		return
	}
	if n.said == nil {
		n.said = saidIn(n.Attrs)
	}
	n.seen = ""
	if n.Host != nil && n.Host.Spec.BMC.CredentialsName != "" {
		s.uses(n.Key, n.Host.Spec.BMC.CredentialsName, true)
		if c := s.credentials(n.Host); c.password || c.user != "" {
			n.seen = c.user + " "
		}
	}
	s.render(n)
	s.nodes[n.Key] = n
	if !s.shown(n) {
		return
	}
	s.byUUID[n.UUID] = n.Key
	if n.Name != nil {
		s.byName[*n.Name] = n.Key
	}
}

// uses notes that a node is to be rendered anew when a Secret changes, or no longer.
func (s *Store) uses(n types.NamespacedName, secret string, does bool) {
	k := types.NamespacedName{Namespace: n.Namespace, Name: secret}
	switch of := s.users[k]; {
	case secret == "":
	case does && of == nil:
		s.users[k] = map[types.NamespacedName]bool{n: true}
	case does:
		of[n] = true
	case len(of) > 1:
		delete(of, n)
	default:
		delete(s.users, k)
	}
}

func version(objects ...client.Object) string {
	var b strings.Builder
	for _, o := range objects {
		b.WriteString(o.GetResourceVersion())
		b.WriteByte('.')
	}
	return b.String()
}

// Refusal is why a change is not made, for the client that asked for it: Ironic
// answers 400.
type Refusal struct{ Reason string }

func (r *Refusal) Error() string { return r.Reason }

func refuse(format string, args ...any) error { return &Refusal{Reason: fmt.Sprintf(format, args...)} }

// wrap says what a write was about.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
