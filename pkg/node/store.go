package node

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
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

	mu      sync.RWMutex
	nodes   map[types.NamespacedName]*Node
	byUUID  map[string]types.NamespacedName
	byName  map[string]types.NamespacedName
	sorted  []*Node // nil: to be made anew
	objects map[string]map[string]*Object
}

// NewStore returns an empty store.
func NewStore(c client.Client, r client.Reader, namespace string, now func() time.Time, newID func() string) *Store {
	return &Store{
		Client: c, Reader: r, Namespace: namespace, Now: now, NewID: newID, Conductor: "ingot",
		nodes:  map[types.NamespacedName]*Node{},
		byUUID: map[string]types.NamespacedName{}, byName: map[string]types.NamespacedName{},
		objects: map[string]map[string]*Object{},
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
	list := s.sorted
	s.mu.RUnlock()
	if list != nil {
		return list
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sorted == nil {
		s.sorted = make([]*Node, 0, len(s.nodes))
		for _, n := range s.nodes {
			if n.UUID != "" {
				s.sorted = append(s.sorted, n)
			}
		}
		slices.SortFunc(s.sorted, func(a, b *Node) int {
			return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.UUID, b.UUID))
		})
	}
	return s.sorted
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
	n := &Node{Key: k}
	if was := s.nodes[k]; was != nil {
		*n = *was
	}
	switch o := o.(type) {
	case *metal3.BareMetalHost:
		n.Host = pick(n.Host, o, gone)
	case *v1alpha1.HostRecord:
		n.Record = pick(n.Record, o, gone)
	case *v1alpha1.NodeAttributes:
		n.Attrs = pick(n.Attrs, o, gone)
	default:
		return
	}
	s.put(n)
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
	s.sorted = nil
	if was := s.nodes[n.Key]; was != nil {
		delete(s.byUUID, was.UUID)
		if was.Name != nil && s.byName[*was.Name] == n.Key {
			delete(s.byName, *was.Name)
		}
	}
	if n.Host == nil && n.Record == nil && n.Attrs == nil {
		delete(s.nodes, n.Key)
		return
	}
	s.render(n)
	s.nodes[n.Key] = n
	if n.UUID == "" {
		return
	}
	s.byUUID[n.UUID] = n.Key
	if n.Name != nil {
		s.byName[*n.Name] = n.Key
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

// wrap says what a write was about.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
