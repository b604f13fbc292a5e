package node

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/ingot-metal/ingot/api/v1alpha1"
)

// hostsWith is a store over an API that is a fake, with hosts whose nodes are
// UUIDs made of 1, 2 …: nothing here depends on more than that objects are kept.
func hostsWith(t *testing.T, names ...string) *Store {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{metal3.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c := fake.NewClientBuilder().WithScheme(scheme).Build()
	ids := 0
	s := NewStore(c, c, "default", time.Now, func() string { ids++; return fmt.Sprintf("00000000-0000-4000-9000-%012d", ids) })
	for i, name := range names {
		b := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name)}}
		hr := &v1alpha1.HostRecord{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
		hr.Spec.ID = numbered(i + 1)
		for _, o := range []client.Object{b, hr} {
			if err := c.Create(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			s.Observe(o)
		}
	}
	return s
}

func numbered(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

func TestObjectsBelongToNodes(t *testing.T) {
	s := hostsWith(t, "a", "b")
	make := func(kind, of string) *Object {
		t.Helper()
		o, err := s.CreateObject(t.Context(), Object{Kind: kind, Node: of, Body: []byte(`{}`)})
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	port, group, other := make(KindPort, numbered(1)), make(KindPortGroup, numbered(1)), make(KindPort, numbered(2))
	before := s.Objects(KindPort)
	if len(before) != 2 || before[0].UUID != port.UUID {
		t.Fatalf("ports %v", before)
	}
	changes := s.ObjectChanges()
	owner := func(id string) string {
		t.Helper()
		var r v1alpha1.NodeResource
		if err := s.Reader.Get(t.Context(), types.NamespacedName{Namespace: "default", Name: id}, &r); err != nil {
			t.Fatal(err)
		}
		if len(r.OwnerReferences) != 1 {
			return ""
		}
		return r.OwnerReferences[0].Name
	}
	if got := owner(group.UUID); got != "a" {
		t.Errorf("owner %q", got)
	}
	// What goes to another node goes with that one.
	group, err := s.UpdateObject(t.Context(), group, Object{Node: numbered(2), Body: []byte(`{}`)})
	if err != nil || owner(group.UUID) != "b" {
		t.Errorf("moved: %v, owner %q", err, owner(group.UUID))
	}
	if s.ObjectChanges() == changes {
		t.Error("a change is not counted")
	}
	if err := s.DeleteObjectsOf(t.Context(), numbered(2)); err != nil {
		t.Fatal(err)
	}
	left := s.Objects(KindPort)
	if len(left) != 1 || left[0].UUID != port.UUID || len(s.Objects(KindPortGroup)) != 0 {
		t.Errorf("left %v", left)
	}
	if slices.Contains(left, other) {
		t.Error("the other node's port is left")
	}
}

func TestMoveBootMAC(t *testing.T) {
	s := hostsWith(t, "a")
	was, _ := s.Get(numbered(1))
	n, err := s.SetBootMAC(t.Context(), was, "52:54:00:ab:00:01")
	if err != nil || n.Host.Spec.BootMACAddress != "52:54:00:ab:00:01" {
		t.Fatalf("%v, %v", n.Host.Spec.BootMACAddress, err)
	}
	if _, err := s.MoveBootMAC(t.Context(), was, "", "52:54:00:ab:00:02"); !errors.Is(err, ErrChanged) {
		t.Errorf("from what was read before: %v", err)
	}
	if n, err = s.MoveBootMAC(t.Context(), n, "52:54:00:ab:00:09", "52:54:00:ab:00:02"); err != nil || n.Host.Spec.BootMACAddress != "52:54:00:ab:00:01" {
		t.Errorf("from a third: %v, %v", n.Host.Spec.BootMACAddress, err)
	}
	if n, err = s.MoveBootMAC(t.Context(), n, "52:54:00:ab:00:01", ""); err != nil || n.Host.Spec.BootMACAddress != "" {
		t.Errorf("to none: %v, %v", n.Host.Spec.BootMACAddress, err)
	}
}
