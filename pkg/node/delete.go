package node

import (
	"context"
	"slices"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/ironic"
)

// Delete lets go of a node's host. What runs on the machine goes on: Ironic forgets a
// node, and does nothing to it.
func (s *Store) Delete(ctx context.Context, was *Node) error {
	defer s.alone(was.Key).Unlock()
	n := s.byKey(was.Key)
	if n == nil || n.Host == nil || was.Host == nil || n.Host.UID != was.Host.UID {
		return ErrNotFound
	}
	if i := intentOf(n.Attrs); i != nil && !i.Delete {
		if s.theirs(i) {
			return ErrChanged
		}
		if err := s.carryOn(ctx, n, i); err != nil {
			return err
		}
		return ErrChanged
	}
	if was.ProvisionState != nil && *n.ProvisionState != *was.ProvisionState {
		return ErrChanged
	}
	if !works(n.Host) {
		if err := s.deleteHost(ctx, n, was.ProvisionState); err != nil {
			return err
		}
		return s.DeleteObjectsOf(ctx, n.UUID)
	}
	b := n.Host.DeepCopy()
	metav1.SetMetaDataAnnotation(&b.ObjectMeta, metal3.DetachedAnnotation, `{"deleteAction":"delete","force":true}`)
	edits, err := editsOf(n.Host, b)
	if err != nil {
		return err
	}
	err = s.commit(ctx, n, &intent{
		ID: s.NewID(), By: s.Conductor, At: metav1.NewMicroTime(s.Now()), Edits: map[string][]edit{objectHost: edits}, Delete: true,
	})
	if err != nil {
		return err
	}
	return s.DeleteObjectsOf(ctx, n.UUID)
}

// works reports whether the deletion of a host would have something done to its
// machine.
func works(b *metal3.BareMetalHost) bool {
	return !slices.Contains([]metal3.ProvisioningState{
		metal3.StateNone, metal3.StateUnmanaged, metal3.StateRegistering, metal3.StateDeleting,
	}, b.Status.Provisioning.State)
}

// deleteHost deletes a host, if it still is in the state that the client saw; nil:
// in whatever state.
func (s *Store) deleteHost(ctx context.Context, n *Node, st *ironic.State) error {
	uid := n.Host.UID
	s.forgo(n.Key, uid, true)
	var err error
	for range maxConflicts {
		only := client.Preconditions{UID: &uid}
		if st != nil {
			only.ResourceVersion = &n.Host.ResourceVersion
		}
		if err = s.Client.Delete(ctx, n.Host, only); !apierrors.IsConflict(err) {
			break
		}
		fresh := &metal3.BareMetalHost{}
		if err = s.Reader.Get(ctx, n.Key, fresh); err != nil {
			break
		}
		s.Observe(fresh)
		if n = s.byKey(n.Key); fresh.UID != uid || n == nil || n.Host == nil || st != nil && *n.ProvisionState != *st {
			err = ErrChanged
			break
		}
	}
	if err != nil && !apierrors.IsNotFound(err) {
		s.forgo(n.Key, uid, false)
		return wrap(written(err), "deleting node %s", n.UUID)
	}
	return nil
}

// forgo hides a node, and what belongs to it, from clients: to them a node is gone
// once it is deleted, whatever is still to be let go of.
func (s *Store) forgo(k types.NamespacedName, uid types.UID, gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !gone {
		delete(s.gone, uid)
	} else {
		s.gone[uid] = true
	}
	if was := s.nodes[k]; was != nil {
		n := *was
		s.put(&n)
	}
}
